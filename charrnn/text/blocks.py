"""Documents as one stream of code points, in blocks, with a special point before each and END at the end.

It knows nothing of files and vocabularies. A label's point is END's and so much more as its number among the labels, in
the order in which they first come, is from 1 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from charrnn.text.decoding import code_point_blocks, code_points
from charrnn.text.vocabulary import END_POINT

#: Characters that are handled at once.
BLOCK = 1 << 16

END_BLOCK = np.array([END_POINT], np.int32)

_SPACE = np.array([chr(point).isspace() for point in range(0x3001)] + [False])


def line_blocks(files: Iterable[Iterable[str]]) -> Iterator[np.ndarray]:
    r"""Yield the lines of files, each given as its text in pieces: a document is a line that is not blank.

    Examples
    --------
    >>> [block.tolist() for block in line_blocks([["a\r\n", " \nb"]])]
    [[1114112], [97, 1114112], [98], [1114112]]
    """
    yield END_BLOCK
    for pieces in files:
        held = np.empty(0, np.int32)  # white space with which the line that is being read begins
        within = False  # whether it has begun with something else
        for piece in pieces:
            points = np.concatenate([held, code_points(piece)])
            ends = (points == 10) | (points == 13)
            points[ends] = END_POINT
            text = np.cumsum(~_SPACE.take(points, mode="clip") & ~ends)
            stops = np.flatnonzero(ends)
            at_stops = text[stops]
            filled = np.diff(at_stops, prepend=0) > 0
            if len(stops):
                filled[0] |= within
                within = False
            last = int(stops[-1]) + 1 if len(stops) else 0
            kept = points[:last]
            if not filled.all():
                kept = kept[np.repeat(filled, np.diff(stops, prepend=-1))]
            # The line that has not ended yet.
            within |= bool(len(text)) and int(text[-1]) > (int(at_stops[-1]) if len(stops) else 0)
            rest = points[last:]
            held = rest[:0] if within else rest
            yield np.concatenate([kept, rest]) if within else kept
        if within:
            yield END_BLOCK


def document_blocks(documents: Iterable[tuple[str, int]]) -> Iterator[np.ndarray]:
    """Yield documents, each given as its text and its special point.

    Examples
    --------
    >>> [block.tolist() for block in document_blocks([("a", END_POINT), ("b", END_POINT + 1)])]
    [[1114112, 97, 1114113, 98], [1114112]]
    """
    texts: list[str] = []
    specials: list[int] = []
    size = 0
    for text, special in documents:
        if len(text) > BLOCK:
            yield _joined(texts, specials)
            yield np.array([special], np.int32)
            yield from code_point_blocks(text)
            texts, specials, size = [], [], 0
            continue
        texts.append(text)
        specials.append(special)
        size += len(text) + 1
        if size >= BLOCK:
            yield _joined(texts, specials)
            texts, specials, size = [], [], 0
    yield _joined(texts, specials)
    yield END_BLOCK


def _joined(texts: list[str], specials: list[int]) -> np.ndarray:
    starts = np.cumsum([0, *map(len, texts)])[:-1]
    return np.insert(code_points("".join(texts)), starts, specials)


class Tracker:
    """The blocks of a stream as they pass; it says where a position in the last one lies.

    Examples
    --------
    >>> tracker = Tracker(document_blocks([("to", END_POINT), ("be", END_POINT)]))
    >>> next(iter(tracker)).tolist()
    [1114112, 116, 111, 1114112, 98, 101]
    >>> tracker.place(5)
    (1, 1)
    """

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._blocks = blocks
        self._block = np.empty(0, np.int32)
        self._start = 0
        self._documents = 0  # that have begun before this block
        self._begin = 0  # where the last of them began

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self._block = block
            yield block
            specials = np.flatnonzero(block >= END_POINT)
            if len(specials):
                self._documents += len(specials)
                self._begin = self._start + int(specials[-1])
            self._start += len(block)

    def place(self, position: int) -> tuple[int, int]:
        """Give the number of a document and the position in it, both from 0."""
        before = np.flatnonzero(self._block[: position - self._start] >= END_POINT)
        begin = self._start + int(before[-1]) if len(before) else self._begin
        return self._documents + len(before) - 1, position - begin - 1
