"""Scoring: how probable a model finds a text.

There is one loop, `blocks`, which reads rows of a stream side by side; all else here chooses rows and adds up. It
knows what a text is, but nothing of training or drawing.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.console import is_terminal
from charrnn.errors import ArgumentTypeError, ArgumentValueError, choice, flag, integer
from charrnn.text import corpus
from charrnn.text.batching import document_rows
from charrnn.text.decoding import code_point_blocks, gathered
from charrnn.text.reading import Data
from charrnn.text.reading import read as read_data

if TYPE_CHECKING:
    from charrnn.language import LanguageModel
    from charrnn.text.vocabulary import Vocabulary

#: Ranges of a stream, (start, stop), or an array (n, 2) of them.
Rows = list[tuple[int, int]] | np.ndarray

# Number of rows that are scored side by side, and of their steps that are scored in one call.
ROWS = 64
STEPS = 128

# Characters that a row of the validation part reads for its state alone, before those whose losses count.
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
    num_skipped : int
        Unknown characters that were left out.

    Examples
    --------
    >>> charrnn.Evaluation(loss=math.log(2), num_chars=10)
    Evaluation(loss=0.6931, bits_per_char=1.0000, perplexity=2.0000, num_chars=10)
    """

    loss: float
    num_chars: int
    num_skipped: int = 0

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
            f"perplexity={self.perplexity:.4f}, num_chars={self.num_chars}"
            f"{f', num_skipped={self.num_skipped}' if self.num_skipped else ''})"
        )


def evaluate(
    model: LanguageModel,
    data: Data,
    encoding: str,
    unknown: str,
    weights: Iterable[float] | None,
    rows: int,
    progress: bool,
) -> Evaluation:
    """See `CharRNN.evaluate`."""
    rows = integer("rows", rows, 1)
    stream, ranges = _rows(model, data, encoding, unknown, weights)
    warm_up = 0
    if rows > 1 and len(ranges) == 1 and model.vocabulary.end is None:
        warm_up, ranges = WARM_UP, _warmed_up_rows(ranges[0][1], rows)
    found = losses(model, stream, ranges)
    if flag("progress", progress):
        found = _with_bar(found, sum(stop - start for start, stop in ranges))
    total, num_chars = _added_up(stream, ranges, found, warm_up)
    if num_chars == 0:
        raise ArgumentValueError("data", "must have at least 2 characters, for the first one is not predicted")
    return Evaluation(total / num_chars, round(num_chars), stream.num_skipped)


def log_prob(model: LanguageModel, text: Any, rows: int) -> Any:
    """See `CharRNN.log_prob`."""
    rows = integer("rows", rows, 1)
    single = isinstance(text, (str, bytes, bytearray))
    stream, ranges = _text_rows(model, [text] if single else _listed("text", text))
    if single and rows > 1 and model.vocabulary.end is None:
        score = np.empty(max(ranges[0][1], 0))
        ranges = _warmed_up_rows(len(score), rows)
        for row, at, found in losses(model, stream, ranges):
            start, left_out = ranges[row][0] + at, max(WARM_UP - at, 0) if ranges[row][0] > 0 else 0
            score[start + left_out : start + found.size] = -found[left_out:]
        return score
    scores = [np.empty(max(stop - start, 0)) for start, stop in ranges]
    for row, at, found in losses(model, stream, ranges):
        scores[row][at : at + found.size] = -found
    return scores[0] if single else scores


def validation_loss(
    model: LanguageModel, stream: corpus.Corpus, num_threads: int, known: np.ndarray | None = None
) -> float:
    """Nearly what `evaluate` gives, but of parallel rows that first read WARM_UP characters for the state alone.

    Where `known` is given, only those places of the stream count for which it is true.
    """
    warm_up = 0
    if model.vocabulary.end is None:
        warm_up, rows = WARM_UP, _warmed_up_rows(len(stream) - 1, ROWS)
    else:
        rows = _document_rows(stream)
    total, num_chars = _added_up(stream, rows, losses(model, stream, rows, num_threads), warm_up, known)
    return total / max(num_chars, 1)


def _warmed_up_rows(count: int, rows: int) -> list[tuple[int, int]]:
    """Up to so many rows that together have these `count` losses; each but the first begins WARM_UP characters early.

    None is so short that what it reads for its state alone would be much of its work.
    """
    parts = max(min(rows, count // (4 * WARM_UP)), 1)
    return [(max(count * i // parts - WARM_UP, 0), count * (i + 1) // parts) for i in range(parts)]


def _with_bar(found: Iterable[tuple[int, int, np.ndarray]], total: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """The same, with a bar on a terminal where it takes more than a second."""
    if not is_terminal():
        yield from found
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=" chars", unit_scale=True, delay=1, file=sys.stderr) as bar:
        for row, at, some in found:
            yield row, at, some
            bar.update(some.size)


def _added_up(
    stream: corpus.Corpus,
    rows: list[tuple[int, int]],
    found: Iterable[tuple[int, int, np.ndarray]],
    warm_up: int = 0,
    known: np.ndarray | None = None,
) -> tuple[float, float]:
    """The sum of the losses of these rows and their number, each as often as its document has copies.

    The first `warm_up` losses of a row are left out, unless it is the first row of the stream, and so are those of
    places that are not `known`.
    """
    total, num_chars = 0.0, 0.0
    ends = None if stream.weights is None else stream.ends()
    for row, at, some in found:
        left_out = max(warm_up - at, 0) if rows[row][0] > 0 else 0
        counted = some[left_out:]
        places = rows[row][0] + at + left_out + np.arange(counted.size)
        if known is not None:
            counts = known[places + 1]
            counted, places = counted[counts], places[counts]
        if ends is None or stream.weights is None:
            total += float(counted.sum())
            num_chars += counted.size
        else:
            copies = stream.weights[np.searchsorted(ends, places, "right") - 1]
            total += float(counted @ copies)
            num_chars += float(copies.sum())
    return total, num_chars


def losses(
    model: LanguageModel, stream: corpus.Corpus, rows: Rows, num_threads: int | None = None
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (row index, offset, losses in nats): the loss of each symbol of a row except the first, in blocks."""
    for batch, at, found, counts in blocks(model, stream, rows, num_threads):
        for row, count, column in zip(batch.tolist(), counts.tolist(), found.T, strict=True):
            if count > 0:
                yield row, at, column[:count]


def blocks(
    model: LanguageModel, stream: corpus.Corpus, rows: Rows, num_threads: int | None = None
) -> Iterator[tuple[np.ndarray, int, np.ndarray, np.ndarray]]:
    """Read rows of a stream side by side and yield (row indices (B,), offset, losses (T, B) in nats, counts (B,)).

    A row is a range of the stream, (start, stop), which is read from a zero state: it has stop - start losses, one for
    each symbol except the first. Of column b of a block the first counts[b], which may be none, are the row's own.
    """
    bounds = np.asarray(rows, np.int64).reshape(-1, 2)
    lengths = bounds[:, 1] - bounds[:, 0]
    order = np.argsort(-lengths, kind="stable")  # the longest first
    lengths = lengths[order]
    first, stop = 0, int(np.count_nonzero(lengths > 0))
    engine, shape = None, (0, 0)
    while first < stop:
        length = int(lengths[first])
        batch_size, seq_length = _batch_shape(length)
        # None of less than half the length, which would wait for the others.
        last = min(first + batch_size, int(np.count_nonzero(2 * lengths >= length)))
        batch, first = order[first:last], last
        starts, stops = bounds[batch].T
        if len(batch) < batch_size:  # none follow of this shape
            seq_length = min(length, STEPS * ROWS // len(batch))
        if engine is None or shape != (seq_length, len(batch)):
            shape = (seq_length, len(batch))
            engine = model._engine(*shape, num_threads=num_threads)
        engine.set_state(None)
        for at in range(0, length, seq_length):
            steps = np.arange(min(seq_length, length - at) + 1)
            # A row that has ended goes on with its last symbol, and what that gives is left out.
            symbols = stream.take(np.minimum(starts + at + steps[:, None], stops)).astype(np.int32)
            found = engine.losses(symbols[:-1], symbols[1:])
            yield batch, at, found, np.clip(stops - starts - at, 0, len(found))


def _batch_shape(length: int) -> tuple[int, int]:
    """How many rows of this length are read side by side, and how many steps of them in one call.

    There are few shapes, so that an engine and its memory serve many batches: short rows are many at a time, and twice
    as many where they have half the length.
    """
    if length >= STEPS:
        return ROWS, STEPS
    halvings = (STEPS // length).bit_length() - 1
    return ROWS << halvings, STEPS >> halvings


def _rows(
    model: LanguageModel, data: Any, encoding: str, unknown: str, weights: Iterable[float] | None
) -> tuple[corpus.Corpus, list[tuple[int, int]]]:
    """A stream of symbols and the rows of it that are read."""
    choice("unknown", unknown, ("error", "skip"))
    if model.vocabulary.end is None and not isinstance(data, (str, bytes, bytearray, memoryview, os.PathLike)):
        if weights is not None:
            raise ArgumentValueError("weights", "must come with a model of documents, got a model of a text")
        return _text_rows(model, _listed("data", data), unknown)
    stream = read_data(data, encoding=encoding, vocabulary=model.vocabulary, unknown=unknown, weights=weights)
    if model.vocabulary.end is None:
        return stream, [(0, len(stream) - 1)]
    return stream, _document_rows(stream)


def _document_rows(stream: corpus.Corpus) -> list[tuple[int, int]]:
    """Rows of whole documents: the state before an END is zero anyhow, so that any END can begin a row."""
    return document_rows(stream, min(ROWS, stream.num_documents))


def _text_rows(
    model: LanguageModel, texts: list[Any], unknown: str = "error"
) -> tuple[corpus.Corpus, list[tuple[int, int]]]:
    """Like `_rows`, for texts in memory: a row for each text."""
    vocabulary = model.vocabulary
    for i, text in enumerate(texts):
        if not isinstance(text, (str, bytes, bytearray)):
            got = f"{type(text).__name__} at position {i}"
            raise ArgumentTypeError("text", f"must be str, bytes or an iterable of them, got {got}")
    if unknown == "skip":
        known = [vocabulary.known_part(text) for text in texts]
        found = _text_rows(model, known)
        found[0].num_skipped = sum(map(len, texts)) - sum(map(len, known))
        return found
    bounds = np.cumsum([0, *map(len, texts)])

    def place(position: int) -> str:
        i = int(np.searchsorted(bounds, position, "right")) - 1
        return f"position {position - bounds[i]} of {f'text {i}' if len(texts) > 1 else 'the text'}"

    joined = "".join(text if isinstance(text, str) else text.decode("latin-1") for text in texts)
    symbols = gathered(vocabulary.encode_blocks(code_point_blocks(joined), place), vocabulary.dtype)
    stream, rows = stream_of(vocabulary, symbols, np.diff(bounds))
    return stream, list(map(tuple, rows.tolist()))


def stream_of(vocabulary: Vocabulary, symbols: np.ndarray, lengths: np.ndarray) -> tuple[corpus.Corpus, np.ndarray]:
    """The stream of texts of these lengths, whose symbols are joined, and the bounds (n, 2) of its rows."""
    bounds = np.append(0, np.cumsum(lengths))
    starts, stops = bounds[:-1], bounds[1:] - 1
    if vocabulary.end is not None:
        symbols = np.insert(symbols, bounds, vocabulary.end)
        starts, stops = starts + np.arange(len(lengths)), stops + np.arange(len(lengths)) + 2
    return corpus.Corpus(vocabulary, symbols), np.stack([starts, stops], 1)


def _listed(name: str, texts: Any) -> list[Any]:
    if not isinstance(texts, Iterable):
        raise ArgumentTypeError(name, f"must be a text or an iterable of texts, got {type(texts).__name__}")
    return list(texts)
