"""The package's own exceptions, and the checks of the arguments that users give.

The message for a wrong value is one sentence: the argument's name, its rule, the value. Nothing here knows what the
arguments are for.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from charrnn.model import CharRNN

__all__ = ["DivergenceError", "ModelFileError", "TrainingInterrupted"]


class Worded(Exception):
    """An error whose message has names of arguments in it: whoever knows them by other names can word it anew."""

    def worded(self, called: Callable[[str], str]) -> str:
        """The message with every argument called by what `called` gives for its name."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.worded(lambda name: name)


class ArgumentError(Worded):
    """A wrong argument: one sentence that begins with its name.

    Attributes
    ----------
    name : str
    said : str
        The rest of the sentence, such as "must be at least 1, got 0".
    other : str
        Another argument whose name is in the rest, in front of the value.
    """

    def __init__(self, name: str, said: str, other: str = "") -> None:
        super().__init__(name, said, other)
        self.name = name
        self.said = said
        self.other = other

    def worded(self, called: Callable[[str], str]) -> str:
        said = self.said.replace(self.other, called(self.other), 1) if self.other else self.said
        return f"{called(self.name)} {said}"


class ArgumentValueError(ArgumentError, ValueError):
    """An argument has a wrong value."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument has a value of a wrong type."""


class TooLargeError(Worded, ValueError):
    """What an argument asks for does not fit in memory.

    Attributes
    ----------
    sizes : dict of str to int
        The arguments that decide how much is needed, and their values.
    needed, available : float
        Bytes.
    """

    def __init__(self, sizes: Mapping[str, int], needed: float, available: float) -> None:
        super().__init__(sizes, needed, available)
        self.sizes = dict(sizes)
        self.needed = needed
        self.available = available

    def worded(self, called: Callable[[str], str]) -> str:
        names = {called(name): size for name, size in self.sizes.items()}
        values = ", ".join(f"{name}={size}" for name, size in names.items())
        return (
            f"{', '.join(names)} must fit in memory, got {values}, which need {self.needed:,.0f} bytes of "
            f"{self.available:,}"
        )


class ModelFileError(ValueError):
    """A file is not a charrnn model, or it is damaged.

    Examples
    --------
    >>> _ = path.write_text("no model")
    >>> charrnn.load(path)
    Traceback (most recent call last):
    charrnn.errors.ModelFileError: ... is not a charrnn model, ...
    """


class DivergenceError(Worded, ArithmeticError):
    """The loss or the gradient stopped being finite, or the loss grew beyond all use.

    Attributes
    ----------
    step : int
        The step at which it happened.
    model : CharRNN
        The best model so far. The checkpoint is the one before the divergence.

    Examples
    --------
    >>> charrnn.train.train("hello world", optimizer="sgd", learning_rate=1e9, clip_norm=None)
    Traceback (most recent call last):
    charrnn.errors.DivergenceError: training diverged at step ...
    """

    def __init__(self, how: str, step: int, model: CharRNN, tried: Mapping[str, float]) -> None:
        super().__init__(how, step, model, tried)
        self.how = how
        self.step = step
        self.model = model
        self.tried = tried

    def worded(self, called: Callable[[str], str]) -> str:
        """The message with every argument called by what `called` gives for its name.

        Examples
        --------
        >>> error = charrnn.DivergenceError("the loss became nan", 7, charrnn.CharRNN("ab"), {"learning_rate": 0.1})
        >>> error.worded(lambda name: "--" + name.replace("_", "-"))
        'training diverged at step 7: the loss became nan; try a smaller --learning-rate (it is 0.1)'
        """
        smaller = " or ".join(f"{called(name)} (it is {value:g})" for name, value in self.tried.items())
        return f"training diverged at step {self.step}: {self.how}; try a smaller {smaller}"


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a training.

    Attributes
    ----------
    model : CharRNN
        The model as it was trained so far.
    checkpointed : bool
        Whether a checkpoint holds this state of the training.

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
        super().__init__(model, checkpointed)
        self.model = model
        self.checkpointed = checkpointed

    def __str__(self) -> str:
        return "training was interrupted"


def integer(name: str, value: Any, low: int, high: int | None = sys.maxsize) -> int:
    """Return value as an int from low to high, by default to the largest C integer."""
    try:
        if isinstance(value, (bool, np.bool_)):  # an index to older versions of NumPy
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(name, f"must be an integer, got {value!r}") from None
    if number < low or (high is not None and number > high):
        rule = f"at least {low}" if number < low and high in (None, sys.maxsize) else f"from {low} to {high}"
        raise ArgumentValueError(name, f"must be {rule}, got {reprlib.repr(number)}")
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
    """Return value as a float from low to high; `above` excludes low itself, `below` excludes high itself."""
    try:
        if isinstance(value, (bool, np.bool_, str, bytes)):
            raise TypeError
        x = float(value)
    except (TypeError, ValueError):
        raise ArgumentTypeError(name, f"must be a number, got {value!r}") from None
    except OverflowError:  # an int
        x = math.inf if operator.gt(value, 0) else -math.inf
    if math.isinf(high):
        rule = f"greater than {low:g}" if above else f"at least {low:g}"
    else:
        rule = f"{'greater than' if above else 'at least'} {low:g} and {'less than' if below else 'at most'} {high:g}"
    if not (low < x if above else low <= x) or not (x < high if below else x <= high) or math.isinf(x):
        raise ArgumentValueError(name, f"must be {rule}, got {value!r}")
    return x


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return value if it is one of these words."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise ArgumentValueError(name, f"must be {' or '.join(map(repr, allowed))}, got {value!r}")
    return allowed[allowed.index(value)]


def as_array(name: str, value: Any) -> np.ndarray:
    """Return value as an array."""
    try:
        return np.asarray(value)
    except ValueError as error:  # lists of several lengths
        raise ArgumentValueError(name, f"must have one shape: {error}") from None


def flag(name: str, value: Any) -> bool:
    """Return value if it is True or False."""
    if not isinstance(value, bool):
        raise ArgumentTypeError(name, f"must be True or False, got {value!r}")
    return value


def file_path(name: str, value: Any) -> str:
    """Return value as a path that the operating system accepts."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise ArgumentTypeError(name, f"must be a path, got {value!r}")
    path = os.fsdecode(value)
    if not path or "\0" in path:
        raise ArgumentValueError(name, f"must be a path, got {path!r}")
    return path


def output_path(name: str, value: Any) -> Path:
    """Return value as the path of a file that can be written, as far as that is known before the work begins."""
    path = Path(file_path(name, value))
    if path.is_dir():
        raise ArgumentValueError(name, f"must be a file, got the folder {path}")
    if not path.parent.is_dir():
        raise ArgumentValueError(name, f"must be in a folder that exists, got {path}")
    if not os.access(path.parent, os.W_OK):
        raise ArgumentValueError(name, f"must be in a folder that you may write to, got {path}")
    return path
