"""Words for whoever sits before the screen: lines on stderr, and how characters, durations and numbers are written."""

from __future__ import annotations

import sys


def write(text: str) -> None:
    """Lines on stderr, above the bar where there is one; a stderr that is gone must not end a training."""
    if sys.stderr is None:
        return
    tqdm = sys.modules.get("tqdm")
    try:
        if tqdm is None:
            print(text, file=sys.stderr, flush=True)
        else:
            tqdm.tqdm.write(text, file=sys.stderr)
    except OSError:
        pass


def printable(text: str) -> str:
    """The text with escapes in place of what would not show, or would command the terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def duration(seconds: float) -> str:
    """As 2:05, or 1:02:05."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def thousands(x: float) -> str:
    """As 123, 41k or 1.23M."""
    return f"{x / 1e6:.2f}M" if x >= 1e6 else f"{x / 1e3:.0f}k" if x >= 1e4 else f"{x:.0f}"


def count(number: int, thing: str) -> str:
    """As "1 layer" or "2,000 layers"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
