"""Report: what a callback is told of a training that runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charrnn.model import CharRNN
    from charrnn.train.settings import Settings

__all__ = ["Report"]


@dataclass
class Report:
    """What a callback of `train` is called with, some ten times a second and once at the end.

    Attributes
    ----------
    step, epoch : int, float
        Number of steps made, and of passes over the text.
    loss : float
        Mean training loss since the last report, nats per character.
    val_loss : float or None
        The newest validation loss, nats per character.
    validated : bool
        Whether val_loss is new in this report.
    learning_rate : float
    chars_per_second : float
        Training speed since the last report.
    seconds : float
        Seconds since the training began.
    done : float
        The share of the training that is done, 0 to 1.
    model : CharRNN
        The model being trained, to be sampled or saved but not changed.
    settings : Settings
        The arguments of `train`, with what the rule of defaults chose.
    num_chars : int
        Characters of the text, the validation part included.
    num_val_chars : int
        Those of the validation part.

    Examples
    --------
    >>> def watch(report):
    ...     if report.done == 1:
    ...         print(report.step, report.settings.cell, report.num_chars)
    >>> model = charrnn.train.train("hello world", epochs=3, callback=watch)
    3 rnn 11
    """

    step: int
    epoch: float
    loss: float
    val_loss: float | None
    validated: bool
    learning_rate: float
    chars_per_second: float
    seconds: float
    done: float
    model: CharRNN
    settings: Settings
    num_chars: int
    num_val_chars: int = 0
