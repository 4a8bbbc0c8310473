"""`charrnn evaluate`: measure how well a model predicts a text."""

from __future__ import annotations

import argparse

from charrnn.cli.inputs import add_text_arguments, data_of, hint_at_documents
from charrnn.cli.outputs import print_table


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model file")
    add_text_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from charrnn.model import load

    model = load(args.model)
    data = data_of([args.file], args.documents, args.encoding)
    with hint_at_documents(model):
        evaluation = model.evaluate(data, encoding=args.encoding)
    print_table(
        {
            "nats per character": f"{evaluation.loss:.4f}",
            "bits per character": f"{evaluation.bits_per_char:.4f}",
            "perplexity": f"{evaluation.perplexity:.4f}",
            "characters": f"{evaluation.num_chars}",
        }
    )
    return 0
