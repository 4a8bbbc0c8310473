"""What the commands write: files of their own, tables on stdout, and errors in the command line's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.options import option_name
from charrnn.console import count
from charrnn.errors import ArgumentValueError, TooLargeError, Worded, output_path
from charrnn.text.sources import unpacked_name

if TYPE_CHECKING:
    from charrnn.model import CharRNN

#: The names on the command line of arguments of the library that are no options of the same name.
NAMES = {"data": "the text", "n": "--count", "path": "MODEL", "rng": "--seed", "text": "the text"}

#: Suffixes of packed texts, which follow the suffix of the text itself.
PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def message_of(error: BaseException, args: Mapping[str, Any]) -> str:
    """Say in one line what is wrong; arguments get the names that they have on the command line."""

    def called(name: str) -> str:
        return NAMES.get(name) or (option_name(name) if name in args else name)

    message = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        message = f"{error.filename}: {error.strerror}"
    elif isinstance(error, MemoryError):
        message = f"not enough memory{message and ': '}{message}"
    elif isinstance(error, TooLargeError):
        message = _too_large(error, called, args.get("typed", ()))
    elif isinstance(error, Worded):
        message = error.worded(called)
    return " ".join(message.splitlines())


def _too_large(error: TooLargeError, called: Callable[[str], str], typed: Iterable[str]) -> str:
    """Say that it does not fit, naming the options that were typed; if there are none, name those that help."""
    sizes = {name: size for name, size in error.sizes.items() if name in typed}
    if sizes:
        return TooLargeError(sizes, error.needed, error.available).worded(called)
    return (
        f"not enough memory: {error.needed:,.0f} bytes are needed of {error.available:,}; what makes it less is a "
        f"smaller {' or '.join(map(called, error.sizes))}"
    )


def check_output(name: str, path: Path, others: Sequence[str | Path]) -> None:
    """Raise an error if the file cannot be written, or is one of the others; to be called before hours of work."""
    output_path(name, path)
    if path.resolve() in [Path(other).resolve() for other in others]:
        raise ArgumentValueError(name, f"must be a file of its own, got {path}")


def default_output(files: Sequence[str]) -> str:
    """Return the model's file if none is named: the name of the first text, in this folder."""
    if not files:
        return "python.safetensors"
    path = Path(unpacked_name(files[0]))
    is_named = files[0] != "-" and path.stem and path.suffix != ".safetensors"
    return f"{path.stem if is_named else 'model'}.safetensors"


def beside(model: Path, kind: str) -> Path:
    """Return the file of this kind that belongs to a model; the whole name counts, since lr0.01 is not lr0.02."""
    return model.with_name(f"{model.name.removesuffix('.safetensors')}.{kind}.safetensors")


def check_nothing_is_lost(output: Path, checkpoint: Path, resume: bool) -> None:
    """Raise an error if a new training would replace a model or a training that was begun."""
    if checkpoint.is_file():
        raise ValueError(
            f"{checkpoint} holds a training that was begun: --resume goes on with it, --force begins it anew, "
            "-o names another model"
        )
    if output.is_file():
        how = f"without {checkpoint} its training cannot go on, --init-from trains it further, " if resume else ""
        raise ValueError(f"{output} is there already: {how}-o names another file, --force replaces it")


def architecture(model: CharRNN) -> str:
    return f"{model.cell}, {count(model.num_layers, 'layer')} of {count(model.hidden_size, 'unit')}"


def print_table(rows: Mapping[str, str]) -> None:
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        print(f"{name:{width}}" + value.replace("\n", "\n" + " " * width))
