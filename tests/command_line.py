"""Running the command line in tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.train import Report

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


def limit_files(size: int) -> Callable[[], None]:
    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


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
