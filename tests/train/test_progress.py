"""How a training shows on stderr."""

from __future__ import annotations

import io
import sys

import pytest
from command_line import report

import charrnn
from charrnn.train.progress import Progress


def test_progress_elsewhere_than_on_a_terminal_is_lines_ever_farther_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    model = charrnn.CharRNN("ab")
    with Progress(True, epochs=3) as shown:
        for i in range(1, 1001):
            shown.update(report(model, i / 10, val_loss=1.5, done=i / 1000))
    lines = sys.stderr.getvalue().splitlines()
    assert lines[0] == "  1%  epoch 0.50/3, 1.000 nats, 1.443 bits, val 1.500, 1.00M chars/s, 1:39 left"
    assert lines[-1].startswith("100%") and lines[-1].endswith("0:00 left")
    assert 20 < len(lines) < 30
