"""What the commands read: files, stdin, documents, tables, packed files, the standard library."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from command_line import NAMES, SMALL, TEXT, assert_one_line_error, run

import charrnn
from charrnn import cli
from charrnn.text.documents import Cut


def test_documents_are_lines_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"ann\r\n\r\n  \nbob")
    (tmp_path / "b.txt").write_bytes(b"cleo\n")
    trained = run("train", "a.txt", "b.txt", "--documents", "-o", "n.safetensors", cwd=tmp_path)
    assert trained.returncode == 0
    assert "3 documents, 10 characters, 8 symbols" in trained.stderr
    assert trained.stderr.endswith("charrnn sample n.safetensors\n")
    assert charrnn.load(tmp_path / "n.safetensors").vocabulary == charrnn.Vocabulary("abcelno", end=True)

    sampled = run("sample", "n.safetensors", "--documents", "-n", 7, "--temperature", 0.1, cwd=tmp_path)
    assert sampled.returncode == 0
    assert len(sampled.stdout.splitlines()) == 7
    assert set(sampled.stdout.splitlines()) <= {"ann", "bob", "cleo"}


def test_documents_are_scored_each_with_its_end(folder: Path) -> None:
    result = run("evaluate", "names.safetensors", "names.txt", "--documents", cwd=folder)
    evaluation = charrnn.load(folder / "names.safetensors").evaluate(NAMES)
    assert evaluation.num_chars == 13
    assert f"nats per character  {evaluation.loss:.4f}\n" in result.stdout
    assert "characters          13\n" in result.stdout


TABLES = {
    "names.csv": 'country,name,n\nItaly,"An\nna",2\nSpain,Bo,1\n',
    "names.tsv": "country\tname\tn\nItaly\tAnna\t2\nSpain\tBo\t1\n",
    "names.jsonl": '{"country": "Italy", "name": "Anna", "n": 2}\n{"country": "Spain", "name": "Bo", "n": 1}\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_documents_are_a_column_of_a_table(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TABLES[name])
    trained = run("train", name, "--column", "name", "--weight", "n", "-o", "m", *SMALL, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "2 documents" in trained.stderr
    model = charrnn.load(tmp_path / "m")
    assert set("ABano") <= set(model.vocabulary.characters) <= set("ABano\n")
    # The model remembers the columns, and weighs "Anna" twice.
    evaluated = run("evaluate", "m", name, cwd=tmp_path)
    first, second = list(charrnn.documents(tmp_path / name, column="name"))
    scores = model.score([first, second])
    expected = -(2 * scores[0] + scores[1]) / (2 * (len(first) + 1) + len(second) + 1)
    assert f"nats per character  {expected:.4f}\n" in evaluated.stdout


def test_documents_are_records_between_separators(tmp_path: Path) -> None:
    (tmp_path / "tunes.abc").write_text("X:1\nabc\n\nX:2\nd\n" * 3)
    trained = run("train", "tunes.abc", "--separator", "\\n\\n", "-o", "m", *SMALL, cwd=tmp_path)
    assert "4 documents" in trained.stderr, trained.stderr
    model = charrnn.load(tmp_path / "m")
    assert model.cut == Cut(separator="\n\n")
    loss = model.evaluate(charrnn.documents(tmp_path / "tunes.abc", separator="\n\n")).loss
    assert f"nats per character  {loss:.4f}\n" in run("evaluate", "m", "tunes.abc", cwd=tmp_path).stdout
    # What is asked for goes before what the model remembers.
    loss = model.evaluate(charrnn.documents(tmp_path / "tunes.abc")).loss
    assert f"nats per character  {loss:.4f}\n" in run("evaluate", "m", "tunes.abc", "--documents", cwd=tmp_path).stdout


def test_packed_files_are_unpacked(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "fox.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "fox.txt").write_bytes(TEXT.encode())
    assert run("train", "fox.txt.gz", *SMALL, "-o", "packed", cwd=tmp_path).returncode == 0
    assert run("train", "fox.txt", *SMALL, "-o", "plain", cwd=tmp_path).returncode == 0
    packed, plain = (charrnn.load(tmp_path / name).score(TEXT) for name in ("packed", "plain"))
    assert packed == plain
    two = run("train", "fox.txt.gz", "fox.txt", *SMALL, "-o", "two", cwd=tmp_path)
    assert f"{2 * len(TEXT):,} characters" in two.stderr


def test_characters_that_a_model_does_not_know_are_left_out_if_asked_for(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_text("hello, world!")
    result = run("evaluate", folder / "hello.safetensors", "odd.txt", cwd=tmp_path)
    assert_one_line_error(result, "',' at position 5", "'!' at position 12")
    result = run("evaluate", folder / "hello.safetensors", "odd.txt", "--unknown", "skip", cwd=tmp_path)
    evaluation = charrnn.load(folder / "hello.safetensors").evaluate("hello world")
    assert f"nats per character  {evaluation.loss:.4f}\n" in result.stdout
    assert "left out            2\n" in result.stdout
    result = run("show", folder / "hello.safetensors", "odd.txt", "--unknown", "skip", cwd=tmp_path)
    assert "2 characters that the model does not know are left out" in result.stderr


def test_stdin_is_a_file(folder: Path, tmp_path: Path) -> None:
    result = run("train", "-", *SMALL, cwd=tmp_path, stdin="\ufeffstraße\r\n".encode())
    assert result.returncode == 0
    assert charrnn.load(tmp_path / "model.safetensors").vocabulary.characters == "\n\raerstß"
    result = run("evaluate", "hello.safetensors", "-", cwd=folder, stdin=b"hello")
    assert "characters          4\n" in result.stdout


def test_files_are_joined_in_the_order_given(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("hello ")
    (tmp_path / "2.txt").write_text("world")
    (tmp_path / "12.txt").write_text("hello world")
    for files, output in ((["1.txt", "2.txt"], "joined"), (["12.txt"], "whole"), (["2.txt", "1.txt"], "reversed")):
        assert run("train", *files, *SMALL, "-o", output, "--quiet", cwd=tmp_path).returncode == 0
    joined, whole, reverse = (charrnn.load(tmp_path / name).state_dict() for name in ("joined", "whole", "reversed"))
    assert all(np.array_equal(joined[name], whole[name]) for name in whole)
    assert not all(np.array_equal(reverse[name], whole[name]) for name in whole)


def test_standard_library_text_has_a_million_characters_and_is_always_the_same() -> None:
    text = cli.standard_library_text()
    assert len(text) == 1_000_000
    assert text == cli.standard_library_text()
    assert text.startswith(Path(os.__file__).with_name("__future__.py").read_text(encoding="utf-8")[:100])


def test_without_a_file_the_standard_library_is_learned(tmp_path: Path) -> None:
    result = run("train", "--hidden-size", 4, "--epochs", 0.02, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "standard library" in result.stderr
    assert "1,000,000 characters" in result.stderr
    assert "\n" in charrnn.load(tmp_path / "python.safetensors").vocabulary
