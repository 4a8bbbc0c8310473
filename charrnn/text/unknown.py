"""Characters that a vocabulary lacks: all of a text are gathered, and one error names them and what may help.

It knows nothing of where a text comes from: whoever reads it names a position.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np

#: An error lists at most so many different characters.
MOST_LISTED = 100

LINE_ENDS = ("\n", "\r")

#: Characters that Unicode gives no name of their own.
CONTROLS = {"\0": "NULL", "\t": "TABULATION", "\n": "LINE FEED", "\r": "CARRIAGE RETURN", "\x1b": "ESCAPE"}


class UnknownCharacters:
    """The unknown characters of a text that is read block by block.

    Attributes
    ----------
    counts : dict of str to int
        How often each occurs, in the order of their first places.
    first : dict of str to object
        The place of each where it occurs first.
    typed_escape : bool
        Whether a backslash is among them, with an "n", "r" or "t" behind it.

    Examples
    --------
    >>> unknown = UnknownCharacters()
    >>> unknown.add(np.array([97, 223, 98, 223]), np.array([False, True, False, True]), lambda index: f"place {index}")
    >>> unknown.counts, unknown.first
    ({'ß': 2}, {'ß': 'place 1'})
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.first: dict[str, Any] = {}
        self.typed_escape = False

    @property
    def total(self) -> int:
        """How many there are in all."""
        return sum(self.counts.values())

    def add(self, points: np.ndarray, unknown: np.ndarray, place: Callable[[int], Any]) -> None:
        """Gather those of a block of code points that are `unknown`; `place` says where an index in the block lies."""
        places = np.flatnonzero(unknown)
        found, index, counts = np.unique(points[places], return_index=True, return_counts=True)
        for i in np.argsort(index).tolist():
            character = chr(found[i])
            self.counts[character] = self.counts.get(character, 0) + int(counts[i])
            if character not in self.first and len(self.first) < MOST_LISTED:
                self.first[character] = place(int(places[index[i]]))
        backslashes = places[points[places] == ord("\\")] + 1
        following = points[backslashes[backslashes < len(points)]]
        self.typed_escape |= bool(np.isin(following, list(map(ord, "nrt"))).any())

    def error(self, characters: str, end: bool, names: Callable[[list[Any]], list[str]]) -> ValueError:
        """Make the error for a vocabulary of these characters; `names` gives the names of places."""
        listed = list(self.first)
        places = zip(listed, names(list(self.first.values())), strict=True)
        (head, *tail) = [f"{character!r} at {name}" for character, name in places]
        size = f"{len(characters)} character{'' if len(characters) == 1 else 's'}"
        message = f"{head} is not among the model's {size} ({self._details(listed[0])})"
        if tail:
            others = zip(tail, listed[1:], strict=True)
            message += ", nor " + ", ".join(f"{at} ({self._details(character)})" for at, character in others)
        if len(self.counts) > len(listed):
            message += f", nor {len(self.counts) - len(listed)} others"
        hints = self._hints(characters, end)
        return ValueError("; ".join([message, *hints]))

    def _details(self, character: str) -> str:
        name = CONTROLS.get(character) or unicodedata.name(character, "without a name")
        count = self.counts[character]
        return f"U+{ord(character):04X} {name}, {f'{count:,} times' if count > 1 else 'once'}"

    def _hints(self, characters: str, end: bool) -> list[str]:
        """What may help, in the order of how many characters it may help with."""
        hints = []
        if self.typed_escape:
            hints.append(
                "if '\\n' was typed, it is two characters, a backslash and an n: $'\\n' is a line end in a shell"
            )
        if "\r" in self.counts and ("\n" in characters or "\n" in self.counts):
            hints.append("its line ends are not those of the model's text: replace '\\r\\n' and '\\r' by '\\n'")
        if end and any(line_end in self.counts for line_end in LINE_ENDS):
            hints.append("the model is one of documents: charrnn.documents reads each line as one")
        known = set(characters)
        composed = {point for character in known for point in _decomposed(character)} - known
        if any(character in composed for character in self.counts if unicodedata.combining(character)):
            hints.append("the model's text is composed: unicodedata.normalize('NFC', text) may help")
        decomposed = (set(parts) for character in self.counts if (parts := _decomposed(character)) != character)
        if any(parts <= known for parts in decomposed):
            hints.append("the model's text is decomposed: unicodedata.normalize('NFD', text) may help")
        return hints


def _decomposed(character: str) -> str:
    return unicodedata.normalize("NFD", character)
