"""Scores of whole texts, guess numbers and percentiles."""

import itertools
import math

import numpy as np
import pytest

import charrnn
import charrnn.train
from charrnn import CharRNN, Vocabulary
from charrnn.scoring import ranking

CELLS = ("rnn", "gru", "lstm")


def documents_model(characters="abcde", **sizes):
    return CharRNN(Vocabulary(characters, end=True), **{"hidden_size": 7, "dtype": "float64", "seed": 3, **sizes})


def some_texts(n, characters="abcde", longest=40, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(characters), rng.integers(0, longest))) for _ in range(n)]


# Scores


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("end", [True, False])
def test_a_score_is_the_sum_of_the_log_probabilities(cell, end):
    model = CharRNN(Vocabulary("abcde", end=end), cell=cell, hidden_size=7, dtype="float64")
    texts = [*some_texts(300), "", "a", *some_texts(3, longest=700)]
    expected = [parts.sum() for parts in model.log_prob(texts)]
    found = model.score(texts)
    assert found.shape == (305,) and found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose([model.score(text) for text in texts[-6:]], expected[-6:], rtol=1e-12)


def test_per_char_divides_by_what_is_predicted():
    texts = ["", "a", "abc"]
    model = documents_model()
    np.testing.assert_allclose(model.score(texts, per_char=True), model.score(texts) / [1, 2, 4])
    model = CharRNN("abcde", hidden_size=7)
    np.testing.assert_allclose(model.score(texts, per_char=True), model.score(texts) / [1, 1, 2])


def test_a_text_alone_gives_a_float():
    model = documents_model()
    assert type(model.score("abc")) is float
    assert model.score("abc") == model.score(b"abc") == model.score(np.str_("abc"))


def test_any_iterable_of_texts_is_scored(monkeypatch):
    model = documents_model()
    texts = some_texts(100)
    expected = model.score(texts)
    monkeypatch.setattr(ranking, "TEXTS_AT_ONCE", 7)
    for given in (iter(texts), tuple(texts), np.array(texts), np.array(texts, object), [t.encode() for t in texts]):
        np.testing.assert_allclose(model.score(given), expected, rtol=1e-12)
    assert model.score([]).shape == (0,)


def test_a_series_and_an_arrow_array_are_scored():
    model = documents_model()
    texts = some_texts(50)

    class Arrow:
        """The interface of pyarrow's arrays, whose items are objects of their own and no str."""

        def __init__(self, values):
            self.values = values

        def __len__(self):
            return len(self.values)

        def __iter__(self):
            return iter([object()] * len(self.values))

        def slice(self, start, length):
            return Arrow(self.values[start : start + length])

        def to_pylist(self):
            return self.values

    array = Arrow(texts)
    np.testing.assert_allclose(model.score(array), model.score(texts), rtol=1e-12)
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    np.testing.assert_allclose(model.score(pyarrow.array(texts)), model.score(texts), rtol=1e-12)
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    np.testing.assert_allclose(model.score(pandas.Series(texts)), model.score(texts), rtol=1e-12)


def test_a_generator_is_read_a_part_at_a_time(monkeypatch):
    monkeypatch.setattr(ranking, "TEXTS_AT_ONCE", 10)
    read, seen = [], []

    def texts():
        for i in range(1000):
            read.append(i)
            yield "abc"

    original = ranking._scores
    monkeypatch.setattr(ranking, "_scores", lambda *args: (seen.append(len(read)), original(*args))[1])
    assert len(documents_model().score(texts())) == 1000
    assert seen == list(range(10, 1001, 10))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", None], "got NoneType at position 1 .a missing value"),
        (["a", math.nan], "got float at position 1 .a missing value"),
        (["a", 5], "got int at position 1$"),
        (7, "texts must be a text or an iterable of texts, got int"),
        ({"a": 1}, "got dict"),
    ],
)
def test_what_is_no_text_is_refused_by_its_place(texts, message):
    with pytest.raises(TypeError, match=message):
        documents_model().score(texts)


def test_an_unknown_character_is_an_error_that_names_all_or_impossible(monkeypatch):
    monkeypatch.setattr(ranking, "TEXTS_AT_ONCE", 2)
    model = documents_model()
    texts = ["ab", "axb", "c", "d", "a", "yx"]
    with pytest.raises(ValueError, match=r"'x' at position 1 of text 1 .*'y' at position 0 of text 5"):
        model.score(texts)
    with pytest.raises(ValueError, match="'x' at position 1 of text 1"):
        model.score(iter(texts))
    found = model.score(texts, unknown="impossible")
    assert np.isneginf(found).tolist() == [False, True, False, False, False, True]
    np.testing.assert_allclose(found[[0, 2, 3, 4]], model.score(["ab", "c", "d", "a"]))
    assert model.score("x", unknown="impossible", per_char=True) == -math.inf
    with pytest.raises(ValueError, match="unknown must be 'error' or 'impossible', got 'skip'"):
        model.score(texts, unknown="skip")


@pytest.mark.parametrize("cell", CELLS)
def test_scores_have_the_bits_of_one_thread(cell, monkeypatch):
    monkeypatch.setattr("charrnn.system.OPERATIONS_WORTH_A_THREAD", 1)
    model = documents_model(cell=cell, hidden_size=40, dtype="float32")
    texts = some_texts(2000, longest=60)
    one, two, three = (ranking.score(model, texts, False, "error", threads) for threads in (1, 2, 3))
    assert one.tobytes() == two.tobytes() == three.tobytes()


# Ranks


@pytest.fixture(scope="module")
def enumerated():
    """A model, all its documents of up to 13 characters, their exact scores and how many are more probable."""
    model = documents_model("ab", hidden_size=4, seed=5)
    texts = ["".join(text) for length in range(14) for text in itertools.product("ab", repeat=length)]
    scores = model.score(texts)
    assert np.exp(scores).sum() > 0.98
    ranks = np.empty(len(texts))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(texts))
    return model, texts, scores, ranks


def test_guess_numbers_are_those_of_an_enumeration(enumerated):
    model, texts, _, ranks = enumerated
    chosen = np.argsort(ranks)[[0, 1, 2, 5, 10, 20, 50, 100, 200]]
    numbers, errors = model.guess_number([texts[i] for i in chosen], samples=40_000, rng=1, with_error=True)
    assert numbers[0] == 0
    assert (np.abs(numbers - ranks[chosen]) <= 4 * errors + 1e-9).all()
    assert (errors[3:] < 0.1 * ranks[chosen][3:]).all()
    assert (errors[3:] > 0).all()


def test_the_standard_error_is_that_of_repeated_estimates(enumerated):
    model, texts, _, ranks = enumerated
    text = texts[int(np.argsort(ranks)[60])]
    estimates = np.array([model.guess_number(text, samples=500, rng=seed, with_error=True) for seed in range(60)])
    assert 0.7 < estimates[:, 1].mean() / estimates[:, 0].std() < 1.4


def test_a_seed_fixes_a_guess_number_and_a_text_alone_gives_a_float():
    model = documents_model()
    assert model.guess_number("abc", samples=200, rng=1) == model.guess_number("abc", samples=200, rng=1)
    assert type(model.guess_number("abc", samples=200)) is float
    assert type(model.percentile("abc", samples=200)) is float


def test_percentiles_are_shares_of_what_is_less_probable(enumerated):
    model, texts, scores, ranks = enumerated
    chosen = np.argsort(ranks)[[0, 3, 30, 300]]
    exact = [np.exp(scores[scores < scores[i]]).sum() for i in chosen]
    shares = model.percentile([texts[i] for i in chosen], samples=20_000, rng=2)
    np.testing.assert_allclose(shares, exact, atol=0.035)
    assert shares[0] > shares[1] > shares[2] > shares[3]


def test_what_the_model_does_not_know_is_never_guessed():
    model = documents_model()
    numbers, errors = model.guess_number(["abc", "xyz"], samples=50, rng=0, with_error=True)
    assert math.isfinite(numbers[0]) and numbers[1] == math.inf and math.isnan(errors[1])
    assert model.percentile(["xyz"], samples=50, rng=0)[0] == 0


def test_a_rank_needs_a_model_of_documents_and_samples():
    with pytest.raises(ValueError, match="needs a model of documents"):
        CharRNN("abc").guess_number("a")
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        documents_model().percentile("a", samples=0)


def test_sums_and_not_means_tell_texts_apart():
    """A text that goes on as it began has the higher mean, though it is far less probable."""
    model = charrnn.train.train(["abc"] * 5 + ["acb"], epochs=30, progress=False)
    long, short = "abc" * 5, "acb"
    assert model.score(short) > model.score(long)
