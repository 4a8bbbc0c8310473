"""Learning curves: how a training went, at a glance. Needs matplotlib."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from charrnn.errors import ArgumentTypeError, ArgumentValueError, file_path
from charrnn.history import History

__all__ = ["learning_curves"]

#: The training loss is averaged to at most this many points.
POINTS = 100


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise an error if no picture can be drawn into this file: matplotlib is missing, or does not know its suffix."""
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise ImportError("plots need matplotlib, which is not installed: pip install matplotlib") from None
    from matplotlib.figure import Figure

    formats = Figure().canvas.get_supported_filetypes()
    suffix = os.path.splitext(path)[1].removeprefix(".").lower()
    if suffix and suffix not in formats:  # without one matplotlib takes its default
        raise ArgumentValueError("plot", f"must have a suffix of {', '.join(sorted(formats))}, got {os.fspath(path)}")


def learning_curves(history: History, path: str | os.PathLike[str]) -> None:
    """Draw the losses of a training over the characters seen and over the seconds, and its learning rate.

    Parameters
    ----------
    history : History
        Of a trained model: `model.history`.
    path : path
        The picture to write; its suffix says in what format (.png, .svg, .pdf).

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The history is empty, or matplotlib knows no such format.

    Examples
    --------
    >>> model = charrnn.train.train("hello world")
    >>> charrnn.plot.learning_curves(model.history, path.with_suffix(".png"))
    """
    path = file_path("path", path)
    check_picture(path)
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    if not isinstance(history, History):
        raise ArgumentTypeError("history", f"must be the History of a trained model, got {type(history).__name__}")
    if not history.steps:
        raise ArgumentValueError("history", "must have at least one step, got an empty one")
    figure = Figure(figsize=(11, 6), layout="constrained")
    seen, val_seen = (np.multiply(steps, history.chars_per_step) for steps in (history.steps, history.val_steps))
    axes_of_time = [(seen, val_seen, "characters seen")]
    if history.times:  # a model from a file has none
        axes_of_time.append((history.times, history.val_times, "seconds"))
    losses, rates = figure.subplots(
        2, len(axes_of_time), sharex="col", sharey="row", squeeze=False, gridspec_kw={"height_ratios": (3, 1)}
    )
    for column, (x, val_x, label) in enumerate(axes_of_time):
        upper, lower = losses[column], rates[column]
        upper.plot(x, history.losses, color="tab:blue", alpha=0.25, linewidth=0.8)
        upper.plot(*_averaged(x, history.losses), color="tab:blue", label="training")
        if history.val_losses:
            best = int(np.argmin(history.val_losses))
            upper.plot(val_x, history.val_losses, "o-", color="tab:orange", markersize=3, label="validation")
            upper.axhline(history.val_losses[best], color="tab:orange", linestyle=":", linewidth=0.8)
            if column == 0:
                upper.set_title(f"best validation loss {history.val_losses[best]:.4f} nats per character", loc="left")
        lower.plot(x, history.learning_rates, color="tab:green")
        lower.set_xlabel(label)
        lower.xaxis.set_major_formatter(EngFormatter(sep=""))
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
    losses[0].set_ylabel("loss, nats per character")
    rates[0].set_ylabel("learning rate")
    losses[0].legend()
    figure.savefig(path, dpi=120)


def _averaged(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """The means of up to POINTS stretches of a curve."""
    parts = min(POINTS, len(y))
    means = [[part.mean() for part in np.array_split(np.asarray(values), parts)] for values in (x, y)]
    return np.array(means[0]), np.array(means[1])
