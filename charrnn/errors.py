"""The package's own exceptions, and the checks of the arguments that users give.

A wrong value is one sentence: its name, the rule, the value. Nothing here knows what the arguments are for.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from charrnn.model import CharRNN

__all__ = ["DivergenceError", "ModelFileError", "TrainingInterrupted"]


class ModelFileError(ValueError):
    """A file that is no charrnn model, or a damaged one.

    Examples
    --------
    >>> _ = path.write_text("no model")
    >>> charrnn.load(path)
    Traceback (most recent call last):
    charrnn.errors.ModelFileError: ... is not a charrnn model, ...
    """


class DivergenceError(ArithmeticError):
    """The loss or the gradient stopped being finite, or the loss grew beyond all use.

    Attributes
    ----------
    step : int
        The step at which it happened.
    model : CharRNN
        The best model so far. A checkpoint is left as it was before.

    Examples
    --------
    >>> charrnn.train.train("hello world", optimizer="sgd", learning_rate=1e9, clip_norm=None)
    Traceback (most recent call last):
    charrnn.errors.DivergenceError: training diverged at step ...
    """

    def __init__(self, message: str, step: int, model: CharRNN) -> None:
        super().__init__(message)
        self.step = step
        self.model = model


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training.

    Attributes
    ----------
    model : CharRNN
        The model as trained so far.
    checkpointed : bool
        Whether a checkpoint holds it too.

    Examples
    --------
    >>> def impatient(report):
    ...     raise KeyboardInterrupt
    >>> try:
    ...     model = charrnn.train.train("hello world", callback=impatient)
    ... except charrnn.TrainingInterrupted as interrupt:
    ...     model = interrupt.model
    """

    def __init__(self, model: CharRNN, checkpointed: bool) -> None:
        super().__init__()
        self.model = model
        self.checkpointed = checkpointed


def integer(name: str, value: Any, low: int, high: int | None = sys.maxsize) -> int:
    """value as an int in low ... high, by default what a C integer holds; TypeError or ValueError otherwise."""
    try:
        if isinstance(value, (bool, np.bool_)):  # an index to older versions of NumPy
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < low or (high is not None and number > high):
        rule = f"at least {low}" if number < low and high in (None, sys.maxsize) else f"from {low} to {high}"
        raise ValueError(f"{name} must be {rule}, got {reprlib.repr(number)}")
    return number


def number(
    name: str,
    value: Any,
    low: float,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> float:
    """value as a float in low ... high, without low itself where `above`, without high where `below`."""
    try:
        if isinstance(value, (bool, np.bool_, str, bytes)):
            raise TypeError
        x = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except OverflowError:  # an int
        x = math.inf if operator.gt(value, 0) else -math.inf
    if math.isinf(high):
        rule = f"greater than {low:g}" if above else f"at least {low:g}"
    else:
        rule = f"{'greater than' if above else 'at least'} {low:g} and {'less than' if below else 'at most'} {high:g}"
    if not (low < x if above else low <= x) or not (x < high if below else x <= high) or math.isinf(x):
        raise ValueError(f"{name} must be {rule}, got {value!r}")
    return x


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """value, one of these words."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, got {value!r}")
    return allowed[allowed.index(value)]


def as_array(name: str, value: Any) -> np.ndarray:
    """value as an array."""
    try:
        return np.asarray(value)
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"{name} must have one shape: {error}") from None


def flag(name: str, value: Any) -> bool:
    """value, True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def file_path(name: str, value: Any) -> str:
    """value as a path that the system takes."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {value!r}")
    path = os.fsdecode(value)
    if not path or "\0" in path:
        raise ValueError(f"{name} must be a path, got {path!r}")
    return path


def output_path(name: str, value: Any) -> Path:
    """value as the path of a file that can be written, as far as can be known before the work that is to go into it."""
    path = Path(file_path(name, value))
    if path.is_dir():
        raise ValueError(f"{name} must be a file, got the folder {path}")
    if not path.parent.is_dir():
        raise ValueError(f"{name} must be in a folder that exists, got {path}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{name} must be in a folder that you may write to, got {path}")
    return path
