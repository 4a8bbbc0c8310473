"""Learning curves, as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import charrnn
from charrnn.plot import learning_curves
from charrnn.train import History

SONG = "Row, row, row your boat, gently down the stream.\n" * 50


def test_curves_show_what_the_history_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = pytest.importorskip("matplotlib.figure")
    made = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, path, **_: made.append(figure))
    history = charrnn.train.train(SONG, hidden_size=8, epochs=4, val_fraction=0.2, progress=False).history
    learning_curves(history, tmp_path / "curve.png")
    losses_by_chars, losses_by_time, rate_by_chars, rate_by_time = made[0].axes
    for axes, x, val_x in (
        (losses_by_chars, [n * history.chars_per_step for n in history.steps], history.val_steps),
        (losses_by_time, history.times, history.val_times),
    ):
        raw, mean, validation = axes.lines[:3]
        assert list(raw.get_xdata()) == list(x)
        assert list(raw.get_ydata()) == history.losses
        assert min(history.losses) <= min(mean.get_ydata()) <= max(mean.get_ydata()) <= max(history.losses)
        assert list(validation.get_ydata()) == history.val_losses
        assert len(validation.get_xdata()) == len(val_x)
    for axes in (rate_by_chars, rate_by_time):
        assert list(axes.lines[0].get_ydata()) == history.learning_rates
    assert rate_by_chars.get_xlabel() == "characters seen"
    assert rate_by_time.get_xlabel() == "seconds"


@pytest.mark.parametrize("text", ["ab", SONG])
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_curves_are_written_with_and_without_validation(tmp_path: Path, text: str, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"curve{suffix}"
    learning_curves(charrnn.train.train(text, hidden_size=4, epochs=1, progress=False).history, path)
    assert path.stat().st_size > 5_000


def test_an_empty_history_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="at least one step"):
        learning_curves(History(), tmp_path / "curve.png")


def test_an_unknown_suffix_is_refused_with_those_there_are(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match=r"plot must have a suffix of .*png.*, got .*curve\.doc"):
        learning_curves(charrnn.train.train("ab", progress=False).history, tmp_path / "curve.doc")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        learning_curves(History(), tmp_path / "curve.png")
