"""Sampling: drawing text from a model.

What can be asked for is declared in `SamplingOptions`: a new option is a field there, a keyword in `Keywords`, a line
in the docstring of `CharRNN.sample`, and what becomes of it below. Probabilities and draws are the kernel's; here
prompts become symbols, and symbols text.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from charrnn.errors import integer, number
from charrnn.options import check, option, optional
from charrnn.system import check_memory

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # known to every type checker, and not imported

    from charrnn.kernels.kernels import Sampler
    from charrnn.model import CharRNN

    Rng = int | np.random.Generator | np.random.RandomState | None  # at run time it would import numpy.random
    #: Of a prompt and of what is drawn after it.
    Text = TypeVar("Text", str, bytes, default=str)

# Rows that are sampled side by side.
ROWS = 64

# Symbols of texts that are drawn at once.
SYMBOLS = 1 << 20

#: Characters that are drawn where nothing else is asked for.
LENGTH = 200


@dataclass(frozen=True)
class SamplingOptions:
    """How text is drawn: what `CharRNN.sample` takes beside the prompt and the generator, checked."""

    length: int = option(
        LENGTH, int, partial(integer, low=0), "number of characters to draw; of a document, the most", metavar="N"
    )
    temperature: float = option(
        1.0,
        float,
        partial(number, low=0),
        "below 1 makes probable characters more probable, above 1 less; 0 always takes the most probable",
        metavar="T",
    )
    top_k: int | None = option(
        None, int, optional(partial(integer, low=1)), "draw only from the K most probable characters", metavar="K"
    )
    top_p: float | None = option(
        None,
        float,
        optional(partial(number, low=0, high=1, above=True)),
        "draw only from the fewest most probable characters that together have probability P",
        metavar="P",
    )

    def __post_init__(self) -> None:
        check(self)


class Keywords(TypedDict, total=False):
    """The options that are keywords, for type checkers."""

    temperature: float
    top_k: int | None
    top_p: float | None


def sample(model: CharRNN, prompt: str | bytes, options: SamplingOptions, rng: Rng) -> Any:
    """See `CharRNN.sample`."""
    check_memory(options.length * np.dtype(np.int32).itemsize, length=options.length)
    sampler = _fed_sampler(model, prompt, options)
    symbols = np.empty(options.length, np.int32)
    drawn = _draw(sampler.draw, bit_generator(rng), symbols)
    return _text(model, symbols[:drawn], isinstance(prompt, bytes))


def stream(model: CharRNN, prompt: str | bytes, options: SamplingOptions, rng: Rng) -> Iterator[Any]:
    """See `CharRNN.stream`."""
    sampler, generator, as_bytes = _fed_sampler(model, prompt, options), bit_generator(rng), isinstance(prompt, bytes)

    def characters() -> Iterator[Any]:
        symbols = np.empty(1, np.int32)
        for _ in range(options.length):
            _draw(sampler.draw, generator, symbols)
            if symbols[0] == model.vocabulary.end:
                return
            character = model.vocabulary.characters[symbols[0]]
            yield character.encode("latin-1") if as_bytes else character

    return characters()


def sample_many(model: CharRNN, n: int, prompt: str | bytes, options: SamplingOptions, rng: Rng) -> list[Any]:
    """See `CharRNN.sample_many`."""
    n, length = integer("n", n, 0), options.length
    generator = bit_generator(rng)
    beginning = _beginning(model, prompt)
    sampler = _sampler(model, max(min(ROWS, n), 1), options)
    texts: list[Any] = []
    # At most so many at once that they take some megabytes.
    at_once = min(n, max(SYMBOLS // max(length, 1), ROWS))
    check_memory(n * sys.getsizeof("") + at_once * length * np.dtype(np.int32).itemsize, n=n, length=length)
    while len(texts) < n:
        symbols = np.empty((min(n - len(texts), at_once), length), np.int32)
        lengths = np.zeros(len(symbols), np.intp)
        _draw(sampler.draw_texts, generator, beginning, symbols, lengths)
        as_bytes = isinstance(prompt, bytes)
        texts += [_text(model, row[:drawn], as_bytes) for row, drawn in zip(symbols, lengths, strict=True)]
    return texts


def next_probs(model: CharRNN, prompt: str | bytes) -> dict[str, float]:
    """See `CharRNN.next_probs`."""
    weights = _fed_sampler(model, prompt, SamplingOptions()).weights()[0].astype(np.float64)
    symbols = [*model.vocabulary.characters] + [""] * (model.vocabulary.end is not None)
    return dict(zip(symbols, (weights / weights.sum()).tolist(), strict=True))


def _sampler(model: CharRNN, rows: int, options: SamplingOptions) -> Sampler:
    sampler: Sampler = model._kernels.Sampler(
        model._network,
        model._arena,
        rows,
        temperature=options.temperature,
        top_k=0 if options.top_k is None else options.top_k,
        top_p=1.0 if options.top_p is None else options.top_p,
        end=-1 if model.vocabulary.end is None else model.vocabulary.end,
    )
    return sampler


def _fed_sampler(model: CharRNN, prompt: str | bytes, options: SamplingOptions) -> Sampler:
    """A sampler of one row that has read the prompt."""
    sampler = _sampler(model, 1, options)
    sampler.feed(_beginning(model, prompt)[:, None])
    return sampler


def _beginning(model: CharRNN, prompt: str | bytes) -> np.ndarray:
    """The symbols to read from a zero state before those to draw."""
    indices = model.vocabulary.encode(prompt, "the prompt")
    if model.vocabulary.end is not None:
        indices = np.concatenate([[model.vocabulary.end], indices])
    elif not len(indices) and "\n" in model.vocabulary:
        indices = model.vocabulary.encode("\n")
    return np.ascontiguousarray(indices, np.int32)


def _text(model: CharRNN, drawn: np.ndarray, as_bytes: bool) -> Any:
    """The characters of drawn symbols, among which END has none."""
    if model.vocabulary.end is not None:
        drawn = drawn[drawn != model.vocabulary.end]
    text = model.vocabulary.decode(drawn)
    return text.encode("latin-1") if as_bytes else text


def _draw(method: Any, bit_generator: Any, *arguments: Any) -> Any:
    """A method of a sampler that takes doubles from this generator."""
    interface = bit_generator.ctypes
    with bit_generator.lock:
        return method(_address(interface.next_double), interface.state_address, *arguments)


def _address(function: Any) -> int:
    import ctypes

    return ctypes.cast(function, ctypes.c_void_p).value or 0


def bit_generator(rng: Any) -> Any:
    """The bit generator of a Generator, a RandomState or a seed; a new one for None."""
    if isinstance(rng, np.random.RandomState):
        return rng._bit_generator
    if isinstance(rng, np.random.Generator):
        return rng.bit_generator
    if rng is not None:
        try:
            rng = integer("rng", rng, 0, None)
        except TypeError:
            raise TypeError(
                f"rng must be an int, a numpy.random.Generator or a numpy.random.RandomState, got {rng!r}"
            ) from None
    return np.random.default_rng(rng).bit_generator
