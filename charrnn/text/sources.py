"""The bytes of a file, a pipe or standard input: unpacked, and as often as they are asked for.

It knows nothing of encodings. What a file is packed with is seen from its first bytes, not from its name.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import stat
import sys
from collections.abc import Callable
from typing import IO, Any, BinaryIO, cast

#: Standard input, where a path is expected.
STDIN = "-"

#: How packed files begin.
PACKED = {
    "gzip": rb"\x1f\x8b",
    "bzip2": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",
    "xz": rb"\xfd7zXZ\x00",
    "zstd": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",
}

#: How files begin that are no text.
BINARY = {
    "a ZIP archive or an office document": rb"PK\x03\x04",
    "a PDF document": rb"%PDF-",
    "a PNG image": rb"\x89PNG\r\n",
    "a JPEG image": rb"\xff\xd8\xff",
    "a 7-Zip archive": rb"7z\xbc\xaf\x27\x1c",
    "a tar archive": rb"(?s).{257}ustar",
    "an SQLite database": rb"SQLite format 3\x00",
    "a Parquet file": rb"PAR1",
    "an HDF5 file": rb"\x89HDF\r\n",
    "a NumPy array": rb"\x93NUMPY",
}

#: Bytes by which all of them are known.
HEAD = 262


def unpacked_name(name: str) -> str:
    """The name of a file without the ending of a packed one."""
    return re.sub(r"\.(gz|bz2|xz|zst|zstd)$", "", name)


class Source:
    """A file, a pipe or standard input, that can be read again and again.

    Parameters
    ----------
    path : str
        "-" is standard input.

    Attributes
    ----------
    name : str
        What errors call it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = "stdin" if path == STDIN else path
        self._spool: _Spool | None = None

    def __repr__(self) -> str:
        return f"Source({self.path!r})"

    @property
    def suffix(self) -> str:
        """The end of the name, in small letters, without that of a packed file."""
        return os.path.splitext(unpacked_name(os.path.basename(self.path).lower()))[1]

    def open(self) -> BinaryIO:
        """Open it at its beginning, unpacked; what is no pipe and not packed is a plain file of the system."""
        file = self._open()
        try:
            kind = kind_of(PACKED, _head(file))
            if kind is None:
                return file
            return io.BufferedReader(_Unpacked(_UNPACK[kind](file, self.name), file, kind, self))
        except BaseException:
            file.close()
            raise

    def _open(self) -> BinaryIO:
        if self._spool is None:
            if self.path != STDIN:
                file: Any = open(self.path, "rb")
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return file  # type: ignore[no-any-return]
            else:
                file = _stdin()
            self._spool = _Spool(file)
        return io.BufferedReader(_Replay(self._spool))

    def check_text(self, file: BinaryIO) -> None:
        """Refuse an opened file that is no text, as far as its first bytes tell."""
        kind = kind_of(BINARY, _head(file))
        if kind is not None:
            raise ValueError(f"{self.name} must be a text, got {kind}")


def _stdin() -> Any:
    if sys.stdin is None:
        raise OSError("there is no standard input")
    # What stands for it, as in a test, may have text alone.
    return getattr(sys.stdin, "buffer", None) or io.BytesIO(sys.stdin.read().encode())


def _head(file: Any) -> bytes:
    """The first bytes of an opened file, which are yet to be read."""
    head: bytes = file.peek(HEAD)
    return head[:HEAD]


def kind_of(patterns: dict[str, bytes], head: bytes) -> str | None:
    """Which of these kinds of file begins so."""
    return next((kind for kind, pattern in patterns.items() if re.match(pattern, head)), None)


class _Spool:
    """What has been read of a pipe, in a temporary file."""

    def __init__(self, pipe: Any) -> None:
        import tempfile  # here, for it imports much

        self.pipe = pipe
        self.kept = tempfile.TemporaryFile()
        self.size = 0

    def __del__(self) -> None:
        if hasattr(self, "kept"):  # there may have been no room for it
            self.kept.close()

    def read(self, position: int, size: int) -> bytes:
        """Give some bytes from this position on, at most `size`; none at the end."""
        if position < self.size:
            self.kept.seek(position)
            return self.kept.read(min(size, self.size - position))
        data: bytes = self.pipe.read1(size)
        if position == 0:
            # Enough to see what it is, unless it is certainly nothing that is packed.
            while 0 < len(data) < HEAD and (more := self._more(data, size)):
                data += more
        self.kept.seek(self.size)
        self.kept.write(data)
        self.size += len(data)
        return data

    def _more(self, data: bytes, size: int) -> bytes:
        beginnings = (b"\x1f", b"BZ", b"\xfd", b"\x28\xb5", b"PK", b"%P", b"\x89", b"\xff", b"7z")
        waits = any(data.startswith(start) or start.startswith(data) for start in beginnings)
        return self.pipe.read1(size - len(data)) if waits else b""


class _Replay(io.RawIOBase):
    """A pipe from its beginning on: what has been read of it, and then what comes."""

    def __init__(self, spool: _Spool) -> None:
        self.spool = spool
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.spool.read(self.position, len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


class _Unpacked(io.RawIOBase):
    """The content of a packed file; a damaged one is an error with its name."""

    def __init__(self, content: IO[bytes], file: BinaryIO, kind: str, source: Source) -> None:
        self.content = content
        self.file = file
        self.kind = kind
        self.source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.content.read(len(buffer))
        except Exception as error:  # each module has its own
            raise ValueError(f"{self.source.name} is a damaged {self.kind} file: {error}") from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.content.close()
        self.file.close()
        super().close()


def _unpack_zstd(file: BinaryIO, name: str) -> IO[bytes]:
    for module in ("compression.zstd", "backports.zstd"):  # the first from Python 3.14 on
        with contextlib.suppress(ImportError):
            return cast(IO[bytes], importlib.import_module(module).ZstdFile(file))
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise ImportError(
            f"{name} is packed with zstd, which this Python cannot unpack: pip install 'charrnn[zstd]'"
        ) from None
    return cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))


def _unpack_with(module: str, reader: str) -> Callable[[BinaryIO, str], IO[bytes]]:
    """Unpack with a module of the standard library, which a Python may have been built without."""

    def unpack(file: BinaryIO, name: str) -> IO[bytes]:
        opened: IO[bytes] = getattr(importlib.import_module(module), reader)(file)
        return opened

    return unpack


_UNPACK: dict[str, Callable[[BinaryIO, str], IO[bytes]]] = {
    "gzip": _unpack_with("gzip", "open"),
    "bzip2": _unpack_with("bz2", "BZ2File"),
    "xz": _unpack_with("lzma", "LZMAFile"),
    "zstd": _unpack_zstd,
}
