"""Vocabulary: characters to indices and back."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text import decoding as module
from charrnn.text.vocabulary import END_POINT, Vocabulary

SURROGATES = st.integers(0xD800, 0xDFFF).map(chr)
TEXTS = st.text(st.one_of(st.characters(), st.integers(0, 0x10FFFF).map(chr), SURROGATES))
AWKWARD = "\0\r\n\ufeff\ud83d\ude00\udc80😀👩‍👩‍👧e\u0301é\u200d\u2028\uffff\U0010ffff"


def distinct(text: str) -> str:
    return "".join(dict.fromkeys(text))


@given(TEXTS.filter(bool), st.booleans())
def test_decode_gives_back_what_encode_was_given(text: str, end: bool) -> None:
    vocabulary = Vocabulary(distinct(text), end=end)
    indices = vocabulary.encode(text)
    assert indices.shape == (len(text),)
    assert indices.dtype == vocabulary.dtype
    assert vocabulary.decode(indices) == text


@given(TEXTS.filter(bool), st.integers(1, 5))
def test_indices_do_not_depend_on_the_size_of_a_block(text: str, block: int) -> None:
    vocabulary = Vocabulary(distinct(text))
    whole = vocabulary.encode(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        assert np.array_equal(vocabulary.encode(text), whole)


@given(TEXTS.filter(bool))
def test_the_index_of_a_character_is_its_place(text: str) -> None:
    characters = distinct(text)
    assert Vocabulary(characters).encode(characters).tolist() == list(range(len(characters)))


@given(st.binary(min_size=1))
def test_bytes_are_latin_1(data: bytes) -> None:
    vocabulary = Vocabulary(map(chr, range(256)))
    assert vocabulary.encode(data).tolist() == list(data)
    assert np.array_equal(vocabulary.encode(data), vocabulary.encode(data.decode("latin-1")))


@given(TEXTS.filter(bool), TEXTS)
def test_an_unknown_character_is_named_with_its_position(known: str, text: str) -> None:
    vocabulary = Vocabulary(distinct(known))
    unknown = next((i for i, character in enumerate(text) if character not in known), None)
    if unknown is None:
        assert vocabulary.decode(vocabulary.encode(text)) == text
        return
    with pytest.raises(ValueError) as error:
        vocabulary.encode(text)
    assert str(error.value).startswith(f"{text[unknown]!r} at position {unknown} of text is not among")
    str(error.value).encode("utf-8")


def test_the_error_for_an_unknown_character_reads_well() -> None:
    message = "^'ß' at position 3 of the prompt is not among the model's 4 characters "
    with pytest.raises(ValueError, match=message):
        Vocabulary("\n fu").encode("fu ß", name="the prompt")
    with pytest.raises(ValueError, match="^'b' at position 0 of text is not among the model's 1 character "):
        Vocabulary("a").encode("b")


def test_an_unknown_lone_surrogate_is_named_in_ascii() -> None:
    with pytest.raises(ValueError, match=r"^'\\ud800' at position 1 of text"):
        Vocabulary("a").encode("a\ud800")


def test_an_unknown_character_is_found_in_a_later_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 4)
    with pytest.raises(ValueError, match="^'x' at position 10 "):
        Vocabulary("ab").encode("abababababx")


def test_a_character_next_to_the_largest_known_one_is_unknown() -> None:
    for text in "\0", "Y", "[", "\U0010ffff":
        with pytest.raises(ValueError, match="position 0"):
            Vocabulary("Z", end=True).encode(text)


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize(
    ("size", "dtype"),
    [(2, "u1"), (128, "u1"), (129, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "i4"), (100_000, "i4")],
)
def test_dtype_is_the_smallest_that_holds_every_symbol(size: int, dtype: str, end: bool) -> None:
    characters = "".join(map(chr, range(size - end)))
    vocabulary = Vocabulary(characters, end=end)
    assert len(vocabulary) == size
    assert vocabulary.dtype == np.dtype(dtype)
    assert vocabulary.end == (size - 1 if end else None)
    assert vocabulary.encode(characters).tolist() == list(range(size - end))
    assert vocabulary.decode(np.arange(size - end)) == characters


def test_a_surrogate_pair_in_a_str_stays_two_characters() -> None:
    pair = "\ud83d\ude00"
    vocabulary = Vocabulary(distinct(AWKWARD))
    assert vocabulary.decode(vocabulary.encode(pair + "😀")) == pair + "😀"
    assert len(vocabulary.encode(pair)) == 2


def test_combining_marks_are_not_normalised() -> None:
    vocabulary = Vocabulary("e\u0301é")
    assert vocabulary.encode("e\u0301é").tolist() == [0, 1, 2]


def test_empty_text_is_no_indices() -> None:
    vocabulary = Vocabulary("ab")
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.encode(b"").dtype == np.uint8
    assert vocabulary.decode([]) == "" == vocabulary.decode(vocabulary.encode(""))


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4"])
def test_decode_takes_every_integer_type(dtype: str) -> None:
    assert Vocabulary("abc").decode(np.array([2, 0, 1], dtype)) == "cab"


def test_decode_refuses_what_is_not_the_index_of_a_character() -> None:
    vocabulary = Vocabulary("abc", end=True)
    with pytest.raises(ValueError, match="^indices must not be END, which has no character, got 3 at pos"):
        vocabulary.decode([0, 3])
    with pytest.raises(ValueError, match="^indices must be from 0 to 2, got 4 at position 0$"):
        vocabulary.decode([4])
    with pytest.raises(ValueError, match="^indices must be from 0 to 2, got -1 at position 2$"):
        vocabulary.decode([0, 1, -1])
    with pytest.raises(ValueError, match=r"^indices must be one-dimensional, got shape \(1, 2\)$"):
        vocabulary.decode([[0, 1]])
    with pytest.raises(ValueError, match=r"one-dimensional, got shape \(\)"):
        vocabulary.decode(0)
    for indices in [0.0], [True], ["a"], [2**70], [None]:
        with pytest.raises(TypeError, match="^indices must be integers, got "):
            vocabulary.decode(indices)


def test_encode_refuses_what_is_not_text() -> None:
    with pytest.raises(TypeError, match="^the prompt must be str or bytes, got int$"):
        Vocabulary("a").encode(3, name="the prompt")


def test_characters_may_be_any_iterable() -> None:
    for characters in iter("ab"), ["a", "b"], {"a": 0, "b": 1}:
        assert Vocabulary(characters) == Vocabulary("ab")


def test_characters_that_are_none_or_twice_or_longer_are_refused() -> None:
    with pytest.raises(ValueError, match="^characters must have at least 1 character, got none$"):
        Vocabulary("", end=True)
    with pytest.raises(ValueError, match="^characters must be distinct, got 'b' at position 1 and at .* 3$"):
        Vocabulary("abcb")
    with pytest.raises(ValueError, match="^characters must be single characters, got 'cd' at position 1$"):
        Vocabulary(["a", "cd"])
    with pytest.raises(ValueError, match="^characters must be single characters, got '' at position 0$"):
        Vocabulary([""])
    with pytest.raises(TypeError, match="^characters must be str, got int at position 0$"):
        Vocabulary(b"ab")
    with pytest.raises(TypeError, match="^characters must be a str or an iterable of str, got int$"):
        Vocabulary(3)


def test_equality_is_that_of_the_characters_in_order_and_of_end() -> None:
    assert Vocabulary("ab") == Vocabulary("ab")
    assert hash(Vocabulary("ab")) == hash(Vocabulary("ab"))
    assert Vocabulary("ab") != Vocabulary("ba")
    assert Vocabulary("ab") != Vocabulary("ab", end=True)
    assert Vocabulary("ab") != "ab"
    assert pickle.loads(pickle.dumps(Vocabulary("ab", end=True))) == Vocabulary("ab", end=True)


def test_membership_is_that_of_single_characters() -> None:
    vocabulary = Vocabulary("abc", end=True)
    assert "a" in vocabulary and "c" in vocabulary
    assert not any(thing in vocabulary for thing in ("", "ab", "d", 0, 3, None, b"a"))


def test_repr_is_short_and_can_be_printed() -> None:
    assert repr(Vocabulary("a")) == "<Vocabulary of 1 character 'a'>"
    assert repr(Vocabulary("a\nb", end=True)) == r"<Vocabulary of 3 characters 'a\nb' and END>"
    large = repr(Vocabulary(map(chr, range(0xD7F0, 0xFFFF))))
    assert len(large) < 200
    large.encode("utf-8")


@pytest.mark.parametrize("piece", ["hello world", "語彙は一万字", "a\U0001f600b"])
def test_encode_takes_few_megabytes_beside_the_indices(piece: str) -> None:
    text = piece * (5_000_000 // len(piece))
    vocabulary = Vocabulary(distinct(piece))
    tracemalloc.start()
    indices = vocabulary.encode(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < indices.nbytes + 3_000_000


def test_labels_are_symbols_of_the_input_beyond_end() -> None:
    vocabulary = Vocabulary("abc", end=True, labels=["German", "Czech"])
    assert (len(vocabulary), vocabulary.num_inputs, vocabulary.end) == (4, 6, 3)
    assert vocabulary.labels == ("German", "Czech")
    assert vocabulary.look_up(module.code_points("b")).tolist() == [1]
    assert vocabulary.look_up(np.arange(4) + END_POINT).tolist() == [3, 4, 5, -1]
    assert repr(vocabulary) == "<Vocabulary of 3 characters 'abc' and END and 2 labels>"
    assert vocabulary != Vocabulary("abc", end=True)
    assert vocabulary == pickle.loads(pickle.dumps(vocabulary))
    with pytest.raises(ValueError, match="^indices must not be the label 'Czech', which has no character, got 5 at"):
        vocabulary.decode([0, 5])


def test_labels_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="^labels must be distinct, got 'a' at position 1 again$"):
        Vocabulary("abc", end=True, labels=["a", "a"])
    with pytest.raises(ValueError, match="^labels must come with end, got 1 without$"):
        Vocabulary("abc", labels=["a"])
    for labels in "ab", 3, [1]:
        with pytest.raises(TypeError, match="^labels must be "):
            Vocabulary("abc", end=True, labels=labels)  # type: ignore[arg-type]


def test_a_vocabulary_with_labels_needs_room_for_them() -> None:
    characters = "".join(map(chr, range(254)))
    assert Vocabulary(characters, end=True, labels=["a"]).dtype == np.uint8
    assert Vocabulary(characters, end=True, labels=["a", "b"]).dtype == np.uint16
