"""The most probable texts, by best-first search over their beginnings.

A beginning is at least as probable as any text that goes on from it, so that beginnings are looked at in the order of
their probability, and a whole text that comes before all beginnings that are left is the next one of the result. Of a
beginning that was looked at only its most probable continuation waits, and takes the next one's place: what is held is
one state for each beginning that was looked at, and not one for each character that may follow.

Memory is bounded: where it is full, the beginnings that are least probable are forgotten, and the search ends where one
of those might come next.
"""

from __future__ import annotations

import heapq
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.automaton import anything
from charrnn.errors import ArgumentValueError, integer
from charrnn.sampling import LENGTH, beginning_of
from charrnn.sampling.steering import automaton_of, check_match_fits, checked_pattern

if TYPE_CHECKING:
    from charrnn.automaton import Automaton
    from charrnn.language import LanguageModel

#: Beginnings that are looked at together, and symbols of the prompt that are read at once.
BATCH = 128
READ_AT_ONCE = 512

#: Bytes that the search takes at most where nothing else is asked for.
MAX_MEMORY = 1 << 30

#: The most characters of a text without END, whose length is a number of states of its automaton.
MOST_LENGTH = 100_000


def most_probable(
    model: LanguageModel,
    n: int,
    prompt: str | bytes,
    length: int | None,
    min_length: int,
    pattern: Any,
    max_memory: int,
) -> list[tuple[Any, float]]:
    """See `CharRNN.most_probable`."""
    n = integer("n", n, 0)
    length = None if length is None else integer("length", length, 0)
    min_length = integer("min_length", min_length, 0)
    max_memory = integer("max_memory", max_memory, 1 << 20)
    if model.vocabulary.end is None:
        length = LENGTH if length is None else length
    if length is not None and min_length > length:
        raise ArgumentValueError("min_length", f"must be at most length, {length}, got {min_length}", "length")
    if model.vocabulary.end is None:  # every text has this length
        min_length = length = integer("length", length, 0, MOST_LENGTH)
    automaton = automaton_of(model.vocabulary.characters, checked_pattern("pattern", pattern), (), min_length)
    if automaton is None:
        automaton = anything(len(model.vocabulary.characters))
    check_match_fits(pattern, automaton, length)
    if n == 0:
        return []
    search = Search(model, beginning_of(model, prompt), length, automaton, max_memory, n)
    found = search.run()
    if len(found) < n and search.forgotten > -math.inf:
        warnings.warn(
            f"{len(found):,} of {n:,} texts were found within max_memory={max_memory:,} bytes; "
            f"those that follow have a log-probability of at most {search.forgotten:.2f}",
            RuntimeWarning,
            stacklevel=3,
        )
    texts = [(model.vocabulary.decode(symbols), log_prob) for symbols, log_prob in found]
    return [(text.encode("latin-1") if isinstance(prompt, bytes) else text, log_prob) for text, log_prob in texts]


class Search:
    """Beginnings that were looked at, and what waits: beginnings that were not, and whole texts.

    A place is a beginning that was looked at: its symbols, the state after them, and the characters that may follow,
    the most probable first. In the heap wait (cost, number, place, rank), the character of this rank after the text of
    a place, and (cost, number, -1, text), a whole text; the cost is the negative log-probability, and the number keeps
    equals in their order.

    Attributes
    ----------
    forgotten : float
        The largest log-probability of what was forgotten for want of memory.
    """

    def __init__(
        self,
        model: LanguageModel,
        beginning: np.ndarray,
        length: int | None,
        automaton: Automaton,
        max_memory: int,
        n: int,
    ) -> None:
        self.model, self.length, self.automaton, self.n = model, length, automaton, n
        self.forgotten = -math.inf
        self.waiting: list[tuple[float, int, int, Any]] = []
        self.number = 0
        self.best: list[float] = []  # the log-probabilities of the n most probable whole texts so far, the least first
        log_probs, states = first_step(model, beginning)
        num_characters = len(model.vocabulary.characters)
        # Its arrays, its entry in the heap and its symbols.
        per_place = sum(state[0].nbytes for state in states) + num_characters * (4 + 8) + 500
        self.capacity = max(max_memory // per_place, 4 * BATCH)
        self.free: list[int] = []
        self.states = [np.empty((0, *state.shape[1:]), state.dtype) for state in states]
        self.order = np.empty((0, num_characters), np.int32)
        self.costs = np.empty((0, num_characters))
        self.texts: list[tuple[int, ...]] = []
        self.followed: list[int] = []  # the automaton's state
        if model.vocabulary.end is None and length == 0:
            self.add_whole((), 0.0)
        else:
            self.look_at([()], np.zeros(1), np.zeros(1, np.intp), log_probs, states)

    def run(self) -> list[tuple[tuple[int, ...], float]]:
        """The n most probable texts; fewer where there are no more, or where one that was forgotten might be next."""
        found: list[tuple[tuple[int, ...], float]] = []
        while len(found) < self.n and self.waiting and -self.waiting[0][0] > self.forgotten:
            if self.waiting[0][2] < 0:
                cost, _, _, text = heapq.heappop(self.waiting)
                found.append((text, -cost))
                continue
            self.look_further()
        return found

    def look_further(self) -> None:
        """Look at the beginnings that are the most probable ones now."""
        texts: list[tuple[int, ...]] = []
        costs, places, symbols, whole, empty = [], [], [], [], []
        while self.waiting and len(texts) < BATCH and -self.waiting[0][0] > self.forgotten:
            entry = heapq.heappop(self.waiting)
            cost, _, place, rank = entry
            if place < 0:
                whole.append(entry)
                continue
            symbols.append(int(self.order[place, rank]))
            texts.append((*self.texts[place], symbols[-1]))
            costs.append(cost)
            places.append(place)
            if not self.wait_for(place, rank + 1, cost - float(self.costs[place, rank])):
                empty.append(place)
        for entry in whole:
            heapq.heappush(self.waiting, entry)
        states = [state[places] for state in self.states]
        followed = self.automaton.next[[self.followed[place] for place in places], self.automaton.classes[symbols]]
        self.free += empty
        log_probs, states = next_step(self.model, np.array(symbols, np.int32), states)
        self.look_at(texts, np.array(costs), followed, log_probs, states)

    def look_at(
        self,
        texts: list[tuple[int, ...]],
        costs: np.ndarray,
        followed: np.ndarray,
        log_probs: np.ndarray,
        states: list[np.ndarray],
    ) -> None:
        """Let whole texts wait, and what may follow the others."""
        end, automaton, num_characters = self.model.vocabulary.end, self.automaton, self.order.shape[1]
        if end is not None:
            for i in np.flatnonzero(automaton.ends[followed]).tolist():
                self.add_whole(texts[i], float(costs[i] - log_probs[i, end]))
        after = automaton.next[followed][:, automaton.classes]
        allowed = after >= 0
        if self.length is not None:
            size = np.array([len(text) for text in texts])[:, None]
            allowed &= size + 1 + automaton.distance[after] <= self.length
        following = np.where(allowed, -log_probs[:, :num_characters], np.inf)
        order = np.argsort(following, axis=1, kind="stable")
        following = np.take_along_axis(following, order, axis=1)
        for i in np.flatnonzero(allowed.any(axis=1)).tolist():
            if end is None and len(texts[i]) + 1 == self.length:
                for symbol, cost in zip(order[i].tolist(), (costs[i] + following[i]).tolist(), strict=True):
                    if not self.add_whole((*texts[i], symbol), cost):
                        break
                continue
            place = self.new_place()
            self.order[place], self.costs[place] = order[i], following[i]
            self.texts[place], self.followed[place] = texts[i], int(followed[i])
            for pool, state in zip(self.states, states, strict=True):
                pool[place] = state[i]
            if not self.wait_for(place, 0, float(costs[i])):
                self.free.append(place)

    def add_whole(self, text: tuple[int, ...], cost: float) -> bool:
        """Let a whole text wait, unless n are more probable."""
        if cost == math.inf or (len(self.best) == self.n and cost >= -self.best[0]):
            return False
        heapq.heappush(self.best, -cost)
        if len(self.best) > self.n:
            heapq.heappop(self.best)
        self.push(cost, -1, text)
        return True

    def wait_for(self, place: int, rank: int, cost: float) -> bool:
        """Let the character of this rank wait after the text of a place, unless n texts are more probable."""
        if rank == self.order.shape[1]:
            return False
        cost += float(self.costs[place, rank])
        if cost == math.inf or (len(self.best) == self.n and cost >= -self.best[0]):
            return False
        self.push(cost, place, rank)
        return True

    def push(self, cost: float, place: int, what: Any) -> None:
        self.number += 1
        heapq.heappush(self.waiting, (cost, self.number, place, what))

    def new_place(self) -> int:
        """A place that is free: made, or of what is forgotten."""
        if not self.free and len(self.texts) >= self.capacity:
            self.forget()
        if not self.free:
            size = min(max(2 * len(self.texts), BATCH), self.capacity)
            self.free = list(range(size - 1, len(self.texts) - 1, -1))
            grow = size - len(self.texts)
            self.order, self.costs = grown(self.order, grow), grown(self.costs, grow)
            self.states = [grown(pool, grow) for pool in self.states]
            self.texts += [()] * grow
            self.followed += [0] * grow
        return self.free.pop()

    def forget(self) -> None:
        """Forget the less probable half of the beginnings that wait."""
        beginnings = sorted(entry for entry in self.waiting if entry[2] >= 0)
        dropped = beginnings[len(beginnings) // 2 :]
        if dropped:
            self.forgotten = max(self.forgotten, -dropped[0][0])
        self.free = [place for _, _, place, _ in dropped]
        self.waiting = beginnings[: len(beginnings) // 2] + [entry for entry in self.waiting if entry[2] < 0]
        heapq.heapify(self.waiting)


def grown(array: np.ndarray, rows: int) -> np.ndarray:
    """An array with so many rows more."""
    return np.concatenate([array, np.empty((rows, *array.shape[1:]), array.dtype)])


# What a step of a model gives: the log-probabilities of what follows (B, V), and the states of its networks (B, ...)


def first_step(model: LanguageModel, beginning: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """After the symbols of a beginning, (1, V) and (1, ...)."""
    logits, states = [], []
    for _, network in model._components():
        state = np.zeros(network._network.state_shape(1), network.dtype)
        last = network.state_dict()["head.bias"]  # the state is zero where nothing is read
        for at in range(0, len(beginning), READ_AT_ONCE):
            found, state = network.forward(beginning[at : at + READ_AT_ONCE, None], state)
            last = found[-1, 0]
        logits.append(last[None])
        states.append(np.moveaxis(state, -2, 0))
    return mean_log_probs(model, logits), states


def next_step(
    model: LanguageModel, symbols: np.ndarray, states: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """After one symbol more of each row (B,)."""
    steps = [
        network.forward(symbols[None], np.moveaxis(state, 0, -2))
        for (_, network), state in zip(model._components(), states, strict=True)
    ]
    return mean_log_probs(model, [logits[0] for logits, _ in steps]), [np.moveaxis(state, -2, 0) for _, state in steps]


def mean_log_probs(model: LanguageModel, logits: list[np.ndarray]) -> np.ndarray:
    """log of the weighted mean of the networks' probabilities."""
    weighted = [
        math.log(weight) + log_softmax(each) for (weight, _), each in zip(model._components(), logits, strict=True)
    ]
    mean: np.ndarray = np.logaddexp.reduce(weighted)
    return mean


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
