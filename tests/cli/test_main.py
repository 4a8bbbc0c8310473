"""The command line as a whole: help, errors, exit codes, stdout."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from pathlib import Path

import pytest
from command_line import SMALL, assert_one_line_error, posix, run, start

import charrnn
from charrnn import cli
from charrnn.cli.outputs import message_of
from charrnn.errors import TooLargeError
from charrnn.train import train


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


def test_a_text_is_trained_sampled_scored_and_described(tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("hello world")
    trained = run("train", "hello.txt", "--hidden-size", 64, "--epochs", 100, cwd=tmp_path)
    assert (trained.returncode, trained.stdout) == (0, "")
    assert "hello.txt" in trained.stderr
    assert "rnn, 1 layer of 64 units, 5,256 parameters, float32" in trained.stderr
    assert "11 characters, 8 symbols; none of it to validate" in trained.stderr
    assert "adam, rate 0.01, batches of 1 x 10 characters" in trained.stderr
    assert "ends after 100 epochs" in trained.stderr
    sampled, command = trained.stderr.splitlines()[-2:]
    assert sampled.startswith("  | ") and set(sampled[4:]) <= set("helo wrd")
    assert command == "sample it with: charrnn sample hello.safetensors"
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
    assert described.stdout.startswith(
        f"file        hello.safetensors, {(tmp_path / 'hello.safetensors').stat().st_size:,} bytes\n"
        "model of    a text\n"
        "network     rnn, 1 layer of 64 units\n"
        "parameters  5,256\n"
        "dtype       float32\n"
        "symbols     8\n"
        "characters  space d e h l o r w\n"
        "text        hello.txt, 11 characters\n"
        "training    100 epochs, 100 steps\n"
        "settings    cell rnn, hidden_size 64,"
    )
    assert described.stdout.endswith(f"charrnn     {charrnn.__version__}\n")


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


def test_the_command_line_works_in_any_thread(folder: Path, tmp_path: Path) -> None:
    codes: list[int] = []
    command = ["train", str(folder / "fox.txt"), *SMALL, "-o", str(tmp_path / "m"), "--quiet"]
    thread = threading.Thread(target=lambda: codes.append(cli.main(command)))
    thread.start()
    thread.join()
    assert codes == [0]
    assert charrnn.load(tmp_path / "m").hidden_size == 8


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
