"""`charrnn show`: colour a text by how a model reads it."""

from __future__ import annotations

import argparse
from pathlib import Path

from charrnn.cli.inputs import add_text_arguments, cut_of, data_of
from charrnn.cli.outputs import check_output
from charrnn.console import write


def declare(parser: argparse.ArgumentParser) -> None:
    from charrnn.show import LENGTH

    parser.epilog = (
        "The page is one HTML file that needs no other and no network. It colours the text by the surprisal of each\n"
        "character or by the activation of a hidden unit, and shows the best guesses of the one pointed at.\n\n"
        "examples:\n"
        "  charrnn show book.safetensors book.txt\n"
        "  charrnn show names.safetensors names.txt -o names.html\n"
        "  charrnn sample book.safetensors | charrnn show book.safetensors -\n"
    )
    parser.add_argument("model", metavar="MODEL", help="a model file")
    add_text_arguments(parser)
    parser.add_argument(
        "-o", "--output", metavar="PAGE", default="page.html", help="file for the page (default: %(default)s)"
    )
    parser.add_argument(
        "--length", type=int, default=LENGTH, metavar="N", help="show the first N characters (default: %(default)s)"
    )
    parser.add_argument(
        "--units", type=int, metavar="N", help="show the N hidden units of the longest memory (default: all)"
    )


def run(args: argparse.Namespace) -> int:
    from charrnn.model import load
    from charrnn.show import page

    output = Path(args.output)
    check_output("output", output, [args.model, args.file])
    model = load(args.model)
    html = page(
        model,
        data_of([args.file], cut_of(args, model), args.encoding),
        length=args.length,
        units=args.units,
        encoding=args.encoding,
        unknown=args.unknown,
        title="stdin" if args.file == "-" else Path(args.file).name,
        say=write,
    )
    output.write_text(html, "ascii")
    write(f"{output}: {len(html) / 1e6:.1f} MB, to be opened in a browser")
    return 0
