"""Characters that a vocabulary lacks: all of a text are gathered, and one error names them and what may help.

It knows nothing of where a text comes from: whoever reads it names a position.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import numpy as np

#: An error lists at most so many different characters.
MOST_LISTED = 100

LINE_ENDS = ("\n", "\r")


class UnknownCharacters:
    """The unknown characters of a text that is read block by block.

    Attributes
    ----------
    counts : dict of str to int
        How often each occurs, in the order of their first places.
    first : dict of str to int
        The position of each where it occurs first.
    typed_escape : bool
        Whether a backslash is among them, with an "n", "r" or "t" behind it.

    Examples
    --------
    >>> unknown = UnknownCharacters()
    >>> unknown.add(np.array([97, 223, 98, 223]), np.array([False, True, False, True]), 10)
    >>> unknown.counts, unknown.first
    ({'ß': 2}, {'ß': 11})
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.typed_escape = False

    def add(self, points: np.ndarray, unknown: np.ndarray, start: int) -> None:
        """Gather those of a block of code points, which begins at position `start`, that are `unknown`."""
        places = np.flatnonzero(unknown)
        found, index, counts = np.unique(points[places], return_index=True, return_counts=True)
        for i in np.argsort(index).tolist():
            character = chr(found[i])
            self.counts[character] = self.counts.get(character, 0) + int(counts[i])
            self.first.setdefault(character, start + int(places[index[i]]))
        backslashes = places[points[places] == ord("\\")] + 1
        following = points[backslashes[backslashes < len(points)]]
        self.typed_escape |= bool(np.isin(following, list(map(ord, "nrt"))).any())

    def error(self, characters: str, end: bool, place: Callable[[int], str]) -> ValueError:
        """Make the error for a vocabulary of these characters; `place` names a position."""
        listed = list(self.counts)[:MOST_LISTED]
        (head, *tail) = [f"{character!r} at {place(self.first[character])}" for character in listed]
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
        name = unicodedata.name(character, unicodedata.category(character))
        count = self.counts[character]
        return f"U+{ord(character):04X} {name}, {f'{count:,} times' if count > 1 else 'once'}"

    def _hints(self, characters: str, end: bool) -> list[str]:
        """What may help, in the order of how many characters it may help with."""
        hints = []
        if self.typed_escape:
            hints.append("a backslash was typed, and the letter after it: the character that they stand for is another")
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
