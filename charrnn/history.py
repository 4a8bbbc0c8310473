"""History: how a training went, and how a model came to be. It knows neither model nor training, only their numbers."""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from charrnn.errors import ArgumentTypeError, integer, number

__all__ = ["History", "Origin"]


@dataclass
class Origin:
    """What a model was made of and how: what its file remembers beside the learning curve.

    Attributes
    ----------
    version : str
        That of charrnn.
    text : str
        The name of the text's file, or of the argument that it was.
    num_chars, num_val_chars, num_documents : int
        Characters of the text; those of them that were validated with; documents, 0 for a text.
    cut : dict or None
        How files were cut into documents: the arguments of `charrnn.documents` that were given. None for a text, and
        for documents that were not in files.
    settings : dict
        The arguments of `charrnn.train.train`, those that its rule chose included; None for what is without a limit.
    steps, epochs : int, float
        Updates made, and passes over the text that they amount to.
    val_loss : float or None
        The best validation loss, which is that of the model, nats per character.
    seconds : float or None
        How long the training took, where it was limited by seconds. Otherwise two equal trainings take different
        times, and yet give equal files.

    Examples
    --------
    >>> origin = charrnn.train.train("hello world", epochs=3).history.origin
    >>> origin.text, origin.num_chars, origin.settings["cell"], origin.steps
    ('data', 11, 'rnn', 3)
    """

    version: str
    text: str
    num_chars: int
    num_val_chars: int
    num_documents: int
    cut: dict[str, Any] | None
    settings: dict[str, Any]
    steps: int = 0
    epochs: float = 0.0
    val_loss: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("version", "text"):
            if not isinstance(getattr(self, name), str):
                raise ArgumentTypeError(name, f"must be a str, got {getattr(self, name)!r}")
        for name in ("num_chars", "num_val_chars", "num_documents", "steps"):
            integer(name, getattr(self, name), 0)
        for name in ("epochs", "val_loss", "seconds"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), 0)
        if not isinstance(self.settings, dict) or not (self.cut is None or isinstance(self.cut, dict)):
            raise TypeError("settings and cut must be dicts")


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
    origin : Origin or None
        What the model was made of and how.

    Of a model from a file the times are not known, and the lists of them empty: equal trainings give equal files.

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
    origin: Origin | None = None

    POINTS = 2000
    #: In a model file.
    FEW_POINTS = 250

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
        if history.origin is not None:
            history.origin = Origin(**history.origin)  # type: ignore[arg-type]
        for lists in (("steps", "losses", "times", "learning_rates"), ("val_steps", "val_losses", "val_times")):
            lengths = set()
            for name in lists:
                values = getattr(history, name)
                if not isinstance(values, list):
                    raise ArgumentTypeError(name, f"must be a list, got {values!r}")
                if values or not name.endswith("times"):
                    lengths.add(len(values))
                for value in values:
                    integer(name, value, 0) if name.endswith("steps") else number(name, value, -math.inf)
            if len(lengths) > 1 or max(lengths) > cls.POINTS:
                raise ValueError(f"{', '.join(lists)} must have one length of at most {cls.POINTS}")
        integer("chars_per_step", history.chars_per_step, 1)
        integer("pending_steps", history.pending_steps, 0, integer("stretch", history.stretch, 1) - 1)
        number("pending_loss", history.pending_loss, 0)
        return history

    def for_model_file(self) -> dict[str, Any]:
        """What a model file keeps: fewer points, and nothing in which two equal trainings differ.

        Examples
        --------
        >>> record = charrnn.train.train("hello world").history.for_model_file()
        >>> record["times"], record["origin"]["text"]
        ([], 'data')
        """
        kept = dataclasses.replace(self, times=[], val_times=[], pending_steps=0, pending_loss=0.0)
        while len(kept.steps) > self.FEW_POINTS:
            even = len(kept.steps) // 2 * 2
            for name in ("steps", "losses", "learning_rates"):
                setattr(kept, name, getattr(kept, name)[:even])
            kept._halve()
        for name in ("losses", "learning_rates", "val_losses"):
            setattr(kept, name, [float(f"{value:.6g}") for value in getattr(kept, name)])
        return dataclasses.asdict(kept)

    def _halve(self) -> None:
        self.stretch *= 2
        self.losses = [(a + b) / 2 for a, b in zip(self.losses[::2], self.losses[1::2], strict=True)]
        self.steps, self.times, self.learning_rates = self.steps[1::2], self.times[1::2], self.learning_rates[1::2]
