"""Code points become the codes of a corpus as they come, in one pass, whatever they turn out to be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.text.vocabulary import END_POINT

if TYPE_CHECKING:
    import numpy.typing as npt

#: Codes that are handled at once.
BLOCK = 1 << 16

#: The types of codes, and how many numbers each has.
_TYPES = ((np.uint8, 1 << 8), (np.uint16, 1 << 16), (np.int32, 1 << 31))


def number(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, bytearray, np.dtype[Any]]:
    """Number code points from 0 as they come, those that are new in a block in their own order.

    Returns
    -------
    points : ndarray of int32, shape (V,)
        The code point of each number.
    codes : bytearray
        The number of each code point in the blocks.
    dtype : numpy.dtype
        Of the codes: the smallest of uint8, uint16 and int32 that holds V.

    Examples
    --------
    >>> points, codes, dtype = number([np.array([98, 97]), np.array([98])])
    >>> points.tolist(), list(codes)
    ([97, 98], [1, 0, 1])
    """
    ranks = np.zeros(END_POINT + 1, np.uint16)  # number + 1, or 0
    points, codes = np.empty(0, np.int32), bytearray()
    dtype: Any
    dtype, most = _TYPES[0]
    for block in blocks:
        highest = int(block.max(initial=0))
        if highest >= len(ranks):
            ranks = np.concatenate([ranks, np.zeros(highest + 1024 - len(ranks), ranks.dtype)])
        found = ranks.take(block)
        if found.min(initial=1) == 0:
            points = np.append(points, np.unique(block[found == 0]))
            if len(points) > most:
                wider, most = next((dtype, most) for dtype, most in _TYPES if len(points) <= most)
                widen(codes, dtype, wider)
                dtype = wider
            if len(points) > np.iinfo(ranks.dtype).max:
                ranks = ranks.astype(np.int32)
            ranks[points] = np.arange(1, len(points) + 1)
            found = ranks.take(block)
        codes += (found - 1).astype(dtype).data
    return points, codes, np.dtype(dtype)


def widen(codes: bytearray, dtype: npt.DTypeLike, wider: npt.DTypeLike) -> None:
    """Give codes a wider type in place, from the last one to the first."""
    count = len(codes) // np.dtype(dtype).itemsize
    size = count * np.dtype(wider).itemsize
    while len(codes) < size:
        codes += bytes(min(BLOCK, size - len(codes)))
    old, new = np.frombuffer(codes, dtype, count), np.frombuffer(codes, wider)
    for stop in range(count, 0, -BLOCK):
        start = max(stop - BLOCK, 0)
        new[start:stop] = old[start:stop].copy()


def renumber(codes: np.ndarray, numbers: np.ndarray) -> None:
    """Replace each code by that of `numbers`, in place."""
    for start in range(0, len(codes), BLOCK):
        codes[start : start + BLOCK] = numbers.take(codes[start : start + BLOCK])
