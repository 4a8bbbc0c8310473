"""What is asked of a text while it is drawn and when it is done: stops, lengths, patterns; new, distinct, accepted.

It knows characters and texts; it knows nothing of probabilities, of models and of how text is drawn.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from charrnn.automaton import Automaton, TooManyStates, anything, combined, stop_automaton
from charrnn.errors import ArgumentTypeError, ArgumentValueError
from charrnn.sampling.pattern import pattern_automaton
from charrnn.text.documents import Documents, documents


def checked_stops(name: str, stop: Any) -> tuple[str, ...]:
    """The rule of `stop`: strings, of which none is empty."""
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, (str, bytes, bytearray)) else stop
    if not isinstance(stops, Iterable):
        raise ArgumentTypeError(name, f"must be a str or several, got {type(stop).__name__}")
    texts = []
    for i, text in enumerate(stops):
        if not isinstance(text, (str, bytes, bytearray)):
            raise ArgumentTypeError(name, f"must be a str or several, got {type(text).__name__} at position {i}")
        if not text:
            raise ArgumentValueError(name, f"must not be empty, got {text!r}")
        texts.append(text if isinstance(text, str) else text.decode("latin-1"))
    return tuple(texts)


def checked_pattern(name: str, pattern: Any) -> Any:
    """The rule of `pattern`, as far as it can be known without a vocabulary."""
    source = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
    if source is not None and not isinstance(source, (str, bytes)):
        raise ArgumentTypeError(name, f"must be a regular expression, a str, got {type(pattern).__name__}")
    return pattern


def check_match_fits(pattern: Any, automaton: Automaton | None, length: int | None) -> None:
    """Whether a text of at most `length` characters matches the pattern, where there are both."""
    if pattern is not None and automaton and length is not None and automaton.distance[0] > length:
        shortest = f"{pattern!r}, which takes at least {automaton.distance[0]}"
        raise ArgumentValueError("pattern", f"must match some text of at most {length} characters, got {shortest}")


@lru_cache(maxsize=8)
def automaton_of(
    characters: str, pattern: str | bytes | re.Pattern[Any] | None, stops: tuple[str, ...], min_length: int
) -> Automaton | None:
    """The automaton of what is asked of a text; None where nothing is.

    Raises
    ------
    ValueError
        No text is as it must be, or the automaton would have too many states.
    """
    if pattern is None and not stops and not min_length:
        return None
    index = {character: i for i, character in enumerate(characters)}
    # A stop with another character never appears.
    found = [[index[character] for character in stop] for stop in stops if index.keys() >= set(stop)]
    whole = anything(len(characters)) if pattern is None else pattern_automaton(pattern, characters)
    ends = stop_automaton(found, len(characters))
    if not found and not min_length:
        return whole
    if pattern is None and not min_length:
        return ends
    asked = f"min_length={min_length}" if pattern is None else f"min_length={min_length} and pattern={pattern!r}"
    if stops:
        asked += f" and stop={stops!r}"
    try:
        automaton = combined(whole, ends, min_length)
    except TooManyStates as error:
        raise ArgumentValueError("min_length", f"must need at most {error} states, got {asked}") from None
    if automaton is None:
        raise ValueError(f"pattern, stop and min_length must leave some text, got {asked}")
    return automaton


class Wanted:
    """Which of the texts that are drawn are kept: no two equal, none of those that are known, those that are accepted.

    Parameters
    ----------
    unique : bool
    novel : iterable of str, or a path
        What is known: texts, or a file of documents, a line each.
    accept : callable, optional
    """

    def __init__(self, unique: bool, novel: Any, accept: Callable[[Any], Any] | None) -> None:
        self.known = set() if novel is None else set(_texts(novel))
        self.accept = accept
        self.unique = unique

    def __call__(self, text: str, returned: Any) -> bool:
        """Whether a text, with its prompt, is kept; `accept` is asked of what is returned."""
        if text in self.known or (self.accept is not None and not self.accept(returned)):
            return False
        if self.unique:
            self.known.add(text)
        return True


def _texts(texts: Any) -> Iterator[str]:
    if isinstance(texts, os.PathLike):
        texts = documents(texts)
    if isinstance(texts, Documents):
        yield from (item.text for item in texts.items())
        return
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise ArgumentTypeError("novel", f"must be an iterable of texts or a path, got {type(texts).__name__}")
    lines = isinstance(texts, io.TextIOBase)
    for i, text in enumerate(texts):
        if isinstance(text, tuple) and len(text) == 2:  # with its label
            text = text[1]
        if isinstance(text, (bytes, bytearray)):
            text = text.decode("latin-1")
        if not isinstance(text, str):
            raise ArgumentTypeError(
                "novel", f"must be an iterable of texts or a path, got {type(text).__name__} at position {i}"
            )
        if lines:
            text = text.rstrip("\r\n")
        if text or not lines:
            yield text
