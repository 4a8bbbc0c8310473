"""Automata of stops, of least lengths, and of both with a pattern, beside plain definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import automaton
from charrnn.automaton import anything, combined, stop_automaton
from charrnn.sampling.pattern import pattern_automaton

TEXTS = ["".join(text) for n in range(7) for text in itertools.product("ab", repeat=n)]
STOPS = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3)


def symbols(text: str) -> list[int]:
    return ["ab".index(character) for character in text]


def first_stop(text: str, stops: list[str]) -> tuple[int, int] | None:
    """(where it begins, where it ends) of the stop that is complete first, the longest of those."""
    ended = ((end, begin) for end in range(len(text) + 1) for begin in range(end) if text[begin:end] in stops)
    found = min(ended, default=None)
    return None if found is None else found[::-1]


def run(found: automaton.Automaton, text: str) -> int:
    """The state after a text; -1 where it is not allowed."""
    state = 0
    for symbol in symbols(text):
        state = -1 if state < 0 or found.stops[state] else found.next[state, found.classes[symbol]]
    return int(state)


@settings(max_examples=100, deadline=None)
@given(STOPS)
def test_the_first_stop_that_appears_is_found(stops):
    found = stop_automaton([symbols(stop) for stop in stops], 2)
    assert not found.masks
    for text in TEXTS:
        stop, state = first_stop(text, stops), run(found, text)
        if stop is None:
            assert state >= 0 and found.stops[state] == 0 and found.ends[state]
            begun = max(n for n in range(len(text) + 1) if any(s.startswith(text[len(text) - n :]) for s in stops))
            assert found.pending[state] == begun
        elif stop[1] == len(text):
            assert found.stops[state] == stop[1] - stop[0]
        else:
            assert state == -1


@settings(max_examples=100, deadline=None)
@given(
    STOPS,
    st.sampled_from(["", "a*", "(ab)*", "a|b", "(?:a|b)*", "(?!aa)[ab]*", "a+b?", "[ab]{2,4}"]),
    st.integers(0, 3),
)
def test_what_stands_before_a_stop_matches_and_is_long_enough(stops, pattern, min_length):
    whole = pattern_automaton(pattern, "ab")
    found = combined(whole, stop_automaton([symbols(stop) for stop in stops], 2), min_length)

    def may_be(text: str) -> bool:
        return whole.accepts(symbols(text)) and len(text) >= min_length

    if found is None:
        assert not any(may_be(text) and first_stop(text, stops) is None for text in TEXTS)
        return
    assert found.masks == bool(
        min_length or any(not may_be(text) and first_stop(text, stops) is None for text in TEXTS[:63])
    )
    for text in TEXTS:
        stop, state = first_stop(text, stops), run(found, text)
        over = state >= 0 and found.stops[state] > 0
        assert over == (stop is not None and stop[1] == len(text) and may_be(text[: stop[0]]))
        assert (state >= 0 and found.ends[state]) == (stop is None and may_be(text))
        if over:
            assert found.stops[state] == stop[1] - stop[0]


def test_a_length_alone():
    found = combined(anything(2), stop_automaton([], 2), 2)
    assert [found.accepts([0] * n) for n in range(4)] == [False, False, True, True]
    assert found.distance[0] == 2
    assert found.next.shape == (3, 1)


def test_everything_masks_nothing():
    assert not anything(3).masks
    assert not pattern_automaton(r"[\s\S]*", "ab\n").masks
    assert pattern_automaton(r"[\s\S]+", "ab\n").masks


def test_too_many_entries_are_refused(monkeypatch):
    monkeypatch.setattr(automaton, "MAX_ENTRIES", 10)
    with pytest.raises(automaton.TooManyStates, match="^10$"):
        combined(anything(2), stop_automaton([], 2), 10)
    assert combined(anything(2), stop_automaton([], 2), 9) is not None


def test_distances_are_those_of_the_shortest_way():
    found = pattern_automaton("ab(aa|b{5})a*", "ab")
    assert found.distance[0] == 4
    assert found.distance[run(found, "abb")] == 4
    assert np.array_equal(found.distance == 0, found.ends)
