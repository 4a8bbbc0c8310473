"""A pattern's automaton agrees with `re.fullmatch`, on random expressions too."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import automaton
from charrnn.sampling.pattern import pattern_automaton

#: Letters of which one is an upper case, a digit, a sign of words, a space, a newline, letters with odd cases.
ALPHABET = "abA1_ \nßKé"

ATOMS = st.sampled_from(
    [*"abA1_ ßKé", "\\n", ".", "\\d", "\\D", "\\w", "\\W", "\\s", "\\S"]
    + [
        "[ab]",
        "[^a]",
        "[a-z]",
        "[^\\W\\d_]",
        "[\\s\\S]",
        "(?i:a)",
        "(?i:k)",
        "(?i:[^k])",
        "(?s:.)",
        "(?a:\\w)",
        "(?a:\\W)",
        "",
    ]
)
PLACES = st.sampled_from(["^", "$", "\\A", "\\Z", "\\b", "\\B", "(?m:^)", "(?m:$)", "(?a:\\b)", "(?!)"])


def combinations(parts):
    quantifiers = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{,2}", "{2,}", "*?", "+?", "??", "{1,2}?"])
    return st.one_of(
        st.lists(parts, min_size=1, max_size=3).map("".join),
        st.lists(parts, min_size=2, max_size=3).map(lambda items: f"(?:{'|'.join(items)})"),
        st.builds(lambda part, quantifier: f"(?:{part}){quantifier}", parts, quantifiers),
        st.builds(lambda part: f"(?={part})", parts),
        st.builds(lambda part: f"(?!{part})", parts),
        st.builds(lambda part: f"({part})", parts),
    )


PATTERNS = st.recursive(st.one_of(ATOMS, ATOMS, PLACES), combinations, max_leaves=8)
FLAGS = st.sampled_from([0, re.IGNORECASE, re.DOTALL, re.MULTILINE, re.ASCII, re.ASCII | re.IGNORECASE])


def accepts(found, text: str, characters: str = ALPHABET) -> bool:
    return found.accepts(map(characters.index, text))


@settings(max_examples=300, deadline=None)
@given(PATTERNS, FLAGS, st.lists(st.text(ALPHABET, max_size=6), max_size=30))
def test_texts_that_are_accepted_are_those_that_re_matches(pattern, flags, texts):
    compiled = re.compile(pattern, flags)
    texts += ["".join(text) for n in range(3) for text in itertools.product(ALPHABET, repeat=n)]
    try:
        found = pattern_automaton(compiled, ALPHABET)
    except ValueError as error:
        assert "must match some text" in str(error)
        found = None
    for text in texts:
        assert (found is not None and accepts(found, text)) == bool(compiled.fullmatch(text)), text


@settings(max_examples=100, deadline=None)
@given(PATTERNS, st.text(ALPHABET, max_size=4))
def test_from_wherever_one_is_the_distance_leads_to_an_end(pattern, text):
    try:
        found = pattern_automaton(pattern, ALPHABET)
    except ValueError:
        return
    state, t = 0, 0
    while found.distance[state] > 0:
        near = np.where(found.next[state] >= 0, found.distance[found.next[state]], 1 << 30)
        assert near.min() == found.distance[state] - 1
        state, t = found.next[state, near.argmin()], t + 1
    assert found.ends[state]
    assert (found.distance == 0).tolist() == found.ends.tolist()


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (r"\d+", "٣", "x"),
        (r"\w+", "été", "é "),
        (r"(?i)straße", "STRAßE", "STRASSE"),
        (r"(?i)k", "\u212a", "q"),
        (r"(?x) a  b # both", "ab", "a b"),
        (r"(?=.*\d)(?=.*[a-z]).{3,}", "a1x", "axx"),
        (r"(?:(?!bad)\w)+", "baba", "abad"),
        (r"a$\n", "a\n", "a"),
        (r"(?:a$)|(?:b\Z)", "a", "b\n"),
        (r"[[a]", "[", "b"),
    ],
)
@pytest.mark.filterwarnings("ignore:Possible nested set")
def test_matches_as_re_does(pattern, yes, no):
    characters = "".join(sorted({*"٣xété STRAßESTRASSE\u212aqab1xb\n[d"}))
    found = pattern_automaton(pattern, characters)
    assert re.fullmatch(pattern, yes) and not re.fullmatch(pattern, no)
    assert accepts(found, yes, characters) and not accepts(found, no, characters)


def test_compiled_expressions_and_bytes_are_taken():
    assert accepts(pattern_automaton(re.compile("A+", re.IGNORECASE), "aA"), "aA", "aA")
    assert accepts(pattern_automaton(b"\\w\xe9", "aé"), "aé", "aé")
    assert not accepts(pattern_automaton("(?a)\\w|b", "ab\xe9"), "\xe9", "ab\xe9")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "pattern must be a regular expression, got '(a': missing )"),
        (r"(a)\1", "not have a backreference"),
        (r"(?<=a)b", "have no lookbehind"),
        (r"(?<!a)b", "have no lookbehind"),
        (r"(a)?(?(1)b|c)", "not have a condition on a group"),
        ("x+", "pattern must match some text of the model's 2 characters, got 'x+'"),
        ("a(?!a)(?!b)b", "must match some text"),
        (".*a.{30}", "need at most 100,000 states"),
        ("(?:a{999}){999}", "have at most 250,000 parts"),
        ("(?:(?:){4294967294}){4294967294}x", "must match some text"),
    ],
)
def test_what_cannot_be_is_a_clear_error(pattern, message, monkeypatch):
    if "{30}" in pattern:
        monkeypatch.setattr(automaton, "MAX_STATES", 1000)
        message = message.replace("100,000", "1,000")
    with pytest.raises(ValueError, match=re.escape(message)):
        pattern_automaton(pattern, "ab")


def test_a_pattern_of_another_type_is_a_clear_error():
    with pytest.raises(TypeError, match="pattern must be a regular expression, a str, got int"):
        pattern_automaton(5, "ab")
