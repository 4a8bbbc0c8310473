"""`charrnn evaluate`: measure how well a model predicts a text."""

from __future__ import annotations

import argparse

from charrnn.cli.inputs import add_text_arguments, cut_of, data_of
from charrnn.cli.outputs import print_table


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model file")
    add_text_arguments(parser)
    parser.add_argument(
        "--rows",
        type=int,
        default=1,
        metavar="N",
        help="read a long text in N rows side by side, each of which first reads 256 characters for its state: many "
        "times as fast with 64, and off by thousandths of a nat at most (default: 1)",
    )


def run(args: argparse.Namespace) -> int:
    from charrnn.model import load

    model = load(args.model)
    data = data_of([args.file], cut_of(args, model), args.encoding)
    evaluation = model.evaluate(data, encoding=args.encoding, unknown=args.unknown, rows=args.rows, progress=True)
    table = {
        "nats per character": f"{evaluation.loss:.4f}",
        "bits per character": f"{evaluation.bits_per_char:.4f}",
        "perplexity": f"{evaluation.perplexity:.4f}",
        "characters": f"{evaluation.num_chars}",
    }
    if args.unknown == "skip":
        table["left out"] = f"{evaluation.num_skipped}"
    print_table(table)
    return 0
