"""A page that shows what a model does with a text: its surprise at each character, its guesses, its hidden units.

After Karpathy, Johnson and Fei-Fei, "Visualizing and understanding recurrent networks" (2015). T characters, V symbols,
H hidden units, L layers.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import unicodedata
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.console import printable
from charrnn.errors import ArgumentTypeError, ArgumentValueError, choice, integer
from charrnn.model import CharRNN, Evaluation
from charrnn.show.reading import longest_memory, read
from charrnn.text.reading import Data
from charrnn.text.reading import read as read_data
from charrnn.text.vocabulary import Vocabulary

__all__ = ["LENGTH", "page"]

#: Characters to show by default: a browser colours this many in the blink of an eye.
LENGTH = 20_000
#: An activation from -1 to 1 is stored in the page as a byte from -LEVELS to LEVELS.
LEVELS = 127


def page(
    model: CharRNN,
    data: Data,
    *,
    length: int = LENGTH,
    units: int | None = None,
    encoding: str = "utf-8",
    title: str | None = None,
    unknown: str = "error",
    say: Callable[[str], object] = lambda text: None,
) -> str:
    """Show a text as a model sees it, on one HTML page that needs no other file and no network.

    The text is coloured by the surprisal of each character, or by the activation of a hidden unit after it. The model's
    best guesses of a character are shown where one points.

    Parameters
    ----------
    model : CharRNN
    data : str, bytes, os.PathLike, or iterable of str
        A text or a file, as `CharRNN.evaluate` takes it. An iterable is a set of documents, for a model of such.
    length : int
        Characters to show, at least 1: the first ones.
    units : int, optional
        Hidden units to show, at least 1: those with the longest memory; by default all. The page has 4/3 bytes for each
        unit and character.
    encoding : str
        Encoding of a file.
    title : str, optional
        By default the name of the file, if it is one.
    unknown : "error" or "skip"
        Whether characters that are not in the vocabulary are left out.
    say : callable
        Called with a sentence for everything that is left out.

    Returns
    -------
    str
        HTML, in ASCII.

    Raises
    ------
    ValueError
        Characters are not in the vocabulary, and `unknown` is "error", or there is none to predict.

    Examples
    --------
    >>> html = charrnn.show.page(charrnn.train.train("hello world"), "hello world")
    >>> html.startswith("<!DOCTYPE html>")
    True
    """
    if not isinstance(model, CharRNN):
        raise ArgumentTypeError("model", f"must be a CharRNN, got {type(model).__name__}")
    if title is not None and not isinstance(title, str):
        raise ArgumentTypeError("title", f"must be a str, got {type(title).__name__}")
    if not callable(say):
        raise ArgumentTypeError("say", f"must be callable, got {say!r}")
    length = integer("length", length, 1)
    units = None if units is None else integer("units", units, 1)
    choice("unknown", unknown, ("error", "skip"))
    stream = read_data(data, encoding=encoding, vocabulary=model.vocabulary, unknown=unknown)
    if stream.num_skipped:
        say(f"{stream.num_skipped:,} characters that the model does not know are left out")
    first = 0 if model.vocabulary.end is None else 1  # END, which stands before the first character
    symbols = stream.indices(0, first + length).astype(np.int32)
    if len(symbols) < 2:
        raise ArgumentValueError("data", "must have at least 2 characters, for the first one is not predicted")
    shown, total = len(symbols) - first, len(stream) - first
    if shown < total:
        say(f"shown are the first {shown:,} of {total:,} characters; a greater length shows more")
    surprisal, guesses, probs, hidden = read(model, symbols)
    memory = longest_memory(hidden)[:units]
    if len(memory) < hidden.shape[1]:
        say(f"shown are the {len(memory):,} units of {hidden.shape[1]:,} that have the longest memory")
    evaluation = Evaluation(float(surprisal.mean()), len(surprisal))
    # The first character of a text is shown, but nothing predicts it: its numbers are padding.
    gap = [(1 - first, 0), (0, 0)]
    content = {
        "symbols": _labels(model.vocabulary),
        "breaks": [i for i in (model.vocabulary.characters.find("\n"), model.vocabulary.end) if i not in (-1, None)],
        "text": _base64(symbols[first:], "<u4"),
        "surprisal": _base64(np.concatenate([[math.nan] * (1 - first), surprisal]), "<f4"),
        "guesses": _base64(np.pad(guesses, gap), "<u4"),
        "probs": _base64(np.pad(probs, gap), "<f4"),
        "hiddenSize": model.hidden_size,
        "memory": memory.tolist(),
        "activations": {
            unit: _base64(np.rint(np.nan_to_num(hidden[first:, unit]) * LEVELS), "i1") for unit in memory.tolist()
        },
    }
    if title is None:
        title = Path(data).name if isinstance(data, os.PathLike) else "A text" if first == 0 else "Documents"
    return _fill(title, _summary(model, evaluation, shown, total, len(memory)), content)


def _labels(vocabulary: Vocabulary) -> list[list[str]]:
    """Return for each symbol its text and, if that is invisible, a mark and a name to show instead."""
    special = {"\n": ["", "\u21b5", "\\n"], "\t": ["\t", "\u2192", "\\t"], " ": [" ", "", "space"]}

    def label(character: str) -> list[str]:
        if character in special:
            return special[character]
        if not character.isprintable():
            return ["", printable(character)]
        return [character, "", f"\u25cc{character}"] if unicodedata.category(character)[0] == "M" else [character]

    return [label(character) for character in vocabulary.characters] + [["", "\u220e", "END"]] * (
        vocabulary.end is not None
    )


def _summary(model: CharRNN, evaluation: Evaluation, shown: int, total: int, units: int) -> list[tuple[str, str]]:
    """Names and values."""
    all_units = model.num_layers * model.hidden_size
    return [
        ("loss", f"{evaluation.loss:.3f} nats = {evaluation.bits_per_char:.3f} bits per character"),
        ("characters", f"{shown:,}" if shown == total else f"the first {shown:,} of {total:,}"),
        ("hidden units", f"{units:,}" if units == all_units else f"{units:,} of {all_units:,}, of the longest memory"),
        ("model", repr(model)),
    ]


def _base64(array: np.ndarray, dtype: str) -> str:
    return base64.b64encode(array.astype(dtype).tobytes()).decode()


def _fill(title: str, summary: list[tuple[str, str]], content: dict[str, Any]) -> str:
    """Fill the template. Everything is escaped, so that no text can end the HTML element that it stands in."""

    def escape(text: str) -> str:
        return html.escape(printable(text)).encode("ascii", "xmlcharrefreplace").decode()

    template = resources.files("charrnn.show").joinpath("page.html").read_text("ascii")
    rows = "".join(f"<div><dt>{escape(name)}<dd>{escape(value)}</div>" for name, value in summary)
    page = template.replace("<!-- title -->", escape(title)).replace("<!-- summary -->", rows)
    return page.replace("<!-- data -->", json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"))
