"""From bytes to blocks of code points: encodings, byte-order marks, files that are mapped into memory.

It knows nothing of vocabularies and symbols. A block is an array of some 65,000 code points, so that neither speed nor
memory depends on how a text is stored.
"""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from charrnn.errors import ArgumentTypeError, ArgumentValueError

if TYPE_CHECKING:
    import numpy.typing as npt

#: Bytes of a file, or characters of a text, that are handled at once: what this takes stays in a core's cache.
BLOCK = 1 << 16

#: A file of this many bytes is memory-mapped if its bytes are its code points.
MMAP_BYTES = 64 << 20


def code_points(text: str) -> np.ndarray:
    """Give the code points of a text, as int32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<i4")


def code_point_blocks(text: str | bytes | bytearray) -> Iterator[np.ndarray]:
    """Yield the code points of a text, those of a few characters at a time."""
    for start in range(0, len(text), BLOCK):
        block = text[start : start + BLOCK]
        yield code_points(block) if isinstance(block, str) else np.frombuffer(block, np.uint8)


def gathered(blocks: Iterable[np.ndarray], dtype: npt.DTypeLike) -> np.ndarray:
    """Join arrays, without ever holding them and what they are joined to twice."""
    joined = bytearray()
    for block in blocks:
        joined += block.data
    return np.frombuffer(joined, dtype)


def text_of(points: np.ndarray) -> str:
    """Give the text that has these code points."""
    return points.astype("<i4").tobytes().decode("utf-32-le", "surrogatepass")


def codec_name(encoding: str) -> str:
    """The name under which Python knows a text encoding, that with a byte-order mark for UTF-8."""
    if not isinstance(encoding, str):
        raise ArgumentTypeError("encoding", f"must be a str, got {type(encoding).__name__}")
    try:
        # Unlike codecs.lookup this refuses the codecs that are not for text, as base64.
        codec = codecs.lookup(io.TextIOWrapper(io.BytesIO(), encoding).encoding).name
    except (LookupError, ValueError):
        raise ArgumentValueError("encoding", f"must be one that Python knows, as 'utf-8', got {encoding!r}") from None
    return "utf-8-sig" if codec == "utf-8" else codec


def file_texts(file: BinaryIO, codec: str, name: str) -> Iterator[str]:
    """Yield the text of an opened file in pieces; an error says where it is not in this encoding."""
    decoder = codecs.getincrementaldecoder(codec)()
    num_bytes, data = 0, b"."
    mark = ""
    while data:
        data = file.read(BLOCK)
        if num_bytes == 0 and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and not codec.startswith("utf-16"):
            mark = " (its byte-order mark is that of utf-16)"
        num_bytes += len(data)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:
            reason = str(error)
            if isinstance(error, UnicodeDecodeError):
                # The decoder's bytes are those of this block and what it kept of the ones before.
                offset = num_bytes - len(error.object) + error.start
                reason = f"byte 0x{error.object[error.start]:02x} at offset {offset} ({error.reason})"
            encoding = codec.removesuffix("-sig")
            raise ArgumentValueError(
                name, f"must be in {encoding}, got {reason}; give its encoding{mark}, or pass its bytes"
            ) from None
        yield text


def file_blocks(file: BinaryIO, codec: str, name: str) -> Iterator[np.ndarray]:
    """Yield the code points of an opened file."""
    return map(code_points, file_texts(file, codec, name))


def mapped(file: BinaryIO, codec: str, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """A large file whose bytes are its code points, mapped into memory, and which code points it has; else None."""
    try:
        status = os.fstat(file.fileno())
    except OSError:  # it is unpacked
        return None
    size = status.st_size
    if not stat.S_ISREG(status.st_mode) or size < MMAP_BYTES:
        return None
    ascii = bytes(range(128))
    if codec != "iso8859-1" and ascii.decode(codec, "replace") != ascii.decode("ascii"):
        return None
    seen = np.zeros(256 if codec == "iso8859-1" else 128, bool)
    for block in file_blocks(file, codec, name):
        if block.max(initial=0) >= len(seen):
            break
        seen[block] = True
        size -= len(block)
    found = (np.memmap(file, np.uint8, "r"), np.flatnonzero(seen)) if size == 0 else None
    file.seek(0)
    return found
