"""History: the losses and times of a training, as numbers. It knows neither the model nor the training."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from charrnn.errors import ArgumentTypeError, integer, number

__all__ = ["History"]


@dataclass
class History:
    """How a training went, in at most some 2000 points, ready to plot.

    Attributes
    ----------
    steps, losses, times, learning_rates : list
        For each stretch of steps its last step, its mean loss (nats per character), the seconds since the training
        began and the learning rate at its end.
    val_steps, val_losses, val_times : list
        The validations.
    chars_per_step : int
        batch_size times seq_length: steps times it is the characters seen, but for the shorter last chunk of an epoch.

    Examples
    --------
    >>> history = charrnn.train.train("hello world").history
    >>> history.losses[0] > 1 > history.losses[-1]
    True
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    val_steps: list[int] = field(default_factory=list)
    val_losses: list[float] = field(default_factory=list)
    val_times: list[float] = field(default_factory=list)
    chars_per_step: int = 0
    stretch: int = 1
    pending_steps: int = 0
    pending_loss: float = 0.0

    POINTS = 2000

    @property
    def num_steps(self) -> int:
        """Steps that are in the history."""
        return (self.steps[-1] if self.steps else 0) + self.pending_steps

    # Both of the following take effect as a whole or, where Ctrl-C comes in between, not at all.

    def add(self, step: int, losses: np.ndarray, learning_rates: np.ndarray, start: float, stop: float) -> None:
        """The steps after `step`, run from `start` to `stop` seconds; those that are there already are left out."""
        new = copy.copy(self)
        vars(new).update({name: [*getattr(self, name)] for name in ("steps", "losses", "times", "learning_rates")})
        for i in range(self.num_steps - step, len(losses)):
            new.pending_steps += 1
            new.pending_loss += float(losses[i])
            if new.pending_steps == new.stretch:
                new.steps.append(step + i + 1)
                new.losses.append(new.pending_loss / new.stretch)
                new.times.append(start + (stop - start) * (i + 1) / len(losses))
                new.learning_rates.append(float(learning_rates[i]))
                new.pending_steps, new.pending_loss = 0, 0.0
                if len(new.steps) == self.POINTS:
                    new._halve()
        vars(self).update(vars(new))

    def add_validation(self, step: int, loss: float, seconds: float) -> None:
        """The loss of the validation part after `step` steps and so many seconds."""
        lists = {"val_steps": [*self.val_steps, step], "val_losses": [*self.val_losses, loss]}
        vars(self).update(lists, val_times=[*self.val_times, seconds])

    @classmethod
    def from_record(cls, record: Any) -> History:
        """What `dataclasses.asdict` gave, after JSON."""
        history = cls(**record)
        for lists in (("steps", "losses", "times", "learning_rates"), ("val_steps", "val_losses", "val_times")):
            lengths = set()
            for name in lists:
                values = getattr(history, name)
                if not isinstance(values, list):
                    raise ArgumentTypeError(name, f"must be a list, got {values!r}")
                lengths.add(len(values))
                for value in values:
                    integer(name, value, 0) if name.endswith("steps") else number(name, value, -math.inf)
            if len(lengths) > 1 or max(lengths) > cls.POINTS:
                raise ValueError(f"{', '.join(lists)} must have one length of at most {cls.POINTS}")
        integer("chars_per_step", history.chars_per_step, 1)
        integer("pending_steps", history.pending_steps, 0, integer("stretch", history.stretch, 1) - 1)
        number("pending_loss", history.pending_loss, 0)
        return history

    def _halve(self) -> None:
        self.stretch *= 2
        self.losses = [(a + b) / 2 for a, b in zip(self.losses[::2], self.losses[1::2], strict=True)]
        self.steps, self.times, self.learning_rates = self.steps[1::2], self.times[1::2], self.learning_rates[1::2]
