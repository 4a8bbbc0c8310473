r"""Documents in files: lines, records between separators, columns of tables.

A `Documents` holds no document: it reads its files anew each time. It knows nothing of symbols.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from charrnn.errors import ArgumentTypeError, ArgumentValueError, number
from charrnn.text.decoding import codec_name, file_texts
from charrnn.text.sources import Source
from charrnn.text.tables import KINDS, Column, rows

__all__ = ["Cut", "Documents", "documents"]

#: Characters of a file that are read at once.
BLOCK = 1 << 16


@dataclass(frozen=True)
class Cut:
    r"""How files are cut into documents: by default at the ends of lines.

    Attributes
    ----------
    separator : str or None
        What stands between two documents.
    column, label, weight : str, int or None
        The columns of a table that hold a document's text, its label, and how many copies it counts for.

    Examples
    --------
    >>> Cut(separator="\n\n").as_record()
    {'separator': '\n\n'}
    """

    separator: str | None = None
    column: Column | None = None
    label: Column | None = None
    weight: Column | None = None

    def __post_init__(self) -> None:
        if self.separator is not None and not (isinstance(self.separator, str) and self.separator):
            raise ArgumentValueError("separator", f"must be a str of at least 1 character, got {self.separator!r}")
        for name in ("column", "label", "weight"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                raise ArgumentTypeError(name, f"must be the name of a column or its number, got {value!r}")
            if isinstance(value, int) and value < 0:
                raise ArgumentValueError(name, f"must be the name of a column or its number from 0, got {value}")
            if self.column is None:
                raise ArgumentValueError(name, f"must come with column, that of the texts, got {value!r} alone")
            if self.separator is not None:
                raise ArgumentValueError(
                    "separator", f"must not come with {name}, got {self.separator!r} and {value!r}"
                )

    def as_record(self) -> dict[str, Column]:
        """Give what is not as by default, to be kept in a model file."""
        return {name: value for name, value in vars(self).items() if value is not None}


class Item(NamedTuple):
    """A document and where it is from: file and the number of its first line."""

    text: str
    label: str | None
    weight: float
    file: str
    line: int


class Documents(Iterable[Any]):
    r"""Documents in files, read anew each time that they are asked for; see `documents`.

    Attributes
    ----------
    cut : Cut
        How the files are cut.
    weights : ndarray of float64 or None
        How many copies each document counts for, where that was given beside the files.

    Examples
    --------
    >>> _ = path.write_text("to\nbe\n")
    >>> read_later = charrnn.documents(path)
    >>> list(read_later), list(read_later)
    (['to', 'be'], ['to', 'be'])
    """

    def __init__(self, files: Sequence[str], cut: Cut, encoding: str, weights: np.ndarray | None) -> None:
        self.sources = [Source(file) for file in files]
        self.cut = cut
        self.weights = weights
        self._codec = codec_name(encoding)

    def __repr__(self) -> str:
        return f"<Documents of {', '.join(source.name for source in self.sources)}>"

    def __iter__(self) -> Iterator[Any]:
        for item in self.items():
            yield item.text if item.label is None else (item.label, item.text)

    @property
    def name(self) -> str:
        """What an error calls them."""
        return " + ".join(source.name for source in self.sources)

    def items(self) -> Iterator[Item]:
        r"""Yield the documents with their labels and weights, and where they are from.

        Examples
        --------
        >>> _ = path.write_text("to\n\nbe\n")
        >>> [(item.text, item.line) for item in charrnn.documents(path).items()]
        [('to', 1), ('be', 3)]
        """
        for source in self.sources:
            if self.cut.column is not None:
                found = self._rows(source)
            else:
                found = self._lines(source) if self.cut.separator is None else self._records(source, self.cut.separator)
            yield from found

    def texts(self) -> Iterator[Iterator[str]]:
        r"""Yield for each file its text in pieces, for a reader of lines that makes no str of each.

        Examples
        --------
        >>> _ = path.write_text("to\nbe\n")
        >>> ["".join(pieces) for pieces in charrnn.documents([path, path]).texts()]
        ['to\nbe\n', 'to\nbe\n']
        """
        for source in self.sources:
            with source.open() as file:
                source.check_text(file)
                yield file_texts(file, self._codec, source.name)

    def places(self, numbers: Iterable[int]) -> dict[int, str]:
        r"""Name the lines in which these documents, counted from 0, begin.

        Examples
        --------
        >>> _ = path.write_text("to\n\nbe\n")
        >>> charrnn.documents(path).places([1])
        {1: 'line 3 of ...'}
        """
        wanted = set(numbers)
        places = {}
        for i, item in enumerate(self.items()):
            if i in wanted:
                places[i] = f"line {item.line} of {item.file}"
                if len(places) == len(wanted):
                    break
        return places

    @contextmanager
    def _opened(self, source: Source) -> Iterator[io.TextIOWrapper]:
        """Open a file for its text; an error of its encoding says where it is."""
        try:
            with source.open() as file, io.TextIOWrapper(file, self._codec) as text:
                source.check_text(file)
                yield text
        except UnicodeError:
            with source.open() as file:
                for _ in file_texts(file, self._codec, source.name):
                    pass
            raise

    def _lines(self, source: Source) -> Iterator[Item]:
        with self._opened(source) as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    yield Item(line.removesuffix("\n"), None, 1.0, source.name, number)

    def _records(self, source: Source, separator: str) -> Iterator[Item]:
        r"""Records; of blank lines as separators a record has none at its ends.

        The last line end of a file belongs to no record, unless all records end with one, as with "%\n" between them.
        """
        blank = not separator.strip("\n")
        line = 1
        with self._opened(source) as file:
            for record, last in _split(iter(lambda: file.read(BLOCK), ""), separator):
                text, start = record, line
                line += record.count("\n") + separator.count("\n")
                if blank:
                    text = record.lstrip("\n")
                    start += len(record) - len(text)
                    text = text.rstrip("\n")
                elif last and (separator.startswith("\n") or not separator.endswith("\n")):
                    text = record.removesuffix("\n")
                if text and not text.isspace():
                    yield Item(text, None, 1.0, source.name, start)

    def _rows(self, source: Source) -> Iterator[Item]:
        cut = self.cut
        columns = [column for column in (cut.column, cut.label, cut.weight) if column is not None]
        with self._opened(source) as file:
            for line, values in rows(file, KINDS.get(source.suffix), columns, source.name):
                place = f"line {line} of {source.name}"
                text = values[0]
                if text is None or (isinstance(text, str) and (not text or text.isspace())):
                    continue
                if not isinstance(text, str):
                    raise ValueError(f"{place} must have a text in column {cut.column!r}, got {text!r}")
                label = None
                if cut.label is not None:
                    label = values[1]
                    if not isinstance(label, (str, int)):
                        raise ValueError(f"{place} must have a label in column {cut.label!r}, got {label!r}")
                weight = 1.0 if cut.weight is None else _weight(values[-1], place, cut.weight)
                yield Item(text, None if label is None else str(label), weight, source.name, line)


def _split(pieces: Iterable[str], separator: str) -> Iterator[tuple[str, bool]]:
    """Yield what lies between two separators, and whether it is the last."""
    held: list[str] = []  # of a record that is not yet complete, but for what may begin a separator
    tail = ""
    for piece in pieces:
        *complete, rest = (tail + piece).split(separator)
        for record in complete:
            yield "".join([*held, record]), False
            held = []
        cut = max(len(rest) - len(separator) + 1, 0)
        held.append(rest[:cut])
        tail = rest[cut:]
    yield "".join([*held, tail]), True


def _weight(value: Any, place: str, column: Column) -> float:
    try:
        return number("weight", float(value), 0)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{place} must have a number from 0 on in column {column!r}, got {value!r}") from None


def documents(
    files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    separator: str | None = None,
    column: Column | None = None,
    label: Column | None = None,
    weight: Column | None = None,
    weights: Iterable[float] | None = None,
    encoding: str = "utf-8",
) -> Documents:
    r"""Documents in files: each line is one, or each record, or each row of a table.

    What this gives is taken wherever documents are: by `charrnn.train.train`, `evaluate`, `score`, `charrnn.show.page`.
    It is an iterable of str that holds none of them: the files are read anew each time, and so must not change.

    Parameters
    ----------
    files : path or iterable of paths
        Files one after the other, "-" for standard input. Files that are packed with gzip, bzip2, xz or zstd are known
        by their first bytes.
    separator : str, optional
        Documents are the records that lie between two of these, of one line or several: "\n\n" for what blank lines
        separate. Line ends are "\n", as everywhere here, whatever they are in the file.
    column : str or int, optional
        Documents are what this column of a table holds: of CSV, TSV or JSON lines, by the end of the file's name
        (.csv, .tsv, .jsonl), otherwise by its first line. A str is a name in the first row, or of JSON; an int counts
        from 0, and where all columns are numbers the first row is a document as the others are.
    label : str or int, optional
        The column of labels: then the documents are pairs (label, text).
    weight : str or int, optional
        The column that says how many copies a document counts for, see `weights`.
    weights : iterable of float, optional
        A number for each document, at least 0: training reads a document of weight w as often as w copies of it (of
        2.5 two or three, by chance, in each epoch), and a mean over documents counts each of its characters w times.
    encoding : str
        Of the files. A byte-order mark at their beginning is dropped.

    Returns
    -------
    Documents

    Raises
    ------
    TypeError, ValueError
        An argument is wrong. When the files are read: one is not in this encoding, is damaged, or has not this column;
        the message names file and line.
    OSError
        When they are read: a file cannot be.

    Notes
    -----
    Lines end with LF, CRLF or CR. What is blank, empty or of white space alone, is left out.

    Examples
    --------
    >>> path = path.with_name("names.csv")
    >>> _ = path.write_text("name,country\nEmma,England\nZoë,France\n", "utf-8")
    >>> list(charrnn.documents(path, column="name"))
    ['Emma', 'Zoë']
    >>> list(charrnn.documents(path, column="name", label="country"))
    [('England', 'Emma'), ('France', 'Zoë')]
    >>> list(charrnn.documents(path))
    ['name,country', 'Emma,England', 'Zoë,France']
    """
    if isinstance(files, (str, os.PathLike)):
        files = [files]
    if not isinstance(files, Iterable) or isinstance(files, (bytes, bytearray)):
        raise ArgumentTypeError("files", f"must be a path or an iterable of paths, got {type(files).__name__}")
    paths = list(files)
    for path in paths:
        if not isinstance(path, (str, os.PathLike)):
            raise ArgumentTypeError("files", f"must be paths, got {path!r}")
    if not paths:
        raise ArgumentValueError("files", "must be at least 1, got none")
    if weights is not None and weight is not None:
        raise ArgumentValueError("weights", "must not come with weight, the column that has them")
    return Documents(
        [os.fsdecode(path) for path in paths],
        Cut(separator, column, label, weight),
        encoding,
        None if weights is None else checked_weights(weights),
    )


def checked_weights(weights: Iterable[float]) -> np.ndarray:
    """Give the numbers of copies as an array, each at least 0."""
    try:
        array = np.asarray(weights if isinstance(weights, np.ndarray) else list(weights), np.float64)
    except (TypeError, ValueError):
        raise ArgumentTypeError("weights", "must be an iterable of numbers, one for each document") from None
    if array.ndim != 1:
        raise ArgumentValueError("weights", f"must be a number for each document, got an array of shape {array.shape}")
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        raise ArgumentValueError(
            "weights", f"must be at least 0, got {array[wrong][0]} at position {int(wrong.argmax())}"
        )
    return array
