"""What is perhaps not what it seems: warnings that say what may have been meant."""

from __future__ import annotations

import inspect
import os
import warnings
from typing import TYPE_CHECKING

import numpy as np

from charrnn.text.sources import HEAD, PACKED, kind_of

if TYPE_CHECKING:
    from charrnn.text.corpus import Corpus

#: Symbols at the beginning of a text by which it is judged.
LOOKED_AT = 1 << 20
#: Lines that seem to be documents: at least so many, at most so long, of which so many are different.
LINES = 1000
LONGEST_LINE = 200
DIFFERENT = 0.5


def warn_of_text(text: str | bytes | bytearray | memoryview, name: str) -> None:
    """Warn of a str that is the name of a file, for a str is never a path, and of bytes that are a packed file."""
    if isinstance(text, str):
        if _is_file(text):
            meant = f"Path({text!r}) reads that"
            _warn(f"{name} is the text {text!r} itself, which is also the name of a file: {meant}")
        return
    kind = kind_of(PACKED, bytes(text[:HEAD]))
    if kind is not None:
        _warn(
            f"{name} is what a {kind} file holds, not the text that is packed in it: a path is unpacked, bytes are not"
        )


def _is_file(text: str) -> bool:
    if len(text) > 1000 or "\n" in text or "\0" in text:
        return False
    try:
        return os.path.isfile(text)
    except (OSError, ValueError):
        return False


def _warn(message: str) -> None:
    """Warn where the package was called."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "charrnn":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def warn_of_lines(text: Corpus) -> None:
    """Warn of a text that is perhaps a set of documents."""
    for sentence in of_text(text):
        _warn(sentence)


def of_text(text: Corpus) -> list[str]:
    """Give what may have been meant otherwise about a text, a sentence each."""
    if text.vocabulary.end is not None:
        return []
    characters = text.vocabulary.characters
    if "\n" not in characters:
        if "\r" not in characters:
            return []
        return ["the text has no line ends but CR: as documents, its lines are what stands between them"]
    beginning = text.indices(0, LOOKED_AT)
    stops = np.flatnonzero(beginning == characters.index("\n"))
    lengths = np.diff(stops) - 1
    if len(lengths) < LINES or lengths.min() < 1 + ("\r" in characters) or lengths.max() > LONGEST_LINE:
        return []
    starts = stops[:-1] + 1
    sample = {beginning[start : start + length].tobytes() for start, length in zip(starts, lengths, strict=True)}
    if len(sample) < DIFFERENT * len(lengths):
        return []
    return [
        f"the text has {_many(text, stops)} short lines and no blank one: if each is a document, read it as documents"
    ]


def _many(text: Corpus, stops: np.ndarray) -> str:
    return f"{len(stops):,}" if len(text) <= LOOKED_AT else f"more than {len(stops):,}"
