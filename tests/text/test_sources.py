"""Sources: files, pipes and standard input, packed or not, read again and again."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from charrnn.text.sources import Source

CONTENT = b"to be\nor not\n" * 20_000
PACKERS: dict[str, Any] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


def content(source: Source) -> bytes:
    with source.open() as file:
        return file.read()


@pytest.mark.parametrize("kind", PACKERS)
def test_packed_files_are_known_by_their_first_bytes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(PACKERS[kind](CONTENT))
    source = Source(str(path))
    assert content(source) == CONTENT == content(source)
    path.write_bytes(PACKERS[kind](b""))
    assert content(source) == b""


def test_zstd_is_unpacked_by_whatever_module_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zstd = pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")
    path = tmp_path / "a.txt"
    path.write_bytes(zstd.compress(CONTENT[:1000]) + zstd.compress(CONTENT[1000:]))
    source = Source(str(path))
    assert content(source) == CONTENT == content(source)
    path.write_bytes(zstd.compress(CONTENT)[:-20])
    with pytest.raises(ValueError, match=r"a\.txt is a damaged zstd file: "):
        content(source)
    for module in "compression", "backports", "backports.zstd", "zstandard":
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"a\.txt is packed with zstd, which this Python cannot .*'charrnn\[zstd\]'$"):
        content(source)


def test_zstd_is_unpacked_by_zstandard_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zstandard = pytest.importorskip("zstandard")
    for module in "compression", "backports", "backports.zstd":
        monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / "a.txt"
    path.write_bytes(zstandard.compress(CONTENT[:1000]) + zstandard.compress(CONTENT[1000:]))
    assert content(Source(str(path))) == CONTENT


@pytest.mark.parametrize("kind", PACKERS)
def test_a_damaged_packed_file_is_named_as_such(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    packed = bytearray(PACKERS[kind](os.urandom(10_000)))
    for damaged in packed[:-2000], packed[:2000] + bytes(2000) + packed[4000:]:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"a\.txt is a damaged {kind} file: "):
            content(Source(str(path)))


def test_text_that_begins_as_a_packed_file_nearly_does_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in b"BZh9 is no bzip2", b"BZ", b"B", b"", b"\x1f", b"PK":
        path.write_bytes(text)
        source = Source(str(path))
        assert content(source) == text
        with source.open() as file:
            source.check_text(file)


def test_suffixes_are_those_of_what_is_packed() -> None:
    for path, suffix in ("a/b.csv.gz", ".csv"), ("B.JSONL.ZST", ".jsonl"), ("b.tsv", ".tsv"), ("b.gz", ""), ("-", ""):
        assert Source(path).suffix == suffix


class Pipe(io.RawIOBase):
    """Gives few bytes at a time, and no more than there are."""

    def __init__(self, data: bytes, at_once: int) -> None:
        self.data, self.at_once, self.reads = data, at_once, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.reads += 1
        part, self.data = self.data[: min(self.at_once, len(buffer))], self.data[min(self.at_once, len(buffer)) :]
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("at_once", [1, 3, 100_000])
@pytest.mark.parametrize("kind", ["none", *PACKERS])
def test_standard_input_is_read_again_and_again(kind: str, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = CONTENT[:1300]
    data = PACKERS.get(kind, bytes)(expected)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Pipe(data, at_once))))
    source = Source("-")
    assert source.name == "stdin"
    with source.open() as file:
        assert file.read(7) == expected[:7]
        assert content(source) == expected
        assert file.read() == expected[7:]
    assert content(source) == expected


def test_lines_of_standard_input_are_there_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe(b"to\nbe\nor\n", 3)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(pipe)))
    with Source("-").open() as file:
        assert file.readline() == b"to\n"
        assert pipe.reads == 1


def test_a_missing_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(OSError, match="^there is no standard input$"):
        Source("-").open()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_read_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(gzip.compress(CONTENT),))
    writer.start()
    source = Source(str(path))
    assert content(source) == CONTENT == content(source)
    writer.join()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_files_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    for data in gzip.compress(b"a"), b"a", gzip.compress(b"a" * 100)[:-20]:
        path.write_bytes(data)
        before = os.listdir("/proc/self/fd")
        try:
            content(Source(str(path)))
        except ValueError:
            pass
        assert os.listdir("/proc/self/fd") == before
