"""The part to validate on: of a text its end, of documents a choice that their order does not change."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text import corpus as corpus_module
from charrnn.text import splitting
from charrnn.text.corpus import Corpus
from charrnn.text.reading import read
from charrnn.text.splitting import split

NAMES = [f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyzUVWX"]


def documents_of(corpus: Corpus) -> list[str]:
    symbols, end = corpus.indices(), corpus.vocabulary.end
    assert symbols[0] == symbols[-1] == end
    bounds = np.flatnonzero(symbols == end)
    return [corpus.vocabulary.decode(symbols[a + 1 : b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def parts(documents: list[str], val_fraction: float, seed: int = 0) -> tuple[list[str], list[str]]:
    train, val = split(read(documents), val_fraction, seed)
    assert val is not None
    return documents_of(train), documents_of(val)


@given(st.text("ab", min_size=4, max_size=200), st.floats(0, 1, exclude_max=True))
def test_a_text_is_split_at_the_rounded_fraction(text: str, val_fraction: float) -> None:
    corpus = read(text)
    cut = int(len(text) * (1 - val_fraction))
    if val_fraction == 0:
        assert split(corpus, val_fraction) == (corpus, None)
    elif min(cut, len(text) - cut) < 2:
        with pytest.raises(
            ValueError,
            match="^val_fraction must leave at least 2 characters to train on and "
            rf"2 to validate on, got .* of {len(text)}$",
        ):
            split(corpus, val_fraction)
    else:
        train, val = split(corpus, val_fraction)
        assert val is not None
        decode = corpus.vocabulary.decode
        assert (decode(train.indices()), decode(val.indices())) == (text[:cut], text[cut:])
        assert np.shares_memory(train.codes, corpus.codes) and np.shares_memory(val.codes, corpus.codes)


@pytest.mark.parametrize("block", [7, 100, 1 << 16])
def test_the_order_of_documents_means_nothing_and_the_seed_something(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = parts(NAMES, 0.1)
    monkeypatch.setattr(corpus_module, "BLOCK", block)
    monkeypatch.setattr(splitting, "BLOCK", block)
    for order in sorted(NAMES), NAMES[::-1], random.Random(0).sample(NAMES, len(NAMES)):
        assert list(map(sorted, parts(order, 0.1))) == list(map(sorted, expected))
    assert sorted(parts(NAMES, 0.1, seed=1)[1]) != sorted(expected[1])


@pytest.mark.parametrize("val_fraction", [0.01, 0.1, 0.5, 0.9])
def test_the_share_is_near_to_what_was_asked_for(val_fraction: float) -> None:
    rng = random.Random(1)
    documents = ["".join(rng.choices("abc", k=rng.randint(1, 30))) for _ in range(2000)]
    train, val = parts(documents, val_fraction)
    assert Counter(train) + Counter(val) == Counter(documents)
    share = sum(len(document) + 1 for document in val) / sum(len(document) + 1 for document in documents)
    assert share == pytest.approx(val_fraction, abs=0.002)
    assert not set(train) & set(val)


def test_the_choice_depends_on_the_text_alone_and_is_an_even_one() -> None:
    """Those of the first half of the alphabet, or of some length, are not preferred."""
    chosen = Counter(document[0] for seed in range(40) for document in parts(NAMES, 0.1, seed)[1])
    assert all(300 < count < 500 for count in chosen.values()), chosen


@given(st.lists(st.text("ab", max_size=5), min_size=1, max_size=30).filter(any), st.floats(0.01, 0.99))
def test_a_split_is_near_or_refused(documents: list[str], val_fraction: float) -> None:
    total = sum(len(document) + 1 for document in documents)
    try:
        train, val = parts(documents, val_fraction)
    except ValueError as error:
        assert str(error).startswith("val_fraction must be near to what whole documents make up, as ")
        return
    assert Counter(train) + Counter(val) == Counter(documents)
    assert not set(train) & set(val)
    share = sum(len(document) + 1 for document in val) / total
    assert 1 / 4.01 < share / val_fraction < 4.01 and 1 / 4.01 < (1 - share) / (1 - val_fraction) < 4.01


def test_of_a_few_long_documents_the_end_of_one_is_validated() -> None:
    rng = random.Random(2)
    first, second = ("".join(rng.choices("abc", k=5000)) for _ in range(2))
    for documents in [first], ["x", first], [first, second]:
        train, val = parts(documents, 0.1)
        total = sum(map(len, documents))
        assert sum(map(len, val)) == pytest.approx(0.1 * total, rel=0.02)
        (cut,) = (document for document in documents if document not in train and document not in val)
        (head,) = (document for document in train if document not in documents)
        assert cut.startswith(head) and cut.removeprefix(head) in val
    # Equal documents are cut at the same place.
    train, val = parts([first, first], 0.1)
    assert train[0] == train[1] and val[0] == val[1] and train[0] + val[0] == first


def test_what_no_choice_comes_near_to_is_refused() -> None:
    with pytest.raises(ValueError, match=r"whole documents make up, as 0 or 0\.5, got 0\.1$"):
        split(read(["emma", "anna"]), 0.1)
    with pytest.raises(ValueError, match=r"^val_fraction must be near .*, as 0 or 1, got 0\.1$"):
        split(read(["hello world"]), 0.1)


def test_weights_go_with_their_documents_and_count() -> None:
    rng = np.random.default_rng(0)
    documents = sorted(set(map(str, rng.integers(0, 10**6, 500).tolist())))
    weights = rng.integers(0, 5, len(documents)).astype(float)
    train, val = split(read(documents, weights=weights), 0.2)
    assert val is not None and train.weights is not None and val.weights is not None
    of = dict(zip(documents, weights, strict=True))
    for part in train, val:
        assert part.weights is not None
        assert [of[document] for document in documents_of(part)] == part.weights.tolist()
    assert val.epoch_length / (train.epoch_length + val.epoch_length) == pytest.approx(0.2, abs=0.01)


def test_labels_go_with_their_documents() -> None:
    rng = random.Random(3)
    pairs = [(rng.choice(["x", "y"]), "".join(rng.choices("abc", k=5))) for _ in range(300)]
    corpus = read(pairs)
    train, val = split(corpus, 0.2)
    assert val is not None
    found = []
    for part in train, val:
        symbols = part.indices().tolist()
        end, bounds = corpus.vocabulary.end, part.ends()
        assert end is not None and symbols[-1] == end
        for a, b in zip(bounds[:-1], bounds[1:], strict=True):
            label = corpus.vocabulary.labels[symbols[a] - end - 1]
            found.append((label, corpus.vocabulary.decode(symbols[a + 1 : b])))
    assert Counter(found) == Counter(pairs)


def test_a_fraction_out_of_range_is_refused() -> None:
    for val_fraction in -0.1, 1, 1.5, float("nan"):
        with pytest.raises(ValueError, match=f"^val_fraction must be at least 0 and less than 1, got {val_fraction}$"):
            split(read("hello"), val_fraction)
    with pytest.raises(TypeError, match="^val_fraction must be a number, got '0.1'$"):
        split(read("hello"), "0.1")  # type: ignore[arg-type]
