"""Unknown characters: one error names them all, and what may help."""

from __future__ import annotations

import unicodedata

import pytest

from charrnn.text import decoding
from charrnn.text.unknown import UnknownCharacters
from charrnn.text.vocabulary import Vocabulary


def error(characters: str, text: str, *, end: bool = False) -> str:
    with pytest.raises(ValueError) as raised:
        Vocabulary(characters, end=end).encode(text)
    return str(raised.value)


@pytest.mark.parametrize("block", [1, 2, 3, 1 << 16])
def test_all_are_named_in_the_order_of_their_first_places(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BLOCK", block)
    assert error("ab", "aßbxaß\ud800ß") == (
        "'ß' at position 1 of text is not among the model's 2 characters (U+00DF LATIN SMALL LETTER SHARP S, 3 times), "
        "nor 'x' at position 3 of text (U+0078 LATIN SMALL LETTER X, once), "
        "'\\ud800' at position 6 of text (U+D800 without a name, once)"
    )


def test_at_most_a_hundred_are_listed_and_the_others_counted() -> None:
    message = error("a", "".join(map(chr, range(0x4E00, 0x4E00 + 130))))
    assert message.count("U+") == 100
    assert message.endswith(", nor 30 others")


def test_unknown_characters_may_be_left_out_and_are_counted() -> None:
    skipped = UnknownCharacters()
    blocks = decoding.code_point_blocks("xaxbyx")
    found = [index for block in Vocabulary("ab").encode_blocks(blocks, str, skipped) for index in block.tolist()]
    assert found == [0, 1]
    assert skipped.counts == {"x": 3, "y": 1}


@pytest.mark.parametrize(
    ("characters", "text", "end", "hint"),
    [
        ("ab\n", "a\r\nb", False, "replace '\\r\\n' and '\\r' by '\\n'"),
        ("ab", "a\nb", True, "charrnn.documents reads each line as one"),
        ("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9"), False, "normalize('NFC', text)"),
        ("cafe\u0301", "caf\u00e9", False, "normalize('NFD', text)"),
        ("an\n", "a\\na", False, "it is two characters, a backslash and an n"),
    ],
)
def test_what_may_help_is_said(characters: str, text: str, end: bool, hint: str) -> None:
    message = error(characters, text, end=end)
    assert hint in message
    assert message.count("; ") == 1


def test_nothing_is_said_that_does_not_help() -> None:
    for characters, text in ("ab", "a\nb"), ("ab", "a\rb"), ("cafe", "caf\u00e9"), ("an", "a\\xa"):
        assert "; " not in error(characters, text)
