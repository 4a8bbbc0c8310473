"""Text that one can steer: stops, lengths, patterns; distinct, new and accepted texts."""

import itertools
import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import CharRNN, Vocabulary, documents
from charrnn.sampling import SamplingOptions

TEXT = CharRNN("ab \n", hidden_size=8, dtype="float64", seed=1)
DOCUMENTS = CharRNN(Vocabulary("abc", end=True), hidden_size=8, dtype="float64", seed=2)


def log_prob(model, text: str) -> float:
    """Of a document, with its END."""
    return float(model.log_prob(text).sum())


def assert_frequencies(texts: list[str], expected: dict[str, float]) -> None:
    """Each text is drawn as often as its probability says: within 5 standard deviations."""
    assert set(texts) <= expected.keys()
    assert math.isclose(sum(expected.values()), 1, rel_tol=1e-9)
    for text, p in expected.items():
        assert abs(texts.count(text) - len(texts) * p) <= 5 * math.sqrt(len(texts) * p * (1 - p)) + 1, text


def masked(model, pattern: str, length: int) -> dict[str, float]:
    """The probability of each text by the definition: characters that lead to no match have probability 0."""
    end = model.vocabulary.end is not None
    texts = ["".join(t) for n in range(length + 1) for t in itertools.product(model.vocabulary.characters, repeat=n)]
    matches = {text for text in texts if re.fullmatch(pattern, text)}
    beginnings = {text[:n] for text in matches for n in range(len(text) + 1)}
    found = {}

    def follow(text: str, p: float) -> None:
        probs = model.next_probs(text)
        allowed = {c: q for c, q in probs.items() if (text in matches if c == "" else text + c in beginnings)}
        if not allowed:
            found[text] = p
        for c, q in allowed.items():
            if c == "":
                found[text] = p * q / sum(allowed.values())
            else:
                follow(text + c, p * q / sum(allowed.values()))

    follow("", 1.0)
    assert end or found.keys() <= matches
    return found


@pytest.mark.parametrize("pattern", ["a{1,3}|b", "(?:ab|ba){1,2}", "[^a]*", "(?!b).*", "", "a?"])
@pytest.mark.parametrize("model", [TEXT, DOCUMENTS], ids=["text", "documents"])
def test_frequencies_are_those_of_the_model_given_the_mask(model, pattern):
    texts = model.sample_many(4000, 4, pattern=pattern, rng=0)
    assert_frequencies(texts, masked(model, pattern, 4))


@pytest.mark.parametrize("model", [TEXT, DOCUMENTS], ids=["text", "documents"])
def test_a_pattern_that_everything_matches_changes_nothing(model):
    for pattern in (r"[\s\S]*", "(?s:.)*", "(?:[abc]|[^abc])*"):
        for seed in range(3):
            assert model.sample(pattern=pattern, rng=seed) == model.sample(rng=seed)
        assert model.sample_many(100, pattern=pattern, rng=0) == model.sample_many(100, rng=0)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["[ab]{2,5}", "(?:a|b )*a", r"a+\s?b?", r"(?=.*b)[^ ]{3,}", r"\w+( \w+)*", "(?i:A|B)+"]),
    st.integers(4, 30),
    st.integers(0, 4),
    st.integers(0, 10**6),
)
def test_whatever_is_drawn_matches_and_has_the_length(pattern, length, min_length, seed):
    for model in (TEXT, DOCUMENTS):
        options = {"pattern": pattern, "min_length": min_length, "rng": seed, "temperature": 2.0, "top_k": 2}
        texts = [model.sample("a", length, **options), *model.sample_many(70, length, prompt="b", **options)]
        for text in texts:
            assert re.fullmatch(pattern, text)
            assert min_length <= len(text) <= length
        assert "".join(model.stream("a", length, **options)) == texts[0]


def test_a_text_without_end_goes_on_while_it_can():
    assert len(TEXT.sample("", 50, pattern="[ab]+", rng=0)) == 50
    assert {len(text) for text in TEXT.sample_many(50, pattern="[ab]{3,7}", rng=0)} == {7}
    assert TEXT.sample("", 0, pattern="a*", rng=0) == TEXT.sample("", pattern="", rng=0) == ""
    # Of three, two or four characters, in four: none is left over.
    assert {len(text) for text in TEXT.sample_many(50, 5, pattern="(?:ab)*", rng=0)} == {4}


# Stops


def cut(text: str, stops: list[str]) -> str:
    """The text before the stop that is complete first, the longest of those."""
    for n in range(len(text) + 1):
        for stop in sorted(stops, key=len, reverse=True):
            if text[:n].endswith(stop):
                return text[: n - len(stop)]
    return text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab \n", min_size=1, max_size=4), min_size=1, max_size=3), st.integers(0, 10**6))
def test_a_text_ends_before_the_first_stop(stops, seed):
    for model, prompt in ((TEXT, "ab"), (DOCUMENTS, "a")):
        whole = model.sample(prompt, rng=seed)
        expected = cut(whole, stops)
        assert model.sample(prompt, rng=seed, stop=stops) == expected
        assert list(model.stream(prompt, rng=seed, stop=stops)) == list(expected)
        assert model.sample_many(1, prompt=prompt, rng=seed, stop=stops) == [expected]
        assert model.sample_many(1, 200, prompt=prompt, rng=seed, stop=tuple(stops)) == [expected]


def test_only_what_is_drawn_counts_and_a_stop_of_other_characters_never_comes():
    seed = next(seed for seed in range(100) if TEXT.sample("a", 3, rng=seed).startswith("ba"))
    assert TEXT.sample("a", 3, rng=seed, stop="ab") == TEXT.sample("a", 3, rng=seed)
    assert TEXT.sample("a", 3, rng=seed, stop=["?", "ba"]) == ""
    assert TEXT.sample(b"a", 3, rng=seed, stop=b"a") == b"b"


def test_one_double_is_taken_for_each_character_of_a_stop_too():
    generator, counted = np.random.default_rng(5), np.random.default_rng(5)
    text = TEXT.sample("", rng=generator, stop="ab")
    assert len(text) < 198
    counted.random(len(text) + 2)
    assert generator.random() == counted.random()


def test_a_stream_gives_a_character_as_soon_as_it_is_no_part_of_a_stop():
    generator = np.random.default_rng(3)
    seen = []
    for character in TEXT.stream("", 40, rng=generator, stop="aab"):
        state = generator.bit_generator.state["state"]["state"]
        counted = np.random.default_rng(3)
        drawn = 0
        while counted.bit_generator.state["state"]["state"] != state:
            counted.random()
            drawn += 1
        seen.append(character)
        assert drawn - len(seen) <= 2
    assert "".join(seen) == TEXT.sample("", 40, rng=3, stop="aab")


def test_what_stands_before_a_stop_matches():
    for text in TEXT.sample_many(100, pattern="[ab]*a", stop="\n", rng=0):
        assert re.fullmatch("[ab]*a", text)
    texts = TEXT.sample_many(300, 30, pattern="[ab ]+", stop=["\n", "ab"], min_length=2, rng=0)
    assert all(re.fullmatch("[ab ]+", text) and "ab" not in text and len(text) >= 2 for text in texts)
    assert min(map(len, texts)) == 2 and len({len(text) for text in texts}) > 5


def test_no_stop_comes_before_the_least_length_of_a_text():
    texts = TEXT.sample_many(200, 20, stop="a", min_length=5, rng=0)
    assert min(map(len, texts)) == 5
    assert all("a" not in text for text in texts)


# Lengths of documents


def test_documents_are_never_cut():
    long = CharRNN(Vocabulary("ab", end=True), seed=0)
    long.state_dict()["head.bias"][2] = -5
    texts = long.sample_many(20, rng=0)
    assert min(map(len, texts)) < 200 < max(map(len, texts))
    assert len(long.sample("a", rng=0)) == len(list(long.stream("a", rng=0)))


@pytest.mark.parametrize("low, high", [(0, 3), (2, 3), (2, 2), (1, 4)])
def test_bounded_documents_are_drawn_as_often_as_their_probability_given_the_bounds_says(low, high):
    texts = ["".join(t) for n in range(low, high + 1) for t in itertools.product("abc", repeat=n)]
    probs = np.exp([log_prob(DOCUMENTS, text) for text in texts])
    drawn = DOCUMENTS.sample_many(4000, high, min_length=low, rng=0)
    assert_frequencies(drawn, dict(zip(texts, (probs / probs.sum()).tolist(), strict=True)))
    drawn = [DOCUMENTS.sample("", high, min_length=low, rng=seed) for seed in range(50)]
    assert set(drawn) <= set(texts)
    assert drawn == ["".join(DOCUMENTS.stream("", high, min_length=low, rng=seed)) for seed in range(50)]


def test_where_no_document_has_the_length_there_is_an_end(monkeypatch):
    monkeypatch.setattr("charrnn.sampling.MAX_TRIES", 1000)
    with pytest.raises(ValueError, match="none of 1,000 documents that were drawn had such a length"):
        DOCUMENTS.sample("", 10_000, min_length=10_000, rng=0)
    with pytest.warns(RuntimeWarning, match=r"^0 of 2 texts were found in 3,000 tries, 0 a try"):
        assert DOCUMENTS.sample_many(2, 10_000, min_length=10_000, rng=0) == []


# Distinct, new and accepted texts


def test_unique_texts_are_the_first_of_those_that_are_drawn():
    drawn = DOCUMENTS.sample_many(3000, rng=0)
    first = list(dict.fromkeys(drawn))[:100]
    assert DOCUMENTS.sample_many(100, unique=True, rng=0) == first
    known = first[:50]
    for novel in (known, iter(known), set(known), [text.encode() for text in known], [("x", text) for text in known]):
        assert DOCUMENTS.sample_many(50, unique=True, novel=novel, rng=0) == first[50:]
    accepted = DOCUMENTS.sample_many(50, accept=lambda text: len(text) > 2, rng=0)
    assert accepted == [text for text in drawn if len(text) > 2][:50]


def test_new_texts_are_not_in_a_file(tmp_path):
    path = tmp_path / "known.txt"
    path.write_text("a\r\nb\n\ncc\n")
    for novel in (path, documents(path), open(path, newline="")):
        with pytest.warns(RuntimeWarning, match="10 of 500 texts were found"):
            texts = DOCUMENTS.sample_many(500, 2, novel=novel, unique=True, max_tries=5000, rng=0)
        all_texts = {"".join(t) for n in range(3) for t in itertools.product("abc", repeat=n)}
        assert set(texts) == all_texts - {"a", "b", "cc"}


def test_a_prompt_belongs_to_a_text_that_is_new():
    texts = DOCUMENTS.sample_many(200, prompt="ab", novel=["abc", "ab"], rng=0)
    assert not {"c", ""} & set(texts)
    assert "abc" in DOCUMENTS.sample_many(2000, prompt="ab", novel=["abc"], rng=0)


def test_too_few_texts_are_said():
    with pytest.warns(RuntimeWarning, match=r"^3 of 10 texts were found in 2,000 tries, 0.0015 a try; a greater max_t"):
        texts = DOCUMENTS.sample_many(10, pattern="a|b|c", unique=True, max_tries=2000, rng=0)
    assert sorted(texts) == ["a", "b", "c"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(DOCUMENTS.sample_many(3, pattern="a|b|c", unique=True, max_tries=2000, rng=0)) == 3
        assert DOCUMENTS.sample_many(0, unique=True) == []
        assert len(DOCUMENTS.sample_many(7, max_tries=7, rng=0)) == 7


# What cannot be


@pytest.mark.parametrize(
    "options, message",
    [
        ({"length": 3, "min_length": 4}, "min_length must be at most length, 3, got 4"),
        ({"length": 3, "pattern": "a{4}"}, "pattern must match some text of at most 3 characters, got 'a{4}', which"),
        ({"pattern": "x"}, "pattern must match some text of the model's 3 characters, got 'x'"),
        (
            {"pattern": "a|b", "min_length": 2},
            "pattern, stop and min_length must leave some text, got min_length=2 and pat",
        ),
        ({"pattern": "a*", "min_length": 10**6}, "min_length must need at most 100,000 states, got min_length=1000000"),
        ({"pattern": "a", "stop": "a"}, "must leave some text, got min_length=0 and pattern='a' and stop="),
    ],
)
def test_what_cannot_be_is_a_clear_error(options, message):
    for method in (DOCUMENTS.sample, DOCUMENTS.stream, lambda **options: DOCUMENTS.sample_many(3, **options)):
        with pytest.raises(ValueError, match=re.escape(message)):
            method(**options)


def test_options_are_equal_however_stops_are_given():
    assert SamplingOptions(stop="ab") == SamplingOptions(stop=["ab"]) == SamplingOptions(stop=b"ab")
