"""Deterministic automata that follow a text while it is drawn: what may come next, and where the text may end.

It knows symbols by their numbers and states by theirs; it knows nothing of expressions, models and probabilities.

Shapes: V symbols (END not among them), C classes of symbols that every state treats alike, S states, of which the text
begins in 0.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

State = TypeVar("State", bound=Hashable)

#: States, and states times classes, that an automaton may have: some seconds of work and 40 MB.
MAX_STATES = 100_000
MAX_ENTRIES = 10_000_000


class TooManyStates(ValueError):
    """An automaton would have more states than are allowed."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """What leads where. From each of its states a place can be reached where the text may end.

    Attributes
    ----------
    classes : ndarray of int32, (V,)
        The class of each symbol.
    next : ndarray of int32, (S, C)
        The state that follows; -1 where no symbol of the class may come.
    ends : ndarray of bool, (S,)
        Whether the text may end here.
    stops : ndarray of int32, (S,)
        Where a stop has just been completed, and the text is therefore over, the symbols of it; else 0.
    pending : ndarray of int32, (S,)
        Symbols, the last ones, that may be the beginning of a stop.
    distance : ndarray of int32, (S,)
        The fewest symbols from here to a place where the text may end, or is over.
    """

    classes: np.ndarray
    next: np.ndarray
    ends: np.ndarray
    stops: np.ndarray
    pending: np.ndarray
    distance: np.ndarray

    @classmethod
    def of(
        cls,
        classes: Sequence[int],
        table: Sequence[Sequence[int]],
        ends: Sequence[bool],
        stops: Sequence[int] | None = None,
        pending: Sequence[int] | None = None,
    ) -> Automaton | None:
        """The automaton without the states from which no end can be reached; None where that is all of them."""
        arrows = np.array(table, np.int32).reshape(len(ends), -1)
        over = np.zeros(len(ends), np.int32) if stops is None else np.array(stops, np.int32)
        begun = np.zeros(len(ends), np.int32) if pending is None else np.array(pending, np.int32)
        may_end = np.array(ends, bool)
        distance = _distances(arrows, may_end | (over > 0))
        kept = np.flatnonzero(distance >= 0)
        if distance[0] < 0:
            return None
        # The last entry is where -1 is looked up.
        number = np.full(len(ends) + 1, -1, np.int32)
        number[kept] = np.arange(len(kept))
        return cls(
            np.array(classes, np.int32), number[arrows[kept]], may_end[kept], over[kept], begun[kept], distance[kept]
        )

    @property
    def masks(self) -> bool:
        """Whether there is a place where a symbol, or the end, is not allowed; else it only finds the stops."""
        going_on = self.stops == 0
        return bool((self.next[going_on] < 0).any() or not self.ends[going_on].all())

    def accepts(self, symbols: Iterable[int]) -> bool:
        """Whether a text of these symbols may end."""
        state = 0
        for symbol in symbols:
            if state < 0 or self.stops[state]:
                return False
            state = int(self.next[state, self.classes[symbol]])
        return state >= 0 and bool(self.ends[state])


def _distances(arrows: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """The fewest steps from each state to one of the goals; -1 where none leads there."""
    distance = np.where(goals, 0, -1).astype(np.int32)
    sources, columns = np.nonzero(arrows >= 0)
    targets = arrows[sources, columns]
    order = np.argsort(targets, kind="stable")
    sources, starts = sources[order], np.searchsorted(targets[order], np.arange(len(arrows) + 1))
    waiting = np.flatnonzero(goals).tolist()
    for state in waiting:
        for source in sources[starts[state] : starts[state + 1]].tolist():
            if distance[source] < 0:
                distance[source] = distance[state] + 1
                waiting.append(source)
    return distance


def explored(
    classes: Sequence[int],
    initial: State,
    successors: Callable[[State], Iterable[tuple[int, State]]],
    describe: Callable[[State], tuple[bool, int, int]],
) -> Automaton | None:
    """The automaton of the states that can be reached from an initial one; None where none of them can end.

    Parameters
    ----------
    classes : sequence of int, (V,)
    initial : hashable
        Whatever tells one state from another.
    successors : callable
        Of a state, the classes that may come and the states that they lead to.
    describe : callable
        Of a state, its `ends`, `stops` and `pending`.

    Raises
    ------
    TooManyStates
    """
    num_classes = max(classes) + 1
    number = {initial: 0}
    states, table, described = [initial], [], []
    for state in states:
        row = [-1] * num_classes
        for c, after in successors(state):
            if after not in number:
                if len(number) == MAX_STATES or (len(number) + 1) * num_classes > MAX_ENTRIES:
                    raise TooManyStates(f"{len(number):,}")
                number[after] = len(number)
                states.append(after)
            row[c] = number[after]
        table.append(row)
        described.append(describe(state))
    ends, stops, pending = zip(*described, strict=True)
    return Automaton.of(classes, table, ends, stops, pending)


def stop_automaton(stops: Sequence[Sequence[int]], num_symbols: int) -> Automaton:
    """The automaton that finds the first of several strings of symbols that appears, the longest of those that end
    together (Aho, Corasick, "Efficient string matching", 1975).

    Examples
    --------
    >>> automaton = stop_automaton([[0, 1], [2]], num_symbols=4)
    >>> automaton.next[:, automaton.classes].tolist()
    [[1, 0, 2, 0], [1, 3, 2, 0], [-1, -1, -1, -1], [-1, -1, -1, -1]]
    >>> automaton.stops.tolist()
    [0, 0, 1, 2]
    """
    used = sorted({symbol for stop in stops for symbol in stop})
    classes = np.full(num_symbols, len(used), np.int32)
    classes[used] = np.arange(len(used))
    wanted = {tuple(classes[list(stop)].tolist()) for stop in stops}
    beginnings = {()} | {stop[:n] for stop in wanted for n in range(len(stop) + 1)}

    def ended(state: tuple[int, ...]) -> int:
        return next((len(state) - n for n in range(len(state)) if state[n:] in wanted), 0)

    def successors(state: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
        """A state is the longest beginning of a stop with which the text ends."""
        for c in range(int(classes.max()) + 1) if not ended(state) else ():
            after = (*state, c)
            while after not in beginnings:
                after = after[1:]
            yield c, after

    def describe(state: tuple[int, ...]) -> tuple[bool, int, int]:
        return not ended(state), ended(state), 0 if ended(state) else len(state)

    nothing: tuple[int, ...] = ()
    automaton = explored(classes.tolist(), nothing, successors, describe)
    assert automaton is not None  # whatever the stops are, the empty text may end
    return automaton


def anything(num_symbols: int) -> Automaton:
    """The automaton of all texts."""
    automaton = Automaton.of([0] * num_symbols, [[0]], [True])
    assert automaton is not None
    return automaton


def combined(pattern: Automaton, stops: Automaton, min_length: int) -> Automaton | None:
    """The automaton of texts of at least so many symbols that a pattern matches, each followed by its end or a stop.

    A text ends before the first stop that appears, and it is that text which must match and be long enough. Where a
    stop may have begun, a state therefore remembers of each place since then whether the text might end there.
    """
    pairs: dict[tuple[int, int], int] = {}
    classes = [
        pairs.setdefault(pair, len(pairs))
        for pair in zip(pattern.classes.tolist(), stops.classes.tolist(), strict=True)
    ]
    enough = min_length + int(stops.stops.max())  # symbols, with those of a stop
    matches, finds = pattern.next.tolist(), stops.next.tolist()
    ends, found, pending = pattern.ends.tolist(), stops.stops.tolist(), stops.pending.tolist()

    def may_end(p: int, n: int) -> bool:
        return p >= 0 and bool(ends[p]) and n >= min_length

    def successors(state: tuple[int, int, int, tuple[bool, ...]]) -> Iterator[tuple[int, Any]]:
        p, k, n, before = state
        history = (*before, may_end(p, n))
        for (cp, ck), c in pairs.items() if not found[k] else ():
            after_p, after_k = matches[p][cp] if p >= 0 else -1, finds[k][ck]
            if found[after_k]:
                if history[-found[after_k]]:
                    yield c, (-1, after_k, enough, ())
                continue
            still = history[len(history) - pending[after_k] :]
            if after_p >= 0 or any(still):
                yield c, (after_p, after_k, min(n + 1, enough), still)

    def describe(state: tuple[int, int, int, tuple[bool, ...]]) -> tuple[bool, int, int]:
        p, k, n, _ = state
        return not found[k] and may_end(p, n), found[k], pending[k]

    return explored(classes, (0, 0, 0, ()), successors, describe)
