"""Scores of whole texts, and what they mean: how many texts are more probable, how many of the model's own are less.

It encodes texts a million characters at a time and adds up what `scoring.blocks` finds; it draws by `sample_many`. It
knows nothing of files and lines.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn import scoring
from charrnn.errors import ArgumentTypeError, choice, flag, integer
from charrnn.text.decoding import code_points

if TYPE_CHECKING:
    from charrnn.language import LanguageModel
    from charrnn.sampling import Rng

#: Characters of texts, and texts, that are encoded and scored at once: a generator may give any number of them.
CHARACTERS_AT_ONCE = 1 << 20
TEXTS_AT_ONCE = 1 << 16

UNKNOWN = ("error", "impossible")


def score(model: LanguageModel, texts: Any, per_char: bool, unknown: str, num_threads: int | None = None) -> Any:
    """See `CharRNN.score`."""
    flag("per_char", per_char)
    choice("unknown", unknown, UNKNOWN)
    if isinstance(texts, (str, bytes, bytearray)):
        return float(score(model, [texts], per_char, unknown, num_threads)[0])
    found = [np.empty(0)]
    batches = enumerate_batches(texts)
    for number, batch in batches:
        points, lengths = _joined(batch, number)
        indices = model.vocabulary.look_up(points)
        impossible = np.zeros(len(batch), bool)
        if indices.min(initial=0) < 0:
            if unknown == "error":
                # Those of a list are all named; a generator may not end.
                rest = batches if hasattr(texts, "__len__") else iter(())
                _raise_unknown(model, chain([(number, batch)], rest))
            impossible[np.repeat(np.arange(len(batch)), lengths)[indices < 0]] = True
            indices = np.maximum(indices, 0)
        scores = _scores(model, indices.astype(model.vocabulary.dtype), lengths, ~impossible, num_threads)
        if per_char:
            predicted = lengths + (1 if model.vocabulary.end is not None else -1)
            scores /= np.maximum(predicted, 1)
        scores[impossible] = -math.inf
        found.append(scores)
    return np.concatenate(found)


def _scores(
    model: LanguageModel, indices: np.ndarray, lengths: np.ndarray, counted: np.ndarray, num_threads: int | None
) -> np.ndarray:
    """The log-probability of each of these texts, whose indices are joined, that is `counted`; 0 of the others."""
    stream, rows = scoring.stream_of(model.vocabulary, indices, lengths)
    scores = np.zeros(len(lengths))
    which = np.flatnonzero(counted)
    for batch, _, losses, counts in scoring.blocks(model, stream, rows[which], num_threads):
        steps = np.arange(len(losses))[:, None]
        scores[which[batch]] -= np.where(steps < counts, losses, 0).sum(0)
    return scores


def enumerate_batches(texts: Any) -> Iterator[tuple[int, list[Any]]]:
    """Yield texts in lists of about CHARACTERS_AT_ONCE, each with the number of its first."""
    number, size, batch = 0, 0, []
    for text in _iterated(texts):
        batch.append(text)
        try:
            size += len(text)
        except TypeError:  # no text at all, which `_joined` says
            pass
        if size >= CHARACTERS_AT_ONCE or len(batch) == TEXTS_AT_ONCE:
            yield number, batch
            number, size, batch = number + len(batch), 0, []
    if batch:
        yield number, batch


def _iterated(texts: Any) -> Iterable[Any]:
    """The texts one by one; an Arrow array, which iterates over objects of its own, some thousands at a time."""
    if hasattr(texts, "to_pylist") and hasattr(texts, "slice"):
        return chain.from_iterable(texts.slice(i, 4096).to_pylist() for i in range(0, len(texts), 4096))
    if not isinstance(texts, Iterable) or isinstance(texts, dict):
        raise ArgumentTypeError("texts", f"must be a text or an iterable of texts, got {type(texts).__name__}")
    return texts


def _joined(texts: list[Any], number: int) -> tuple[np.ndarray, np.ndarray]:
    """The code points of texts one after the other, and the length of each."""
    try:
        joined = "".join(texts)
    except TypeError:
        for i, text in enumerate(texts):
            if isinstance(text, (bytes, bytearray)):
                texts[i] = text.decode("latin-1")
            elif not isinstance(text, str):
                missing = " (a missing value?)" if text is None or text != text else ""
                got = f"{type(text).__name__} at position {number + i}{missing}"
                raise ArgumentTypeError("texts", f"must be str, bytes or an iterable of them, got {got}") from None
        joined = "".join(texts)
    return code_points(joined), np.fromiter(map(len, texts), np.int64, len(texts))


def _raise_unknown(model: LanguageModel, batches: Iterable[tuple[int, list[Any]]]) -> None:
    """Raise the error that names all characters of these texts that the model does not know."""
    bounds: list[tuple[int, int]] = []  # (number, first position) of each text

    def blocks() -> Iterator[np.ndarray]:
        position = 0
        for number, batch in batches:
            points, lengths = _joined(batch, number)
            starts = position + np.cumsum(lengths) - lengths
            bounds.extend(zip(range(number, number + len(batch)), starts.tolist(), strict=True))
            position += len(points)
            yield points

    def place(position: int) -> str:
        index = int(np.searchsorted([start for _, start in bounds], position, "right")) - 1
        number, start = bounds[index]
        return f"position {position - start} of text {number}"

    for _ in model.vocabulary.encode_blocks(blocks(), place):
        pass


class Ranking:
    """What a model draws, by how probable it is: against it the score of a text becomes a rank.

    Dell'Amico and Filippone, "Monte Carlo strength evaluation: fast and reliable password checking" (2015): of n texts
    drawn with probabilities p_i, the number of texts that are more probable than one of probability p is estimated by
    the sum of 1 / (n p_i) over those with p_i > p.

    Parameters
    ----------
    model : CharRNN
        A model of documents.
    samples : int
        n.
    rng : int, numpy.random.Generator or numpy.random.RandomState, optional
    """

    def __init__(self, model: LanguageModel, samples: int, rng: Rng) -> None:
        samples = integer("samples", samples, 1)
        if model.vocabulary.end is None:
            raise ValueError("a rank among texts needs a model of documents, got a model of a text, which has no END")
        drawn = score(model, model.sample_many(samples, rng=rng), False, "error")
        self.scores = np.sort(drawn)[::-1]  # the most probable first
        # Sums over the i most probable ones, i = 0 ... n, of 1 / p and of its square.
        with np.errstate(over="ignore"):
            inverse = np.exp(np.minimum(-self.scores, math.log(sys.float_info.max)))
            self.sums = np.concatenate([[0], np.cumsum(inverse)])
            self.squares = np.concatenate([[0], np.cumsum(inverse**2)])

    def guess_number(self, scores: Any) -> tuple[Any, Any]:
        """The expected number of more probable texts for each score, or for one, and its standard error."""
        n = len(self.scores)
        count = np.searchsorted(-self.scores, -np.asarray(scores), "left")
        mean = self.sums[count] / n
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.sqrt(np.maximum(self.squares[count] / n - mean**2, 0) / max(n - 1, 1))
        impossible = np.isneginf(scores)
        return _like(scores, np.where(impossible, math.inf, mean)), _like(scores, np.where(impossible, math.nan, error))

    def percentile(self, scores: Any) -> Any:
        """The share of the drawn texts that are less probable, for each score, or for one."""
        less = len(self.scores) - np.searchsorted(-self.scores, -np.asarray(scores), "right")
        return _like(scores, less / len(self.scores))


def _like(scores: Any, found: np.ndarray) -> Any:
    return found if np.ndim(scores) else float(found)
