"""The parser, and how a dataclass of options becomes options of a command. It knows no command."""

from __future__ import annotations

import argparse
import difflib
import itertools
import re
import sys
from typing import Any, NoReturn

from charrnn.options import Option, declared

# Exit codes
FAILED = 1
WRONG = 2
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Refuse unknown options here, in the command's own parser, which can suggest options of the command.

        `namespace.typed` is the set of options that the command line has, for errors must not name any others.
        """
        namespace, unknown = super().parse_known_args(args, namespace)
        words = sys.argv[1:] if args is None else args
        found = (self._option_string_actions.get(part) for word in words for part in (word.split("=")[0], word[:2]))
        typed = {action.dest for action in found if action is not None}
        namespace.typed = typed | getattr(namespace, "typed", set())  # that of a command is there already
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


def add_declared(parser: argparse.ArgumentParser, *options: type) -> None:
    """Add an option for each field of these dataclasses, under the heading that the field declares."""
    groups: dict[str, Any] = {"": parser}
    for name, (default, option) in itertools.chain(*(declared(each).items() for each in options)):
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        add_option(groups[option.group], name, default, option)


def add_option(group: Any, name: str, default: Any, option: Option) -> None:
    """Add one option as it is declared."""
    if option.kind is bool:
        group.add_argument(option_name(name), action="store_true", help=option.help)
        return
    shown = default if isinstance(default, str) else "" if default is None else f"{default:g}"
    group.add_argument(
        *[option_name(each) for each in (name, option.also) if each],
        action="append" if option.several else "store",
        type=option.kind,
        default=default,
        choices=option.choices or None,
        metavar=None if option.choices else option.metavar or ("N" if option.kind is int else "X"),
        help=f"{option.help} (default: {shown})" if shown else option.help,
    )


def option_name(name: str) -> str:
    """Return the name of an argument on the command line."""
    return f"--{name.replace('_', '-')}"


def escaped(text: str) -> str:
    r"""A text in which \n, \t, \r and \\ stand for what they stand for in Python."""
    return re.sub(r"\\([ntr\\])", lambda found: {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1]), text)
