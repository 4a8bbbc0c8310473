"""Smoothing: some targets are borrowed from other places of the text where the same few characters precede.

A network that sees little text learns by heart which character follows where. So at some places, others each epoch, it
is shown what followed the same context elsewhere: a draw from the interpolated n-gram model of Witten and Bell that
counts all places but this one. Where a context was often followed by many a character the targets say so, where it
stands alone they come from a shorter one. It is for networks what interpolation is for n-grams (Xie et al., 2017).

It knows the stream and nothing of how it is read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from charrnn.text.corpus import Corpus

#: Characters of the longest context.
LONGEST = 4
#: What it takes to borrow targets, for each symbol of the stream.
BYTES_PER_SYMBOL = 16 * (LONGEST + 1) + 64


class _Places(NamedTuple):
    """Where contexts of one length stand, int32 of one element for each symbol of the stream but the first."""

    members: np.ndarray  # the places, those with the same context side by side
    begin: np.ndarray  # of the places with this one's context, in members
    own: np.ndarray  # this place among them, counted from begin
    others: np.ndarray  # how many other places have it
    kinds: np.ndarray  # how many different symbols follow it there


class Smoothing:
    """Targets for a stream, some of them borrowed.

    Parameters
    ----------
    stream : Corpus
    probability : float
        With which a target is drawn from other places.

    Examples
    --------
    >>> from charrnn.text import reading
    >>> stream = reading.read(["anna", "hannah", "nan"])
    >>> targets = Smoothing(stream, 0.5).targets(np.random.default_rng(0))
    >>> len(targets) == len(stream)
    True
    """

    def __init__(self, stream: Corpus, probability: float) -> None:
        self.codes = stream.codes
        self.probability = probability
        symbols = stream.indices().astype(np.int64)
        kinds = len(stream.vocabulary) + len(stream.vocabulary.labels)
        ends, targets = np.zeros(len(symbols), bool), symbols[1:]
        if stream.vocabulary.end is not None:
            ends = symbols >= stream.vocabulary.end
            targets = np.minimum(targets, stream.vocabulary.end)  # a label is END where it is predicted
        self.levels = []
        context = np.zeros(len(symbols) - 1, np.int64)  # of each target, the number of what precedes it
        for length in range(LONGEST + 1):
            if length:
                longer = np.append(length == 1, context[:-1] + 1)
                longer[ends[:-1]] = 0  # nothing before a document has a say in it
                context = _numbered(longer * kinds + symbols[:-1])
            self.levels.append(_places(context, targets, kinds))
        self.first_of_kind = np.unique(targets, return_index=True)[1] + 1

    def targets(self, rng: np.random.Generator) -> np.ndarray:
        """Codes like those of the stream, in which some are replaced, as `rng` draws."""
        borrowing = np.flatnonzero(rng.random(len(self.codes) - 1) < self.probability)
        sources = rng.choice(self.first_of_kind, len(borrowing))
        searching = np.arange(len(borrowing))
        for level in reversed(self.levels):
            at = borrowing[searching]
            others = level.others[at]
            found = rng.random(len(at)) * (others + level.kinds[at]) < others
            at = at[found]
            chosen = (rng.random(len(at)) * level.others[at]).astype(np.int64)
            chosen += chosen >= level.own[at]
            sources[searching[found]] = level.members[level.begin[at] + chosen] + 1
            searching = searching[~found]
        targets = self.codes.copy()
        targets[borrowing + 1] = self.codes[sources]
        return targets


def _numbered(keys: np.ndarray) -> np.ndarray:
    return np.unique(keys, return_inverse=True)[1]


def _places(context: np.ndarray, symbols: np.ndarray, kinds: int) -> _Places:
    members = np.argsort(context, kind="stable")
    counts = np.bincount(context)
    begins = np.append(0, np.cumsum(counts)[:-1])
    own = np.empty(len(context), np.int32)
    own[members] = np.arange(len(context)) - np.repeat(begins, counts)
    pairs, pair, times = np.unique(context * kinds + symbols, return_inverse=True, return_counts=True)
    kinds_of = np.bincount(pairs // kinds)
    return _Places(
        members.astype(np.int32),
        begins[context].astype(np.int32),
        own,
        (counts[context] - 1).astype(np.int32),
        # Without this place its symbol may not be among them.
        (kinds_of[context] - (times[pair] == 1)).astype(np.int32),
    )
