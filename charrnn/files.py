"""Model files: one safetensors file, the parameters under PyTorch's names and a record of the rest in its metadata.

The record is the JSON object under the key "charrnn":

    format_version  1
    kind            "model" (or "checkpoint", see train/checkpoint.py)
    characters      code points of the vocabulary's characters in index order
    end             whether the vocabulary ends with END
    cell, vocab_size, hidden_size, num_layers, dtype
    history         the learning curve and the origin of the model, where they are known

Nothing here knows how a model calculates: a class is handed in, which makes one of a vocabulary and arrays.
"""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import reprlib
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from charrnn.errors import ModelFileError, file_path
from charrnn.history import History
from charrnn.parameters import check_shapes
from charrnn.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from charrnn.model import CharRNN

Model = TypeVar("Model", bound="CharRNN")

FORMAT_VERSION = 1
RECORD = "charrnn"

#: safetensors' names of the number types that there are.
DTYPES = {"float32": "F32", "float64": "F64"}

#: The most JSON values that are accepted in a record, besides one for each symbol; a full history has some 8,000.
MAX_RECORD_VALUES = 100_000


def save(model: CharRNN, path: str | os.PathLike[str]) -> None:
    """Write a model file, whole or not at all."""
    record = describe(model)
    if model.history is not None and model.history.origin is not None:
        record["history"] = model.history.for_model_file()
    write(path, model.state_dict(), record)


def load(path: str | os.PathLike[str], kind: type[Model]) -> Model:
    """Read a model file as a model of this class: see `charrnn.load`."""
    tensors, record = read(path, kind="model")
    model = build(path, tensors, record, kind)
    if "history" in record:
        try:
            model.history = History.from_record(record["history"])
            _ = model.cut
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise damaged(path, error) from None
    return model


def describe(model: CharRNN) -> dict[str, Any]:
    """Return the record of a model."""
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


def build(
    path: str | os.PathLike[str], tensors: dict[str, np.ndarray], record: dict[str, Any], kind: type[Model]
) -> Model:
    """The model of a record and its parameters, an instance of this class."""
    try:
        vocabulary = Vocabulary("".join(map(chr, record["characters"])), end=record["end"])
        model = kind.from_state_dict(vocabulary, tensors)
        check_shapes(tensors, {name: array.shape for name, array in model.state_dict().items()})
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise damaged(path, error) from None
    for key, value in describe(model).items():
        said = record.get(key)
        # They are compared as JSON, in which true, 1 and 1.0 are three different values.
        if key != "kind" and json.dumps(said) != json.dumps(value):
            raise damaged(path, f"its record says {key} {reprlib.repr(said)}, its arrays {reprlib.repr(value)}")
    return model


def damaged(path: str | os.PathLike[str], reason: Exception | str) -> ModelFileError:
    """Return the error for a charrnn file that is not as it was written."""
    if isinstance(reason, KeyError):
        reason = f"it lacks {reason}"
    text = str(reason)
    return ModelFileError(f"{os.fspath(path)} is damaged: {text if len(text) < 300 else text[:300] + '...'}")


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a file of this kind: its arrays, all of finite numbers of one type, and its record."""
    from safetensors import SafetensorError, safe_open

    path = file_path("path", path)
    with open(path, "rb") as file:  # a missing or forbidden file is Python's own error
        if not file.seekable() or not os.path.isfile(path):
            raise ModelFileError(f"{path} is not a charrnn model: it is no regular file")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if RECORD not in metadata:
                raise ModelFileError(f"{os.fspath(path)} is not a charrnn model: it has no charrnn record")
            names = file.keys()
            heads = [file.get_slice(name).get_shape() for name in names if name.endswith("head.weight")]
            # A symbol has numbers in head.weight: rows of nothing are a claim that the file does not bear out.
            symbols = max((min(shape[0], math.prod(shape)) for shape in heads if shape), default=0)
            record = _parse(metadata[RECORD], MAX_RECORD_VALUES + symbols)
            _check_record(path, record, kind)
            for name in names:
                dtype = file.get_slice(name).get_dtype()
                if dtype != DTYPES[record["dtype"]]:
                    raise ValueError(f"{name} must be of {record['dtype']}, as its record says, got {dtype}")
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ModelFileError(f"{os.fspath(path)} is not a charrnn model, or a damaged one: {error}") from None
    except ModelFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise damaged(path, f"{name} holds NaN or infinity")
    return tensors, record


def _parse(text: str, values: int) -> Any:
    """Parse JSON of at most this many values: as Python objects they may take thirty times the text's memory."""
    if sum(map(text.count, ",:[{")) > values:
        raise ValueError(f"its record has more than {values} values")
    return json.loads(text)


def _check_record(path: str | os.PathLike[str], record: Any, kind: str) -> None:
    if not isinstance(record, dict):
        raise damaged(path, "its record is not an object")
    version = record.get("format_version")
    if type(version) is not int or version < 1:
        raise damaged(path, f"its format version is {reprlib.repr(version)}")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{os.fspath(path)} has format version {version}, written by a newer charrnn; "
            f"this one reads {FORMAT_VERSION}"
        )
    if record.get("kind") != kind:
        raise ModelFileError(
            f"{os.fspath(path)} must be a charrnn {kind}, it is a {reprlib.repr(record.get('kind'))} file"
        )
    if record.get("dtype") not in tuple(DTYPES):
        raise damaged(path, f"its record says dtype {reprlib.repr(record.get('dtype'))}")


def write(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], record: dict[str, Any]) -> None:
    """Write arrays of one number type and a record; a failure at any moment leaves the file that was there before.

    A pipe or a device such as /dev/null at `path` is written to as it is. Memory is taken for one array at a time.
    """
    header: dict[str, Any] = {
        "__metadata__": {RECORD: json.dumps({"format_version": FORMAT_VERSION, **record}, allow_nan=False)}
    }
    end = 0
    for name, array in tensors.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": array.shape, "data_offsets": (start, end)}
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % 8)
    # The file that a link points to is replaced, not the link.
    path = Path(os.path.realpath(file_path("path", path)))
    replaced = not path.exists() or path.is_file()
    with _replacement(path) if replaced else open(path, "wb") as file:
        file.write(struct.pack("<Q", len(content)) + content)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)


@contextlib.contextmanager
def _replacement(path: Path) -> Iterator[Any]:
    """Open a temporary file that replaces the one at `path` once it is complete and on the disk."""
    temporary = path.with_name(f".{path.name[:100]}.{os.urandom(8).hex()}.part")
    try:
        with open(temporary, "xb") as file:
            with contextlib.suppress(OSError):
                _lock(file)
            yield file
            file.flush()
            _sync(file.fileno())
        with contextlib.suppress(OSError):
            os.chmod(temporary, path.stat().st_mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _sync(descriptor: int) -> None:
    """Wait until what was written is on the disk itself. On macOS fsync waits for the drive's cache only."""
    with contextlib.suppress(ImportError, OSError):  # not every file system there can
        import fcntl

        full_sync = getattr(fcntl, "F_FULLFSYNC", None)
        if full_sync is not None:
            fcntl.fcntl(descriptor, full_sync)
            return
    os.fsync(descriptor)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files of processes that were killed while they wrote to `path`."""
    path = Path(os.path.realpath(path))
    for leftover in path.parent.glob(f".{glob.escape(path.name[:100])}.{'[0-9a-f]' * 16}.part"):
        with contextlib.suppress(OSError):
            with open(leftover, "r+b") as file:
                _lock(file)
            leftover.unlink()


def _lock(file: Any) -> None:
    """Lock an open file; OSError if another process holds it.

    Windows has no such lock and needs none: it refuses to remove a file that is open.
    """
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a loss of power, on systems that can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):  # a folder that cannot be read, or a file system that cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)
