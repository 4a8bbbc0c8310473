"""An option is declared once: what its dataclass, its functions and the command line say of it agrees."""

import inspect
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest

import charrnn
from charrnn.options import check, declared, option, optional, shows
from charrnn.sampling import Keywords, SamplingOptions
from charrnn.train import train
from charrnn.train.settings import Settings, Surroundings


def positive(name, value):
    if value <= 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")
    return float(value)


@dataclass(frozen=True)
class Options:
    size: float = option(1.0, float, positive, "how large", metavar="SIZE")
    limit: float | None = option(None, float, optional(positive), "how large at most")

    def __post_init__(self):
        check(self)


def test_options_are_checked_by_their_rules_when_they_are_made():
    assert Options(2) == Options(2.0) and isinstance(Options(2).size, float)
    assert Options(limit=3).limit == 3.0
    for name in ("size", "limit"):
        with pytest.raises(ValueError, match=f"{name} must be greater than 0, got -1"):
            Options(**{name: -1})
    with pytest.raises(FrozenInstanceError):
        Options().size = 3


def test_what_is_declared_is_read_from_the_fields():
    assert {name: default for name, (default, _) in declared(Options).items()} == {"size": 1.0, "limit": None}
    assert declared(Options)["size"][1].metavar == "SIZE"


def test_a_function_shows_the_options_that_it_takes():
    @shows(Options)
    def draw(n, size=1.0, *, prompt="", rng=None, **options):
        return Options(size, **options)

    assert list(inspect.signature(draw).parameters) == ["n", "size", "prompt", "limit", "rng"]
    assert inspect.signature(draw).parameters["limit"].default is None
    assert draw(3, limit=2) == Options(1.0, 2.0)


@pytest.mark.parametrize("method", ["sample", "stream", "sample_many"])
def test_every_sampling_method_has_every_sampling_option_with_its_default(method):
    parameters = inspect.signature(getattr(charrnn.CharRNN, method)).parameters
    for name, (default, _) in declared(SamplingOptions).items():
        assert parameters[name].default == default
    assert list(parameters)[-1] == "rng"


def test_type_checkers_know_every_sampling_option():
    assert {"length", *Keywords.__annotations__} == {field.name for field in fields(SamplingOptions)}
    types = {field.name: field.type for field in fields(SamplingOptions) if field.name != "length"}
    assert types == {name: annotation.__forward_arg__ for name, annotation in Keywords.__annotations__.items()}
    assert list(types) == list(Keywords.__annotations__)


@pytest.mark.parametrize("options", [Settings, Surroundings])
def test_train_has_the_defaults_that_are_declared(options):
    defaults = {name: default for name, (default, _) in declared(options).items()}
    assert defaults == {name: train.__kwdefaults__[name] for name in defaults}


def test_every_argument_of_train_is_declared_but_those_of_a_program():
    names = {*declared(Settings), *declared(Surroundings)}
    assert train.__kwdefaults__.keys() == names | {"progress", "callback", "weights"}


@pytest.mark.parametrize("options", [Settings, Surroundings, SamplingOptions])
def test_help_says_what_a_default_of_none_means_and_begins_with_the_thing(options):
    for name, (default, entry) in declared(options).items():
        assert not entry.help.startswith(("of ", "so many")), name
        if default is None and name not in ("init_from", "top_k", "top_p"):
            assert "(default: " in entry.help, name
