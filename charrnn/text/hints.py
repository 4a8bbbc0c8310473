"""What is perhaps not what it seems: warnings that say what may have been meant."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from charrnn.text.corpus import Corpus

#: Symbols at the beginning of a text by which it is judged.
LOOKED_AT = 1 << 20
#: Lines that seem to be documents: at least so many, at most so long, of which so many are different.
LINES = 1000
LONGEST_LINE = 200
DIFFERENT = 0.5


def warn_of_name(text: Any, name: str) -> None:
    """Warn of a text that is the name of a file that exists: a str is never a path."""
    if not isinstance(text, str) or len(text) > 1000 or "\n" in text or "\0" in text:
        return
    try:
        is_file = os.path.isfile(text)
    except (OSError, ValueError):
        return
    if is_file:
        warnings.warn(
            f"{name} is the text {text!r} itself, which is also the name of a file: Path({text!r}) reads that",
            UserWarning,
            stacklevel=2,
        )


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
