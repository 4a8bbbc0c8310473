"""Where the parallel readers of a batch begin, so that together they read everything once.

The predictions of a text are a line, those of documents in some order are a ring. Either is cut into as many equal
parts as there are readers: so a reader of documents may begin within one, from a zero state, and the reader before it
ends there. No document is read twice, however few and long they are, and no reader waits for another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charrnn.errors import ArgumentValueError, integer
from charrnn.text import corpus

#: Documents that are handled at once.
BLOCK = 1 << 16


@dataclass(frozen=True)
class Readers:
    """Parallel readers: each has `length` inputs, and the symbol after each is its target.

    Attributes
    ----------
    starts : ndarray of int64, shape (batch_size,)
        Where in the stream the first input of each reader is.
    length : int
        The inputs of a reader.
    documents : ndarray of int32 or int64, or None
        Where the documents begin, in the order in which they are read; None for a text. A reader goes on with the next
        one where one has ended, and after the last with the first.
    first : ndarray of int64, shape (batch_size,), or None
        Which of these each reader begins in.
    """

    starts: np.ndarray
    length: int
    documents: np.ndarray | None = None
    first: np.ndarray | None = None


def readers(stream: corpus.Corpus, batch_size: int, rng: np.random.Generator | None = None) -> Readers:
    """Place the parallel readers of a batch.

    The parts that they read are of one length, and overlap by one prediction at most.

    Parameters
    ----------
    stream : Corpus
    batch_size : int
        Number of readers, from 1 to the number of predictions.
    rng : numpy.random.Generator, optional
        Draws the order of documents, and of a weight that is no whole number whether there is one copy more; by default
        they come as they are in the stream.

    Returns
    -------
    Readers

    Examples
    --------
    >>> from charrnn.text.reading import read
    >>> readers(read("hello world"), 3)
    Readers(starts=array([0, 3, 6]), length=4, documents=None, first=None)
    >>> readers(read(["to", "be", "or not"]), 3)
    Readers(starts=array([0, 4, 8]), length=5, documents=array([0, 3, 6], dtype=int32), first=array([0, 1, 2]))
    """
    batch_size = integer("batch_size", batch_size, 1)
    if stream.vocabulary.end is None:
        predictions = stream.num_predictions
        _check_batch_size(batch_size, predictions)
        return Readers(np.arange(batch_size, dtype=np.int64) * predictions // batch_size, -(-predictions // batch_size))
    ends = stream.ends()
    order = _order(stream, rng)
    # Predictions up to the end of each run of documents.
    blocks = [slice(start, start + BLOCK) for start in range(0, len(order), BLOCK)]
    totals = np.cumsum([(ends[order[some] + 1] - ends[order[some]]).sum(dtype=np.int64) for some in blocks])
    predictions = int(totals[-1])
    _check_batch_size(batch_size, predictions)
    places = np.arange(batch_size, dtype=np.int64) * predictions // batch_size
    first, starts = np.empty_like(places), np.empty_like(places)
    for i, some in enumerate(blocks):
        inside = (places >= (totals[i - 1] if i else 0)) & (places < totals[i])
        if inside.any():
            numbers = order[some]
            stops = np.cumsum(ends[numbers + 1] - ends[numbers], dtype=np.int64) + (totals[i - 1] if i else 0)
            found = np.searchsorted(stops, places[inside], "right")
            first[inside] = some.start + found
            starts[inside] = places[inside] - stops[found] + ends[numbers[found] + 1]
    for some in blocks:
        order[some] = ends[order[some]]
    return Readers(starts, -(-predictions // batch_size), order, first)


def _order(stream: corpus.Corpus, rng: np.random.Generator | None) -> np.ndarray:
    """The numbers of the documents in the order of their reading, each as often as it has copies."""
    dtype = np.int32 if len(stream) < 1 << 31 else np.int64
    order = np.arange(stream.num_documents, dtype=dtype)
    if stream.weights is not None:
        copies = np.floor(stream.weights)
        more = stream.weights - copies
        copies += more > (0.5 if rng is None else rng.random(len(more)))
        order = np.repeat(order, copies.astype(np.int64))
        if not len(order):
            raise ArgumentValueError(
                "weights", f"must be numbers of copies, at least 1 in an epoch, got {stream.weights.sum():g} in all"
            )
    if rng is not None:
        rng.shuffle(order)
    return order


def _check_batch_size(batch_size: int, predictions: int) -> None:
    if batch_size > predictions:
        raise ArgumentValueError(
            "batch_size", f"must be from 1 to {predictions}, the number of characters to predict, got {batch_size}"
        )


def document_rows(stream: corpus.Corpus, count: int) -> list[tuple[int, int]]:
    """Cut the stream of documents at special symbols into some `count` rows of about one length.

    Examples
    --------
    >>> from charrnn.text.reading import read
    >>> document_rows(read(["to", "be", "or not"]), 2)
    [(0, 6), (6, 13)]
    """
    ends = stream.ends()
    places = np.arange(count, dtype=np.int64) * stream.num_predictions // count
    cuts = np.unique(ends[np.searchsorted(ends, places, "right") - 1])
    bounds = [*cuts.tolist(), stream.num_predictions]
    return list(zip(bounds[:-1], bounds[1:], strict=True))
