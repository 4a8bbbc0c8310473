"""Which part of a corpus is validated with: of a text the last part, of documents a choice by hash.

The choice is one of texts, not of places: equal documents fall on the same side, and their order means nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from charrnn.errors import ArgumentValueError, number
from charrnn.text.corpus import BLOCK, Corpus, groups

#: A choice of whole documents may miss the share that was asked for, or what it leaves, by the first factor. Beyond it
#: a document is cut in two, if it is long enough. Beyond the second factor the choice is refused.
CUT_FACTOR, REFUSED_FACTOR = 2.0, 4.0
#: Characters that either part of a document that is cut must have.
LEAST_PART = 50

#: The ratio of the powers that tell the places of characters apart: odd, and so with an inverse modulo 2^64.
RATIO = 0xD1342543DE82EF95

_BITS = 16


def split(corpus: Corpus, val_fraction: float, seed: int = 0) -> tuple[Corpus, Corpus | None]:
    """Take a part away for validation.

    Parameters
    ----------
    corpus : Corpus
        Of documents, the corpus is used up: its documents change their places.
    val_fraction : float
        The part of the symbols to validate on, at least 0 and below 1. Of a text it is the last part. Of documents it
        is those with the lowest hashes, as near to that as whole documents come; if that is far from it the next one
        is cut, and its end is validated.
    seed : int, default 0
        Of the hashes.

    Returns
    -------
    train : Corpus
        This corpus itself where `val_fraction` is 0.
    val : Corpus or None
        None where `val_fraction` is 0.

    Raises
    ------
    ValueError
        If either part would have fewer than 2 symbols or no document, or if no choice comes near `val_fraction`.

    Examples
    --------
    >>> from charrnn.text.reading import read
    >>> train, val = split(read("hello world"), 0.2)
    >>> train.vocabulary.decode(train.indices()), val.vocabulary.decode(val.indices())
    ('hello wo', 'rld')
    """
    val_fraction = number("val_fraction", val_fraction, 0, 1, below=True)
    if val_fraction == 0:
        return corpus, None
    if corpus.vocabulary.end is None:
        cut = int(len(corpus) * (1 - val_fraction))
        if min(cut, len(corpus) - cut) < 2:
            raise ArgumentValueError(
                "val_fraction",
                "must leave at least 2 characters to train on and 2 to "
                f"validate on, got {val_fraction} of {len(corpus)}",
            )
        return tuple(  # type: ignore[return-value]
            corpus.part(codes) for codes in (corpus.codes[:cut], corpus.codes[cut:])
        )
    ends = corpus.ends()
    return _part(corpus, ends, _choose(corpus, ends, val_fraction, seed))


def joined(train: Corpus, val: Corpus) -> Corpus:
    """Put together what was split; of documents in the order that the split has brought.

    Examples
    --------
    >>> from charrnn.text.reading import read
    >>> whole = joined(*split(read("hello world"), 0.2))
    >>> whole.vocabulary.decode(whole.indices())
    'hello world'
    """
    documents = train.vocabulary.end is not None
    # The END of the last document takes the first place of the next one, where a label may stand.
    codes = np.concatenate([train.codes[:-1] if documents else train.codes, val.codes])
    weights = None
    if train.weights is not None and val.weights is not None:
        weights = np.concatenate([train.weights, val.weights])
    return train.part(codes, weights)


def known_places(train: Corpus, val: Corpus) -> np.ndarray | None:
    """Which symbols of the part to validate on can be told from the other part: not those that it lacks, nor documents
    that have any of them. None for all of them, and where there would be none.

    Examples
    --------
    >>> from charrnn.text.reading import read
    >>> known_places(*split(read("to be or"), 0.4))
    array([False,  True,  True, False])
    """
    vocabulary = train.vocabulary
    found = np.zeros(len(vocabulary) + len(vocabulary.labels), bool)
    if vocabulary.end is not None:
        found[vocabulary.end :] = True
    for start in range(0, len(train), BLOCK):
        found[train.indices(start, start + BLOCK)] = True
        if found.all():
            return None
        train.forget()
    known: np.ndarray = found[val.indices()]
    if vocabulary.end is not None:
        ends = val.ends()
        whole = np.logical_and.reduceat(known, ends[:-1])
        known[1:] = np.repeat(whole, np.diff(ends))
    return known if known[1:].any() else None


class _Choice(NamedTuple):
    """Which documents are validated with, and those of which only the last `tail` characters are."""

    whole: np.ndarray  # bool, (num_documents,)
    cut: np.ndarray  # numbers of documents
    tail: int


def _choose(corpus: Corpus, ends: np.ndarray, val_fraction: float, seed: int) -> _Choice:
    hashes = _hashes(corpus, ends, seed)
    # By the upper bits first: to sort all of them would take more memory than anything else.
    sums = np.zeros(1 << _BITS)
    for some in _slices(len(hashes)):
        sums += np.bincount(hashes[some] >> _BITS, weights=_sizes(corpus, ends, some), minlength=len(sums))
    below = np.cumsum(sums)
    total = float(below[-1])
    target = val_fraction * total
    crossing = int(np.searchsorted(below, target, "right"))
    inside = np.concatenate(
        [some.start + np.flatnonzero(hashes[some] >> _BITS == crossing) for some in _slices(len(hashes))]
    )
    groups, group_of = np.unique(hashes[inside], return_inverse=True)
    sizes = np.bincount(group_of, weights=_sizes(corpus, ends, inside))
    totals = np.cumsum(np.append(below[crossing - 1] if crossing else 0.0, sizes))
    # The group with which the share becomes at least what was asked for, the share without it and with it.
    critical = int(np.searchsorted(totals[1:], target, "left"))
    without, within = totals[critical : critical + 2].tolist()

    def missed_by(share: float) -> float:
        pairs = (share, target), (total - share, total - target)
        return max(max(a / b, b / a) if a > 0 else np.inf for a, b in pairs)

    factor, limit = min((missed_by(without), groups[critical]), (missed_by(within), groups[critical] + np.uint64(1)))
    cut = inside[group_of == critical]
    length = int(ends[cut[0] + 1] - ends[cut[0]]) - 1
    tail = round((target - without) / sizes[critical] * length)
    if factor > CUT_FACTOR and min(tail, length - tail) >= LEAST_PART:
        return _Choice(hashes < groups[critical], cut, tail)
    if factor > REFUSED_FACTOR:
        raise ArgumentValueError(
            "val_fraction",
            f"must be near to what whole documents make up, as {without / total:.2g} or "
            f"{within / total:.2g}, got {val_fraction:g}",
        )
    return _Choice(hashes < limit, inside[:0], 0)


def _sizes(corpus: Corpus, ends: np.ndarray, documents: slice | np.ndarray) -> np.ndarray:
    """How much these documents count for: their predictions, in all their copies."""
    if isinstance(documents, slice):
        lengths = np.diff(ends[documents.start : documents.stop + 1])
    else:
        lengths = ends[documents + 1] - ends[documents]
    return lengths if corpus.weights is None else lengths * corpus.weights[documents]


def _slices(count: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def _hashes(corpus: Corpus, ends: np.ndarray, seed: int) -> np.ndarray:
    """A number of 32 bits for each document, which depends on its label, its characters and the seed alone.

    It is a polynomial in RATIO, whose coefficients are hashes of the code points, modulo 2^64.
    """
    vocabulary = corpus.vocabulary
    offset = np.uint64(seed % 2**64)
    coefficients = _mixed(_mixed(vocabulary.points.astype(np.uint64)) + offset)
    for i, label in enumerate(vocabulary.labels):
        coefficients[len(vocabulary) + i] = zlib.crc32(label.encode("utf-8", "surrogatepass"))
    powers, inverses = (np.full(BLOCK, ratio, np.uint64) for ratio in (RATIO, pow(RATIO, -1, 2**64)))
    for factors in (powers, inverses):
        factors[0] = 1
        np.multiply.accumulate(factors, out=factors)
    hashes = np.empty(len(ends) - 1, np.uint32)
    for first, last in groups(ends):
        sums = np.zeros(last - first, np.uint64)
        shift = 1
        for start in range(ends[first], ends[last], BLOCK):
            terms = (
                coefficients.take(corpus.indices(start, min(start + BLOCK, ends[last]))) * powers[: ends[last] - start]
            )
            starts = ends[first:last] - ends[first] if last > first + 1 else np.zeros(1, np.int64)
            sums += np.add.reduceat(terms, starts) * inverses[starts] * np.uint64(shift)
            shift = shift * pow(RATIO, BLOCK, 2**64) % 2**64
        hashes[first:last] = _mixed(sums) >> np.uint64(32)
    return hashes


def _mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64: each bit of the result depends on each of x (Steele, Lea, Flood, 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def _runs(ends: np.ndarray, alone: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield `groups`, in which some documents stand alone."""
    for first, last in groups(ends):
        inside = alone[(alone >= first) & (alone < last)]
        yield from pairwise(np.unique([first, *inside, *(inside + 1), last]).tolist())


def _part(corpus: Corpus, ends: np.ndarray, choice: _Choice) -> tuple[Corpus, Corpus]:
    """The documents that are trained on, moved together where they are, and a copy of the others."""
    codes = corpus.codes if corpus.codes.flags.writeable else corpus.codes.copy()
    validated: list[np.ndarray] = []
    filled = 0

    def keep(start: int, stop: int) -> None:
        nonlocal filled
        for at in range(start, stop, BLOCK):
            part = codes[at : min(at + BLOCK, stop)].copy()
            codes[filled : filled + len(part)] = part
            filled += len(part)

    cut = set(choice.cut.tolist())
    for first, last in _runs(ends, choice.cut):
        start, stop = int(ends[first]), int(ends[last])
        whole = choice.whole[first:last]
        if last == first + 1 and first in cut:
            validated += [codes[start : start + 1].copy(), codes[stop - choice.tail : stop].copy()]
            keep(start, stop - choice.tail)
        elif not whole.any():
            keep(start, stop)
        elif whole.all():
            validated.append(codes[start:stop].copy())
        else:
            mask = np.repeat(whole, np.diff(ends[first : last + 1]))
            block = codes[start:stop]
            validated.append(block[mask])
            rest = block[~mask]
            codes[filled : filled + len(rest)] = rest
            filled += len(rest)
    end = np.array([corpus.vocabulary.end], codes.dtype)
    codes[filled : filled + 1] = end
    train, val = codes[: filled + 1], np.concatenate([*validated, end])
    if corpus.weights is None:
        return corpus.part(train), corpus.part(val)
    in_val = choice.whole.copy()
    in_val[choice.cut] = True
    return corpus.part(train, corpus.weights[~choice.whole]), corpus.part(val, corpus.weights[in_val])
