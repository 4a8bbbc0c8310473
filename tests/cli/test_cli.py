"""The command line as a user runs it: in a process of its own, stdout and stderr apart."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gzip
import inspect
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peak import ENVIRONMENT

import charrnn
from charrnn import cli, console
from charrnn.cli import outputs, watch
from charrnn.cli.info import _legible
from charrnn.cli.outputs import message_of
from charrnn.errors import TooLargeError
from charrnn.options import declared
from charrnn.text.documents import Cut
from charrnn.train import Report, train
from charrnn.train.progress import Progress
from charrnn.train.settings import Settings, Surroundings

posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system")

TEXT = "the quick brown fox jumps over the lazy dog\n" * 20
NAMES = ["ann", "bob", "cleo"]
SMALL = ["--hidden-size", "8", "--epochs", "2"]


def start(*args: object, cwd: Path, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    package = str(Path(charrnn.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **(env or {})}
    return subprocess.Popen(
        [sys.executable, "-m", "charrnn", *map(str, args)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def run(
    *args: object, cwd: Path, stdin: bytes = b"", env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    process = start(*args, cwd=cwd, env=env, **options)
    stdout, stderr = process.communicate(stdin, timeout=120)
    out, err = ((content or b"").decode().replace("\r\n", "\n") for content in (stdout, stderr))
    return subprocess.CompletedProcess(args, process.returncode, out, err)


def assert_one_line_error(result: subprocess.CompletedProcess[str], *words: str, code: int = 2) -> None:
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("charrnn")
    for word in words:
        assert word in result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hello.safetensors knows "hello world", names.safetensors NAMES; names.txt and fox.txt are texts."""
    folder = tmp_path_factory.mktemp("models")
    train("hello world", hidden_size=64, epochs=100, progress=False).save(folder / "hello.safetensors")
    train(NAMES, progress=False).save(folder / "names.safetensors")
    (folder / "names.txt").write_bytes("\n".join(NAMES).encode())
    (folder / "fox.txt").write_bytes(TEXT.encode())
    return folder


# Help


def test_without_a_command_there_is_a_short_help_with_three_examples(tmp_path: Path) -> None:
    result = run(cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\n  charrnn ") == 3
    assert len(result.stdout.splitlines()) < 25
    for command in ("train", "sample", "evaluate", "show", "info"):
        assert command in result.stdout


def test_version_is_that_of_the_package(tmp_path: Path) -> None:
    result = run("--version", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, f"charrnn {charrnn.__version__}\n")


def test_every_argument_of_train_is_an_option() -> None:
    arguments = set(inspect.signature(train).parameters) - {"data", "progress", "callback", "weights"}
    options = {**declared(Settings), **declared(Surroundings)}
    assert options.keys() == arguments
    assert {name: default for name, (default, _) in options.items()}.items() <= train.__kwdefaults__.items()


def test_help_of_train_shows_every_option_with_its_default(tmp_path: Path) -> None:
    result = run("train", "--help", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    text = " ".join(result.stdout.split())
    for name in (*declared(Settings), *declared(Surroundings)):
        option = text.split(f" --{name.replace('_', '-')} ")[1].split(" --")[0]
        assert "(default: " in option or name in ("init_from", "resume", "extend_vocabulary"), name
    assert "--beta2 X decay of the average squared gradient (adam, rmsprop) (default: 0.99)" in text
    assert "--hidden-size N hidden units in each layer (default: by the text's size)" in text
    assert "1,000,000 characters" in text


def test_options_cannot_be_abbreviated_and_errors_are_one_line(tmp_path: Path) -> None:
    assert_one_line_error(run("train", "--hidden", 5, cwd=tmp_path), "--hidden")
    assert_one_line_error(run("train", "--hidden-size", "many", cwd=tmp_path), "--hidden-size", "'many'")
    assert_one_line_error(run("train", "--optimizer", "magic", cwd=tmp_path), "--optimizer", "'magic'", "adagrad")
    assert_one_line_error(run("dance", cwd=tmp_path), "'dance'", "train")
    assert_one_line_error(run("sample", cwd=tmp_path), "MODEL")


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("trian book.txt", "train"),
        ("train --hidden 5", "--hidden-size"),
        ("sample m.safetensors --promt h", "--prompt"),
        ("train --optimizer adem", "adam"),
    ],
)
def test_what_is_misspelt_is_told_what_was_meant(command: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(command.split())
    assert f"; did you mean {meant}? (see charrnn" in capsys.readouterr().err


@posix
@pytest.mark.parametrize("command", ["", "train --help", "trian", "train fox.txt --epochs 2 -o fox.safetensors"])
def test_a_terminal_with_no_color_gets_no_colour(command: str, folder: Path, tmp_path: Path) -> None:
    import pty

    (tmp_path / "fox.txt").write_bytes((folder / "fox.txt").read_bytes())
    terminal, end = pty.openpty()
    streams = {"stdout": end, "stderr": end}
    process = start(*command.split(), cwd=tmp_path, env={"NO_COLOR": "1", "TERM": "xterm-256color"}, **streams)
    os.close(end)
    output = b""
    with contextlib.suppress(OSError):  # that of a terminal whose other end is closed
        while content := os.read(terminal, 4096):
            output += content
    os.close(terminal)
    process.wait(60)
    assert b"charrnn" in output or b"fox" in output
    assert re.search(rb"\x1b\[[0-9;]*m", output) is None


# The main job


def test_a_text_is_trained_sampled_scored_and_described(tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("hello world")
    trained = run("train", "hello.txt", "--hidden-size", 64, "--epochs", 100, cwd=tmp_path)
    assert (trained.returncode, trained.stdout) == (0, "")
    assert "hello.txt" in trained.stderr
    assert "rnn, 1 layer of 64 units, 5,256 parameters, float32" in trained.stderr
    assert "11 characters, 8 symbols; none of it to validate" in trained.stderr
    assert "adam, rate 0.01, batches of 1 x 10 characters" in trained.stderr
    assert "ends after 100 epochs" in trained.stderr
    assert "charrnn sample hello.safetensors" in trained.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        "hello.txt",
        "hello.safetensors",
    }

    sampled = run("sample", "hello.safetensors", "--prompt", "h", "--length", 10, "--temperature", 0, cwd=tmp_path)
    assert (sampled.returncode, sampled.stdout, sampled.stderr) == (0, "hello world\n", "")

    evaluated = run("evaluate", "hello.safetensors", "hello.txt", cwd=tmp_path)
    evaluation = charrnn.load(tmp_path / "hello.safetensors").evaluate("hello world")
    assert (evaluated.returncode, evaluated.stderr) == (0, "")
    assert evaluated.stdout == (
        f"nats per character  {evaluation.loss:.4f}\n"
        f"bits per character  {evaluation.bits_per_char:.4f}\n"
        f"perplexity          {evaluation.perplexity:.4f}\n"
        "characters          10\n"
    )

    described = run("info", "hello.safetensors", cwd=tmp_path)
    assert (described.returncode, described.stderr) == (0, "")
    assert described.stdout == (
        f"file        hello.safetensors, {(tmp_path / 'hello.safetensors').stat().st_size:,} bytes\n"
        "model of    a text\n"
        "network     rnn, 1 layer of 64 units\n"
        "parameters  5,256\n"
        "dtype       float32\n"
        "symbols     8\n"
        "characters  space d e h l o r w\n"
    )


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


@pytest.mark.parametrize("options", [[], ["--documents"]])
def test_ten_documents_are_drawn_by_default(folder: Path, options: list[str]) -> None:
    ten = run("sample", "names.safetensors", *options, "--prompt", "a", "--temperature", 0, cwd=folder)
    assert ten.stdout == "ann\n" * 10
    one = run("sample", "names.safetensors", *options, "-n", 1, "--prompt", "c", "--temperature", 0, cwd=folder)
    assert one.stdout == "cleo\n"


def test_records_are_drawn_with_what_separates_them(tmp_path: Path) -> None:
    (tmp_path / "tunes.abc").write_text("ab\nc\n\nd\n" * 10)
    command = ["train", "tunes.abc", "--separator", "\\n\\n", "-o", "m", "--quiet", "--val-fraction", 0, "--epochs", 60]
    assert run(*command, cwd=tmp_path).returncode == 0
    drawn = run("sample", "m", "-n", 2, "--temperature", 0, cwd=tmp_path).stdout
    assert drawn.endswith("\n\n") and drawn.count("\n\n") == 2


def test_a_prompt_may_be_a_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompt").write_text("hell")
    options = ["--length", 7, "--temperature", 0]
    result = run("sample", folder / "hello.safetensors", "--prompt-file", "prompt", *options, cwd=tmp_path)
    assert result.stdout == "hello world\n"
    result = run("sample", folder / "hello.safetensors", "--prompt-file", "-", *options, cwd=tmp_path, stdin=b"he")
    assert result.stdout == "hello wor\n"


@posix
@pytest.mark.parametrize("length", ["none", "-1"])
def test_a_text_without_end_ends_when_nobody_reads_it(folder: Path, length: str) -> None:
    process = start("sample", "hello.safetensors", "--length", length, cwd=folder)
    assert process.stdout is not None and process.stderr is not None
    assert len(process.stdout.read(100_000)) == 100_000
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""


def test_a_pipe_has_text_before_all_of_it_is_drawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    class Pipe(io.StringIO):
        def flush(self) -> None:
            shown.append(len(self.getvalue()))

    clock = iter(range(10**6))
    monkeypatch.setattr("charrnn.cli.sample.time.monotonic", lambda: next(clock) * 0.02)
    monkeypatch.setattr(sys, "stdout", Pipe())
    assert cli.main(["sample", str(folder / "hello.safetensors"), "--length", "30", "--seed", "1"]) == 0
    assert len(set(shown)) > 5 and max(b - a for a, b in zip(shown, shown[1:], strict=False)) <= 4


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


def test_a_text_is_shown_on_a_page(folder: Path, tmp_path: Path) -> None:
    result = run("show", folder / "hello.safetensors", "-", "--length", 5, cwd=tmp_path, stdin=b"hello world")
    assert (result.returncode, result.stdout) == (0, "")
    cut, written = result.stderr.splitlines()
    assert cut == "shown are the first 5 of 11 characters; a greater length shows more"
    assert written == "page.html: 0.0 MB, to be opened in a browser"
    assert "<h1>stdin</h1>" in (tmp_path / "page.html").read_text()
    options = ["--units", 3, "-o", "names.html"]
    result = run("show", folder / "names.safetensors", folder / "names.txt", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "3 units of" in result.stderr
    assert "<h1>names.txt</h1>" in (tmp_path / "names.html").read_text()


def test_a_seed_draws_what_the_library_draws(folder: Path) -> None:
    options = ["--length", 50, "--seed", 7, "--temperature", 1.5, "--top-k", 5, "--top-p", 0.9]
    result = run("sample", "hello.safetensors", "--prompt", "he", *options, cwd=folder)
    model = charrnn.load(folder / "hello.safetensors")
    assert result.stdout == "he" + model.sample("he", 50, rng=7, temperature=1.5, top_k=5, top_p=0.9) + "\n"
    result = run("sample", "names.safetensors", "-n", 100, "--seed", 7, cwd=folder)
    assert result.stdout.splitlines() == charrnn.load(folder / "names.safetensors").sample_many(100, rng=7)


def test_text_is_steered_as_in_the_library(folder: Path) -> None:
    names, hello = charrnn.load(folder / "names.safetensors"), charrnn.load(folder / "hello.safetensors")
    for options, model, drawn in (
        (
            ["--stop", "l", "--stop", r"\n", "--prompt", "h"],
            hello,
            lambda: ["h" + hello.sample("h", rng=1, stop=["l", "\n"])],
        ),
        (
            ["--match", "[a-z]{2} [a-z]*", "--min-length", 5],
            hello,
            lambda: [hello.sample(pattern="[a-z]{2} [a-z]*", rng=1)],
        ),
        (["-n", 3, "--pattern", "[helo]{4}"], hello, lambda: hello.sample_many(3, pattern="[helo]{4}", rng=1)),
        (["--documents", "--min-p", 0.1], names, lambda: names.sample_many(10, min_p=0.1, rng=1)),
        (["--unique", "-n", 4], names, lambda: names.sample_many(4, unique=True, rng=1)),
        (
            ["--novel", "names.txt", "--novel", "fox.txt", "-n", 9],
            names,
            lambda: names.sample_many(9, novel=charrnn.documents(folder / "names.txt"), rng=1),
        ),
        (["-n", 20, "--length", 3, "--min-length", 2], names, lambda: names.sample_many(20, 3, min_length=2, rng=1)),
    ):
        result = run(
            "sample", f"{'names' if model is names else 'hello'}.safetensors", "--seed", 1, *options, cwd=folder
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == "".join(f"{text}\n" for text in drawn())


def test_too_few_texts_are_a_line_on_stderr(folder: Path) -> None:
    options = ["-n", 9, "--unique", "--match", "ann|bob", "--max-tries", 1000]
    result = run("sample", "names.safetensors", *options, cwd=folder)
    assert result.returncode == 0
    assert sorted(result.stdout.splitlines()) == ["ann", "bob"]
    found = "charrnn: warning: 2 of 9 texts were found in 1,000 tries, 0.002 a try; a greater max_tries finds more\n"
    assert result.stderr == found


def test_texts_are_written_as_they_are_found(folder: Path) -> None:
    process = start("sample", "names.safetensors", "-n", 10**6, "--match", "[a-z]+", cwd=folder)
    assert process.stdout is not None and process.stdout.readline()
    process.kill()
    process.wait()


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


def test_quiet_says_nothing(folder: Path, tmp_path: Path) -> None:
    result = run("train", folder / "fox.txt", *SMALL, "--quiet", "--resume", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_options_reach_the_training(folder: Path, tmp_path: Path) -> None:
    result = run(
        "train",
        folder / "fox.txt",
        "--hidden-size",
        8,
        "--num-layers",
        2,
        "--dtype",
        "float64",
        "--max-seconds",
        0.2,
        "--num-threads",
        1,
        "--optimizer",
        "sgd",
        "--clip-norm",
        "none",
        "--clip-value",
        5,
        "--val-fraction",
        0.5,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "rnn, 2 layers of 8 units" in result.stderr
    assert "1 thread, " in result.stderr
    assert "ends after 0.2 seconds" in result.stderr
    assert "validation loss" in result.stderr
    model = charrnn.load(tmp_path / "fox.safetensors")
    assert (model.num_layers, model.dtype) == (2, np.float64)


def test_init_from_keeps_the_sizes_of_the_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("hold the world")
    train("hold the world", hidden_size=5, epochs=1, progress=False).save(tmp_path / "small")
    result = run("train", "more.txt", "--init-from", "small", "--epochs", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert charrnn.load(tmp_path / "more.safetensors").hidden_size == 5
    result = run("train", "more.txt", "--init-from", "small", "--hidden-size", 6, "--force", cwd=tmp_path)
    assert_one_line_error(result, "--hidden-size", "--init-from")


# The default text


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


# Scores


def test_every_line_has_its_score(folder: Path) -> None:
    model = charrnn.load(folder / "names.safetensors")
    result = run("score", "names.safetensors", cwd=folder, stdin="ann\n\nx☃\r\nbob\rcleo".encode())
    assert (result.returncode, result.stderr) == (0, "")
    found = [line.split("\t") for line in result.stdout.split("\n")[:-1]]
    assert [text for _, text in found] == ["ann", "", "x☃", "bob", "cleo"]
    expected = model.score(["ann", "", "bob", "cleo"])
    assert found[2][0] == "-inf"
    np.testing.assert_allclose([float(score) for score, text in found if text != "x☃"], expected, atol=1e-3)


def test_scores_in_other_units_and_forms(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file, names = str(folder / "names.safetensors"), str(folder / "names.txt")
    score = charrnn.load(model_file).score("bob")

    def second(*options: str) -> str:
        assert cli.main(["score", model_file, names, *options]) == 0
        return capsys.readouterr().out.splitlines()[1]

    assert second() == f"{score:.4f}\tbob"
    assert second("--bits") == f"{score / math.log(2):.4f}\tbob"
    assert second("--per-char") == f"{score / 4:.4f}\tbob"
    assert json.loads(second("--json")) == {"score": score, "text": "bob"}
    guesses = charrnn.load(model_file).guess_number("bob", 500, 3)
    assert second("--guesses", "--samples", "500", "--seed", "3") == f"{guesses:.4f}\tbob"


def test_lines_are_chosen_by_their_score(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mixed.txt").write_text("bob\nb\nann\n?\n")
    command = ["score", str(folder / "names.safetensors"), str(folder / "mixed.txt")]
    assert cli.main([*command, "--above", "-4"]) == 0
    assert [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()] == ["bob", "ann"]
    assert cli.main([*command, "--below", "-4"]) == 0
    assert [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()] == ["b", "?"]


def test_a_pause_in_the_input_brings_the_scores_of_what_came(folder: Path) -> None:
    process = start("score", "names.safetensors", cwd=folder)
    assert process.stdin is not None and process.stdout is not None
    for name in (b"ann", b"bob"):
        process.stdin.write(name + b"\n")
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"\t" + name + b"\n")
    # Whoever reads has seen enough; what comes then has nowhere to go.
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(b"cleo\n" * 10_000)
        process.stdin.flush()
    assert process.wait(timeout=60) == 0
    assert process.stderr is not None and process.stderr.read() == b""


@posix
def test_scores_of_any_number_of_lines_take_the_same_memory(folder: Path) -> None:
    program = "import sys, peak; from charrnn import cli; cli.main(['score', 'names.safetensors']); "
    program += "print(peak.peak_memory(), file=sys.stderr)"
    folders = ENVIRONMENT["PYTHONPATH"].split(os.pathsep)
    peaks = []
    for count in (50_000, 400_000):
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=folder,
            env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(Path(charrnn.__file__).parents[1]), *folders])},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, stderr = process.communicate(b"anncleobob\n" * count, timeout=120)
        assert process.returncode == 0
        peaks.append(int(stderr))
    assert peaks[1] < peaks[0] + 3e6


def test_stdout_in_a_pipe_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    train(["寒い", "寒"], progress=False).save(tmp_path / "m")
    result = run(
        "score",
        "m",
        cwd=tmp_path,
        stdin="寒\n".encode(),
        env={"PYTHONIOENCODING": "", "LC_ALL": "C", "PYTHONUTF8": "0"},
    )
    assert result.stdout.endswith("\t寒\n")


# What goes wrong


WRONG_INPUTS = {
    "train missing.txt": "missing.txt: No such file",
    "train .": ".: ",
    "train one.txt": "training needs at least 2",
    "train empty.txt": "empty.txt has no characters",
    "train empty.txt --documents": "empty.txt must have at least 1 document",
    "train hello.safetensors": "hello.safetensors must be in utf-8",
    "train fox.txt hello.safetensors": "hello.safetensors must be in utf-8",
    "train fox.txt --encoding martian": "--encoding must be one that Python knows",
    "train fox.txt fox.txt --encoding martian": "--encoding must be one that Python knows",
    "train fox.txt --hidden-size 0": "--hidden-size must be at least 1, got 0",
    "train fox.txt --hidden-size 100000000": "--hidden-size",
    "train fox.txt --seed -1": "--seed must be from 0",
    "train fox.txt --batch-size 1000": "--batch-size must be at most 879",
    "train fox.txt -o missing/model": "--output must be in a folder that exists, got missing",
    "train fox.txt -o .": "--output must be a file, got the folder .",
    "train fox.txt -o ./fox.txt": "--output must be a file of its own, got fox.txt",
    "train fox.txt --checkpoint missing/c": "--checkpoint must be in a folder that exists",
    "train fox.txt --checkpoint fox.safetensors": "--checkpoint must be a file of its own",
    "sample missing": "missing: No such file",
    "train fox.txt --plot curve.doc": "--plot must have a suffix of",
    "sample fox.txt": "fox.txt is not a charrnn model",
    "sample hello.safetensors --prompt hexe": "'x' at position 2 of the prompt is not among the model's 8 characters",
    "sample hello.safetensors --top-k 0": "--top-k must be at least 1, got 0",
    "sample hello.safetensors --seed -1": "--seed must be at least 0, got -1",
    "sample hello.safetensors --documents": "--documents must come with a model of documents",
    "sample names.safetensors -n -1": "--count must be at least 0, got -1",
    "sample names.safetensors --match (": "--pattern must be a regular expression, got '('",
    "sample names.safetensors --match 9+": "--pattern must match some text of the model's",
    "sample names.safetensors --min-p 2": "--min-p must be at least 0 and at most 1, got 2.0",
    "sample names.safetensors --unique --max-tries 0": "--max-tries must be at least 1, got 0",
    "sample names.safetensors --novel missing.txt": "missing.txt: No such file",
    "sample names.safetensors --length 2 --min-length 3": "--min-length must be at most",
    "evaluate hello.safetensors fox.txt": "'t' at position 0 of fox.txt is not among",
    "evaluate hello.safetensors names.txt --separator x": "--separator must come with a model of documents",
    "evaluate hello.safetensors fox.txt --rows 0": "--rows must be at least 1, got 0",
    "train fox.txt --label a": "--label must come with column, that of the texts",
    "show hello.safetensors fox.txt": "'t' at position 0 of fox.txt is not among",
    "show hello.safetensors empty.txt": "the text must have at least 2 characters",
    "show hello.safetensors h.txt": "the text must have at least 2 characters",
    "show hello.safetensors h.txt --length 0": "--length must be at least 1, got 0",
    "show hello.safetensors h.txt --units 0": "--units must be at least 1, got 0",
    "show hello.safetensors h.txt --documents": "--documents must come with a model of documents",
    "show names.safetensors names.txt -o names.txt": "--output must be a file of its own, got names.txt",
    "show names.safetensors names.txt -o missing/page": "--output must be in a folder that exists, got missing",
    "show fox.txt fox.txt": "fox.txt is not a charrnn model",
    "info fox.txt": "fox.txt is not a charrnn model",
}


@pytest.mark.parametrize("command", WRONG_INPUTS)
def test_a_wrong_input_is_one_line_on_stderr_and_exit_code_2(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "one.txt").write_text("x")
    (folder / "h.txt").write_text("h")
    (folder / "empty.txt").write_text("")
    monkeypatch.chdir(folder)
    code = cli.main(command.split())
    out, err = capsys.readouterr()
    assert_one_line_error(subprocess.CompletedProcess(command, code, out, err), WRONG_INPUTS[command])
    assert not (folder / "fox.safetensors").exists()
    assert not (folder / "page.html").exists()


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("sample hello.safetensors --documents -n 3", "--documents must come with a model of documents"),
        (
            "train fox.txt --hidden-size=100000000",
            "--hidden-size must fit in memory, got --hidden-size=100000000",
        ),
        ("train fox.txt -o new --num-layers 100000000", "--num-layers must fit in memory, got --num-layers=100000000"),
    ],
)
def test_an_error_names_the_options_that_were_typed_and_no_others(
    folder: Path, command: str, named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert cli.main(command.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"charrnn: error: {named}")
    typed = set(re.findall(r"--[\w-]+", command)) | ({"--count"} if "-n " in command else set())
    assert set(re.findall(r"--[a-z-]+", error)) <= typed


def test_what_does_not_fit_without_an_option_says_what_may_help() -> None:
    error = TooLargeError({"hidden_size": 512, "batch_size": 32}, 4e9, 10**9)
    assert message_of(error, {"hidden_size": None, "batch_size": None, "typed": set()}) == (
        "not enough memory: 4,000,000,000 bytes are needed of 1,000,000,000; what makes it less is a smaller "
        "--hidden-size or --batch-size"
    )


def test_a_wrong_input_ends_the_process_with_exit_code_2(folder: Path) -> None:
    assert_one_line_error(run("sample", "fox.txt", cwd=folder), "fox.txt is not a charrnn model")
    assert_one_line_error(run("train", "fox.txt", "-o", "missing/m", cwd=folder), "--output")


def test_a_build_that_there_is_not_is_one_line(folder: Path) -> None:
    result = run("info", "hello.safetensors", cwd=folder, env={"CHARRNN_BUILD": "z80"})
    assert_one_line_error(result, "CHARRNN_BUILD", "'z80'")


def test_diverged_training_is_exit_code_1(folder: Path, tmp_path: Path) -> None:
    options = ["--optimizer", "sgd", "--learning-rate", "1e6", "--clip-norm", "none", "--epochs", 50]
    result = run("train", folder / "fox.txt", *options, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    error = result.stderr.splitlines()[-1]
    assert error.startswith("charrnn: error: training diverged at step ")
    assert "--learning-rate" in error
    assert not (tmp_path / "fox.safetensors").exists()


def limit_files(size: int) -> Callable[[], None]:
    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@posix
def test_a_model_that_cannot_be_saved_is_said_so_with_exit_code_2(folder: Path, tmp_path: Path) -> None:
    result = run("train", folder / "fox.txt", *SMALL, cwd=tmp_path, preexec_fn=limit_files(100))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("charrnn: error: the model could not be saved: ")
    assert "Traceback" not in result.stderr


@posix
def test_a_checkpoint_that_cannot_be_saved_does_not_lose_the_model(folder: Path, tmp_path: Path) -> None:
    result = run(
        "train", folder / "fox.txt", "--hidden-size", 32, "--epochs", 2, cwd=tmp_path, preexec_fn=limit_files(20_000)
    )
    assert result.returncode == 0
    assert "charrnn: warning: the checkpoint could not be saved, the training goes on without: " in result.stderr
    assert not (tmp_path / "fox.checkpoint.safetensors").exists()
    assert charrnn.load(tmp_path / "fox.safetensors").hidden_size == 32


# Checkpoints


def test_resume_with_nothing_to_resume_says_so_and_trains(folder: Path, tmp_path: Path) -> None:
    result = run("train", folder / "fox.txt", *SMALL, "--resume", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("nothing to resume: there is no fox.checkpoint.safetensors")
    assert (tmp_path / "fox.safetensors").exists()


def test_a_resumed_training_ends_as_one_in_one_go(folder: Path, tmp_path: Path) -> None:
    fox = ["train", folder / "fox.txt", "--hidden-size", 8, "--schedule", "constant", "--warmup", 0]
    twice = [*fox, "-o", "twice", "--checkpoint", "kept"]
    assert run(*fox, "--epochs", 4, "-o", "once", cwd=tmp_path).returncode == 0
    assert run(*twice, "--epochs", 2, cwd=tmp_path).returncode == 0
    result = run(*twice, "--epochs", 4, "--resume", cwd=tmp_path)
    assert result.returncode == 0
    assert "resumed from kept at epoch" in result.stderr
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()
    result = run(*twice, "--epochs", 4, "--resume", cwd=tmp_path)
    assert "complete" in result.stderr
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()


def test_every_model_name_has_a_checkpoint_of_its_own() -> None:
    names = ["lr0.01", "lr0.02", "v1.1", "v1.1.safetensors.bak", "a.safetensors", "b/a.safetensors", ".safetensors.x"]
    assert len({outputs.beside(Path(name), "checkpoint") for name in names}) == len(names)
    assert outputs.beside(Path("b/a.safetensors"), "checkpoint") == Path("b/a.checkpoint.safetensors")
    assert outputs.beside(Path("lr0.01"), "checkpoint") == Path("lr0.01.checkpoint.safetensors")


def test_a_training_goes_on_with_its_own_checkpoint_alone(folder: Path, tmp_path: Path) -> None:
    fox = ["train", folder / "fox.txt", *SMALL]
    assert run(*fox, "-o", "lr0.01", "--checkpoint", "lr0.01.checkpoint.safetensors", cwd=tmp_path).returncode == 0
    result = run(*fox, "-o", "lr0.02", "--learning-rate", 0.02, "--resume", cwd=tmp_path)
    assert result.returncode == 0
    assert "nothing to resume: there is no lr0.02.checkpoint.safetensors" in result.stderr


def test_a_complete_training_leaves_the_model_alone(folder: Path, tmp_path: Path) -> None:
    assert run("train", folder / "fox.txt", *SMALL, "--checkpoint-seconds", 0.001, cwd=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["fox.safetensors"]
    assert run("train", folder / "fox.txt", *SMALL, "--checkpoint", "kept", "--force", cwd=tmp_path).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"fox.safetensors", "kept"}


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_a_model_that_is_there_is_not_replaced_by_accident(folder: Path, tmp_path: Path, options: list[str]) -> None:
    assert run("train", folder / "fox.txt", *SMALL, "--seed", 1, cwd=tmp_path).returncode == 0
    before = (tmp_path / "fox.safetensors").read_bytes()
    result = run("train", folder / "fox.txt", *SMALL, *options, cwd=tmp_path)
    assert_one_line_error(result, "fox.safetensors is there already", "--force replaces it")
    assert (tmp_path / "fox.safetensors").read_bytes() == before
    assert run("train", folder / "fox.txt", *SMALL, *options, "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "fox.safetensors").read_bytes() != before


def test_a_training_that_was_begun_is_not_begun_anew_by_accident(folder: Path, tmp_path: Path) -> None:
    fox = ["train", folder / "fox.txt", "--hidden-size", 8, "-o", "m"]
    kept = ["--checkpoint", "m.checkpoint.safetensors"]
    assert run(*fox, "--epochs", 3, *kept, cwd=tmp_path).returncode == 0
    (tmp_path / "m").unlink()
    before = (tmp_path / "m.checkpoint.safetensors").read_bytes()
    result = run(*fox, "--epochs", 1, cwd=tmp_path)
    assert_one_line_error(result, "m.checkpoint.safetensors holds a training that was begun", "--resume", "--force")
    assert (tmp_path / "m.checkpoint.safetensors").read_bytes() == before
    assert run(*fox, "--epochs", 1, *kept, "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "m.checkpoint.safetensors").read_bytes() != before


def test_resume_without_the_text_says_so(folder: Path, tmp_path: Path) -> None:
    options = ["--hidden-size", 4, "-o", "m", "--checkpoint", "kept", "--cell", "gru"]
    assert run("train", folder / "fox.txt", *options, "--epochs", 1, cwd=tmp_path).returncode == 0
    result = run("train", *options, "--cell", "rnn", "--resume", cwd=tmp_path)
    assert_one_line_error(result, "no FILE was given, and so the text is Python's standard")


def test_the_default_name_of_a_model_follows_that_of_the_text() -> None:
    for files, name in {
        ("data/book.txt", "b.txt"): "book.safetensors",
        ("v1.1.txt.gz",): "v1.1.safetensors",
        ("-",): "model.safetensors",
        ("corpus",): "corpus.safetensors",
        ("other.safetensors",): "model.safetensors",
        (): "python.safetensors",
    }.items():
        assert outputs.default_output(files) == name


def test_the_command_line_works_in_any_thread(folder: Path, tmp_path: Path) -> None:
    codes: list[int] = []
    command = ["train", str(folder / "fox.txt"), *SMALL, "-o", str(tmp_path / "m"), "--quiet"]
    thread = threading.Thread(target=lambda: codes.append(cli.main(command)))
    thread.start()
    thread.join()
    assert codes == [0]
    assert charrnn.load(tmp_path / "m").hidden_size == 8


# Ctrl-C


def test_a_longer_training_says_once_how_long_it_takes() -> None:
    said: list[str] = []
    watching = watch.Watch(said.append, argparse.Namespace(num_threads=1, quiet=True), "a.txt", resumed=False)
    reports: list[Report] = []
    train("the quick brown fox", epochs=10, val_fraction=0, progress=False, callback=reports.append)
    report = dataclasses.replace(reports[0], num_chars=1000, seconds=0.1, epoch=2.5, chars_per_second=100.0, done=0.25)
    for seconds in (0.1, 0.4, 0.7, 0.9):
        watching(dataclasses.replace(report, seconds=seconds))
    assert len(said) == 2
    assert said[1] == "about 1:15 more, at 100 characters a second"


@posix
def test_ctrl_c_saves_the_model_so_far_with_exit_code_130(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text(TEXT * 200)
    process = start(
        "train",
        "long.txt",
        "--hidden-size",
        512,
        "--epochs",
        1000,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    while b"epoch " not in (line := process.stderr.readline()) or b"chars/s" not in line:
        assert line, "no progress was shown"
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    assert time.monotonic() - sent < 10
    assert (process.returncode, stdout) == (130, b"")
    assert stderr.decode().splitlines()[-1].startswith("interrupted: the model so far is in long.safetensors")
    assert charrnn.load(tmp_path / "long.safetensors").hidden_size == 512


@posix
def test_ctrl_c_while_sampling_is_exit_code_130_without_a_traceback(folder: Path) -> None:
    process = start(
        "sample",
        "hello.safetensors",
        "--length",
        10**9,
        cwd=folder,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, b"interrupted\n")


# Stdout


@posix
def test_a_closed_pipe_is_no_error(folder: Path) -> None:
    process = start("sample", "hello.safetensors", "--length", 10**9, cwd=folder)
    assert process.stdout is not None and process.stderr is not None
    assert len(process.stdout.read(10)) == 10
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_one_line(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        assert_one_line_error(run("sample", "hello.safetensors", cwd=folder, stdout=full), "No space left")


def test_characters_that_stdout_cannot_encode_are_escaped(tmp_path: Path) -> None:
    train("é☃\ud800", epochs=200, val_fraction=0, progress=False).save(tmp_path / "odd")
    result = run(
        "sample",
        "odd",
        "--prompt",
        "é",
        "--length",
        2,
        "--temperature",
        0,
        cwd=tmp_path,
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert (result.returncode, result.stdout) == (0, "\\xe9\\u2603\\ud800\n")
    result = run("info", "odd", cwd=tmp_path)
    assert "characters  é ☃ \\ud800\n" in result.stdout


def test_a_terminal_is_shown_each_character_as_it_is_drawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = set()

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def flush(self) -> None:
            shown.add(self.getvalue())

    monkeypatch.setattr(sys, "stdout", Terminal())
    options = ["--prompt", "hel", "--length", "5", "--temperature", "0"]
    assert cli.main(["sample", str(folder / "hello.safetensors"), *options]) == 0
    assert shown == {"hel", "hell", "hello", "hello ", "hello w", "hello wo", "hello wo\n"}


# Parts


def report(model: charrnn.CharRNN, seconds: float, **changes: Any) -> Report:
    values = dict(
        step=7,
        epoch=0.5,
        loss=1.0,
        val_loss=None,
        validated=False,
        learning_rate=0.1,
        chars_per_second=1e6,
        seconds=seconds,
        done=0.5,
        model=model,
        settings=None,
        num_chars=11,
    )
    return Report(**{**values, **changes})


def test_a_sample_is_shown_every_ten_seconds_after_a_validation(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = watch.Samples()
    model = charrnn.load(folder / "hello.safetensors")
    for seconds in (1, 5, 10.9, 12, 20, 21.9):
        samples(report(model, seconds))
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == "epoch 0.50, loss 1.000 nats, a sample:"
    assert len(rest) == 1 and rest[0].startswith("  | ") and len(rest[0]) == 204
    samples(report(model, 30, val_loss=1.25))
    assert capsys.readouterr().err == ""
    samples(report(model, 31, val_loss=1.25, validated=True))
    assert capsys.readouterr().err.startswith("epoch 0.50, val 1.250 nats, a sample:\n")


def test_a_sample_of_documents_is_a_few_of_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = watch.Samples()
    samples.last = 0.0
    samples(report(charrnn.load(folder / "names.safetensors"), 11))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert {"  | ann", "  | bob", "  | cleo"} & set(lines)


def test_progress_elsewhere_than_on_a_terminal_is_lines_ever_farther_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    model = charrnn.load(folder / "hello.safetensors")
    with Progress(True, epochs=3) as shown:
        for i in range(1, 1001):
            shown.update(report(model, i / 10, val_loss=1.5, done=i / 1000))
    lines = sys.stderr.getvalue().splitlines()
    assert lines[0] == "  1%  epoch 0.50/3, 1.000 nats, 1.443 bits, val 1.500, 1.00M chars/s, 1:39 left"
    assert lines[-1].startswith("100%") and lines[-1].endswith("0:00 left")
    assert 20 < len(lines) < 30


def test_a_stderr_that_is_gone_does_not_end_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    class Bridge:
        def write(self, text: str) -> None:
            pass

        def flush(self) -> None:
            pass

    closed = io.StringIO()
    closed.close()
    for stderr in (Gone(), Bridge(), object(), closed, None):
        monkeypatch.setattr(sys, "stderr", stderr)
        train("hello world", epochs=10, callback=lambda report: console.write("..."))
        Progress(True, epochs=1).update(report(charrnn.CharRNN("ab"), 5))


def test_printable_escapes_what_would_command_a_terminal() -> None:
    assert console.printable("a\x1b[2J\tß\ud800'") == "a\\x1b[2J\\tß\\ud800'"


@pytest.mark.parametrize(
    ("characters", "shown"),
    [
        ("\n !abcdexyz~", "\\n space ! a-e x y z ~"),
        ("".join(map(chr, range(32, 127))), "space !-~"),
        ("edrlhw o", "e d r l h w space o"),
        ("\x00\x01\x02\x03\x04", "\\x00-\\x04"),
    ],
)
def test_characters_are_shown_in_their_order_neighbours_as_ranges(characters: str, shown: str) -> None:
    assert _legible(characters) == shown


def test_ten_thousand_characters_are_shown_on_a_screen() -> None:
    assert len(_legible("".join(map(chr, range(0x4E00, 0x4E00 + 30_000, 3)))).splitlines()) < 20


def test_plot_draws_the_learning_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "song.txt").write_text("row, row, row your boat\n" * 20)
    result = run("train", "song.txt", *SMALL, "--plot", "curve.png", "--quiet", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    result = run("train", "song.txt", *SMALL, "--plot", "nowhere/curve.png", cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "plot must be in a folder that exists" in result.stderr
