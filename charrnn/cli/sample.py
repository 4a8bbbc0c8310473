"""`charrnn sample`: draw text from a model."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from charrnn.cli.inputs import check_documents
from charrnn.cli.options import add_declared

if TYPE_CHECKING:
    from charrnn.model import CharRNN


def declare(parser: argparse.ArgumentParser) -> None:
    from charrnn.sampling import SamplingOptions

    parser.epilog = (
        "examples:\n"
        '  charrnn sample book.safetensors --prompt "It was" --temperature 0.8\n'
        "  charrnn sample names.safetensors --documents -n 20\n"
    )
    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument("--prompt", metavar="TEXT", default="", help="text that the drawn text follows (default: none)")
    add_declared(parser, SamplingOptions)
    parser.add_argument("--seed", type=int, metavar="N", help="random seed (default: another each time)")
    parser.add_argument("--documents", action="store_true", help="draw documents, one a line")
    parser.add_argument("-n", "--count", type=int, metavar="N", help="how many documents to draw (default: 10)")


def run(args: argparse.Namespace) -> int:
    from charrnn.model import load
    from charrnn.options import declared
    from charrnn.sampling import SamplingOptions

    model = load(args.model)
    options = {"prompt": args.prompt, **{name: getattr(args, name) for name in declared(SamplingOptions)}}
    if args.documents or args.count is not None:
        _sample_documents(model, args, options)
        return 0
    characters = model.stream(**options, rng=args.seed)
    live = sys.stdout is not None and sys.stdout.isatty()
    try:
        print(args.prompt, end="", flush=live)
        for character in characters:
            print(character, end="", flush=live)
    finally:
        print()
    return 0


def _sample_documents(model: CharRNN, args: argparse.Namespace, options: dict[str, Any]) -> None:
    import numpy as np

    from charrnn.errors import integer

    check_documents(model, args)
    count = 10 if args.count is None else integer("count", args.count, 0)
    rng = np.random.default_rng(None if args.seed is None else integer("seed", args.seed, 0))
    for document in model.sample_many(count, **options, rng=rng):
        print(args.prompt + document)
