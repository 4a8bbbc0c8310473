"""What `charrnn train` prints while it trains."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest
from command_line import report

import charrnn
from charrnn.cli import watch
from charrnn.train import Report, train


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
