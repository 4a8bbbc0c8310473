"""The command line: a command for each module here of its name, which declares its options and runs it.

Results go to stdout, all else to stderr. What takes time to import is imported by the command that needs it, so
that help is there at once, and whatever goes wrong on the way goes wrong within `main`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from charrnn import __version__
from charrnn.cli.inputs import standard_library_text
from charrnn.cli.options import INTERRUPTED, WRONG, Parser
from charrnn.cli.outputs import message_of
from charrnn.console import write

__all__ = ["main", "standard_library_text"]

COMMANDS = {
    "train": "train a model on text",
    "sample": "draw text from a model",
    "score": "write how probable a model finds each line",
    "evaluate": "measure how well a model predicts a text",
    "show": "colour a text by how a model reads it, on a page for the browser",
    "info": "show what is in a model file",
    "bench": "measure the speed here, and its share of what this CPU can do",
}

EXAMPLES = """\
examples:
  charrnn train book.txt -o book.safetensors
  charrnn sample book.safetensors --prompt "It was" --length 500
  charrnn evaluate book.safetensors another.txt
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    argv : sequence of str, optional
        By default that of the process.

    Returns
    -------
    int
        The exit code: 0; 1 where training diverged; 2 for a wrong option or input; 130 after Ctrl-C.

    Examples
    --------
    >>> main(["info", "nowhere.safetensors"])       # one line on stderr says what is wrong
    2
    """
    argv = sys.argv[1:] if argv is None else argv
    args = argparse.Namespace()
    try:
        try:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(encoding=_output_encoding(), errors="backslashreplace", newline="\n")
            _parser(argv).parse_args(argv, args)
            code: int = args.run(args)
            return code
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        return 0
    except KeyboardInterrupt:
        write("interrupted")
        return INTERRUPTED
    except (ValueError, TypeError, OverflowError, OSError, MemoryError, ImportError) as error:
        write(f"charrnn: error: {message_of(error, vars(args))}")
        return WRONG
    finally:
        _let_go_of_stdout()


def _output_encoding() -> str | None:
    """UTF-8 in files and pipes, whatever the locale; None for that of the terminal, or the one that was asked for."""
    return None if sys.stdout.isatty() or os.environ.get("PYTHONIOENCODING") else "utf-8"


def _let_go_of_stdout() -> None:
    """Flush stdout, or close it if that fails: Python flushes it again at exit, and would print an error."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="charrnn",
        description="Character-level recurrent language models: train them on text, sample and score text with them.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"charrnn {__version__}")
    parser.set_defaults(run=lambda args: _print_help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="charrnn")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        # A command is imported only if it may be the one that is asked for: imports take time.
        if name in argv:
            module = importlib.import_module(f"charrnn.cli.{name}")
            command.set_defaults(run=module.run)
            module.declare(command)
    return parser


def _print_help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0
