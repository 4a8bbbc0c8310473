"""Options: arguments that are declared once, for all who have to do with them.

An option is a field of a dataclass that says beside its default by what rule it is checked and what help says of it.
Checks, signatures and the options of the command line are made of it. Nothing here knows what options there are.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from charrnn.errors import choice

Function = TypeVar("Function", bound=Callable[..., Any])
Rule = Callable[[str, Any], Any]


@dataclasses.dataclass(frozen=True)
class Option:
    """What there is to know of an option beside its name and its default.

    Attributes
    ----------
    kind : callable
        int, float, str or another function of a word on the command line; bool for an option that is a flag.
    rule : callable
        Given name and value, it returns the value as it is used, or raises an error that begins with the name.
    help : str
        Of a default that is None it says what it means: "(default: ...)".
    metavar : str or None
        What stands for the value in the help; by default N for an int and X for a float.
    choices : tuple of str
        The words that are allowed, where there are few.
    group : str
        The heading in the help under which it stands.
    several : bool
        Whether it may be given more than once, and is a list then.
    also : str
        Another name on the command line.
    """

    kind: Callable[[str], Any]
    rule: Rule
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    group: str = ""
    several: bool = False
    also: str = ""


def option(default: Any, kind: Callable[[str], Any], rule: Rule, help: str, **more: Any) -> Any:
    """A field of a dataclass of options."""
    return dataclasses.field(default=default, metadata={"option": Option(kind, rule, help, **more)})


def word(default: Any, choices: tuple[str, ...], help: str, **more: Any) -> Any:
    """An option that is one of a few words."""
    return option(default, str, partial(choice, allowed=choices), help, choices=choices, **more)


def optional(rule: Rule) -> Rule:
    """The rule for what may also be None."""
    return lambda name, value: None if value is None else rule(name, value)


def declared(options: type) -> dict[str, tuple[Any, Option]]:
    """The default and the `Option` of each field of such a dataclass, by its name."""
    return {field.name: (field.default, field.metadata["option"]) for field in dataclasses.fields(options)}


def check(options: Any) -> None:
    """Check a dataclass of options by its own rules, for its __post_init__."""
    for field in dataclasses.fields(options):
        value = field.metadata["option"].rule(field.name, getattr(options, field.name))
        object.__setattr__(options, field.name, value)


def shows(options: type) -> Callable[[Function], Function]:
    """For a function that takes these as **options: its signature names them, in front of `rng`."""

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        parameters = {name: p for name, p in signature.parameters.items() if p.kind is not p.VAR_KEYWORD}
        rng = parameters.pop("rng")
        for field in dataclasses.fields(options):
            if field.name not in parameters:
                parameters[field.name] = rng.replace(name=field.name, default=field.default, annotation=field.type)
        function.__signature__ = signature.replace(parameters=[*parameters.values(), rng])  # type: ignore[attr-defined]
        return function

    return decorate
