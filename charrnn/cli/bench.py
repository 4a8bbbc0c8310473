"""`charrnn bench`: measure the speed here."""

from __future__ import annotations

import argparse

from charrnn.console import write


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--num-threads", type=int, metavar="N", help="number of threads, measured beside one alone (default: all cores)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds for each row and number of threads (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from charrnn.bench import as_json, bench, table

    result = bench(num_threads=args.num_threads, seconds=args.seconds, say=write)
    print(as_json(result) if args.json else table(result))
    return 0
