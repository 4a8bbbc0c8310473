"""Checks of the arguments that users give: a wrong value is one sentence with its name, the rule and the value."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """value as an int in low ... high; TypeError or ValueError otherwise."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < low or (high is not None and number > high):
        rule = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {rule}, got {number}")
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
        if isinstance(value, (bool, str)):
            raise TypeError
        x = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
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
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, got {value!r}")
    return allowed[allowed.index(value)]
