"""Mixtures: the weighted mean of models' probabilities."""

import re

import numpy as np
import pytest

import charrnn
from charrnn import CharRNN, Vocabulary


def model(characters="abcdef", *, end=True, seed=0, **options) -> CharRNN:
    found = CharRNN(Vocabulary(characters, end=end), hidden_size=12, seed=seed, **options)
    found.state_dict()["head.weight"][:] *= 6  # strong opinions
    return found


def three(end=True, **options) -> list[CharRNN]:
    return [
        model(cell=cell, end=end, seed=i, num_layers=1 + i % 2, **options)
        for i, cell in enumerate(("rnn", "gru", "lstm"))
    ]


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("end", [True, False], ids=["documents", "text"])
def test_probabilities_are_the_weighted_mean(dtype, tolerance, end):
    models = three(end, dtype=dtype)
    for weights in (None, [1, 2, 5]):
        mixed = charrnn.mixture(models, weights)
        for prompt in ("", "a", "fedcba"):
            expected = np.average([list(each.next_probs(prompt).values()) for each in models], axis=0, weights=weights)
            np.testing.assert_allclose(list(mixed.next_probs(prompt).values()), expected, rtol=0, atol=tolerance)
        assert mixed.next_probs("a").keys() == models[0].next_probs("a").keys()


@pytest.mark.parametrize("end", [True, False], ids=["documents", "text"])
def test_scores_are_those_of_the_mean(end):
    mixed = charrnn.mixture(three(end, dtype="float64"), [0.5, 0.2, 0.3])
    for text in ("abcdef", "ffaabb"):
        probs = [mixed.next_probs(text[:i])[text[i]] for i in range(0 if end else 1, len(text))]
        probs += [mixed.next_probs(text)[""]] if end else []
        np.testing.assert_allclose(mixed.log_prob(text), np.log(probs), atol=1e-10)
        assert mixed.score(text) == pytest.approx(np.log(probs).sum())
        assert mixed.evaluate([text]).loss == pytest.approx(-np.log(probs).mean())


def test_draws_take_one_double_for_each_character_and_are_the_inverse_of_the_cumulative_distribution():
    mixed = charrnn.mixture(three(False, dtype="float64"), [1, 1, 2])
    text = mixed.sample("a", 60, rng=11)
    for i, u in enumerate(np.random.default_rng(11).random(60)):
        cumulative = np.cumsum(list(mixed.next_probs("a" + text[:i]).values()))
        assert text[i] == "abcdef"[np.searchsorted(cumulative, u * cumulative[-1], side="right")]
    assert "".join(mixed.stream("a", 60, rng=11)) == text
    assert mixed.sample_many(1, 60, prompt="a", rng=11) == [text]


def test_documents_in_rows_are_drawn_as_often_as_their_probability_says():
    mixed = charrnn.mixture(three(), [3, 1, 1])
    texts = mixed.sample_many(5000, rng=0)
    for text in {*texts[:40], ""}:
        p = float(np.exp(mixed.score(text)))
        assert abs(texts.count(text) - 5000 * p) <= 5 * np.sqrt(5000 * p * (1 - p)) + 1


def test_a_mixture_is_steered():
    mixed = charrnn.mixture(three(), [3, 1, 1])
    texts = mixed.sample_many(20, pattern="a[bc]{1,4}", unique=True, temperature=2, rng=0)
    assert len(set(texts)) == 20
    assert all(re.fullmatch("a[bc]{1,4}", text) for text in texts)
    assert "b" not in mixed.sample("", 20, stop="b", rng=3)


def test_one_model_is_itself():
    one = model(seed=4)
    assert charrnn.mixture([one]).sample_many(30, rng=0) == one.sample_many(30, rng=0)
    assert charrnn.mixture([one, one]).score(["abc"]) == pytest.approx(one.score(["abc"]), rel=1e-6)


def test_models_of_another_order_or_dtype_are_brought_into_that_of_the_first():
    first, other = model(seed=1), model("fedcba", seed=2, dtype="float64", cell="gru")
    mixed = charrnn.mixture([first, other])
    assert mixed.vocabulary == first.vocabulary
    for prompt in ("", "abf"):
        a, b = first.next_probs(prompt), other.next_probs(prompt)
        for character, p in mixed.next_probs(prompt).items():
            assert p == pytest.approx((a[character] + b[character]) / 2, abs=1e-6)


def test_mixtures_can_be_mixed():
    a, b, c = three(dtype="float64")
    nested = charrnn.mixture([charrnn.mixture([a, b], [1, 3]), c], [4, 6])
    assert nested.weights == pytest.approx((0.1, 0.3, 0.6))
    assert nested.score("abc") == pytest.approx(charrnn.mixture([a, b, c], [1, 3, 6]).score("abc"))


@pytest.mark.parametrize(
    "models, weights, error, message",
    [
        (lambda: [], None, ValueError, "models must be at least 1 model, got none"),
        (lambda: 3, None, TypeError, "models must be several models, got int"),
        (lambda: model(), None, TypeError, "models must be several models, got CharRNN"),
        (lambda: [model(), "b"], None, TypeError, "models must be models, got str at position 1"),
        (
            lambda: [model(), model("abcdxy")],
            None,
            ValueError,
            "models must have the same characters, got 'efxy' in one",
        ),
        (lambda: [model(), model(end=False)], None, ValueError, "all of documents or all of texts"),
        (lambda: three(), [1, 2], ValueError, "weights must be a number for each of 3 models, got 2"),
        (lambda: three(), [1, 2, 0], ValueError, "weights must be greater than 0, got 0"),
        (lambda: three(), 3, TypeError, "weights must be a number for each model, got 3"),
    ],
)
def test_what_cannot_be_mixed_is_a_clear_error(models, weights, error, message):
    with pytest.raises(error, match=message):
        charrnn.mixture(models(), weights)
