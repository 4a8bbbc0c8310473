"""`charrnn evaluate`: measure how well a model predicts a text."""

from __future__ import annotations

import argparse

from charrnn.cli.inputs import data_of, hint_at_documents
from charrnn.cli.options import add_options
from charrnn.cli.outputs import print_table


def declare(parser: argparse.ArgumentParser) -> None:
    from charrnn.model import CharRNN

    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument("file", metavar="FILE", help="the text, - for stdin")
    add_options(parser, CharRNN.evaluate, {"encoding": "of the text"})
    parser.add_argument("--documents", action="store_true", help="each line is a document, independent of the others")


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
