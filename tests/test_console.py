"""Lines on stderr, and how things are written there."""

from __future__ import annotations

import io
import sys

import pytest
from command_line import report

import charrnn
from charrnn import console
from charrnn.train import train
from charrnn.train.progress import Progress


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
