"""Where the parallel readers of a batch stand in a stream of symbols."""

from __future__ import annotations

import operator

import numpy as np

from charrnn.text import corpus


def streams(stream: corpus.Corpus, batch_size: int) -> tuple[np.ndarray, int]:
    """Place the parallel readers of a batch, so that together they read every prediction.

    Reader b has the inputs from `starts[b]` on, `length` of them, and the targets one later. In a text
    the readers lie evenly, and overlap by one prediction at most. In documents each starts at the END at
    or before that place, and reads on at the beginning from the last symbol, which is END as well: input
    p is the symbol at p modulo `num_predictions`.

    Parameters
    ----------
    batch_size : int
        Number of readers, from 1 to `num_predictions`.

    Returns
    -------
    starts : ndarray of int64, shape (batch_size,)
    length : int

    Examples
    --------
    >>> streams(corpus.read("hello world"), 3)
    (array([0, 3, 6]), 4)
    >>> streams(corpus.read(["to", "be", "or not"]), 3)
    (array([0, 3, 6]), 7)
    """
    try:
        batch_size = operator.index(batch_size)
    except TypeError:
        raise TypeError(f"batch_size must be an int, got {type(batch_size).__name__}") from None
    predictions = stream.num_predictions
    if not 1 <= batch_size <= predictions:
        raise ValueError(
            f"batch_size must be from 1 to {predictions}, the number of characters to predict, got {batch_size}"
        )
    starts = np.arange(batch_size, dtype=np.int64) * predictions // batch_size
    if stream.vocabulary.end is None:
        return starts, -(-predictions // batch_size)
    starts = stream.ends[np.searchsorted(stream.ends, starts, "right") - 1]
    return starts, int(np.diff(starts, append=predictions).max())
