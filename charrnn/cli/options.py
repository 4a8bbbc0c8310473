"""The parser, and options made of what a function or a dataclass of options declares.

It knows no command and imports none.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from charrnn.options import declared

# Exit codes
FAILED = 1
WRONG = 2
INTERRUPTED = 130

METAVARS = {
    "checkpoint": "PATH",
    "checkpoint_seconds": "S",
    "encoding": "NAME",
    "init_from": "MODEL",
    "max_seconds": "S",
    "seconds": "S",
}


class Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A command refuses what it does not know itself: its own options are what may have been meant."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        message = " ".join(message.splitlines())
        wrong = re.match(r"unrecognized arguments: (--[\w-]+)|.*invalid choice: '(.+?)' \(choose from (.+)\)", message)
        if wrong:
            known = re.findall(r"[\w-]+", wrong[3]) if wrong[3] else list(self._option_string_actions)
            for meant in difflib.get_close_matches(wrong[1] or wrong[2], known, 1):
                message += f"; did you mean {meant}?"
        self.exit(WRONG, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


class Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"max_help_position": 28, **options})


def add_options(group: Any, function: Callable[..., Any], helps: Mapping[str, str], **choices: Iterable[str]) -> None:
    """An option for each of these arguments of a function."""
    parameters = inspect.signature(function).parameters
    for name, text in helps.items():
        default, types = parameters[name].default, parameters[name].annotation.split(" | ")
        if "bool" in types:
            group.add_argument(option_name(name), action="store_true", help=text)
            continue
        kind: Any = int if "int" in types else float if "float" in types else str
        if "(default: " not in text and default not in (None, ""):
            text += f" (default: {default:g})" if kind is float else f" (default: {default})"
        group.add_argument(
            option_name(name),
            type=_number_or_none if "None" in types and default is not None else kind,
            default=default,
            choices=tuple(choices[name]) if name in choices else None,
            metavar=None if name in choices else METAVARS.get(name, {int: "N", float: "X"}.get(kind)),
            help=text,
        )


def add_declared(group: Any, options: type) -> None:
    """An option for each field of such a dataclass."""
    for name, (default, option) in declared(options).items():
        group.add_argument(
            option_name(name),
            type=option.kind,
            default=default,
            metavar=option.metavar,
            help=option.help if default is None else f"{option.help} (default: {default:g})",
        )


def option_name(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _number_or_none(value: str) -> float | None:
    return None if value == "none" else float(value)


_number_or_none.__name__ = "number"  # argparse says "invalid number value"
