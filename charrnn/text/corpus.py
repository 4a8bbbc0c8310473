"""Text as a stream of symbols.

Documents are one stream, END d1 END d2 ... dn END, where a label may stand for the END before a document. Wherever the
input is a special symbol the state before it is zero, so that nothing else has to keep documents apart, and their order
has no meaning.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from charrnn.text.documents import Cut
from charrnn.text.vocabulary import Vocabulary

#: Symbols of documents that are handled at once.
BLOCK = 1 << 16

IDENTITY = np.arange(256, dtype=np.uint8)
IDENTITY.flags.writeable = False


class Corpus:
    """A text, or a set of documents, as a stream of symbols.

    Parameters
    ----------
    vocabulary : Vocabulary
        The symbols. With END among them the stream is one of documents: it begins with a special symbol and ends with
        END.
    codes : ndarray of uint8, uint16 or int32, shape (n,)
        The stream, C-contiguous and perhaps read-only.
    table : ndarray of uint8, shape (256,), optional
        The index of each code where `codes` are uint8; by default they are indices themselves.
    weights : ndarray of float64, shape (num_documents,), optional
        How many copies each document counts for; by default one.
    cut : Cut, optional
        How files were cut into these documents.
    num_skipped : int, default 0
        Unknown characters that were left out.
    name : str, default "data"
        That of the file, or of the argument.

    Examples
    --------
    >>> from charrnn.text.reading import read
    >>> corpus = read(["to", "be"])
    >>> corpus.indices()
    array([4, 3, 2, 4, 0, 1, 4], dtype=uint8)
    >>> corpus.num_documents, corpus.num_predictions
    (2, 6)
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        codes: np.ndarray,
        table: np.ndarray = IDENTITY,
        *,
        weights: np.ndarray | None = None,
        cut: Cut | None = None,
        num_skipped: int = 0,
        name: str = "data",
    ) -> None:
        self.vocabulary = vocabulary
        self.codes = codes
        self.table = table
        self.weights = weights
        self.cut = cut
        self.num_skipped = num_skipped
        self.name = name

    def part(self, codes: np.ndarray, weights: np.ndarray | None = None) -> Corpus:
        """Give a corpus of these of its codes, with all else that is known of this one."""
        return Corpus(self.vocabulary, codes, self.table, weights=weights, cut=self.cut, name=self.name)

    def __len__(self) -> int:
        return len(self.codes)

    def __repr__(self) -> str:
        documents = "" if self.vocabulary.end is None else f" in {self.num_documents} documents"
        return f"<Corpus of {len(self)} symbols{documents}, {self.vocabulary!r}>"

    @cached_property
    def num_documents(self) -> int:
        """Documents in the stream, 0 for a text."""
        return 0 if self.vocabulary.end is None else sum(map(len, self._ends())) - 1

    @property
    def num_predictions(self) -> int:
        """Pairs of a symbol and the next."""
        return max(0, len(self) - 1)

    @property
    def epoch_length(self) -> int:
        """Pairs of a symbol and the next in an epoch: those of a document as often as it has copies."""
        if self.weights is None:
            return self.num_predictions
        return round(float(np.diff(self.ends()) @ self.weights))

    @property
    def num_chars(self) -> int:
        """Characters in the stream."""
        return len(self) - (0 if self.vocabulary.end is None else self.num_documents + 1)

    def ends(self) -> np.ndarray:
        """Where a special symbol stands, from position 0 on: int32 or int64 of shape (num_documents + 1,)."""
        ends = np.empty(self.num_documents + 1, np.int32 if len(self) < 1 << 31 else np.int64)
        filled = 0
        for found in self._ends():
            ends[filled : filled + len(found)] = found
            filled += len(found)
        return ends

    def _ends(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), BLOCK):
            yield np.flatnonzero(self.indices(start, start + BLOCK) >= self.vocabulary.end) + start

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


def groups(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield runs of documents, first to last - 1, that fill one block together, and single ones that are longer.

    Examples
    --------
    >>> list(groups(np.array([0, 40_000, 60_000, 80_000, 180_000])))
    [(0, 2), (2, 3), (3, 4)]
    """
    first = 0
    while first < len(ends) - 1:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + BLOCK, "right")) - 1)
        yield first, last
        first = last
