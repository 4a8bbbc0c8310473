"""Model files: one safetensors file, the parameters under PyTorch's names and a record of the rest in its metadata.

The record is the JSON object under the key "charrnn":

    format_version  1
    kind            "model" (or "checkpoint", see train.py)
    characters      code points of the vocabulary's characters in index order
    end             whether the vocabulary ends with END
    cell, vocab_size, hidden_size, num_layers, dtype
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from charrnn.model import CharRNN

FORMAT_VERSION = 1
RECORD = "charrnn"


class ModelFileError(ValueError):
    """A file that is no charrnn model, or a damaged one.

    Examples
    --------
    >>> _ = path.write_text("no model")
    >>> charrnn.load(path)
    Traceback (most recent call last):
    charrnn.files.ModelFileError: ... is not a charrnn model, ...
    """


def save(model: CharRNN, path: str | os.PathLike[str]) -> None:
    """Write a model file, whole or not at all."""
    write(path, {name: np.ascontiguousarray(p) for name, p in model.state_dict().items()}, describe(model))


def load(path: str | os.PathLike[str]) -> CharRNN:
    """Read the model that `CharRNN.save` wrote.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    CharRNN

    Raises
    ------
    ModelFileError
        The file is no charrnn model, or it is damaged; the message says what is wrong with it.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import charrnn.train
    >>> charrnn.train.train("hello world").save(path)
    >>> charrnn.load(path).sample("h", 10, temperature=0)
    'ello world'
    """
    tensors, record = read(path, kind="model")
    return build(path, tensors, record)


def describe(model: CharRNN) -> dict[str, Any]:
    """The record of a model."""
    return {
        "kind": "model",
        "characters": [ord(character) for character in model.vocabulary.characters],
        "end": model.vocabulary.end is not None,
        "cell": model.cell,
        "vocab_size": len(model.vocabulary),
        "hidden_size": model.hidden_size,
        "num_layers": model.num_layers,
        "dtype": model.dtype.name,
    }


def build(path: str | os.PathLike[str], tensors: dict[str, np.ndarray], record: dict[str, Any]) -> CharRNN:
    """The model of a record and its parameters."""
    from charrnn.model import CharRNN
    from charrnn.vocabulary import Vocabulary

    try:
        characters = "".join(map(chr, record["characters"]))
        model = CharRNN.from_state_dict(Vocabulary(characters, end=record["end"]), tensors)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"{_name(path)} is a damaged charrnn model: {_reason(error)}") from None
    for key, value in describe(model).items():
        said = record.get(key)
        if key != "kind" and said != value:
            raise ModelFileError(
                f"{_name(path)} is a damaged charrnn model: its record says {key} {said!r}, its arrays {value!r}"
            )
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise ModelFileError(f"{_name(path)} is a damaged charrnn model: {name} holds NaN or infinity")
    return model


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the record of a file of this kind."""
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):  # a missing or forbidden file is Python's own error
        pass
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if RECORD not in metadata:
                raise ModelFileError(f"{_name(path)} is not a charrnn model: it has no charrnn record")
            record = json.loads(metadata[RECORD])
            _check_record(path, record, kind)
            return {name: file.get_tensor(name) for name in file.keys()}, record  # noqa: SIM118
    except SafetensorError as error:
        raise ModelFileError(f"{_name(path)} is not a charrnn model, or a damaged one: {error}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ModelFileError(f"{_name(path)} is a damaged charrnn model: {_reason(error)}") from None


def _check_record(path: str | os.PathLike[str], record: Any, kind: str) -> None:
    if not isinstance(record, dict):
        raise ModelFileError(f"{_name(path)} is a damaged charrnn model: its record is not an object")
    version = record.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise ModelFileError(f"{_name(path)} is a damaged charrnn model: its format version is {version!r}")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{_name(path)} has format version {version}, written by a newer charrnn; this one reads {FORMAT_VERSION}"
        )
    if record.get("kind") != kind:
        raise ModelFileError(f"{_name(path)} must be a charrnn {kind}, it is a {record.get('kind')!r} file")


def write(path: str | os.PathLike[str], tensors: dict[str, np.ndarray], record: dict[str, Any]) -> None:
    """Write these arrays and this record; a failure at any moment leaves what was at `path` before."""
    from safetensors.numpy import save as to_bytes

    content = to_bytes(tensors, {RECORD: json.dumps({"format_version": FORMAT_VERSION, **record})})
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in this folder last through a loss of power, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(path: str | os.PathLike[str]) -> str:
    return os.fspath(path)


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
