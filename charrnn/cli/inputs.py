"""What the commands read: files, stdin, lines as documents, and the text that every machine has."""

from __future__ import annotations

import argparse
import sysconfig
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.options import escaped
from charrnn.errors import ArgumentValueError
from charrnn.text.documents import Cut, Documents, documents

if TYPE_CHECKING:
    from charrnn.model import CharRNN

#: How many characters `charrnn train` reads of the standard library, if it is given no text.
STANDARD_TEXT_LENGTH = 1_000_000


def add_text_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of a command that reads a text with a model."""
    parser.add_argument("file", metavar="FILE", help="the text, - for stdin")
    parser.add_argument(
        "--encoding", default="utf-8", metavar="NAME", help="encoding of the text (default: %(default)s)"
    )
    parser.add_argument(
        "--unknown",
        choices=("error", "skip"),
        default="error",
        help="what to do with characters that the model does not know (default: %(default)s)",
    )
    add_cut_arguments(parser, "as the model's own were")


def add_cut_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """How files are cut into documents; each option but the first implies it."""
    group = parser.add_argument_group(f"documents (default: {default})")
    group.add_argument("--documents", action="store_true", help="each line is a document, independent of the others")
    group.add_argument(
        "--separator",
        type=escaped,
        metavar="TEXT",
        help=r"documents are what lies between two of these; \n is a line end, \t a tab, \\ a backslash",
    )
    for name, what in (
        ("column", "documents are what this column of a CSV, TSV or JSON lines file holds: a name, or a number from 0"),
        ("label", "the column of labels"),
        ("weight", "the column that says how many copies a document counts for"),
    ):
        group.add_argument(f"--{name}", type=_column, metavar="COLUMN", help=what)


def _column(word: str) -> str | int:
    return int(word) if word.isdecimal() else word


def cut_of(args: argparse.Namespace, model: CharRNN | None = None) -> Cut | None:
    """How the files are cut into documents, None for a text: as is asked for, otherwise as those of the model were."""
    asked = {name: getattr(args, name) for name in ("separator", "column", "label", "weight")}
    asked = {name: value for name, value in asked.items() if value is not None}
    option = next(iter(asked), "documents" if args.documents else None)
    if option is None:
        return None if model is None else model.cut
    if model is not None and model.vocabulary.end is None:
        raise ArgumentValueError(option, f"must come with a model of documents, got {args.model}, a model of a text")
    return Cut(**asked)


def data_of(files: Sequence[str], cut: Cut | None, encoding: str) -> Any:
    """What the functions of the library take: a path where it can be one, for a large file is mapped."""
    if cut is not None:
        return Documents(files, cut, encoding, None) if files else _standard_lines()
    if not files:
        return standard_library_text()
    if len(files) == 1 and files[0] != "-":
        return Path(files[0])
    return text_of(files, encoding)


def text_of(files: Sequence[str], encoding: str) -> str:
    """The text of these files, one after the other."""
    return "".join(piece for pieces in documents(files, encoding=encoding).texts() for piece in pieces)


def _standard_lines() -> list[str]:
    return [line for line in standard_library_text().split("\n") if line.strip()]


def name_of(files: Sequence[str]) -> str:
    """What messages call the text of these files."""
    return " + ".join("stdin" if file == "-" else file for file in files)


def standard_library_text() -> str:
    """The beginning of the source of Python's standard library: real text that every machine has.

    The top-level modules in the order of their names, 1 000 000 characters: the same for the same Python.

    Returns
    -------
    str

    Raises
    ------
    FileNotFoundError
        If this Python has no source.

    Examples
    --------
    >>> "import" in standard_library_text()
    True
    """
    folder = Path(sysconfig.get_path("stdlib"))
    modules, length = [], 0
    for path in sorted(folder.glob("*.py"), key=lambda path: path.name):
        with tokenize.open(path) as file:
            modules.append(file.read())
        length += len(modules[-1])
        if length >= STANDARD_TEXT_LENGTH:
            break
    if not modules:
        raise FileNotFoundError(f"this Python has no source of its standard library in {folder}; give a FILE")
    return "".join(modules)[:STANDARD_TEXT_LENGTH]
