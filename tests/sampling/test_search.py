"""The most probable texts, beside all texts."""

import itertools
import re

import numpy as np
import pytest

import charrnn
from charrnn import CharRNN, Vocabulary
from charrnn.sampling import search

MODELS = {
    cell: CharRNN(
        Vocabulary("abc", end=True), cell=cell, hidden_size=8, num_layers=layers, dtype="float64", seed=layers
    )
    for cell, layers in (("rnn", 1), ("gru", 2), ("lstm", 2))
}
for model in MODELS.values():
    model.state_dict()["head.weight"][:] *= 6  # strong opinions
MODELS["mixture"] = charrnn.mixture(list(MODELS.values()), [1, 2, 3])
TEXT = CharRNN("ab\n", hidden_size=8, dtype="float64", seed=1)


def all_texts(characters: str, longest: int) -> list[str]:
    return ["".join(t) for n in range(longest + 1) for t in itertools.product(characters, repeat=n)]


def assert_best(found, texts, log_probs, n) -> None:
    order = np.argsort(-np.array(log_probs), kind="stable")[:n]
    assert [text for text, _ in found] == [texts[i] for i in order]
    np.testing.assert_allclose([log_prob for _, log_prob in found], [log_probs[i] for i in order], rtol=1e-9)
    assert all(type(log_prob) is float for _, log_prob in found)


@pytest.mark.parametrize("cell", MODELS)
@pytest.mark.parametrize("batch", [1, 7, 128])
def test_the_best_documents_are_the_best_of_all(cell, batch, monkeypatch):
    monkeypatch.setattr(search, "BATCH", batch)
    model, texts = MODELS[cell], all_texts("abc", 8)
    scores = model.score(texts)
    n = int((scores > np.sort(scores)[-30]).sum())
    # Longer ones than these are less probable than the last.
    assert model.score("") > -50 and len(model.most_probable(n)) == n
    assert max(len(text) for text, _ in model.most_probable(n)) < 8
    assert_best(model.most_probable(n), texts, scores, n)
    assert model.most_probable(3) == model.most_probable(n)[:3]


@pytest.mark.parametrize("cell", MODELS)
def test_bounds_and_patterns_choose_among_all(cell):
    model, texts = MODELS[cell], all_texts("abc", 6)
    scores = model.score(texts).tolist()
    for options, chosen in (
        ({"length": 3}, lambda text: len(text) <= 3),
        ({"length": 5, "min_length": 4}, lambda text: 4 <= len(text) <= 5),
        ({"pattern": "(?:ab?|c){1,3}"}, lambda text: re.fullmatch("(?:ab?|c){1,3}", text)),
        ({"pattern": "a*b*", "length": 6, "min_length": 2}, lambda t: len(t) > 1 and re.fullmatch("a*b*", t)),
        ({"length": 0}, lambda text: not text),
    ):
        pairs = [(text, score) for text, score in zip(texts, scores, strict=True) if chosen(text)]
        found = model.most_probable(25, **options)
        assert len(found) == min(25, len(pairs))
        assert_best(found, *map(list, zip(*pairs, strict=True)), 25)


def test_a_prompt_comes_before():
    for model in MODELS.values():
        texts = all_texts("abc", 5)
        whole, begun = model.score(["ab" + text for text in texts]), model.log_prob("ab")[:2].sum()
        found = model.most_probable(10, "ab", length=5)
        assert_best(found, texts, (whole - begun).tolist(), 10)
        assert model.most_probable(10, b"ab", length=5) == [(text.encode(), p) for text, p in found]


def test_texts_of_a_model_without_end_have_one_length():
    for prompt, read in (("", "\n"), ("ab", "ab")):
        texts = ["".join(t) for t in itertools.product("ab\n", repeat=4)]
        log_probs = [TEXT.log_prob(read + text)[len(read) - 1 :].sum() for text in texts]
        assert_best(TEXT.most_probable(20, prompt, length=4), texts, log_probs, 20)
        assert_best(TEXT.most_probable(100, prompt, length=4), texts, log_probs, 100)
    assert TEXT.most_probable(5, length=0) == [("", 0.0)]
    sure = CharRNN("ab\n", hidden_size=8, seed=1)
    sure.state_dict()["head.bias"][:] = [30, 15, 0]
    assert sure.most_probable(1)[0][0] == "a" * 200
    assert all(re.fullmatch("(?:ab)*", text) for text, _ in TEXT.most_probable(9, length=6, pattern="(?:ab)*"))


def test_a_zero_state_is_where_nothing_is_read():
    model = CharRNN("abc", hidden_size=5, dtype="float64")
    bias = model.state_dict()["head.bias"]
    (text, log_prob), *_ = model.most_probable(3, length=1)
    assert text == "abc"[bias.argmax()]
    assert log_prob == pytest.approx(bias.max() - np.log(np.exp(bias).sum()))


def test_no_texts_are_asked_for():
    assert MODELS["gru"].most_probable(0) == []


def test_what_does_not_fit_is_said_and_what_was_found_is_right(monkeypatch):
    model, texts = MODELS["rnn"], all_texts("abc", 9)
    model = CharRNN(Vocabulary("abc", end=True), hidden_size=8, dtype="float64", seed=5)
    model.state_dict()["head.bias"][3] = -3  # long documents: there are many beginnings
    monkeypatch.setattr(search, "BATCH", 4)
    everything = model.most_probable(3000, length=9)
    assert_best(everything, texts, model.score(texts).tolist(), 3000)
    monkeypatch.setattr(search.Search, "__init__", smaller(search.Search.__init__, 200))
    with pytest.warns(
        RuntimeWarning, match=r"^(\d+) of 3,000 texts were found within max_memory=[\d,]+ bytes; .* -\d+"
    ) as seen:
        found = model.most_probable(3000, length=9)
    assert 3 < len(found) < 3000
    assert found == everything[: len(found)]
    bound = float(str(seen[0].message).split()[-1])
    assert everything[len(found)][1] <= bound + 0.005
    assert len(seen) == 1


def smaller(init, capacity):
    """A search that has room for so many places."""

    def limited(self, *arguments):
        original = search.Search.look_at
        self.capacity = capacity

        def look_at(*rest):
            self.capacity = capacity
            original(self, *rest)

        self.look_at = look_at
        init(self, *arguments)

    return limited


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n": -1}, "n must be at least 0, got -1"),
        ({"n": 1, "length": 2, "min_length": 3}, "min_length must be at most length, 2, got 3"),
        ({"n": 1, "max_memory": 10}, "max_memory must be at least 1048576, got 10"),
        ({"n": 1, "pattern": "x"}, "pattern must match some text"),
        ({"n": 1, "prompt": "x"}, "'x' at position 0 of the prompt"),
    ],
)
def test_what_is_wrong_is_a_clear_error(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MODELS["rnn"].most_probable(**options)
