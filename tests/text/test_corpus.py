"""Corpus: texts, files and documents as streams of symbols."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.text import blocks as blocks_module
from charrnn.text import corpus as module
from charrnn.text import decoding
from charrnn.text.corpus import Corpus
from charrnn.text.documents import documents
from charrnn.text.reading import read
from charrnn.text.splitting import split
from charrnn.text.vocabulary import Vocabulary

CJK = "".join(map(chr, range(0x4E00, 0x4E00 + 10_000)))
CHARACTERS = st.one_of(st.characters(), st.sampled_from("ab"), st.integers(0xD800, 0xDFFF).map(chr))
TEXTS = st.text(CHARACTERS, min_size=1)
DOCUMENTS = st.lists(st.text(CHARACTERS, max_size=12), min_size=1, max_size=20).filter(any)
Book = Callable[..., Path]
AWKWARD = "a\0b\r\nc\rd\ne\u0301 é \ufeff 😀 👩‍👩‍👧 \u2028 \U0010ffff 語"


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.indices())


def documents_of(corpus: Corpus) -> list[str]:
    """The documents of a stream, by the rule that END begins it, ends it and lies between them."""
    indices = corpus.indices().tolist()
    end = corpus.vocabulary.end
    assert indices[0] == indices[-1] == end
    documents: list[list[int]] = [[]]
    for index in indices[1:-1]:
        if index == end:
            documents.append([])
        else:
            documents[-1].append(index)
    return [corpus.vocabulary.decode(document) for document in documents]


def stream(corpus: Corpus) -> list[int]:
    return corpus.indices().tolist()


@pytest.fixture
def book(tmp_path: Path) -> Book:
    def write(content: str | bytes, encoding: str = "utf-8") -> Path:
        path = tmp_path / "book.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


# Texts


@given(TEXTS)
def test_a_str_is_read_as_its_code_points(text: str) -> None:
    corpus = read(text)
    assert corpus.vocabulary == Vocabulary(sorted(set(text)))
    assert text_of(corpus) == text
    assert len(corpus) == len(text)
    assert corpus.num_predictions == len(text) - 1
    assert corpus.num_documents == 0


@given(st.binary(min_size=1))
def test_bytes_are_read_as_latin_1(data: bytes) -> None:
    for same in data, bytearray(data), memoryview(data):
        assert text_of(read(same)) == data.decode("latin-1")


@given(TEXTS, st.integers(1, 5))
def test_what_is_read_does_not_depend_on_the_size_of_a_block(text: str, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BLOCK", block)
        assert text_of(read(text)) == text


@pytest.mark.filterwarnings("ignore:data is the text")
def test_a_str_is_never_a_path(book: Book) -> None:
    path = str(book("the content"))
    assert text_of(read(path)) == path


def test_a_subclass_of_str_is_a_text() -> None:
    class Title(str):
        pass

    assert text_of(read(Title("emma"))) == text_of(read(np.str_("emma"))) == "emma"


def test_awkward_characters_are_kept_as_they_are(book: Book) -> None:
    assert text_of(read(AWKWARD)) == AWKWARD
    assert text_of(read(book(AWKWARD))) == AWKWARD


def test_lone_surrogates_are_characters() -> None:
    corpus = read("\ud83d\ude00😀")
    assert corpus.vocabulary.characters == "\ud83d\ude00😀"
    assert text_of(corpus) == "\ud83d\ude00😀"


def test_a_byte_order_mark_is_a_character_of_a_str_and_none_of_a_file(book: Book) -> None:
    assert text_of(read("\ufeffab")) == "\ufeffab"
    assert text_of(read(book("\ufeffab"))) == "ab"
    assert text_of(read(book("\ufeffab"), encoding="UTF8")) == "ab"
    assert text_of(read(book("a\ufeffb"))) == "a\ufeffb"


@pytest.mark.parametrize(
    ("characters", "dtype"),
    [("ab", "u1"), (CJK, "u2"), ("".join(map(chr, range(0x10000, 0x10000 + 70_000))), "i4")],
)
def test_codes_are_of_the_smallest_type(characters: str, dtype: str, book: Book) -> None:
    for data in characters, book(characters):
        corpus = read(data)
        assert corpus.codes.dtype == corpus.vocabulary.dtype == np.dtype(dtype)
        assert corpus.codes.flags.c_contiguous
        assert corpus.indices(1, 3).dtype == corpus.vocabulary.dtype
        assert stream(corpus) == list(range(len(characters)))


def test_indices_are_a_copy() -> None:
    for text in "hello", CJK:
        corpus = read(text)
        before = stream(corpus)
        corpus.indices()[:] = 0
        corpus.indices(1, 3)[:] = 0
        assert stream(corpus) == before


def test_no_characters_are_refused(book: Book) -> None:
    for nothing in "", b"":
        with pytest.raises(ValueError, match="^data has no characters$"):
            read(nothing)
    with pytest.raises(ValueError, match=r"book\.txt has no characters$"):
        read(book("\ufeff"))


@pytest.mark.parametrize("data", [3, None, 2.5, object()])
def test_other_types_are_refused(data: Any) -> None:
    with pytest.raises(
        TypeError, match=f"^data must be str, bytes, a path or an iterable of str, got {type(data).__name__}$"
    ):
        read(data)


# A vocabulary that is given


def test_a_text_is_encoded_with_the_vocabulary_given(book: Book) -> None:
    vocabulary = Vocabulary("oleh")
    for data in "hello", b"hello", book("hello"):
        corpus = read(data, vocabulary=vocabulary)
        assert corpus.vocabulary is vocabulary
        assert stream(corpus) == [3, 2, 1, 1, 0]
    assert len(read("", vocabulary=vocabulary)) == 0


def test_an_unknown_character_is_named_with_its_place(book: Book) -> None:
    for end in False, True:
        vocabulary = Vocabulary("fu ", end=end)
        with pytest.raises(ValueError, match="^'ß' at position 2 of text is not among the model's 3 char"):
            read("fuß", vocabulary=vocabulary, name="text")
        with pytest.raises(ValueError, match=r"^'ß' at position 2 of .*book\.txt is not among"):
            read(book("fuß"), vocabulary=vocabulary)


@given(DOCUMENTS, st.data())
def test_an_unknown_character_is_found_in_its_document(documents: list[str], data: st.DataObject) -> None:
    characters = sorted(set("".join(documents)))
    unknown = data.draw(st.sampled_from(characters))
    vocabulary = Vocabulary(sorted({*characters, "x", "y"} - {unknown}), end=True)
    number = next(i for i, document in enumerate(documents) if unknown in document)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError) as error:
        patch.setattr(blocks_module, "BLOCK", 8)
        read(documents, vocabulary=vocabulary)
    place = f"position {documents[number].index(unknown)} of document {number}"
    assert str(error.value).startswith(f"{unknown!r} at {place} is not among the model's ")


def test_a_text_is_a_single_document_where_the_vocabulary_has_end(book: Book) -> None:
    vocabulary = Vocabulary("ehlo", end=True)
    for data in "hello", b"hello", book("hello"):
        corpus = read(data, vocabulary=vocabulary)
        assert documents_of(corpus) == ["hello"]
        assert corpus.num_documents == 1
    assert documents_of(read("", vocabulary=vocabulary)) == [""]


def test_documents_are_refused_where_the_vocabulary_has_no_end() -> None:
    with pytest.raises(
        ValueError, match="^data must be a single text, as the model's vocabulary has no END, got documents$"
    ):
        read(["ab", "b"], vocabulary=Vocabulary("ab"))


# Files


@pytest.mark.parametrize("block", [1, 2, 3, 5, 1 << 16])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32", "gb18030"])
def test_a_file_is_read_in_its_encoding(block: int, encoding: str, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BLOCK", block)
    assert text_of(read(book(AWKWARD, encoding), encoding=encoding)) == AWKWARD


def test_a_file_of_10_000_symbols_is_read(book: Book) -> None:
    corpus = read(book(CJK[::-1] * 3))
    assert corpus.vocabulary.characters == CJK
    assert text_of(corpus) == CJK[::-1] * 3


@pytest.mark.parametrize("block", [1, 2, 3, 4, 7, 1 << 16])
@pytest.mark.parametrize(
    ("content", "encoding", "byte", "offset"),
    [
        (b"ab\xffcd", "utf-8", 0xFF, 2),
        ("語\r\n彙".encode() + b"\x80x", "utf-8", 0x80, 8),
        (b"\xef\xbb\xbf" + "語".encode() + b"\xe8\xaax", "utf-8", 0xE8, 6),
        ("ab語".encode()[:-1], "utf-8", 0xE8, 2),
        (b"a\xed\xa0\x80", "utf-8", 0xED, 1),
        (b"abc\x81", "cp1252", 0x81, 3),
        (b"ab\xe9", "ascii", 0xE9, 2),
        ("ab語".encode("shift_jis") + b"\x81 ", "shift_jis", 0x81, 4),
        ("語a".encode("utf-16") + b"x", "utf-16", ord("x"), 6),
    ],
)
def test_an_undecodable_byte_is_named_with_its_offset(
    content: bytes,
    encoding: str,
    byte: int,
    offset: int,
    block: int,
    book: Book,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "BLOCK", block)
    message = (
        rf"book\.txt must be in {encoding}, got byte 0x{byte:02x} at offset {offset} \(.*\); "
        "give its encoding, or pass its bytes$"
    )
    with pytest.raises(ValueError, match=message):
        read(book(content), encoding=encoding)


def test_utf_16_without_a_byte_order_mark_is_refused(book: Book) -> None:
    with pytest.raises(ValueError, match=r"book\.txt must be in utf-16, got .*; give its encoding"):
        read(book("ab", "utf-16-le"), encoding="utf-16")


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "rot13", "", "a\0b"])
def test_an_unknown_encoding_is_refused(encoding: str, book: Book) -> None:
    with pytest.raises(ValueError, match="^encoding must be one that Python knows, as 'utf-8', got "):
        read(book("ab"), encoding=encoding)


def test_an_encoding_that_is_no_str_is_refused(book: Book) -> None:
    with pytest.raises(TypeError, match="^encoding must be a str, got NoneType$"):
        read(book("ab"), encoding=None)


def test_a_file_that_cannot_be_opened_raises_what_open_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing")
    with pytest.raises((IsADirectoryError, PermissionError)):
        read(tmp_path)


def test_a_path_may_be_any_pathlike(book: Book) -> None:
    class Bytes(os.PathLike):
        def __fspath__(self) -> bytes:
            return os.fsencode(book("ab"))

    assert text_of(read(Bytes())) == "ab"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(AWKWARD.encode(),))
    writer.start()
    corpus = read(path)
    writer.join()
    assert text_of(corpus) == AWKWARD


# Memory-mapped files


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "latin-1", "shift_jis"])
def test_a_mapped_file_has_the_indices_of_one_that_is_read(
    encoding: str, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(map(chr, range(128))) + "to be\r\nor not"
    path = book(text)
    copied = read(path, encoding=encoding)
    monkeypatch.setattr(decoding, "MMAP_BYTES", 16)
    mapped = read(path, encoding=encoding)
    assert isinstance(mapped.codes, np.memmap) and not isinstance(copied.codes, np.memmap)
    assert not mapped.codes.flags.writeable
    assert mapped.codes.flags.c_contiguous
    assert mapped.vocabulary == copied.vocabulary
    assert stream(mapped) == stream(copied)
    assert mapped.indices().dtype == np.uint8
    assert text_of(mapped) == text
    parts = [[stream(part) for part in split(corpus, 0.3) if part] for corpus in (mapped, copied)]
    assert parts[0] == parts[1]


def test_every_byte_of_a_latin_1_file_is_mapped(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MMAP_BYTES", 16)
    content = bytes(range(256))[::-1] * 2
    corpus = read(book(content), encoding="latin-1")
    assert isinstance(corpus.codes, np.memmap)
    assert text_of(corpus) == content.decode("latin-1")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("naïve", "utf-8"),
        ("naïve", "cp1252"),
        ("\ufeffnaive", "utf-8"),
        ("naive", "utf-16"),
        ("naive", "cp037"),
        ("naive+", "utf-7"),
        ("n~{}a", "hz"),
    ],
)
def test_a_file_whose_bytes_are_not_its_code_points_is_not_mapped(
    text: str, encoding: str, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MMAP_BYTES", 1)
    path = book(text, encoding)
    corpus = read(path, encoding=encoding)
    assert not isinstance(corpus.codes, np.memmap)
    assert text_of(corpus) == text.removeprefix("\ufeff")


def test_a_smaller_file_is_not_mapped(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MMAP_BYTES", 6)
    assert not isinstance(read(book("hello")).codes, np.memmap)
    assert isinstance(read(book("hello!")).codes, np.memmap)


def test_a_mapped_file_is_encoded_with_the_vocabulary_given(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MMAP_BYTES", 1)
    path = book("hello")
    corpus = read(path, vocabulary=Vocabulary("語ohle"))
    assert isinstance(corpus.codes, np.memmap)
    assert stream(corpus) == [2, 4, 3, 3, 1]
    with pytest.raises(ValueError, match=r"^'l' at position 2 of .*book\.txt is not among the model's 4 "):
        read(path, vocabulary=Vocabulary("oheL"))
    assert stream(read(path, vocabulary=Vocabulary(CJK + "ohle"))) == [10001, 10003, 10002, 10002, 10000]
    assert documents_of(read(path, vocabulary=Vocabulary("ohle", end=True))) == ["hello"]


def test_the_symbols_of_a_mapped_file_stay_in_range_when_it_changes(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MMAP_BYTES", 1)
    path = book("hello")
    corpus = read(path)
    with path.open("r+b") as file:
        file.write(b"\xff\x00zzz")
    assert max(stream(corpus)) < len(corpus.vocabulary)


# Documents


@given(DOCUMENTS, st.integers(1, 20))
def test_documents_are_read_with_end_around_each(documents: list[str], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        patch.setattr(blocks_module, "BLOCK", block)
        corpus = read(documents)
        assert corpus.num_documents == len(documents)
    assert documents_of(corpus) == documents
    assert corpus.vocabulary == Vocabulary(sorted(set("".join(documents))), end=True)
    assert corpus.num_predictions == len(corpus) - 1 == sum(len(document) + 1 for document in documents)


def test_documents_may_be_any_iterable_of_str_or_bytes() -> None:
    expected = stream(read(["to", "be"]))
    for data in ("to", "be"), iter(["to", "be"]), [b"to", "be"], {"to": 1, "be": 2}.keys(), np.array(["to", "be"]):
        assert stream(read(data)) == expected
    assert documents_of(read([b"\xe9"])) == ["é"]


def test_a_set_of_documents_is_read_in_sorted_order() -> None:
    names = [f"name {i:03d}" for i in range(100)]
    assert documents_of(read(set(names))) == documents_of(read(frozenset(names))) == names


def test_the_list_of_documents_is_left_alone() -> None:
    documents = [b"to", "be"]
    read(documents)
    assert documents == [b"to", "be"]


def test_empty_documents_are_documents() -> None:
    assert documents_of(read(["", "a", "", ""])) == ["", "a", "", ""]


def test_documents_that_are_none_or_all_empty_or_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match="^data must have at least 1 document, got none$"):
        read([])
    with pytest.raises(ValueError, match="^data has no characters$"):
        read(["", ""])
    with pytest.raises(TypeError, match="^document 1 of names must be str or bytes, got int$"):
        read(["ab", 3], name="names")


def test_an_error_in_the_callers_iterable_is_passed_on() -> None:
    def documents() -> Any:
        yield "a"
        raise TypeError("mine")

    with pytest.raises(TypeError, match="^mine$"):
        read(documents())


# Costs


@pytest.mark.parametrize("piece", ["To be, or not to be\n", "語彙は一万字", "a\U0001f600b"])
@pytest.mark.parametrize("kind", ["str", "utf-8", "utf-16", "one document", "lines", "generator"])
def test_reading_takes_few_megabytes_beside_the_indices(piece: str, kind: str, book: Book) -> None:
    data: Any = piece * (8_000_000 // len(piece))
    if kind.startswith("utf"):
        data = book(data, kind)
    elif kind == "one document":
        data = [data]
    elif kind == "lines":
        data = documents(book(data.replace(" ", "\r\n")))
    elif kind == "generator":
        data = (piece for _ in range(8_000_000 // len(piece)))
    tracemalloc.start()
    corpus = read(data, encoding=kind if kind == "utf-16" else "utf-8")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # An eighth: what an array that grows has in reserve, and has not written to.
    assert peak < 9 / 8 * corpus.codes.nbytes + 5_000_000


def test_a_257th_symbol_at_the_end_takes_no_more_memory() -> None:
    text = "".join(map(chr, range(256))) * 31_250 + "\u0100"
    tracemalloc.start()
    corpus = read(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert corpus.codes.dtype == np.uint16
    assert peak < 9 / 8 * corpus.codes.nbytes + 8_000_000


def test_a_mapped_file_takes_few_megabytes(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MMAP_BYTES", 1 << 20)
    path = book("To be, or not to be\n" * 1_000_000)
    tracemalloc.start()
    read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_an_open_text_file_is_its_lines_without_their_ends(book: Book) -> None:
    path = book("to\r\nbe\n \n\nor\n")
    for newline in None, "":
        with path.open(newline=newline, encoding="utf-8") as file:
            assert documents_of(read(file)) == ["to", "be", "or"]
    assert documents_of(read(io.StringIO("\ufeffto\n\ufeffbe"))) == ["to", "\ufeffbe"]
    with path.open("rb") as binary:
        assert documents_of(read(binary)) == ["to", "be", "or"]
    assert documents_of(read(io.StringIO("to\nbe"))) == ["to", "be"]


def test_a_mapping_and_a_table_are_refused_with_what_to_pass() -> None:
    class Table:
        columns = ("text",)

        def __getitem__(self, name: str) -> list[str]:
            return ["to", "be"]

        def __iter__(self) -> Any:
            return iter(self.columns)

    with pytest.raises(TypeError, match=r"got a dict: pass its documents, as list\(data\) or list\(data\.values"):
        read({"to": 1, "be": 2})
    with pytest.raises(TypeError, match=r"got a Table: pass the column of the texts, as data\['text'\]$"):
        read(Table())


def test_pairs_are_documents_with_labels() -> None:
    corpus = read([("fr", "zoé"), ("en", "emma"), ("fr", "")])
    assert corpus.vocabulary == Vocabulary(sorted(set("zoéemma")), end=True, labels=["en", "fr"])
    end, encode = len(corpus.vocabulary) - 1, corpus.vocabulary.encode
    assert stream(corpus) == [end + 2, *encode("zoé"), end + 1, *encode("emma"), end + 2, end]
    assert corpus.num_documents == 3
    assert stream(read([("fr", "zoé"), ("en", "emma"), ("fr", "")], vocabulary=corpus.vocabulary)) == stream(corpus)
    with pytest.raises(ValueError, match="^label must be one of the model's, 'en', 'fr', got 'de'$"):
        read([("de", "emma")], vocabulary=corpus.vocabulary)
    with pytest.raises(ValueError, match="^document 1 of data must have a label as those before$"):
        read([("de", "emma"), "zoé"])
    with pytest.raises(TypeError, match="^the label of document 0 of data must be str, got int$"):
        read([(1, "emma")])


def test_unknown_characters_are_left_out_where_that_is_asked_for(book: Book) -> None:
    for data in "hexe", b"hexe", book("hexe"):
        corpus = read(data, vocabulary=Vocabulary("eh"), unknown="skip")
        assert (text_of(corpus), corpus.num_skipped) == ("hee", 1)
    corpus = read(["xo", "ho"], vocabulary=Vocabulary("ho", end=True), unknown="skip")
    assert (documents_of(corpus), corpus.num_skipped) == (["o", "ho"], 1)
    with pytest.raises(ValueError, match="^unknown must be 'error' or 'skip' or 'extend', got 'drop'$"):
        read("a", unknown="drop")


def test_characters_may_be_reserved(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in "hello", book("hello"):
        corpus = read(data, reserve="xhé")
        assert corpus.vocabulary.characters == "ehloxé"
        assert text_of(corpus) == "hello"
    assert read(["a"], reserve="b").vocabulary == Vocabulary("ab", end=True)
    wide = read("".join(map(chr, range(250))), reserve=CJK[:10])
    assert wide.codes.dtype == np.uint16
    assert stream(wide) == list(range(250))
    monkeypatch.setattr(decoding, "MMAP_BYTES", 1)
    mapped = read(book("hello"), reserve="xé")
    assert isinstance(mapped.codes, np.memmap)
    assert text_of(mapped) == "hello"
    assert mapped.vocabulary.characters == "ehloxé"


def test_weights_belong_to_documents() -> None:
    assert read(["a", "b"], weights=[1, 2.5]).epoch_length == 7
    for data in "ab", b"ab":
        with pytest.raises(ValueError, match="^weights must come with documents, got a text$"):
            read(data, weights=[1])
    with pytest.raises(ValueError, match="^weights must be one for each of 2 documents, got 1$"):
        read(["a", "b"], weights=[1])
    with pytest.raises(ValueError, match="^weights must not all be 0$"):
        read(["a", "b"], weights=[0, 0])
    with pytest.raises(ValueError, match="^weights must be at least 0, got -1.0 at position 1$"):
        read(["a", "b"], weights=[0, -1])
    with pytest.raises(TypeError, match="^weights must be an iterable of numbers"):
        read(["a", "b"], weights=["many", "few"])  # type: ignore[list-item]


def test_a_name_of_a_file_as_text_is_a_warning_that_says_path(book: Book) -> None:
    name = str(book("the content"))
    with pytest.warns(
        UserWarning, match=r"^data is the text '.*book\.txt' itself, which is also .*: Path\('.*'\) reads"
    ):
        read(name)
    with pytest.warns(UserWarning) as warned:
        charrnn.CharRNN(sorted(set(name)), hidden_size=2).evaluate(name)
    assert warned[0].filename == __file__


def test_bytes_of_a_packed_file_are_a_warning() -> None:
    with pytest.warns(UserWarning, match="^data is what a gzip file holds, not the text that is packed in it"):
        assert len(read(gzip.compress(b"hello"))) > 10


def test_a_packed_file_is_unpacked_and_another_binary_one_named(book: Book) -> None:
    for packer in gzip, bz2, lzma:
        assert text_of(read(book(packer.compress("hé\n".encode())))) == "hé\n"
    for content, kind in (
        (b"PK\3\4rest", "a ZIP archive"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\x89PNG\r\n", "a PNG image"),
    ):
        with pytest.raises(ValueError, match=rf"book\.txt must be a text, got {kind}"):
            read(book(content))
        assert text_of(read(book(content), encoding="latin-1")) == content.decode("latin-1")


def test_a_file_in_utf_16_is_named_as_such(book: Book) -> None:
    with pytest.raises(ValueError, match=r"give its encoding \(its byte-order mark is that of utf-16\), or"):
        read(book("ab", "utf-16"))


def test_a_corpus_describes_itself() -> None:
    assert repr(read("hello")) == "<Corpus of 5 symbols, <Vocabulary of 4 characters 'ehlo'>>"
    assert repr(read(["to", "be"])) == (
        "<Corpus of 7 symbols in 2 documents, <Vocabulary of 4 characters 'beot' and END>>"
    )
    assert stream(pickle.loads(pickle.dumps(read("hello")))) == stream(read("hello"))
