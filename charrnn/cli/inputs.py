"""What the commands read: files, stdin, lines as documents, and the text that every machine has."""

from __future__ import annotations

import argparse
import contextlib
import sys
import sysconfig
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.errors import ArgumentValueError

if TYPE_CHECKING:
    from charrnn.model import CharRNN

#: How many characters `charrnn train` reads of the standard library, if it is given no text.
STANDARD_TEXT_LENGTH = 1_000_000


def add_text_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of a command that reads a text with a model."""
    parser.add_argument("file", metavar="FILE", help="the text, - for stdin")
    add_documents_argument(parser)
    parser.add_argument(
        "--encoding", default="utf-8", metavar="NAME", help="encoding of the text (default: %(default)s)"
    )


def add_documents_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --documents."""
    parser.add_argument("--documents", action="store_true", help="each line is a document, independent of the others")


def _read(file: str, encoding: str) -> str:
    """Return the text of a file; - is stdin."""
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except (LookupError, UnicodeError) as error:
        raise ValueError(f"{'stdin' if file == '-' else file}: {error}; give its encoding with --encoding") from None


def data_of(files: Sequence[str], documents: bool, encoding: str) -> Any:
    """Return the data in the form that the library takes: a path if possible, because a large file is mapped."""
    if len(files) == 1 and files[0] != "-" and not documents:
        return Path(files[0])
    texts = [_read(file, encoding) for file in files] or [standard_library_text()]
    if not documents:
        return "".join(texts)
    lines = [line.removesuffix("\r") for text in texts for line in text.split("\n")]
    return [line for line in lines if line.strip()]


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


def check_documents(model: CharRNN, args: argparse.Namespace) -> None:
    """Raise an error for a model of a text, if the command line asks for documents."""
    if model.vocabulary.end is None:
        raise ArgumentValueError(
            "documents", f"must come with a model of documents, got {args.model}, a model of a text"
        )


@contextlib.contextmanager
def hint_at_documents(model: CharRNN) -> Iterator[None]:
    """Let an error about line ends suggest --documents, if the model is one of documents."""
    try:
        yield
    except ValueError as error:
        if model.vocabulary.end is None or not str(error).startswith((repr("\n"), repr("\r"))):
            raise
        raise ValueError(f"{error}; is each line a document? then give --documents") from None
