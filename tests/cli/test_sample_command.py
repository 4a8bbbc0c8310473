"""`charrnn sample`."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path

import pytest
from command_line import posix, run, start

import charrnn
from charrnn import cli


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
