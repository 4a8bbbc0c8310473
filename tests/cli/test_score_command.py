"""`charrnn score`."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import posix, run, start
from peak import ENVIRONMENT

import charrnn
from charrnn import cli


def test_every_line_has_its_score(folder: Path) -> None:
    model = charrnn.load(folder / "names.safetensors")
    result = run("score", "names.safetensors", cwd=folder, stdin="ann\n\nx☃\r\nbob\rcleo".encode())
    assert (result.returncode, result.stderr) == (0, "")
    found = [line.split("\t") for line in result.stdout.split("\n")[:-1]]
    assert [text for _, text in found] == ["ann", "", "x☃", "bob", "cleo"]
    expected = model.score(["ann", "", "bob", "cleo"])
    assert found[2][0] == "-inf"
    np.testing.assert_allclose([float(score) for score, text in found if text != "x☃"], expected, atol=1e-3)


def test_records_and_columns_are_scored(folder: Path, tmp_path: Path) -> None:
    model = charrnn.load(folder / "names.safetensors")
    (tmp_path / "names.csv").write_text("id,name\n1,ann\n2,bob\n")
    result = run("score", folder / "names.safetensors", "names.csv", "--column", "name", cwd=tmp_path)
    assert result.stdout == f"{model.score('ann'):.4f}\tann\n{model.score('bob'):.4f}\tbob\n"
    options = ["--separator", "|", "--json"]
    result = run("score", folder / "names.safetensors", *options, cwd=tmp_path, stdin=b"ann|bob")
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["ann", "bob"]


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
