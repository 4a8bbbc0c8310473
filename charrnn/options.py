"""Options: arguments that are declared once, for all who have to do with them.

An option is a field of a frozen dataclass that says beside its default by what rule it is checked and what help says of
it. The dataclass checks its values when it is made; the command line makes its options of the same fields. Nothing
here knows what options there are.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
Rule = Callable[[str, Any], Any]


@dataclasses.dataclass(frozen=True)
class Option:
    """What there is to know of an option beside its name and its default.

    Attributes
    ----------
    kind : type
        int, float, str or bool: what the command line reads a word as.
    rule : callable
        Given name and value, it returns the value as it is used, or raises an error that begins with the name.
    help : str
    metavar : str or None
        What stands for the value in the help; by default N for an int and X for a float.
    """

    kind: type
    rule: Rule
    help: str
    metavar: str | None = None


def option(default: Any, kind: type, rule: Rule, help: str, metavar: str | None = None) -> Any:
    """A field of a dataclass of options."""
    return dataclasses.field(default=default, metadata={"option": Option(kind, rule, help, metavar)})


def optional(rule: Rule) -> Rule:
    """The rule for what may also be None."""
    return lambda name, value: None if value is None else rule(name, value)


def check(options: Any) -> None:
    """Check a dataclass of options by its own rules, for its __post_init__."""
    for field in dataclasses.fields(options):
        value = field.metadata["option"].rule(field.name, getattr(options, field.name))
        object.__setattr__(options, field.name, value)


def declared(options: type) -> dict[str, tuple[Any, Option]]:
    """The default and the `Option` of each field of such a dataclass, by its name."""
    return {field.name: (field.default, field.metadata["option"]) for field in dataclasses.fields(options)}


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
