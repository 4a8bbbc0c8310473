"""Sampling: drawing text from a model.

What can be asked for is declared in `SamplingOptions`: a new option is a field there, a keyword in `Keywords`, a line
in the docstring of `CharRNN.sample`, and what becomes of it below. Probabilities and draws are the kernel's; what a
text must be like is steering.py's; here prompts become symbols, and what is drawn an answer.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from charrnn.errors import ArgumentTypeError, ArgumentValueError, flag, integer, number
from charrnn.options import check, option, optional
from charrnn.sampling.drawing import Drawing
from charrnn.sampling.steering import Wanted, automaton_of, check_match_fits, checked_pattern, checked_stops
from charrnn.system import check_memory

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # known to every type checker, and not imported

    from charrnn.automaton import Automaton
    from charrnn.kernels.kernels import Sampler
    from charrnn.language import LanguageModel

    #: Texts that are known: themselves, or a file of them.
    Novel = Iterable[str] | Iterable[bytes] | os.PathLike[str]
    Rng = int | np.random.Generator | np.random.RandomState | None  # at run time it would import numpy.random
    #: Of a prompt and of what is drawn after it.
    Text = TypeVar("Text", str, bytes, default=str)

# Number of texts that are drawn side by side.
ROWS = 64

#: How many characters of a text are drawn by default.
LENGTH = 200

#: Texts that `sample` draws at most until one has a length that is asked for, and `sample_many` where few are wanted.
MAX_TRIES = 100_000


#: A length that no text has: a text that is drawn character by character goes on until it is no longer asked for.
ENDLESS = 1 << 62


def length_of(word: str) -> int:
    """Read a length on the command line, where none and -1 are without end."""
    return ENDLESS if word in ("none", "-1") else int(word)


length_of.__name__ = "int"  # argparse says "invalid int value"


@dataclass(frozen=True)
class SamplingOptions:
    """How text is drawn: what `CharRNN.sample` takes beside the prompt and the generator, checked."""

    length: int | None = option(
        None,
        length_of,
        optional(partial(integer, low=0)),
        "number of characters to draw, none for a text without end; of documents the most, and one that is longer is "
        f"drawn anew (default: {LENGTH}, of documents no bound)",
        metavar="N",
    )
    min_length: int = option(
        0,
        int,
        partial(integer, low=0),
        "least characters of documents, one that is shorter being drawn anew; or of a text before a stop",
        metavar="N",
    )
    stop: str | Iterable[str] | None = option(
        None,
        str,
        checked_stops,
        "what ends the text where it appears first; may be given more than once (default: nothing)",
        metavar="TEXT",
        several=True,
    )
    pattern: str | re.Pattern[str] | None = option(
        None,
        str,
        checked_pattern,
        "regular expression that the whole text is to match (default: any text)",
        metavar="REGEX",
        also="match",
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
    min_p: float | None = option(
        None,
        float,
        optional(partial(number, low=0, high=1)),
        "draw only from characters at least P times as probable as the most probable (default: all)",
        metavar="P",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.length is not None and self.min_length > self.length:
            raise ArgumentValueError("min_length", f"must be at most length, {self.length}, got {self.min_length}")


class Keywords(TypedDict, total=False):
    """The options that are keywords, for type checkers."""

    min_length: int
    stop: str | Iterable[str] | None
    pattern: str | re.Pattern[str] | None
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None


def sample(model: LanguageModel, prompt: str | bytes, options: SamplingOptions, rng: Rng) -> Any:
    """See `CharRNN.sample`."""
    drawing, _ = _drawing(model, 1, 1, prompt, options, rng)
    text = next(drawing.texts(MAX_TRIES), None) if _redraws(model, options) else drawing.text(options.length)
    if text is None:
        raise ValueError(
            f"length and min_length must be those of a document, got {options.length} and {options.min_length}: "
            f"none of {MAX_TRIES:,} documents that were drawn had such a length"
        )
    return _returned(text, prompt)


def stream(model: LanguageModel, prompt: str | bytes, options: SamplingOptions, rng: Rng) -> Iterator[Any]:
    """See `CharRNN.stream`."""
    if _redraws(model, options):  # whether a document is too long or too short is known at its end
        text = sample(model, prompt, options, rng)
        return (text[i : i + 1] for i in range(len(text)))
    drawing, automaton = _drawing(model, 1, 1, prompt, options, rng, keeps=False)
    return (_returned(character, prompt) for character in drawing.characters(automaton))


def _redraws(model: LanguageModel, options: SamplingOptions) -> bool:
    """Whether a text of a wrong length is drawn anew: a document for which no pattern tells what may come."""
    bounded = options.length is not None or options.min_length > 0
    return bounded and model.vocabulary.end is not None and options.pattern is None


def sample_many(
    model: LanguageModel,
    n: int,
    prompt: str | bytes,
    options: SamplingOptions,
    rng: Rng,
    unique: bool,
    novel: Novel | None,
    accept: Callable[[Any], Any] | None,
    max_tries: int | None,
) -> Iterator[Any]:
    """The texts of `CharRNN.sample_many`, each as soon as it and those that were begun before it are there."""
    n = integer("n", n, 0)
    tries = 1000 * n + MAX_TRIES if max_tries is None else integer("max_tries", max_tries, 1)
    unique = flag("unique", unique)
    if accept is not None and not callable(accept):
        raise ArgumentTypeError("accept", f"must be callable, got {accept!r}")
    filtered = unique or novel is not None or accept is not None
    length = options.length or 0
    check_memory(n * (sys.getsizeof("") + length), n=n, length=length)
    rows = ROWS if filtered else max(min(ROWS, n), 1)
    drawing, _ = _drawing(model, rows, -1 if filtered else n, prompt, options, rng)
    wanted = Wanted(unique, novel, accept)
    before = prompt if isinstance(prompt, str) else prompt.decode("latin-1")

    def found() -> Iterator[Any]:
        count = 0
        for text in drawing.texts(tries) if n else ():
            returned = _returned(text, prompt)
            if wanted(before + text, returned):
                yield returned
                count += 1
                if count == n:
                    return
        if count < n:
            share = f"{count / max(drawing.num_texts, 1):.3g}"
            warnings.warn(
                f"{count:,} of {n:,} texts were found in {drawing.num_texts:,} tries, {share} a try; "
                "a greater max_tries finds more",
                RuntimeWarning,
                stacklevel=3,
            )

    return found()


def next_probs(model: LanguageModel, prompt: str | bytes) -> dict[str, float]:
    """See `CharRNN.next_probs`."""
    sampler = _sampler(model, 1, SamplingOptions())
    sampler.feed(beginning_of(model, prompt)[:, None])
    weights = sampler.weights()[0].astype(np.float64)
    symbols = [*model.vocabulary.characters] + [""] * (model.vocabulary.end is not None)
    return dict(zip(symbols, (weights / weights.sum()).tolist(), strict=True))


def _drawing(
    model: LanguageModel,
    rows: int,
    n: int,
    prompt: str | bytes,
    options: SamplingOptions,
    rng: Rng,
    keeps: bool = True,
) -> tuple[Drawing, Automaton | None]:
    """n texts, or where n is -1 one after another, that so many rows draw; and what tells them what may come.

    What is drawn is kept until a text is whole, unless the caller `keeps` nothing and takes each character.
    """
    generator, beginning, vocabulary = bit_generator(rng), beginning_of(model, prompt), model.vocabulary
    length = options.length
    name = "length"
    if length is None and vocabulary.end is None:
        length, name = max((LENGTH, "length"), (options.min_length, "min_length"))
    if length is not None and keeps:
        check_memory(length * np.dtype(np.int32).itemsize, **{name: length})
    least = 0 if _redraws(model, options) else options.min_length
    stops = checked_stops("stop", options.stop)
    automaton = automaton_of(vocabulary.characters, options.pattern, stops, least)
    check_match_fits(options.pattern, automaton, length)
    sampler = _sampler(
        model,
        rows,
        options,
        length=-1 if length is None else length,
        min_length=options.min_length - least,
        automaton=automaton,
        in_time=options.pattern is not None,
    )
    sampler.begin(beginning, n)
    return Drawing(sampler, rows, vocabulary, stops, generator), automaton


def _sampler(model: LanguageModel, rows: int, options: SamplingOptions, **settings: Any) -> Sampler:
    return model._sampler(
        rows,
        temperature=options.temperature,
        top_k=0 if options.top_k is None else options.top_k,
        top_p=1.0 if options.top_p is None else options.top_p,
        min_p=0.0 if options.min_p is None else options.min_p,
        **settings,
    )


def beginning_of(model: LanguageModel, prompt: str | bytes) -> np.ndarray:
    """Return the symbols that are read from a zero state before the first one is drawn."""
    indices = model.vocabulary.encode(prompt, "the prompt")
    if model.vocabulary.end is not None:
        indices = np.concatenate([[model.vocabulary.end], indices])
    elif not len(indices) and "\n" in model.vocabulary:
        indices = model.vocabulary.encode("\n")
    return np.ascontiguousarray(indices, np.int32)


def _returned(text: str, prompt: str | bytes) -> Any:
    """Return a text as str or bytes, as the prompt is."""
    return text if isinstance(prompt, str) else text.encode("latin-1")


def bit_generator(rng: Any) -> Any:
    """Return the bit generator of a Generator, a RandomState or a seed; a new one for None."""
    if isinstance(rng, np.random.RandomState):
        return rng._bit_generator
    if isinstance(rng, np.random.Generator):
        return rng.bit_generator
    if rng is not None:
        try:
            rng = integer("rng", rng, 0, None)
        except TypeError:
            raise ArgumentTypeError(
                "rng", f"must be an int, a numpy.random.Generator or a numpy.random.RandomState, got {rng!r}"
            ) from None
    return np.random.default_rng(rng).bit_generator
