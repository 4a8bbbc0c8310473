"""Scoring: how probable a model finds a text.

There is one loop, `losses`, which reads rows of a stream side by side; all else here chooses rows and adds up. It
knows what a text is, but nothing of training or drawing.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.text import corpus
from charrnn.text.batching import streams
from charrnn.text.decoding import code_point_blocks, gathered

if TYPE_CHECKING:
    from charrnn.model import CharRNN

# Rows that are scored side by side, and steps of them that are scored in one call.
ROWS = 64
STEPS = 128

# Characters that a row of the validation part reads before those that count.
WARM_UP = 256


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts a text.

    Attributes
    ----------
    loss : float
        Mean negative log-probability of a character, in nats.
    num_chars : int
        Characters predicted (of documents: and ENDs).

    Examples
    --------
    >>> charrnn.Evaluation(loss=math.log(2), num_chars=10)
    Evaluation(loss=0.6931, bits_per_char=1.0000, perplexity=2.0000, num_chars=10)
    """

    loss: float
    num_chars: int

    @property
    def bits_per_char(self) -> float:
        """The loss in bits: loss / ln 2."""
        return self.loss / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(loss): from how many equally probable characters the model seems to choose."""
        return math.exp(self.loss) if self.loss < 709 else math.inf

    def __repr__(self) -> str:
        return (
            f"Evaluation(loss={self.loss:.4f}, bits_per_char={self.bits_per_char:.4f}, "
            f"perplexity={self.perplexity:.4f}, num_chars={self.num_chars})"
        )


def evaluate(model: CharRNN, data: corpus.Data, encoding: str) -> Evaluation:
    """See `CharRNN.evaluate`."""
    total, num_chars = 0.0, 0
    for _, _, found in losses(model, *_rows(model, data, encoding)):
        total += float(found.sum())
        num_chars += found.size
    if num_chars == 0:
        raise ValueError("data must have at least 2 characters, for the first one is not predicted")
    return Evaluation(total / num_chars, num_chars)


def log_prob(model: CharRNN, text: Any) -> Any:
    """See `CharRNN.log_prob`."""
    single = isinstance(text, (str, bytes, bytearray))
    stream, rows = _text_rows(model, [text] if single else _listed("text", text))
    scores = [np.empty(max(stop - start, 0)) for start, stop in rows]
    for row, at, found in losses(model, stream, rows):
        scores[row][at : at + found.size] = -found
    return scores[0] if single else scores


def validation_loss(model: CharRNN, stream: corpus.Corpus, num_threads: int) -> float:
    """Nearly what `evaluate` gives, but of parallel rows that first read WARM_UP characters for the state alone."""
    warm_up = 0
    if model.vocabulary.end is None:
        warm_up = WARM_UP
        count = len(stream) - 1
        parts = max(min(ROWS, count // (4 * WARM_UP)), 1)
        rows = [(max(count * i // parts - warm_up, 0), count * (i + 1) // parts) for i in range(parts)]
    else:
        rows = _document_rows(stream)
    total, num_chars = 0.0, 0
    for row, at, found in losses(model, stream, rows, num_threads):
        counted = found[max(warm_up - at, 0) :] if rows[row][0] > 0 else found
        total += float(counted.sum())
        num_chars += counted.size
    return total / num_chars


def losses(
    model: CharRNN, stream: corpus.Corpus, rows: list[tuple[int, int]], num_threads: int | None = None
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (row index, offset, losses in nats): the loss of each symbol of a row except the first, in blocks.

    A row is a range of the stream, (start, stop), which is read from a zero state: it has stop - start losses.
    """
    bounds = np.array(rows, np.int64).reshape(-1, 2)
    lengths = bounds[:, 1] - bounds[:, 0]
    order = np.argsort(-lengths, kind="stable")  # the longest first
    lengths = lengths[order]
    first, stop = 0, int(np.count_nonzero(lengths > 0))
    while first < stop:
        # Short rows many at a time; but none of less than half the length, which would wait for the others.
        length = int(lengths[first])
        last = min(first + max(ROWS, ROWS * STEPS // length), int(np.count_nonzero(2 * lengths >= length)))
        batch, first = order[first:last], last
        yield from _batch_losses(model, stream, batch, bounds[batch], length, num_threads)


def _batch_losses(
    model: CharRNN,
    stream: corpus.Corpus,
    batch: np.ndarray,
    bounds: np.ndarray,
    length: int,
    num_threads: int | None,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """The losses of the rows with these indices and bounds, of which the longest has `length` losses."""
    starts, stops = bounds.T
    engine = model._engine(min(length, STEPS * ROWS // len(batch)), len(batch), num_threads=num_threads)
    for at in range(0, length, engine.seq_length):
        steps = np.arange(min(engine.seq_length, length - at) + 1)
        # A row that has ended goes on with its last symbol, and what that gives is left out.
        symbols = stream.take(np.minimum(starts + at + steps[:, None], stops)).astype(np.int32)
        found = engine.losses(symbols[:-1], symbols[1:])
        counts = np.minimum(stops - starts - at, len(found)).tolist()
        for row, count, column in zip(batch.tolist(), counts, found.T, strict=True):
            if count > 0:
                yield row, at, column[:count]


def _rows(model: CharRNN, data: Any, encoding: str) -> tuple[corpus.Corpus, list[tuple[int, int]]]:
    """A stream of symbols and the rows of it that are read."""
    if model.vocabulary.end is None and not isinstance(data, (str, bytes, bytearray, memoryview, os.PathLike)):
        return _text_rows(model, _listed("data", data))
    stream = corpus.read(data, encoding=encoding, vocabulary=model.vocabulary)
    if model.vocabulary.end is None:
        return stream, [(0, len(stream) - 1)]
    return stream, _document_rows(stream)


def _document_rows(stream: corpus.Corpus) -> list[tuple[int, int]]:
    """Rows of whole documents: the state before an END is zero anyhow, so that any END can begin a row."""
    starts, _ = streams(stream, min(ROWS, stream.num_documents))
    bounds = [*np.unique(starts).tolist(), len(stream) - 1]
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def _text_rows(model: CharRNN, texts: list[Any]) -> tuple[corpus.Corpus, list[tuple[int, int]]]:
    """Like `_rows`, for texts in memory: a row for each text."""
    vocabulary = model.vocabulary
    for i, text in enumerate(texts):
        if not isinstance(text, (str, bytes, bytearray)):
            got = f"{type(text).__name__} at position {i}"
            raise TypeError(f"text must be str, bytes or an iterable of them, got {got}")
    bounds = np.cumsum([0, *map(len, texts)])

    def place(position: int) -> str:
        i = int(np.searchsorted(bounds, position, "right")) - 1
        return f"position {position - bounds[i]} of {f'text {i}' if len(texts) > 1 else 'the text'}"

    joined = "".join(text if isinstance(text, str) else text.decode("latin-1") for text in texts)
    symbols = gathered(vocabulary.encode_blocks(code_point_blocks(joined), place), vocabulary.dtype)
    starts, stops = bounds[:-1], bounds[1:] - 1
    if vocabulary.end is not None:
        symbols = np.insert(symbols, bounds, vocabulary.end)
        starts, stops = starts + np.arange(len(texts)), stops + np.arange(len(texts)) + 2
    return corpus.Corpus(vocabulary, symbols), list(zip(starts.tolist(), stops.tolist(), strict=True))


def _listed(name: str, texts: Any) -> list[Any]:
    if not isinstance(texts, Iterable):
        raise TypeError(f"{name} must be a text or an iterable of texts, got {type(texts).__name__}")
    return list(texts)
