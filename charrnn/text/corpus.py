"""Text as a stream of symbols.

Every kind of data is an iterator of blocks of code points. One run numbers the characters as they come, and
keeps their numbers, which then become indices in place: decoding is most of the time that reading takes. So no
more is held than those indices, and a large file whose bytes are its code points is not copied at all, but
mapped.

Documents are one stream, END d1 END d2 ... dn END. Wherever the input is END the state before it is zero, so
that nothing else has to keep them apart. Both ends are the same symbol: the stream is a ring of one symbol
fewer.
"""

from __future__ import annotations

import io
import mmap
import numbers
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from itertools import chain
from typing import BinaryIO

import numpy as np

from charrnn.text.decoding import (
    code_point_blocks,
    code_points,
    codec_name,
    file_blocks,
    gathered,
    mapped,
    text_of,
)
from charrnn.text.vocabulary import END_POINT, Vocabulary

__all__ = ["Corpus", "read"]

#: What is read: a text, a file, or documents.
Data = str | bytes | bytearray | memoryview | os.PathLike[str] | Iterable[str | bytes]

#: Symbols of documents that are handled at once.
BLOCK = 1 << 16

IDENTITY = np.arange(256, dtype=np.uint8)
IDENTITY.flags.writeable = False

_END_BLOCK = np.array([END_POINT], np.int32)


class Corpus:
    """A text, or a set of documents, as a stream of symbols.

    Parameters
    ----------
    vocabulary : Vocabulary
        The symbols. With END among them the stream is one of documents, and begins and ends with END.
    codes : ndarray of uint8, uint16 or int32, shape (n,)
        The stream, C-contiguous and perhaps read-only.
    table : ndarray of uint8, shape (256,), optional
        The index of each code where `codes` are uint8; by default they are indices themselves.

    Examples
    --------
    >>> corpus = read(["to", "be"])
    >>> corpus.indices()
    array([4, 3, 2, 4, 0, 1, 4], dtype=uint8)
    >>> corpus.num_documents, corpus.num_predictions
    (2, 6)
    """

    def __init__(self, vocabulary: Vocabulary, codes: np.ndarray, table: np.ndarray = IDENTITY) -> None:
        self.vocabulary = vocabulary
        self.codes = codes
        self.table = table

    def __len__(self) -> int:
        return len(self.codes)

    def __repr__(self) -> str:
        documents = "" if self.vocabulary.end is None else f" in {self.num_documents} documents"
        return f"<Corpus of {len(self)} symbols{documents}, {self.vocabulary!r}>"

    @property
    def num_documents(self) -> int:
        """Documents in the stream, 0 for a text."""
        return 0 if self.vocabulary.end is None else len(self.ends) - 1

    @property
    def num_predictions(self) -> int:
        """Pairs of a symbol and the next."""
        return max(0, len(self) - 1)

    @cached_property
    def ends(self) -> np.ndarray:
        """Where the stream is END, from position 0 on; int64 of shape (num_documents + 1,)."""
        starts = range(0, len(self), BLOCK)
        found = (np.flatnonzero(self.indices(s, s + BLOCK) == self.vocabulary.end) + s for s in starts)
        return np.concatenate(list(found)).astype(np.int64, copy=False)

    def indices(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Give the symbols from position `start` to before `stop`, a copy of the vocabulary's dtype."""
        return self._symbols(self.codes[start:stop])

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Give the symbols at these positions, in their shape and of the vocabulary's dtype."""
        return self._symbols(self.codes[positions])

    def _symbols(self, codes: np.ndarray) -> np.ndarray:
        return self.table.take(codes) if codes.dtype == np.uint8 else np.array(codes)

    def forget(self) -> None:
        """Give back the memory that what was read of a mapped file takes: the file has it still."""
        mapping = getattr(self.codes, "_mmap", None)
        if mapping is not None and hasattr(mapping, "madvise"):  # not on Windows
            mapping.madvise(mmap.MADV_DONTNEED)

    def split(self, val_fraction: float) -> tuple[Corpus, Corpus | None]:
        """Cut the last part off for validation; both parts are views.

        Parameters
        ----------
        val_fraction : float
            The part of the symbols to validate on, at least 0 and below 1. Documents are cut between two of
            them, as near to that as leaves one on either side, and the END there belongs to both parts.

        Returns
        -------
        train : Corpus
            This corpus itself where `val_fraction` is 0.
        val : Corpus or None
            None where `val_fraction` is 0.

        Raises
        ------
        ValueError
            If either part would have fewer than 2 symbols or no document.

        Examples
        --------
        >>> train, val = read("hello world").split(0.2)
        >>> train.vocabulary.decode(train.indices()), val.vocabulary.decode(val.indices())
        ('hello wo', 'rld')
        """
        if not isinstance(val_fraction, numbers.Real):
            raise TypeError(f"val_fraction must be a number, got {type(val_fraction).__name__}")
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction must be at least 0 and below 1, got {val_fraction}")
        if val_fraction == 0:
            return self, None
        cut = int(len(self) * (1 - val_fraction))
        if self.vocabulary.end is None:
            if min(cut, len(self) - cut) < 2:
                raise ValueError(
                    "val_fraction must leave at least 2 characters to train on and 2 to "
                    f"validate on, got {val_fraction} of {len(self)}"
                )
            return self._part(0, cut), self._part(cut, len(self))
        between = self.ends[1:-1]
        if not len(between):
            raise ValueError(f"val_fraction must be 0 for a single document, got {val_fraction}")
        cut = int(between[np.abs(between - cut).argmin()])
        return self._part(0, cut + 1), self._part(cut, len(self))

    def _part(self, start: int, stop: int) -> Corpus:
        return Corpus(self.vocabulary, self.codes[start:stop], self.table)

    def shuffled(self, rng: np.random.Generator) -> Corpus:
        """Give the documents in a new order, which one permutation drawn from `rng` decides.

        Raises
        ------
        ValueError
            If this is a text.

        Examples
        --------
        >>> corpus = read(["to", "be", "or"]).shuffled(np.random.default_rng(0))
        >>> corpus.vocabulary.decode(corpus.indices(1, 3))
        'or'
        """
        if self.vocabulary.end is None:
            raise ValueError("a corpus must be one of documents to be shuffled, got a text")
        order = rng.permutation(self.num_documents)
        lengths = np.diff(self.ends)[order]
        ends = np.append(0, np.cumsum(lengths))
        shifts = self.ends[order] - ends[:-1]
        codes = np.empty_like(self.codes)
        codes[0] = self.codes[0]
        for first, last in _groups(ends):
            start, stop = ends[first] + 1, ends[last] + 1
            if last == first + 1:
                codes[start:stop] = self.codes[start + shifts[first] : stop + shifts[first]]
            else:
                codes[start:stop] = self.codes[
                    np.arange(start, stop) + np.repeat(shifts[first:last], lengths[first:last])
                ]
        return Corpus(self.vocabulary, codes, self.table)


def read(data: Data, *, encoding: str = "utf-8", vocabulary: Vocabulary | None = None, name: str = "data") -> Corpus:
    r"""Read a text or a set of documents.

    Every code point is a character as it stands: ``"\r\n"`` is two, NUL is one, and so is a lone surrogate in
    a str. Nothing is normalised. Only the byte-order mark at the start of a UTF-8, UTF-16 or UTF-32 file is
    dropped.

    Parameters
    ----------
    data : str, bytes, os.PathLike or iterable of str or bytes
        A str is the text itself, never a path. Bytes are text in Latin-1: byte n is the character U+00n. A
        path is a text file. An iterable is a set of documents; a Python set is read in sorted order.
    encoding : str, default "utf-8"
        That of a file.
    vocabulary : Vocabulary, optional
        The symbols of a model. With END among them a text is a single document. By default the characters of
        the data in the order of their code points, with END for documents.
    name : str, default "data"
        What an error calls the data, where it is not a file.

    Returns
    -------
    Corpus

    Raises
    ------
    TypeError
        If `data` or a document is of another type.
    ValueError
        If the data has no characters, or one that is not in the `vocabulary`; if they are documents and that
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
    if isinstance(data, os.PathLike):
        codec, path = codec_name(encoding), os.fsdecode(data)
        with open(data, "rb") as opened:
            mapped = _mapped(opened, codec, path, vocabulary)
            if mapped is not None:
                return mapped
            file: BinaryIO = opened if opened.seekable() else io.BytesIO(opened.read())
            return _corpus(partial(file_blocks, file, codec, path), vocabulary, path)
    if isinstance(data, (str, bytes, bytearray, memoryview)):
        text = data if isinstance(data, str) else bytes(data)
        return _corpus(partial(code_point_blocks, text), vocabulary, name)
    documents = _documents(data, name)
    if vocabulary is not None and vocabulary.end is None:
        raise ValueError(f"{name} must be a single text, as the model's vocabulary has no END, got documents")
    return _corpus(partial(_document_blocks, documents), vocabulary, name, documents)


def _corpus(
    blocks: Callable[[], Iterator[np.ndarray]],
    vocabulary: Vocabulary | None,
    name: str,
    documents: list[str] | None = None,
) -> Corpus:
    if vocabulary is None:
        numbered = (_number(blocks(), dtype) for dtype in (np.uint8, np.uint16, np.int32))
        points, codes = next(filter(None, numbered))
        order = np.argsort(points)
        characters = text_of(points[order][: -1 if documents else None])
        if not characters:
            raise ValueError(f"{name} has no characters")
        indices = np.argsort(order).astype(codes.dtype)
        for start in range(0, len(codes), BLOCK):
            codes[start : start + BLOCK] = indices.take(codes[start : start + BLOCK])
        return Corpus(Vocabulary(characters, end=documents is not None), codes)

    single = documents is None and vocabulary.end is not None

    def place(position: int) -> str:
        return _place(documents, position) if documents else f"position {position - single} of {name}"

    stream = chain([_END_BLOCK], blocks(), [_END_BLOCK]) if single else blocks()
    return Corpus(vocabulary, gathered(vocabulary.encode_blocks(stream, place), vocabulary.dtype))


def _number(blocks: Iterable[np.ndarray], dtype: type) -> tuple[np.ndarray, np.ndarray] | None:
    """Number code points as they come; give those that have a number, and all the numbers, if `dtype` holds them."""
    most = np.iinfo(dtype).max + 1
    ranks = np.zeros(END_POINT + 1, np.min_scalar_type(most))  # number + 1, or 0
    points, codes = np.empty(0, np.int32), bytearray()
    for block in blocks:
        found = ranks.take(block)
        if found.min(initial=1) == 0:
            points = np.append(points, np.unique(block[found == 0]))
            if len(points) > most:
                return None
            ranks[points] = np.arange(1, len(points) + 1)
            found = ranks.take(block)
        codes += (found - 1).astype(dtype).data
    return points, np.frombuffer(codes, dtype)


def _mapped(file: BinaryIO, codec: str, path: str, vocabulary: Vocabulary | None) -> Corpus | None:
    """The corpus of a large file whose bytes are its code points, if they are, and the vocabulary has them."""
    if vocabulary is not None and (vocabulary.end is not None or vocabulary.dtype != np.uint8):
        return None
    found = mapped(file, codec, path)
    if found is None:
        return None
    codes, points = found
    vocabulary = vocabulary or Vocabulary(text_of(points))
    if vocabulary.look_up(points).min() < 0:
        return None
    return Corpus(vocabulary, codes, np.maximum(vocabulary.look_up(IDENTITY), 0).astype(np.uint8))


def _documents(data: Iterable[str | bytes], name: str) -> list[str]:
    if not isinstance(data, Iterable):
        raise TypeError(f"{name} must be str, bytes, a path or an iterable of str, got {type(data).__name__}")
    documents = [document.decode("latin-1") if isinstance(document, bytes) else document for document in data]
    if not documents:
        raise ValueError(f"{name} must have at least 1 document, got none")
    for number, document in enumerate(documents):
        if not isinstance(document, str):
            kind = type(document).__name__
            raise TypeError(f"document {number} of {name} must be str or bytes, got {kind}")
    return sorted(documents) if isinstance(data, (set, frozenset)) else documents


def _document_blocks(documents: list[str]) -> Iterator[np.ndarray]:
    yield _END_BLOCK
    ends = np.cumsum(np.fromiter(chain([-1], map(len, documents)), np.int64, len(documents) + 1) + 1)
    for first, last in _groups(ends):
        if last == first + 1:
            yield from code_point_blocks(documents[first])
            yield _END_BLOCK
        else:
            lengths = np.diff(ends[first : last + 1]) - 1
            yield np.insert(code_points("".join(documents[first:last])), np.cumsum(lengths), END_POINT)


def _groups(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of documents, first to last - 1, that fill one block together, and single ones that are longer."""
    first = 0
    while first < len(ends) - 1:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + BLOCK, "right")) - 1)
        yield first, last
        first = last


def _place(documents: list[str], position: int) -> str:
    """Where a position of the stream lies in the documents."""
    position -= 1
    number = 0
    while position > len(documents[number]):
        position -= len(documents[number]) + 1
        number += 1
    return f"position {position} of document {number}"
