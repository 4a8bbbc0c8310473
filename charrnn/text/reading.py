"""From any kind of data to a corpus, in one run.

Every kind of data is an iterator of blocks of code points. The characters are numbered as they come, and their numbers
are kept, which then become indices in place: decoding is most of the time that reading takes. So no more is held than
those indices, and a large file whose bytes are its code points is not copied at all, but mapped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, BinaryIO

import numpy as np

from charrnn.errors import ArgumentTypeError, ArgumentValueError, choice
from charrnn.text.blocks import END_BLOCK, Tracker, document_blocks, line_blocks
from charrnn.text.corpus import IDENTITY, Corpus
from charrnn.text.decoding import code_point_blocks, code_points, codec_name, file_blocks, gathered, mapped, text_of
from charrnn.text.documents import Cut, Documents, checked_weights
from charrnn.text.hints import warn_of_text
from charrnn.text.numbering import number, renumber, widen
from charrnn.text.sources import Source
from charrnn.text.unknown import UnknownCharacters
from charrnn.text.vocabulary import END_POINT, Vocabulary

__all__ = ["Data", "read"]

#: What is read: a text, a file, or documents.
Data = str | bytes | bytearray | memoryview | os.PathLike[str] | Iterable[Any]


def read(
    data: Data,
    *,
    encoding: str = "utf-8",
    vocabulary: Vocabulary | None = None,
    name: str = "data",
    weights: Iterable[float] | None = None,
    reserve: str = "",
    unknown: str = "error",
) -> Corpus:
    r"""Read a text or a set of documents.

    Every code point is a character as it stands: ``"\r\n"`` is two, NUL is one, and so is a lone surrogate in
    a str. Nothing is normalised. Only the byte-order mark at the start of a UTF-8, UTF-16 or UTF-32 file is
    dropped.

    Parameters
    ----------
    data : str, bytes, os.PathLike or iterable of str or bytes
        A str is the text itself, never a path. Bytes are text in Latin-1: byte n is the character U+00n. A
        path is a text file, which may be packed with gzip, bzip2, xz or zstd. An iterable is a set of documents, or of
        pairs (label, document); a Python set is read in sorted order, of an open file each line that is not blank.
    encoding : str, default "utf-8"
        That of a file.
    vocabulary : Vocabulary, optional
        The symbols of a model. With END among them a text is a single document. By default the characters of
        the data in the order of their code points, with END for documents, and then the labels in their order.
    name : str, default "data"
        What an error calls the data, where it is not a file.
    weights : iterable of float, optional
        How many copies each document counts for.
    reserve : str, default ""
        Characters that are to be among the symbols though the data may not have them, where no `vocabulary` is given.
    unknown : "error", "skip" or "extend", default "error"
        What is done with characters that are not in the `vocabulary`: they are left out, or become symbols as well,
        after those that there are.

    Returns
    -------
    Corpus

    Raises
    ------
    TypeError
        If `data` or a document is of another type.
    ValueError
        If the data has no characters, or some that are not in the `vocabulary`; if they are documents and that
        has no END; if the file is not in this encoding, or there is no such encoding.
    OSError
        If the file cannot be read.

    Notes
    -----
    The memory is that of the indices and a few megabytes. A file of 64 MiB or more takes none: it is
    memory-mapped if it is in Latin-1, or has ASCII characters only, and so must not change while the corpus
    is in use.

    Examples
    --------
    >>> read("hello world").vocabulary
    <Vocabulary of 8 characters ' dehlorw'>
    >>> read(["emma", "olivia"]).vocabulary
    <Vocabulary of 7 characters 'aeilmov' and END>
    >>> read("salt!", vocabulary=Vocabulary("alst"))
    Traceback (most recent call last):
    ValueError: '!' at position 4 of data is not among the model's 4 characters (U+0021 EXCLAMATION MARK, once)
    """
    choice("unknown", unknown, ("error", "skip", "extend"))
    reading = _Reading(vocabulary, reserve, unknown)
    found = _read(reading, data, encoding, name, weights)
    if isinstance(data, Documents):
        found.name = " + ".join(os.path.basename(source.name) for source in data.sources)
    else:
        found.name = os.path.basename(os.fsdecode(data)) if isinstance(data, os.PathLike) else name
    return found


def _read(reading: _Reading, data: Data, encoding: str, name: str, weights: Iterable[float] | None) -> Corpus:
    if isinstance(data, os.PathLike):
        if weights is not None:
            raise ArgumentValueError("weights", "must come with documents, got a text")
        codec, source = codec_name(encoding), Source(os.fsdecode(data))
        with source.open() as file:
            if codec != "iso8859-1":
                source.check_text(file)
            return reading.mapped(file, codec, source.name) or reading.text(
                file_blocks(file, codec, source.name), source.name
            )
    if isinstance(data, (str, bytes, bytearray, memoryview)):
        if weights is not None:
            raise ArgumentValueError("weights", "must come with documents, got a text")
        warn_of_text(data, name)
        return reading.text(code_point_blocks(data if isinstance(data, str) else bytes(data)), name)
    if reading.vocabulary is not None and reading.vocabulary.end is None:
        _check_iterable(data, name)
        raise ArgumentValueError(name, "must be a single text, as the model's vocabulary has no END, got documents")
    return reading.documents(data, name, None if weights is None else checked_weights(weights))


class _Reading:
    """One run through the data: what becomes of its blocks of code points."""

    def __init__(self, vocabulary: Vocabulary | None, reserve: str, unknown: str) -> None:
        self.vocabulary = vocabulary
        self.reserve = code_points(reserve)
        self.skipped = UnknownCharacters() if unknown == "skip" else None
        self.grows = vocabulary is None or unknown == "extend"
        self.labels: dict[str, int] = {}
        if vocabulary is not None:
            self.labels = {label: i for i, label in enumerate(vocabulary.labels)}
        self.weights: list[float] | None = None

    def text(self, blocks: Iterator[np.ndarray], name: str) -> Corpus:
        single = self.vocabulary is not None and self.vocabulary.end is not None
        stream = chain([END_BLOCK], blocks, [END_BLOCK]) if single else blocks
        if self.grows:
            return self._numbered(stream, name)
        return self._encoded(stream, lambda position: f"position {position - single} of {name}")

    def mapped(self, file: BinaryIO, codec: str, name: str) -> Corpus | None:
        """The corpus of a large file whose bytes are its code points, if they are, and the vocabulary has them."""
        vocabulary = self.vocabulary
        if vocabulary is not None and (vocabulary.end is not None or vocabulary.dtype != np.uint8):
            return None
        found = mapped(file, codec, name)
        if found is None:
            return None
        codes, points = found
        if self.grows:
            vocabulary = self._vocabulary(points)
        if vocabulary is None or vocabulary.dtype != np.uint8 or vocabulary.look_up(points).min() < 0:
            return None
        return Corpus(vocabulary, codes, np.maximum(vocabulary.look_up(IDENTITY), 0).astype(np.uint8))

    def documents(self, data: Any, name: str, weights: np.ndarray | None) -> Corpus:
        if isinstance(data, Documents):
            name, cut = data.name, data.cut
            weights = data.weights if weights is None else weights
            if cut == Cut():
                blocks = line_blocks(data.texts())
            else:
                self.weights = None if cut.weight is None else []
                blocks = document_blocks(self._special_points(data))
        else:
            cut = None
            blocks = document_blocks(self._special_points_of(_documents(data, name)))
        if self.grows:
            corpus = self._numbered(blocks, name)
        else:
            tracker = Tracker(blocks)
            numbered = isinstance(data, Documents)
            places = data.places if numbered else lambda numbers: {i: f"document {i}" for i in numbers}

            def names(found: list[tuple[int, int]]) -> list[str]:
                named = places(i for i, _ in found)
                return [f"position {position} of {named[i]}" for i, position in found]

            corpus = self._encoded(tracker, tracker.place, names)
        if corpus.num_documents == 0:
            raise ArgumentValueError(name, "must have at least 1 document, got none")
        corpus.cut = cut
        corpus.weights = _weights(corpus, weights if self.weights is None else np.array(self.weights))
        return corpus

    def _special_points(self, documents: Documents) -> Iterator[tuple[str, int]]:
        for item in documents.items():
            if self.weights is not None:
                self.weights.append(item.weight)
            yield item.text, END_POINT if item.label is None else self._label_point(item.label)

    def _special_points_of(self, documents: Iterable[tuple[str | None, str]]) -> Iterator[tuple[str, int]]:
        for label, text in documents:
            yield text, END_POINT if label is None else self._label_point(label)

    def _label_point(self, label: str) -> int:
        if not self.grows and label not in self.labels:
            known = ", ".join(map(repr, self.labels)) or "none"
            raise ArgumentValueError("label", f"must be one of the model's, {known}, got {label!r}")
        return END_POINT + 1 + self.labels.setdefault(label, len(self.labels))

    def _numbered(self, blocks: Iterable[np.ndarray], name: str) -> Corpus:
        points, encoded, dtype = number(blocks)
        if not (points < END_POINT).any():
            raise ArgumentValueError(
                name, "must have at least 1 document, got none" if len(encoded) == 1 else "has no characters"
            )
        vocabulary = self._vocabulary(points)
        if vocabulary.dtype != dtype:
            widen(encoded, dtype, vocabulary.dtype)
        codes = np.frombuffer(encoded, vocabulary.dtype)
        # The labels have points in the order in which they came, and indices in their own.
        sorted_points = np.array([END_POINT + 1 + vocabulary.labels.index(label) for label in self.labels], np.int32)
        is_label = points > END_POINT
        points[is_label] = sorted_points[points[is_label] - END_POINT - 1]
        renumber(codes, vocabulary.look_up(points).astype(vocabulary.dtype))
        return Corpus(vocabulary, codes)

    def _vocabulary(self, points: np.ndarray) -> Vocabulary:
        """The symbols that there were, and after them the new ones in their order."""
        characters, labels, end = "", list[str](), bool((points >= END_POINT).any())
        if self.vocabulary is not None:
            characters, labels = self.vocabulary.characters, list(self.vocabulary.labels)
            end = end or self.vocabulary.end is not None
        new = np.setdiff1d(np.union1d(points[points < END_POINT], self.reserve), code_points(characters))
        labels += sorted(self.labels.keys() - labels)
        return Vocabulary(characters + text_of(new), end=end, labels=labels)

    def _encoded(
        self,
        blocks: Iterable[np.ndarray],
        place: Callable[[int], Any],
        names: Callable[[list[Any]], list[str]] = list,
    ) -> Corpus:
        assert self.vocabulary is not None
        encoded = self.vocabulary.encode_blocks(blocks, place, self.skipped, names)
        codes = gathered(encoded, self.vocabulary.dtype)
        return Corpus(self.vocabulary, codes, num_skipped=0 if self.skipped is None else self.skipped.total)


def _check_iterable(data: Any, name: str) -> None:
    """Refuse what is no set of documents, or iterates over something else."""
    kind = type(data).__name__
    if isinstance(data, Mapping):
        raise ArgumentTypeError(
            name,
            f"must be str, bytes, a path or an iterable of str, got a {kind}: pass its documents, as "
            "list(data) or list(data.values())",
        )
    if hasattr(data, "columns") and hasattr(data, "__getitem__"):
        raise ArgumentTypeError(
            name,
            f"must be str, bytes, a path or an iterable of str, got a {kind}: pass the column of the texts, "
            "as data['text']",
        )
    if not isinstance(data, Iterable):
        raise ArgumentTypeError(name, f"must be str, bytes, a path or an iterable of str, got {kind}")


def _documents(data: Any, name: str) -> Iterator[tuple[str | None, str]]:
    """Yield the documents of an iterable, each with its label, if it has one."""
    _check_iterable(data, name)
    lines = hasattr(data, "readline")
    labelled = None
    for i, document in enumerate(sorted(data) if isinstance(data, (set, frozenset)) else data):
        label = None
        if isinstance(document, tuple) and len(document) == 2:
            label, document = document
            if not isinstance(label, str):
                raise TypeError(f"the label of document {i} of {name} must be str, got {type(label).__name__}")
        if isinstance(document, bytes):
            document = document.decode("latin-1")
        if not isinstance(document, str):
            raise TypeError(f"document {i} of {name} must be str or bytes, got {type(document).__name__}")
        if labelled is None:
            labelled = label is not None
        elif labelled != (label is not None):
            raise ValueError(
                f"document {i} of {name} must have {'a label' if labelled else 'no label'} as those before"
            )
        if lines:
            document = (document.removeprefix("\ufeff") if i == 0 else document).rstrip("\r\n")
            if not document or document.isspace():
                continue
        yield label, document


def _weights(corpus: Corpus, weights: np.ndarray | None) -> np.ndarray | None:
    if weights is None:
        return None
    if len(weights) != corpus.num_documents:
        raise ArgumentValueError(
            "weights", f"must be one for each of {corpus.num_documents} documents, got {len(weights)}"
        )
    if not weights.any():
        raise ArgumentValueError("weights", "must not all be 0")
    return weights
