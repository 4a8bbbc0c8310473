"""`charrnn sample`: draw text from a model."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from charrnn.cli.inputs import text_of
from charrnn.cli.options import add_declared, escaped
from charrnn.console import warnings_as_lines
from charrnn.errors import ArgumentValueError

if TYPE_CHECKING:
    from charrnn.model import CharRNN

#: The longest that a character waits in a pipe, in seconds.
FLUSH_SECONDS = 0.05

#: Of many texts, in the order of `sampling.sample_many`.
MANY = ("unique", "novel", "max_tries")


def declare(parser: argparse.ArgumentParser) -> None:
    from charrnn.sampling import SamplingOptions

    parser.epilog = (
        "examples:\n"
        '  charrnn sample book.safetensors --prompt "It was" --temperature 0.8 --stop "\\n\\n"\n'
        "  charrnn sample names.safetensors -n 20\n"
        "  charrnn sample names.safetensors -n 20 --unique --novel names.txt --pattern '[A-Z][a-z]{3,6}'\n"
    )
    parser.add_argument("model", metavar="MODEL", help="a model file")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", default="", help="text that the drawn text follows (default: none)")
    prompt.add_argument("--prompt-file", metavar="FILE", help="the file of that text, - for stdin")
    add_declared(parser, SamplingOptions)
    parser.add_argument("--seed", type=int, metavar="N", help="random seed (default: another each time)")
    parser.add_argument(
        "--interactive", action="store_true", help="type text, see what may follow, and let the model go on"
    )
    many = parser.add_argument_group(
        "many texts, one a line, or with between them what separated the documents that the model was trained on"
    )
    many.add_argument("--documents", action="store_true", help="what a model of documents draws anyway")
    many.add_argument(
        "-n",
        "--count",
        type=int,
        metavar="N",
        help="how many texts to draw (default: 10 of a model of documents, or 1)",
    )
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
    from charrnn.sampling import ENDLESS, SamplingOptions

    model = load(args.model)
    options = {name: getattr(args, name) for name in declared(SamplingOptions)}
    options["stop"] = [escaped(stop) for stop in args.stop or ()]
    if options["length"] == ENDLESS and model.vocabulary.end is not None:
        options["length"] = None
    if args.prompt_file is not None:
        args.prompt = text_of([args.prompt_file], "utf-8")
    if args.interactive:
        return _interact(model, args, options)
    is_many = args.documents or args.count is not None or any(getattr(args, name) for name in MANY)
    if is_many or model.vocabulary.end is not None:
        _sample_many(model, args, options)
    else:
        _write_as_drawn(args.prompt, model.stream(args.prompt, **options, rng=args.seed))
    return 0


def _write_as_drawn(prompt: str, characters: Iterator[str]) -> None:
    """Write text as it is drawn: each character at once on a terminal, and soon in a pipe, whose reader waits too."""
    wait = 0.0 if sys.stdout is not None and sys.stdout.isatty() else FLUSH_SECONDS
    flushed = time.monotonic()
    try:
        print(prompt, end="", flush=True)
        for character in characters:
            print(character, end="")
            if (now := time.monotonic()) >= flushed + wait:
                flushed = now
                print(end="", flush=True)
    finally:
        print()


def _sample_many(model: CharRNN, args: argparse.Namespace, options: dict[str, Any]) -> None:
    """A text a line, each as soon as it is found."""
    import numpy as np

    from charrnn.errors import integer
    from charrnn.sampling import SamplingOptions, sample_many
    from charrnn.text.documents import documents

    if args.documents and model.vocabulary.end is None:
        raise ArgumentValueError(
            "documents", f"must come with a model of documents, got {args.model}, a model of a text"
        )
    count = 10 if args.count is None else integer("count", args.count, 0)
    rng = np.random.default_rng(_seed(args))
    novel = documents(args.novel) if args.novel else None
    texts = sample_many(
        model, count, args.prompt, SamplingOptions(**options), rng, args.unique, novel, None, args.max_tries
    )
    between = (model.cut.separator if model.cut is not None else None) or "\n"
    with warnings_as_lines():
        for text in texts:
            print(args.prompt + text, end=between, flush=True)


def _interact(model: CharRNN, args: argparse.Namespace, options: dict[str, Any]) -> int:
    import numpy as np

    from charrnn.cli.interactive import interact

    interact(model, args.prompt, options, np.random.default_rng(_seed(args)))
    return 0


def _seed(args: argparse.Namespace) -> int | None:
    from charrnn.errors import integer

    return None if args.seed is None else integer("seed", args.seed, 0)
