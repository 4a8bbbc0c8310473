"""Options: each argument of sampling and training is declared once, as a field of a dataclass.

The field holds the default, the rule that checks the value, and the sentence that help prints. Checks, signatures and
the options of the command line are all made from it. Nothing here knows which options there are.
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
    """All that is declared of an option besides its name and its default.

    Attributes
    ----------
    kind : callable
        int, float, str or another function that converts a word of the command line; bool for a flag.
    rule : callable
        A function of the name and the value. It returns the value in the form in which it is used, or raises an error
        that begins with the name.
    help : str
        A sentence. If the default is None, it ends with "(default: ...)", which says what that means.
    metavar : str or None
        The placeholder of the value in the help; by default N for an int and X for a float.
    choices : tuple of str
        The words that are allowed, if they can be listed.
    group : str
        The heading of the help under which the option stands.
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
    """Declare an option: the value of a field of a dataclass."""
    return dataclasses.field(default=default, metadata={"option": Option(kind, rule, help, **more)})


def word(default: Any, choices: tuple[str, ...], help: str, **more: Any) -> Any:
    """Declare an option whose value is one of a few words."""
    return option(default, str, partial(choice, allowed=choices), help, choices=choices, **more)


def optional(rule: Rule) -> Rule:
    """The same rule, for a value that may also be None."""
    return lambda name, value: None if value is None else rule(name, value)


def declared(options: type) -> dict[str, tuple[Any, Option]]:
    """Return the default and the `Option` of each field of a dataclass of options, by name."""
    return {field.name: (field.default, field.metadata["option"]) for field in dataclasses.fields(options)}


def check(options: Any) -> None:
    """Check every field by its rule and store the result; to be called by __post_init__."""
    for field in dataclasses.fields(options):
        value = field.metadata["option"].rule(field.name, getattr(options, field.name))
        object.__setattr__(options, field.name, value)


def shows(options: type) -> Callable[[Function], Function]:
    """Decorate a function that takes **options: inspect.signature shows them by name, in front of `rng`."""

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
