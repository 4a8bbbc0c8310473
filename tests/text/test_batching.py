"""The readers of a batch: together they read everything once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text import batching
from charrnn.text.batching import Readers, document_rows, readers
from charrnn.text.corpus import Corpus
from charrnn.text.reading import read

DOCUMENTS = st.lists(st.text("abc", max_size=12), min_size=1, max_size=20).filter(any)


def predictions_of(corpus: Corpus, placed: Readers) -> list[list[tuple[int, int]]]:
    """What each reader has as inputs and targets, by the rule of the kernel."""
    symbols, end = corpus.indices().tolist(), corpus.vocabulary.end
    read_by: list[list[tuple[int, int]]] = []
    for b, at in enumerate(placed.starts.tolist()):
        read_by.append([])
        number = 0 if placed.first is None else int(placed.first[b])
        for _ in range(placed.length):
            read_by[-1].append((at, symbols[at + 1]))
            at += 1
            if end is not None and symbols[at] >= end:
                assert placed.documents is not None
                number = (number + 1) % len(placed.documents)
                at = int(placed.documents[number])
    return read_by


@given(st.integers(2, 300), st.data())
def test_the_readers_of_a_text_cover_every_prediction_and_overlap_by_one_at_most(
    size: int, data: st.DataObject
) -> None:
    corpus = read("a" * size)
    batch_size = data.draw(st.integers(1, size - 1))
    placed = readers(corpus, batch_size)
    assert placed.starts.dtype == np.int64 and placed.starts.shape == (batch_size,)
    assert placed.length == -(-(size - 1) // batch_size)
    assert placed.starts.min() == 0 and placed.starts.max() + placed.length <= size - 1
    read_at = np.concatenate([np.arange(start, start + placed.length) for start in placed.starts])
    assert set(read_at) == set(range(size - 1))
    assert set(placed.starts[:-1] + placed.length - placed.starts[1:]) <= {0, 1}


@given(DOCUMENTS, st.integers(0, 9), st.data())
def test_the_readers_of_documents_read_every_prediction_once(
    documents: list[str], seed: int, data: st.DataObject
) -> None:
    corpus = read(documents)
    batch_size = data.draw(st.integers(1, corpus.num_predictions))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "BLOCK", data.draw(st.integers(1, 20)))
        placed = readers(corpus, batch_size, np.random.default_rng(seed))
    read_by = predictions_of(corpus, placed)
    times = Counter(at for reader in read_by for at, _ in reader)
    assert set(times) == set(range(corpus.num_predictions))
    # The parts are of one length, and what is too much is in two readers of which one has read it last.
    last = Counter(reader[-1][0] for reader in read_by)
    assert all(count == 1 or last[at] for at, count in times.items())
    assert sum(times.values()) - corpus.num_predictions < batch_size
    assert len(set(placed.starts.tolist())) == batch_size


def test_a_long_document_is_read_once_however_many_readers_there_are() -> None:
    for documents in ["a" * 10_000], ["a" * 10_000, *"bc" * 50], ["a" * 1000, "b" * 1000, "c" * 1000]:
        corpus = read(documents)
        placed = readers(corpus, 32, np.random.default_rng(0))
        assert placed.length == -(-corpus.num_predictions // 32)


@given(DOCUMENTS, st.integers(0, 9))
def test_documents_are_read_in_the_order_of_a_permutation(documents: list[str], seed: int) -> None:
    corpus = read(documents)
    order = np.arange(len(documents), dtype=np.int32)
    np.random.default_rng(seed).shuffle(order)
    (reader,) = predictions_of(corpus, readers(corpus, 1, np.random.default_rng(seed)))
    end = corpus.vocabulary.end
    expected = [[*corpus.vocabulary.encode(documents[i]), end] for i in order]
    assert [target for _, target in reader] == [symbol for document in expected for symbol in document]
    placed = readers(corpus, 1)
    assert [at for at, _ in predictions_of(corpus, placed)[0]] == list(range(corpus.num_predictions))


def test_a_document_is_read_as_often_as_it_has_copies() -> None:
    corpus = read(["a", "bb", "c", "d"], weights=[2, 0, 1, 0.25])
    counts: Counter[str] = Counter()
    for seed in range(2000):
        (reader,) = predictions_of(corpus, readers(corpus, 1, np.random.default_rng(seed)))
        counts.update(corpus.vocabulary.characters[target] for _, target in reader if target < 4)
    assert (counts["a"], counts["b"], counts["c"]) == (4000, 0, 2000)
    assert 420 < counts["d"] < 580
    with pytest.raises(ValueError, match=r"^weights must be numbers of copies, at least 1 in an epoch, got 0\.2 in"):
        readers(read(["a", "b"], weights=[0.1, 0.1]), 1)


def test_a_batch_of_a_wrong_size_is_refused() -> None:
    for corpus in read("hello"), read(["abc"]):
        with pytest.raises(ValueError, match="^batch_size must be from 1 to 4, the number of characters to predict, g"):
            readers(corpus, 5)
        with pytest.raises(ValueError, match="^batch_size must be at least 1, got 0$"):
            readers(corpus, 0)
        with pytest.raises(TypeError, match="^batch_size must be an integer, got 2.0$"):
            readers(corpus, 2.0)  # type: ignore[arg-type]
        assert readers(corpus, 4).length == 1


@given(DOCUMENTS, st.integers(1, 30))
def test_rows_of_documents_are_whole_documents(documents: list[str], count: int) -> None:
    corpus = read(documents)
    rows = document_rows(corpus, count)
    assert rows[0][0] == 0 and rows[-1][1] == corpus.num_predictions
    assert all(stop == start for (_, stop), (start, _) in zip(rows[:-1], rows[1:], strict=True))
    assert all(corpus.indices()[start] == corpus.vocabulary.end and start < stop for start, stop in rows)
    assert len(rows) <= count
