"""Lines on stderr, and how characters, durations and numbers are written there."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator

#: What a stderr raises that was closed (ValueError), whose reader is gone (OSError), or that is no whole file, as the
#: bridges to a log or a window (AttributeError, TypeError). None of it may end a training.
STDERR_ERRORS = (OSError, ValueError, AttributeError, TypeError)


def write(text: str) -> None:
    """Lines on stderr, above the bar where there is one; nothing where there is no stderr that takes them."""
    if sys.stderr is None:
        return
    tqdm = sys.modules.get("tqdm")
    with contextlib.suppress(*STDERR_ERRORS):
        if tqdm is None:
            print(text, file=sys.stderr, flush=True)
        else:
            tqdm.tqdm.write(text, file=sys.stderr)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show warnings as lines on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        warnings.showwarning = lambda message, *rest, **more: write(f"charrnn: warning: {message}")
        yield


def is_terminal() -> bool:
    """Whether stderr is a terminal, on which a bar can move."""
    try:
        return sys.stderr.isatty()
    except STDERR_ERRORS:
        return False


def printable(text: str) -> str:
    """Return the text with escapes for characters that are invisible or control the terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def duration(seconds: float) -> str:
    """Write seconds as 2:05 or 1:02:05."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def thousands(x: float) -> str:
    """Write a number as 123, 41k or 1.23M."""
    return f"{x / 1e6:.2f}M" if x >= 1e6 else f"{x / 1e3:.0f}k" if x >= 1e4 else f"{x:.0f}"


def count(number: int, thing: str) -> str:
    """Write a number of things as "1 layer" or "2,000 layers"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
