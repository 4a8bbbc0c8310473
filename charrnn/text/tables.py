"""Rows of tables: CSV, TSV and JSON lines, of which some columns are read.

It knows nothing of documents. A table is read line by line, and each row comes with the number of its first line.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from charrnn.errors import ArgumentValueError

#: What a file holds, by the end of its name.
KINDS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "json", ".ndjson": "json", ".json": "json"}

#: A column's name, or its number from 0.
Column = str | int


def rows(
    lines: Iterable[str], kind: str | None, columns: Sequence[Column], name: str
) -> Iterator[tuple[int, list[Any]]]:
    r"""Yield the number of each row's first line and what these columns hold there.

    Parameters
    ----------
    lines : iterable of str
        The table's lines, each with "\n" at its end.
    kind : "csv", "tsv", "json" or None
        By default seen from the first line: JSON begins with a brace or a bracket, TSV has a tab.
    columns : sequence of str or int
        Names, or numbers from 0. Where one of them is a name, the first row of CSV and TSV has the names.
    name : str
        What errors call the table.

    Examples
    --------
    >>> list(rows(["name,age\n", '"Smith,\n', 'J.",40\n'], "csv", ["name"], "people.csv"))
    [(2, ['Smith,\nJ.'])]
    """
    lines = iter(lines)
    first = next(lines, "")
    if kind is None:
        kind = "json" if first.lstrip()[:1] in ("{", "[") else "tsv" if "\t" in first else "csv"
    lines = chain([first], lines)
    if kind == "json":
        return _json_rows(lines, columns, name)
    return _select(_csv_rows(lines, name) if kind == "csv" else _tsv_rows(lines), columns, name)


def _csv_rows(lines: Iterator[str], name: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default is 131,072 characters
    reader = csv.reader(lines)
    before = 0
    try:
        for row in reader:
            yield before + 1, row
            before = reader.line_num
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} of {name} must be CSV: {error}") from None


def _tsv_rows(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows are lines. A field is quoted if a quote begins and ends it; any other quote is a character."""
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\n")
        row = line.split("\t") if line else []
        if '"' in line:
            try:
                row = next(csv.reader([line], "excel-tab", strict=True))
            except csv.Error:
                pass
        yield number, row


def _select(
    table: Iterator[tuple[int, list[str]]], columns: Sequence[Column], name: str
) -> Iterator[tuple[int, list[str]]]:
    places = list(columns)
    if any(isinstance(column, str) for column in columns):
        _, header = next(((number, row) for number, row in table if row), (0, []))
        for i, column in enumerate(columns):
            if isinstance(column, str):
                if column not in header:
                    raise ArgumentValueError(
                        name, f"must have the column {column!r}, got {', '.join(map(repr, header)) or 'none'}"
                    )
                places[i] = header.index(column)
    last = max(place for place in places if isinstance(place, int))
    for number, row in table:
        if not row:
            continue
        if len(row) <= last:
            raise ValueError(f"line {number} of {name} must have at least {last + 1} columns, got {len(row)}")
        yield number, [row[place] for place in places]  # type: ignore[index]


def _json_rows(lines: Iterator[str], columns: Sequence[Column], name: str) -> Iterator[tuple[int, list[Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError(f"line {number} of {name} must be a JSON object, got {_shortened(line)}") from None
        values = []
        for column in columns:
            try:
                if not isinstance(row, dict if isinstance(column, str) else list):
                    raise KeyError
                values.append(row[column])  # type: ignore[index]
            except (KeyError, IndexError):
                raise ValueError(
                    f"line {number} of {name} must have the column {column!r}, got {_shortened(line)}"
                ) from None
        yield number, values


def _shortened(line: str) -> str:
    line = line.strip()
    return line if len(line) <= 60 else f"{line[:57]}..."
