"""Borrowed targets: drawn as the n-gram model says that counts every place but the one they are for."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from charrnn import kernels
from charrnn.model import CharRNN
from charrnn.text import reading
from charrnn.train.smoothing import LONGEST, Smoothing

TEXT = "the quick brown fox jumps over the lazy dog; the quack brews the box"
NAMES = ["anna", "hannah", "nan", "an", "ana", "hanna", "na"]


def left_out_predictions(symbols, kinds, end):
    """The interpolated Witten-Bell n-gram's probabilities of each symbol but the first, without counting that place."""

    def context(i, length):
        start = i
        while start > max(0, i - length) and (start == i or symbols[start] != end):
            start -= 1
        return tuple(symbols[start:i])

    counts = defaultdict(Counter)
    for i in range(1, len(symbols)):
        for key in {context(i, length) for length in range(LONGEST + 1)}:
            counts[key][symbols[i]] += 1
    for i in range(1, len(symbols)):
        seen = set(symbols[1:])
        p = np.array([1.0 * (symbol in seen) for symbol in range(kinds)]) / len(seen)
        for length in range(LONGEST + 1):
            if end < 0 and length > i:
                break  # a text has nothing before it; before a document stands its END, however far one looks
            key = context(i, length)
            others = counts[key] - Counter([symbols[i]])
            total = sum(others.values())
            if total:
                found = np.array([others[symbol] for symbol in range(kinds)], float)
                p = (found + len(others) * p) / (total + len(others))
        yield p


@pytest.mark.parametrize("data", [TEXT, NAMES], ids=["text", "documents"])
def test_borrowed_targets_follow_the_n_gram_that_leaves_their_place_out(data):
    stream = reading.read(data)
    vocabulary = stream.vocabulary
    symbols = stream.indices().tolist()
    end = -1 if vocabulary.end is None else vocabulary.end
    expected = np.array(list(left_out_predictions(symbols, len(vocabulary), end)))
    smoothing, rng, draws = Smoothing(stream, 1.0), np.random.default_rng(0), 4000
    found = np.zeros_like(expected)
    for _ in range(draws):
        found[np.arange(len(found)), smoothing.targets(rng)[1:]] += 1 / draws
    # Four standard deviations of a share that is drawn so often, and a little for those that are near to 0.
    assert np.all(np.abs(found - expected) < 4.5 * np.sqrt(expected * (1 - expected) / draws) + 2e-3)


def test_as_many_targets_are_borrowed_as_the_probability_says_and_the_stream_is_left_alone():
    stream = reading.read("abcdefghijklmnopqrstuvwxyz" * 400)
    before = stream.codes.copy()
    # Where every context has one follower, what is borrowed is the same but for the shorter contexts.
    assert np.mean(Smoothing(stream, 0.0).targets(np.random.default_rng(0)) != before) == 0
    text = reading.read("".join(np.random.default_rng(1).choice(list("ab"), 20_000)))
    changed = np.mean(Smoothing(text, 0.4).targets(np.random.default_rng(0)) != text.codes)
    assert changed == pytest.approx(0.4 * 0.5, abs=0.02)
    np.testing.assert_array_equal(stream.codes, before)


@pytest.mark.parametrize("data", [TEXT, NAMES, "".join(map(chr, range(0x4E00, 0x4F80)))], ids=["text", "names", "wide"])
def test_the_trainer_predicts_the_targets_that_it_is_given(data):
    """One step on targets of one's own has the loss that the engine gives them."""
    stream = reading.read(data)
    vocabulary = stream.vocabulary
    model = CharRNN(vocabulary, hidden_size=8, seed=1)
    targets = np.roll(stream.codes, 3)
    end = -1 if vocabulary.end is None else vocabulary.end
    constants = dict(momentum=0.0, beta1=0.9, beta2=0.9, eps=1e-8, weight_decay=0.0, clip_norm=1.0, clip_value=1.0)
    arrays = {name: np.zeros_like(model._arena) for name in ("moments", "squares")}
    trainer = kernels.module("float32").Trainer(
        model._network, model._arena, len(stream) - 1, 1, optimizer="adam", seed=0, end=end, **arrays, **constants
    )
    documents = None if vocabulary.end is None else stream.ends()[:-1]
    starts = np.zeros(1, np.int64)
    losses = np.empty(1)
    expected, _, _ = model.loss_and_grad(
        stream.indices()[:-1, None].astype(int),
        stream.table[targets][1:, None].astype(int) if targets.dtype == np.uint8 else targets[1:, None].astype(int),
    )
    trainer.read(stream.codes, stream.table, starts, len(stream) - 1, documents, starts, targets)
    trainer.train(np.zeros(1), losses)
    assert losses[0] == pytest.approx(expected, rel=1e-6)
    trainer.read(stream.codes, stream.table, starts, len(stream) - 1, documents, starts)
    trainer.train(np.zeros(1), losses)
    assert losses[0] != pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="targets"):
        trainer.read(stream.codes, stream.table, starts, len(stream) - 1, documents, starts, targets[:-1])
