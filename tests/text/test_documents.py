"""Documents in files: lines, records, columns of tables, packed or from standard input."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.text import blocks, decoding
from charrnn.text import documents as module
from charrnn.text.corpus import Corpus
from charrnn.text.documents import Cut, documents
from charrnn.text.reading import read
from charrnn.text.vocabulary import Vocabulary

Write = Callable[..., Path]
TABLE = 'name,country,count\nEmma,England,2\n"Smith, J.",England,1\n"two\r\nlines",France,0.5\n\n,France,1\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "a.txt", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def documents_of(corpus: Corpus) -> list[Any]:
    """The documents of a stream, with their labels if they have any."""
    vocabulary, symbols, ends = corpus.vocabulary, corpus.indices(), corpus.ends().tolist()
    texts = [vocabulary.decode(symbols[a + 1 : b]) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    if not vocabulary.labels:
        return texts
    return [(vocabulary.labels[symbols[a] - len(vocabulary)], text) for a, text in zip(ends[:-1], texts, strict=True)]


# Lines


def test_lines_end_with_lf_crlf_or_cr_and_blank_ones_are_left_out(write: Write) -> None:
    path = write("to\nbe\r\nor\r\r\n \t\u3000\nnot \x85 to\n\x0b\n be")
    assert list(documents(path)) == ["to", "be", "or", "not \x85 to", " be"]
    assert documents_of(read(documents(path))) == list(documents(path))
    assert documents_of(read(documents(str(path)))) == list(documents(path))


@given(st.text(st.sampled_from("ab \t\r\n\x85\u2028\u3000語"), max_size=40), st.integers(1, 9))
def test_the_lines_of_the_stream_are_those_that_are_iterated_over(text: str, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BLOCK", block)
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        found = documents("-")
        expected = [line for line in re.split("[\r\n]", text) if line.strip()]
        assert list(found) == expected
        if expected:
            assert documents_of(read(found)) == expected
        else:
            with pytest.raises(ValueError, match="^stdin must have at least 1 document, got none$"):
                read(found)


def test_documents_are_read_again_and_again_and_none_is_held(write: Write) -> None:
    found = charrnn.documents(write("to\nbe\n"))
    first, second = iter(found), iter(found)
    assert next(first) == next(second) == "to"
    assert list(found) == list(found) == ["to", "be"]
    assert list(first) == ["be"]
    assert isinstance(found, charrnn.Documents)
    assert repr(found).startswith("<Documents of ") and repr(found).endswith("a.txt>")


def test_several_files_are_one_after_the_other_each_in_itself(write: Write) -> None:
    paths = [write("to\nbe", "1"), write("\ufeffor\n", "2"), write(gzip.compress(b"not"), "3")]
    assert list(documents(paths)) == documents_of(read(documents(iter(paths)))) == ["to", "be", "or", "not"]


@pytest.mark.parametrize("packer", [gzip, bz2, lzma])
def test_packed_files_are_unpacked(packer: Any, write: Write) -> None:
    path = write(packer.compress("hé\nyo".encode("utf-16")), "a.csv")
    assert list(documents(path, encoding="utf-16")) == documents_of(read(documents(path, encoding="utf-16")))
    assert list(documents(path, encoding="utf-16")) == ["hé", "yo"]


def test_a_wrong_encoding_is_named_with_file_and_offset(write: Write) -> None:
    path = write(b"ab\nc\xffd")
    for use in list, read:
        with pytest.raises(ValueError, match=r"a\.txt must be in utf-8, got byte 0xff at offset 4 \("):
            use(documents(path))
    with pytest.raises(ValueError, match="^encoding must be one that Python knows"):
        documents(path, encoding="utf-9")
    with pytest.raises(ValueError, match=r"a\.zip must be a text, got a ZIP archive"):
        list(documents(write(b"PK\3\4", "a.zip")))


# Records


@pytest.mark.parametrize(
    ("content", "separator", "expected"),
    [
        ("X:1\nabc\n\nX:2\ndef\n", "\n\n", ["X:1\nabc", "X:2\ndef"]),
        ("\n\nX:1\r\nabc\r\n\r\n\r\n\r\nX:2\r\n", "\n\n", ["X:1\nabc", "X:2"]),
        ("one\n%\ntwo\nlines\n%\nthree\n", "\n%\n", ["one", "two\nlines", "three"]),
        ("one\n%\ntwo\nlines\n%\n", "%\n", ["one\n", "two\nlines\n"]),
        ("a|b| |c\n", "|", ["a", "b", "c"]),
        ("a\n---\nb", "---", ["a\n", "\nb"]),
        ("abababa", "bab", ["a", "aba"]),
    ],
)
@pytest.mark.parametrize("block", [1, 2, 3, 1 << 16])
def test_records_lie_between_separators(
    content: str, separator: str, expected: list[str], block: int, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    found = documents(write(content), separator=separator)
    assert list(found) == expected
    assert documents_of(read(found)) == expected


@given(st.text("ab", max_size=30), st.text("ab", min_size=1, max_size=3), st.integers(1, 5))
def test_records_are_what_str_split_gives(text: str, separator: str, block: int) -> None:
    pieces = [text[i : i + block] for i in range(0, len(text), block)]
    found = list(module._split(pieces, separator))
    assert [record for record, _ in found] == text.split(separator)
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]


# Tables


def test_a_column_of_a_table_is_read_by_the_kind_of_file(write: Write) -> None:
    rows = [{"name": "Emma", "n": 1}, {"name": "Zo\u2028é\n", "n": 2}, {"name": None}, {"name": " "}]
    for name in "a.jsonl", "a.ndjson", "a.json", "a.txt", "a":
        path = write("\n".join(map(json.dumps, rows)) + "\n\n", name)
        assert list(documents(path, column="name")) == ["Emma", "Zo\u2028é\n"]
    for name in "a.csv", "A.CSV", "a.txt":
        path = write(TABLE, name)
        assert list(documents(path, column="name")) == ["Emma", "Smith, J.", "two\nlines"]
        assert documents_of(read(documents(path, column="name"))) == ["Emma", "Smith, J.", "two\nlines"]
        assert list(documents(path, column=1)) == ["country", "England", "England", "France", "France"]
    for name in "a.tsv", "a.tab", "a.txt":
        path = write('name\tn\nEmma\t1\n"a ""b"""\t2\n"She said" no\t3\n"\t4\n', name)
        assert list(documents(path, column="name")) == ["Emma", 'a "b"', '"She said" no', '"']
        assert list(documents(path, column=1)) == ["n", "1", "2", "3", "4"]
    assert list(documents(write('[1, "a"]\n[2, "b"]', "a.jsonl"), column=1)) == ["a", "b"]


def test_packed_tables_are_read(write: Write) -> None:
    paths = [write(gzip.compress(TABLE.encode()), "a.csv.gz"), write(lzma.compress(b'{"name": "Zoe"}'), "b.jsonl.xz")]
    assert list(documents(paths, column="name")) == ["Emma", "Smith, J.", "two\nlines", "Zoe"]


def test_labels_make_pairs(write: Write) -> None:
    path = write(TABLE, "a.csv")
    expected = [("England", "Emma"), ("England", "Smith, J."), ("France", "two\nlines")]
    found = documents(path, column="name", label="country")
    assert list(found) == documents_of(read(found)) == expected
    assert list(documents(path, column=0, label=1))[1:] == expected
    path = write('{"t": "a", "l": 3}', "a.jsonl")
    assert list(documents(path, column="t", label="l")) == [("3", "a")]


def test_weights_are_a_column_or_beside_the_documents(write: Write) -> None:
    path = write(TABLE, "a.csv")
    for found in documents(path, column="name", weight="count"), documents(path, column="name", weights=[2, 1, 0.5]):
        corpus = read(found)
        assert corpus.weights is not None
        assert corpus.weights.tolist() == [2, 1, 0.5]
    labelled = read(documents(path, column="name", label="country", weight="count"))
    assert labelled.weights is not None and labelled.weights.tolist() == [2, 1, 0.5]
    with pytest.raises(
        ValueError, match=r"^line 2 of .*a\.csv must have a number from 0 on in column 'country', got 'E"
    ):
        read(documents(path, column="name", weight="country"))
    with pytest.raises(ValueError, match="^weights must be one for each of 3 documents, got 2$"):
        read(documents(path, column="name", weights=[1, 2]))


def test_a_long_field_is_read(write: Write) -> None:
    text = "ab" * 200_000
    assert list(documents(write(f"t\n{text}\n", "a.csv"), column="t")) == [text]
    assert documents_of(read(documents(write(f"t\n{text}\nc\n", "a.csv"), column="t"))) == [text, "c"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "b,c\n1,2\n", r"a\.csv must have the column 't', got 'b', 'c'$"),
        ("a.csv", "", r"a\.csv must have the column 't', got none$"),
        ("a.csv", 'b,t\n"1\n2",3\n4\n', r"^line 4 of .*a\.csv must have at least 2 columns, got 1$"),
        ("a.tsv", "b\tt\n1\n", r"^line 2 of .*a\.tsv must have at least 2 columns, got 1$"),
        ("a.jsonl", '{"t": "a"}\n\n{"b": 1}', r"^line 3 of .*a\.jsonl must have the column 't', got {\"b\": 1}$"),
        ("a.jsonl", '{"t": "a"}\n{"t": ', r"^line 2 of .*a\.jsonl must be a JSON object, got {\"t\":$"),
        ("a.jsonl", "[" * 100_000, r"^line 1 of .*a\.jsonl must be a JSON object, got \[+\.\.\.$"),
        ("a.jsonl", "[1]", r"^line 1 of .*a\.jsonl must have the column 't', got \[1\]$"),
        ("a.jsonl", '{"t": 3}', r"^line 1 of .*a\.jsonl must have a text in column 't', got 3$"),
    ],
)
def test_a_row_that_lacks_something_is_named_with_file_and_line(
    name: str, content: str, message: str, write: Write
) -> None:
    for use in list, read:
        with pytest.raises(ValueError, match=message):
            use(documents(write(content, name), column="t"))


def test_a_missing_label_is_named_with_file_and_line(write: Write) -> None:
    path = write('{"t": "a", "l": null}', "a.jsonl")
    with pytest.raises(ValueError, match=r"^line 1 of .*a\.jsonl must have a label in column 'l', got None$"):
        list(documents(path, column="t", label="l"))


# Errors, places, records


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"separator": ""}, ValueError, "separator must be a str of at least 1 character, got ''"),
        ({"separator": 3}, ValueError, "separator must be a str of at least 1 character, got 3"),
        ({"column": 1.5}, TypeError, "column must be the name of a column or its number, got 1.5"),
        ({"column": True}, TypeError, "column must be the name of a column or its number, got True"),
        ({"column": -1}, ValueError, "column must be the name of a column or its number from 0, got -1"),
        ({"label": "b"}, ValueError, "label must come with column, that of the texts, got 'b' alone"),
        ({"column": 1, "separator": "\n"}, ValueError, "separator must not come with column, got '\\n' and 1"),
        ({"column": 1, "weight": 2, "weights": [1]}, ValueError, "weights must not come with weight, the column that"),
    ],
)
def test_wrong_options_are_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        documents("a.txt", **options)
    assert str(raised.value).startswith(message)


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    for files in 3, b"a.txt", None:
        with pytest.raises(TypeError, match="^files must be a path or an iterable of paths, got "):
            documents(files)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^files must be paths, got 3$"):
        documents(["a.txt", 3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="^files must be at least 1, got none$"):
        documents([])
    with pytest.raises(FileNotFoundError):
        list(documents(tmp_path / "missing"))


@pytest.mark.parametrize("block", [1, 4, 1 << 16])
@pytest.mark.parametrize("how", ["lines", "records", "column", "stdin"])
def test_unknown_characters_are_named_with_the_line_of_their_document(
    how: str, block: int, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(decoding, "BLOCK", block)
    content = "emma\n\nanßa\r\n\nzoé\nzoß\n"
    if how == "lines":
        found, lines = documents([write("emma\n"), write(content, "b.txt")]), (3, 5)
    elif how == "records":
        found, lines = documents(write(content, "b.txt"), separator="\n\n"), (3, 5)
    elif how == "column":
        found, lines = documents(write("t\n" + content, "b.txt"), column="t"), (4, 6)
    else:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
        found, lines = documents("-"), (3, 5)
    with pytest.raises(ValueError) as error:
        read(found, vocabulary=Vocabulary("aemnoz\n", end=True))
    places = [re.escape(f"line {line} of ") + (".*b.txt" if how != "stdin" else "stdin") for line in lines]
    assert re.match(
        f"'ß' at position 2 of {places[0]} is not among the model's 7 characters \\(.* SHARP S, 2 times\\), "
        f"nor 'é' at position 2 of {places[1]} \\(",
        str(error.value),
    )


def test_how_files_are_cut_is_a_record() -> None:
    for options in {}, {"separator": "\n\n"}, {"column": "a", "label": 1, "weight": "n"}, {"column": 0}:
        cut = documents("a.csv", **options).cut  # type: ignore[arg-type]
        assert cut.as_record() == options
        assert Cut(**json.loads(json.dumps(cut.as_record()))) == cut


def test_a_corpus_knows_how_its_documents_were_cut(write: Write) -> None:
    assert read(documents(write("a\n\nb"), separator="\n\n")).cut == Cut(separator="\n\n")
    assert read(documents(write("a\nb"))).cut == Cut()
    assert read(["a", "b"]).cut is None
    assert read("ab").cut is None


def test_lines_of_many_blocks_are_read_as_they_are(write: Write) -> None:
    rng = np.random.default_rng(0)
    lines = ["".join(rng.choice(list("abc  é"), n)) for n in rng.integers(0, 40, 20_000).tolist()]
    lines.insert(10_000, "long " * 100_000)
    found = documents(write("\n".join(lines)))
    assert documents_of(read(found)) == list(found) == [line for line in lines if line.strip()]
