"""The symbols that a model knows: characters, which are Unicode code points, and END.

Text becomes symbols in blocks of code points, each looked up at once in a table of all of them, so that
neither speed nor memory depends on how the text is stored. In such a block END is one code point more than
Unicode has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from charrnn.errors import as_array, flag
from charrnn.text.decoding import code_point_blocks, code_points, gathered, text_of

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Vocabulary"]

#: The code point that stands for END.
END_POINT = 0x110000


class Vocabulary:
    """The symbols of a model, in the order of their indices.

    Parameters
    ----------
    characters : str or iterable of str
        The distinct characters. Each Unicode code point is one, a lone surrogate too.
    end : bool, default False
        Whether END is a symbol as well, the last one: it ends a document and has no character.

    Attributes
    ----------
    characters : str
        The characters in index order.
    end : int or None
        The index of END, if it is a symbol.
    dtype : numpy.dtype
        The smallest of uint8, uint16 and int32 that holds every index.

    Raises
    ------
    TypeError
        If `characters` is neither a str nor an iterable of them.
    ValueError
        If there are none, if one occurs twice, or if an item is not a single character.

    Examples
    --------
    >>> vocabulary = Vocabulary(" dehlorw")
    >>> vocabulary.encode("hello")
    array([3, 2, 4, 4, 5], dtype=uint8)
    >>> vocabulary.decode([7, 5, 6, 4, 1])
    'world'
    >>> len(vocabulary), "z" in vocabulary
    (8, False)
    """

    def __init__(self, characters: str | Iterable[str], *, end: bool = False) -> None:
        self.characters = _joined(characters)
        if not self.characters:
            raise ValueError("characters must have at least 1 character, got none")
        self.end = len(self.characters) if flag("end", end) else None
        points = code_points(self.characters)
        self._points = np.append(points, END_POINT) if end else points
        size = len(self._points)
        self.dtype = np.dtype(np.uint8 if size <= 1 << 8 else np.uint16 if size <= 1 << 16 else np.int32)
        # The last entry is that of no symbol: whatever lies beyond is looked up there.
        self._table = np.full(self._points.max() + 2, -1, np.min_scalar_type(-size))
        self._table[self._points] = np.arange(size)
        other = self._table[self._points] != np.arange(size)
        if other.any():
            first = int(other.argmax())
            raise ValueError(
                f"characters must be distinct, got {self.characters[first]!r} at position "
                f"{first} and at position {self._table[self._points[first]]}"
            )

    def __len__(self) -> int:
        return len(self._points)

    def __contains__(self, character: object) -> bool:
        return isinstance(character, str) and len(character) == 1 and character in self.characters

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self.characters == other.characters and self.end == other.end

    def __hash__(self) -> int:
        return hash((self.characters, self.end))

    def __repr__(self) -> str:
        shown = self.characters
        if len(shown) > 24:
            shown = f"{shown[:16]}…{shown[-7:]}"
        return f"<Vocabulary of {self._count()} {shown!r}{'' if self.end is None else ' and END'}>"

    def encode(self, text: str | bytes | bytearray, name: str = "text") -> np.ndarray:
        """Give the indices of a text's characters.

        Parameters
        ----------
        text : str or bytes
            Bytes are read as Latin-1: byte n is the character U+00n.
        name : str, default "text"
            What an error calls the text.

        Returns
        -------
        ndarray, shape (len(text),)
            Of this vocabulary's dtype.

        Raises
        ------
        ValueError
            If a character is not in the vocabulary; it is named with its position.

        Examples
        --------
        >>> Vocabulary("abc").encode("cab!", name="the prompt")
        Traceback (most recent call last):
        ValueError: '!' at position 3 of the prompt is not among the model's 3 characters
        """
        if not isinstance(text, (str, bytes, bytearray)):
            raise TypeError(f"{name} must be str or bytes, got {type(text).__name__}")
        blocks = self.encode_blocks(code_point_blocks(text), lambda index: f"position {index} of {name}")
        return gathered(blocks, self.dtype)

    def encode_blocks(self, blocks: Iterable[np.ndarray], place: Callable[[int], str]) -> Iterator[np.ndarray]:
        """Yield the indices of blocks of code points, of which `place` names a position.

        Examples
        --------
        >>> list(Vocabulary("abc").encode_blocks(code_point_blocks("cb"), str))
        [array([2, 1], dtype=uint8)]
        """
        start = 0
        for block in blocks:
            found = self.look_up(block)
            if found.min(initial=0) < 0:
                unknown = int((found < 0).argmax())
                raise ValueError(
                    f"{chr(block[unknown])!r} at {place(start + unknown)} is not among the model's {self._count()}"
                )
            yield found.astype(self.dtype)
            start += len(block)

    def look_up(self, points: np.ndarray) -> np.ndarray:
        """Give the indices of code points, -1 for one that is not in the vocabulary.

        Examples
        --------
        >>> Vocabulary("abc").look_up(code_points("cz"))
        array([ 2, -1], dtype=int8)
        """
        return self._table.take(points, mode="clip")

    def decode(self, indices: npt.ArrayLike) -> str:
        """Give the text of a sequence of indices.

        Parameters
        ----------
        indices : array_like of int, shape (n,)
            Indices of characters, from 0.

        Returns
        -------
        str
            n characters.

        Raises
        ------
        TypeError
            If `indices` are not integers.
        ValueError
            If they are not one-dimensional, or if one is END or out of range; it is named with its position.

        Examples
        --------
        >>> Vocabulary("abc", end=True).decode([2, 0, 3])
        Traceback (most recent call last):
        ValueError: indices must not be END, which has no character, got 3 at position 2
        """
        indices = as_array("indices", indices)
        if indices.ndim != 1:
            raise ValueError(f"indices must be one-dimensional, got shape {indices.shape}")
        if indices.size == 0:
            return ""
        if indices.dtype.kind not in "iu":
            raise TypeError(f"indices must be integers, got {indices.dtype}")
        wrong = (indices < 0) | (indices >= len(self.characters))
        if wrong.any():
            position = int(wrong.argmax())
            index = int(indices[position])
            if index == self.end:
                rule = "not be END, which has no character"
            else:
                rule = f"be from 0 to {len(self.characters) - 1}"
            raise ValueError(f"indices must {rule}, got {index} at position {position}")
        return text_of(self._points[indices])

    def _count(self) -> str:
        return f"{len(self.characters)} character{'' if len(self.characters) == 1 else 's'}"


def _joined(characters: str | Iterable[str]) -> str:
    if isinstance(characters, str):
        return characters
    if not isinstance(characters, Iterable):
        raise TypeError(f"characters must be a str or an iterable of str, got {type(characters).__name__}")
    items = list(characters)
    for position, item in enumerate(items):
        if not isinstance(item, str):
            raise TypeError(f"characters must be str, got {type(item).__name__} at position {position}")
        if len(item) != 1:
            raise ValueError(f"characters must be single characters, got {item!r} at position {position}")
    return "".join(items)
