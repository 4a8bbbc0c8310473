"""`charrnn info`: show what is in a model file."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import textwrap
from typing import TYPE_CHECKING

from charrnn.cli.outputs import architecture, print_table
from charrnn.console import count, printable

if TYPE_CHECKING:
    from charrnn.history import Origin


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model file")


def run(args: argparse.Namespace) -> int:
    from charrnn.model import load

    model = load(args.model)
    end = "" if model.vocabulary.end is None else ", END among them"
    print_table(
        {
            "file": f"{printable(args.model)}, {os.path.getsize(args.model):,} bytes",
            "model of": "a text" if model.vocabulary.end is None else "documents",
            "network": architecture(model),
            "parameters": f"{model.num_parameters:,}",
            "dtype": model.dtype.name,
            "symbols": f"{len(model.vocabulary):,}{end}",
            "characters": _legible(model.vocabulary.characters),
            **({} if model.history is None or model.history.origin is None else _origin(model.history.origin)),
        }
    )
    return 0


def _origin(origin: Origin) -> dict[str, str]:
    """What the model was made of and how, as its file remembers it."""
    documents = f"{count(origin.num_documents, 'document')}, " if origin.num_documents else ""
    rows = {"text": f"{printable(origin.text)}, {documents}{count(origin.num_chars, 'character')}"}
    if origin.cut:
        rows["cut by"] = printable(", ".join(f"{name} {value!r}" for name, value in origin.cut.items()))
    seconds = "" if origin.seconds is None else f", {origin.seconds:.0f} seconds"
    rows["training"] = f"{origin.epochs:.3g} epochs, {count(origin.steps, 'step')}{seconds}"
    if origin.val_loss is not None:
        bits = origin.val_loss / math.log(2)
        rows["validation"] = f"{origin.val_loss:.4f} nats, {bits:.4f} bits per character, of {origin.num_val_chars:,}"
    given = ", ".join(f"{name} {_short(value)}" for name, value in origin.settings.items() if value is not None)
    rows["settings"] = textwrap.fill(printable(given), 90, break_long_words=False, break_on_hyphens=False)
    rows["charrnn"] = printable(origin.version)
    return rows


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _legible(characters: str, most: int = 300) -> str:
    """Write characters in their order; those that follow one another in Unicode become ranges."""

    def place(indexed: tuple[int, str]) -> tuple[bool, int]:
        return indexed[1] == " ", ord(indexed[1]) - indexed[0]

    items = []
    for _, run in itertools.groupby(enumerate(characters), place):
        shown = [printable(character) for _, character in run]
        items += [f"{shown[0]}-{shown[-1]}"] if len(shown) > 3 else ["space" if item == " " else item for item in shown]
    if len(items) > most:
        items[most:] = ["…"]
    return textwrap.fill(" ".join(items), 90, break_long_words=False, break_on_hyphens=False)
