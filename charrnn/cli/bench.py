"""`charrnn bench`: measure the speed here."""

from __future__ import annotations

import argparse

from charrnn.cli.options import add_options
from charrnn.console import write

BENCH_OPTIONS = {
    "num_threads": "cores to use, beside one alone (default: all)",
    "seconds": "seconds for each row and number of threads",
}


def declare(parser: argparse.ArgumentParser) -> None:
    from charrnn.bench import bench

    add_options(parser, bench, BENCH_OPTIONS)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from charrnn.bench import as_json, bench, table

    result = bench(num_threads=args.num_threads, seconds=args.seconds, say=write)
    print(as_json(result) if args.json else table(result))
    return 0
