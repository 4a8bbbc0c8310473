"""`charrnn sample`: draw text from a model."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from charrnn.cli.inputs import check_documents
from charrnn.cli.options import add_declared, escaped
from charrnn.console import warnings_as_lines

if TYPE_CHECKING:
    from charrnn.model import CharRNN

#: Of many texts, in the order of `sampling.sample_many`.
MANY = ("unique", "novel", "max_tries")


def declare(parser: argparse.ArgumentParser) -> None:
    from charrnn.sampling import SamplingOptions

    parser.epilog = (
        "examples:\n"
        '  charrnn sample book.safetensors --prompt "It was" --temperature 0.8 --stop "\\n\\n"\n'
        "  charrnn sample names.safetensors --documents -n 20\n"
        "  charrnn sample names.safetensors -n 20 --unique --novel names.txt --pattern '[A-Z][a-z]{3,6}'\n"
    )
    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument("--prompt", metavar="TEXT", default="", help="text that the drawn text follows (default: none)")
    add_declared(parser, SamplingOptions)
    parser.add_argument("--seed", type=int, metavar="N", help="random seed (default: another each time)")
    parser.add_argument(
        "--interactive", action="store_true", help="type text, see what may follow, and let the model go on"
    )
    many = parser.add_argument_group("many texts, one a line")
    many.add_argument("--documents", action="store_true", help="draw documents")
    many.add_argument("-n", "--count", type=int, metavar="N", help="how many texts to draw (default: 10)")
    many.add_argument("--unique", action="store_true", help="no two texts are equal")
    many.add_argument(
        "--novel",
        metavar="FILE",
        action="append",
        default=[],
        help="no text is a line of FILE; may be given more than once",
    )
    many.add_argument(
        "--max-tries", type=int, metavar="N", help="draw at most N texts to find them (default: 1,000 each and 100,000)"
    )


def run(args: argparse.Namespace) -> int:
    from charrnn.model import load
    from charrnn.options import declared
    from charrnn.sampling import SamplingOptions

    model = load(args.model)
    options = {name: getattr(args, name) for name in declared(SamplingOptions)}
    options["stop"] = [escaped(stop) for stop in args.stop or ()]
    if args.interactive:
        return _interact(model, args, options)
    if args.documents or args.count is not None or any(getattr(args, name) for name in MANY):
        _sample_many(model, args, options)
        return 0
    characters = model.stream(args.prompt, **options, rng=args.seed)
    live = sys.stdout is not None and sys.stdout.isatty()
    try:
        print(args.prompt, end="", flush=live)
        for character in characters:
            print(character, end="", flush=live)
    finally:
        print()
    return 0


def _sample_many(model: CharRNN, args: argparse.Namespace, options: dict[str, Any]) -> None:
    """A text a line, each as soon as it is found."""
    import numpy as np

    from charrnn.errors import integer
    from charrnn.sampling import SamplingOptions, sample_many
    from charrnn.text.documents import documents

    if args.documents:
        check_documents(model, args)
    count = 10 if args.count is None else integer("count", args.count, 0)
    rng = np.random.default_rng(_seed(args))
    novel = documents(args.novel) if args.novel else None
    texts = sample_many(
        model, count, args.prompt, SamplingOptions(**options), rng, args.unique, novel, None, args.max_tries
    )
    with warnings_as_lines():
        for text in texts:
            print(args.prompt + text, flush=True)


def _interact(model: CharRNN, args: argparse.Namespace, options: dict[str, Any]) -> int:
    import numpy as np

    from charrnn.cli.interactive import interact

    interact(model, args.prompt, options, np.random.default_rng(_seed(args)))
    return 0


def _seed(args: argparse.Namespace) -> int | None:
    from charrnn.errors import integer

    return None if args.seed is None else integer("seed", args.seed, 0)
