"""The symbols that a model knows: characters, which are Unicode code points, and special symbols.

The special symbols stand before documents: END, which ends one as well, and beyond it the labels. Where one of them is
the input the state before it is zero; where one is the target it is END. So a model predicts the characters and END
alone, and the labels are symbols of its input only.

Text becomes symbols in blocks of code points, each looked up at once in a table of all of them. In such a block the
special symbols are code points beyond those of Unicode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.errors import ArgumentTypeError, ArgumentValueError, as_array, flag
from charrnn.text.decoding import code_point_blocks, code_points, gathered, text_of
from charrnn.text.unknown import UnknownCharacters

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Vocabulary"]

#: The code point that stands for END; those of the labels follow.
END_POINT = 0x110000


class Vocabulary:
    """The symbols of a model, in the order of their indices.

    Parameters
    ----------
    characters : str or iterable of str
        The distinct characters. Each Unicode code point is one, a lone surrogate too.
    end : bool, default False
        Whether END is a symbol as well, after the characters: it ends a document and has no character.
    labels : iterable of str, default ()
        The distinct labels, which come after END and are symbols of the input only.

    Attributes
    ----------
    characters : str
        The characters in index order.
    end : int or None
        The index of END, if it is a symbol: the first of the special symbols.
    labels : tuple of str
        The labels in index order, from `end + 1` on.
    points : ndarray of int32, shape (num_inputs,)
        Their code points, of which those of the special symbols lie beyond Unicode's.
    num_inputs : int
        How many symbols there are: `len(vocabulary)`, which are predicted, and the labels.
    dtype : numpy.dtype
        The smallest of uint8, uint16 and int32 that holds every index.

    Raises
    ------
    TypeError
        If `characters` is neither a str nor an iterable of them.
    ValueError
        If there are none, if one occurs twice, if an item is not a single character, or if there are labels
        without END.

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

    def __init__(self, characters: str | Iterable[str], *, end: bool = False, labels: Iterable[str] = ()) -> None:
        self.characters = _joined(characters)
        if not self.characters:
            raise ArgumentValueError("characters", "must have at least 1 character, got none")
        self.end = len(self.characters) if flag("end", end) else None
        self.labels = _checked_labels(labels)
        if self.labels and not end:
            raise ArgumentValueError("labels", f"must come with end, got {len(self.labels)} without")
        specials = np.arange(END_POINT, END_POINT + end + len(self.labels), dtype=np.int32)
        self.points = np.concatenate([code_points(self.characters), specials])
        size = self.num_inputs = len(self.points)
        self.dtype = np.dtype(np.uint8 if size <= 1 << 8 else np.uint16 if size <= 1 << 16 else np.int32)
        # The last entry is that of no symbol: whatever lies beyond is looked up there.
        self._table = np.full(self.points.max() + 2, -1, np.min_scalar_type(-size))
        self._table[self.points] = np.arange(size)
        other = self._table[self.points] != np.arange(size)
        if other.any():
            first = int(other.argmax())
            raise ArgumentValueError(
                "characters",
                f"must be distinct, got {self.characters[first]!r} at position "
                f"{first} and at position {self._table[self.points[first]]}",
            )

    def __len__(self) -> int:
        return len(self.points) - len(self.labels)

    def __contains__(self, character: object) -> bool:
        return isinstance(character, str) and len(character) == 1 and character in self.characters

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return (self.characters, self.end, self.labels) == (other.characters, other.end, other.labels)

    def __hash__(self) -> int:
        return hash((self.characters, self.end, self.labels))

    def __repr__(self) -> str:
        shown = self.characters
        if len(shown) > 24:
            shown = f"{shown[:16]}…{shown[-7:]}"
        number = len(self.labels)
        labels = f" and {number} label{'' if number == 1 else 's'}" if number else ""
        return f"<Vocabulary of {self._count()} {shown!r}{'' if self.end is None else ' and END'}{labels}>"

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
            If characters are not in the vocabulary; all of them are named, with their first positions.

        Examples
        --------
        >>> Vocabulary("abc").encode("cab!", name="word 1")
        Traceback (most recent call last):
        ValueError: '!' at position 3 of word 1 is not among the model's 3 characters (U+0021 EXCLAMATION MARK, once)
        """
        if not isinstance(text, (str, bytes, bytearray)):
            raise ArgumentTypeError(name, f"must be str or bytes, got {type(text).__name__}")
        blocks = self.encode_blocks(code_point_blocks(text), lambda index: f"position {index} of {name}")
        return gathered(blocks, self.dtype)

    def encode_blocks(
        self,
        blocks: Iterable[np.ndarray],
        place: Callable[[int], Any],
        skipped: UnknownCharacters | None = None,
        names: Callable[[list[Any]], list[str]] = list,
    ) -> Iterator[np.ndarray]:
        """Yield the indices of blocks of code points.

        Unknown characters are left out and gathered in `skipped`, where it is given; otherwise one error names all.
        `place` says where a position lies, while its block is at hand, and `names` gives the names of such places.

        Examples
        --------
        >>> list(Vocabulary("abc").encode_blocks([code_points("cb")], str))
        [array([2, 1], dtype=uint8)]
        """
        start = 0
        unknown = UnknownCharacters() if skipped is None else skipped
        for block in blocks:
            found = self.look_up(block)
            if found.min(initial=0) < 0:
                unknown.add(block, found < 0, lambda index, start=start: place(start + index))  # type: ignore[misc]
                found = found[found >= 0]
            if skipped is not None or not unknown.counts:
                yield found.astype(self.dtype)
            start += len(block)
        if skipped is None and unknown.counts:
            raise unknown.error(self.characters, self.end is not None, names)

    def look_up(self, points: np.ndarray) -> np.ndarray:
        """Give the indices of code points, -1 for one that is not in the vocabulary.

        Examples
        --------
        >>> Vocabulary("abc").look_up(code_points("cz"))
        array([ 2, -1], dtype=int8)
        """
        return self._table.take(points, mode="clip")

    def known_part(self, text: str | bytes | bytearray) -> str:
        """Give a text without the characters that are not in the vocabulary.

        Examples
        --------
        >>> Vocabulary("abc").known_part("a-b-c")
        'abc'
        """
        blocks = self.encode_blocks(code_point_blocks(text), lambda position: None, UnknownCharacters())
        return self.decode(gathered(blocks, self.dtype))

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
        charrnn.errors.ArgumentValueError: indices must not be END, which has no character, got 3 at position 2
        """
        indices = as_array("indices", indices)
        if indices.ndim != 1:
            raise ArgumentValueError("indices", f"must be one-dimensional, got shape {indices.shape}")
        if indices.size == 0:
            return ""
        if indices.dtype.kind not in "iu":
            raise ArgumentTypeError("indices", f"must be integers, got {indices.dtype}")
        wrong = (indices < 0) | (indices >= len(self.characters))
        if wrong.any():
            position = int(wrong.argmax())
            index = int(indices[position])
            if index == self.end:
                rule = "not be END, which has no character"
            elif 0 <= index < self.num_inputs:
                rule = f"not be the label {self.labels[index - len(self)]!r}, which has no character"
            else:
                rule = f"be from 0 to {len(self.characters) - 1}"
            raise ArgumentValueError("indices", f"must {rule}, got {index} at position {position}")
        return text_of(self.points[indices])

    def _count(self) -> str:
        return f"{len(self.characters)} character{'' if len(self.characters) == 1 else 's'}"


def _joined(characters: str | Iterable[str]) -> str:
    if isinstance(characters, str):
        return characters
    if not isinstance(characters, Iterable):
        raise ArgumentTypeError("characters", f"must be a str or an iterable of str, got {type(characters).__name__}")
    items = list(characters)
    for position, item in enumerate(items):
        if not isinstance(item, str):
            raise ArgumentTypeError("characters", f"must be str, got {type(item).__name__} at position {position}")
        if len(item) != 1:
            raise ArgumentValueError("characters", f"must be single characters, got {item!r} at position {position}")
    return "".join(items)


def _checked_labels(labels: Iterable[str]) -> tuple[str, ...]:
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise ArgumentTypeError("labels", f"must be an iterable of str, got {labels!r}")
    checked = tuple(labels)
    seen = set()
    for position, label in enumerate(checked):
        if not isinstance(label, str):
            raise ArgumentTypeError("labels", f"must be str, got {type(label).__name__} at position {position}")
        if label in seen:
            raise ArgumentValueError("labels", f"must be distinct, got {label!r} at position {position} again")
        seen.add(label)
    return checked
