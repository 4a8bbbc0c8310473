"""`charrnn info`: show what is in a model file."""

from __future__ import annotations

import argparse
import itertools
import os
import textwrap

from charrnn.cli.outputs import architecture, print_table
from charrnn.console import printable


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
        }
    )
    return 0


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
