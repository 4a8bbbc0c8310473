"""LanguageModel: what a model of characters can do with text, whatever gives its probabilities.

It knows a vocabulary, and that there are engines, which score, and samplers, which draw; where these come from is said
in model.py and mixing.py. Its methods are one line each: sampling/ and scoring/ do the work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np

from charrnn import sampling, scoring
from charrnn.errors import flag
from charrnn.options import shows
from charrnn.sampling import SamplingOptions, search
from charrnn.scoring import Evaluation, ranking

if TYPE_CHECKING:
    import re

    import numpy.typing as npt
    from typing_extensions import Unpack  # known to every type checker, and not imported

    from charrnn.kernels.kernels import Sampler
    from charrnn.model import CharRNN
    from charrnn.sampling import Keywords, Novel, Rng, Text
    from charrnn.text.reading import Data
    from charrnn.text.vocabulary import Vocabulary


class Scorer(Protocol):
    """What scoring needs of an engine."""

    def set_state(self, state: Any) -> None: ...
    def losses(self, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray: ...


class LanguageModel(ABC):
    """A model of characters: it draws text and says how probable text is.

    Attributes
    ----------
    vocabulary : Vocabulary
    """

    vocabulary: Vocabulary

    @abstractmethod
    def _engine(self, seq_length: int, batch_size: int, *, num_threads: int | None = None) -> Scorer:
        """What reads so many steps of so many rows, from a zero state."""

    @abstractmethod
    def _sampler(self, rows: int, **settings: Any) -> Sampler:
        """What draws so many rows, with these settings of the kernel's Sampler."""

    @abstractmethod
    def _components(self) -> list[tuple[float, CharRNN]]:
        """The networks whose probabilities are added up, and their weights, which add up to 1."""

    # Sampling

    @shows(SamplingOptions)
    def sample(
        self,
        prompt: Text = "",  # type: ignore[assignment]
        length: int | None = None,
        *,
        rng: Rng = None,
        **options: Unpack[Keywords],
    ) -> Text:
        """Draw text that follows a prompt.

        Parameters
        ----------
        prompt : str or bytes
            Text that the drawn text follows, of any length. A model of documents begins a document with it. Another
            model takes an empty prompt as the beginning of a line if it knows "\\n", and else begins with a zero state.
            Bytes are read as Latin-1.
        length : int, optional
            Characters to draw, 200 by default. Of documents a bound: one that is longer is drawn anew, never cut. By
            default they have none, and a model that never draws END goes on until Ctrl-C.
        min_length : int
            A document that is shorter is drawn anew; in a text without END no stop can come before so many characters.
        stop : str or several, optional
            The text ends before the first of them that appears in it, which is drawn but not returned.
        pattern : str or re.Pattern, optional
            A regular expression that the whole text matches, as `re.fullmatch` says: a character after which no match
            can be reached any more, within `length`, has probability 0, and so has END where the text does not match. A
            text without END ends where it matches and nothing can follow, or at `length`. All of `re` but
            backreferences, lookbehind, conditions, atomic groups and possessive repetitions.
        temperature : float
            The logits are divided by it: below 1 makes probable characters more probable, above 1 less; 0 always takes
            the most probable one.
        top_k : int, optional
            Draw only from the k most probable characters.
        top_p : float, optional
            Draw only from the fewest most probable characters that together have at least probability top_p (Holtzman
            et al., "The curious case of neural text degeneration", 2020).
        min_p : float, optional
            Draw only from characters that are at least min_p times as probable as the most probable one (Nguyen et
            al., "Turning up the heat: min-p sampling for creative and coherent LLM outputs", 2024).
        rng : int, numpy.random.Generator or numpy.random.RandomState, optional
            A seed or a generator; without one each call draws other text. Each character takes one uniform double from
            the generator, and is the inverse of the cumulative distribution in vocabulary order.

        Returns
        -------
        str
            The text after the prompt, without the prompt. It is bytes if the prompt is bytes.

        Raises
        ------
        ValueError
            A character of the prompt is not in the vocabulary, a number is out of its range, there is no text that is
            as it must be, or no document that ends within `length` was found.

        Examples
        --------
        >>> model = charrnn.train.train("hello world")
        >>> model.sample("hell", 7, temperature=0)
        'o world'
        >>> model.sample("hell", stop="r", temperature=0)
        'o wo'
        >>> model.sample("hell", pattern="[a-z]{3}", temperature=0)
        'orw'
        """
        text: Text = sampling.sample(self, prompt, SamplingOptions(length, **options), rng)
        return text

    @shows(SamplingOptions)
    def stream(
        self,
        prompt: Text = "",  # type: ignore[assignment]
        length: int | None = None,
        *,
        rng: Rng = None,
        **options: Unpack[Keywords],
    ) -> Iterator[Text]:
        """Draw text that follows a prompt, and give each character as soon as it is drawn; see `sample`.

        Examples
        --------
        >>> model = charrnn.train.train("hello world")
        >>> for character in model.stream("hell", 7, temperature=0):
        ...     print(character, end="")
        o world
        """
        return sampling.stream(self, prompt, SamplingOptions(length, **options), rng)

    @shows(SamplingOptions)
    def sample_many(
        self,
        n: int,
        length: int | None = None,
        *,
        prompt: Text = "",  # type: ignore[assignment]
        unique: bool = False,
        novel: Novel | None = None,
        accept: Callable[[Text], Any] | None = None,
        max_tries: int | None = None,
        rng: Rng = None,
        **options: Unpack[Keywords],
    ) -> list[Text]:
        """Draw n texts, many at a time in parallel rows; the other arguments are those of `sample`.

        Each of up to 64 rows draws a text and then begins the next. The generator gives one double to each row that
        draws, in the order of the rows, step after step. The texts are in the order in which they were begun.

        Parameters
        ----------
        n : int
        unique : bool
            No two texts are equal.
        novel : iterable of str, or a path, optional
            No text, with the prompt before it, is one of these, or a line of this file.
        accept : callable, optional
            Only texts for which this is true.
        max_tries : int, optional
            Texts to draw at most, those included that are too long or too short; by default 1,000 n + 100,000. Where
            they are too few, a RuntimeWarning says how many texts were found, and at which rate.

        Returns
        -------
        list of n str, or bytes where the prompt is bytes

        Examples
        --------
        >>> model = charrnn.train.train(["ann", "bob"])
        >>> sorted(set(model.sample_many(20, temperature=0.1, rng=0)))
        ['ann', 'bob']
        >>> sorted(model.sample_many(2, unique=True, min_p=0.5, rng=0))
        ['ann', 'bob']
        """
        wanted = SamplingOptions(length, **options)
        return list(sampling.sample_many(self, n, prompt, wanted, rng, unique, novel, accept, max_tries))

    def next_probs(self, prompt: str | bytes = "") -> dict[str, float]:
        """The probability of each character to be the next one after a prompt.

        Returns
        -------
        dict of str to float
            The characters in vocabulary order. The probability that a document ends here has the empty string.

        Examples
        --------
        >>> probs = charrnn.train.train("hello world").next_probs("hell")
        >>> max(probs, key=probs.get)
        'o'
        """
        return sampling.next_probs(self, prompt)

    def most_probable(
        self,
        n: int,
        prompt: Text = "",  # type: ignore[assignment]
        *,
        length: int | None = None,
        min_length: int = 0,
        pattern: str | re.Pattern[str] | None = None,
        max_memory: int = search.MAX_MEMORY,
    ) -> list[tuple[Text, float]]:
        """Find the n most probable documents that follow a prompt, by best-first search: exactly these.

        Parameters
        ----------
        n : int
        prompt : str or bytes
            What they begin with.
        length, min_length : int
            Only documents of so many characters after the prompt. Of a model without END, texts of exactly `length`
            characters, 200 by default.
        pattern : str or re.Pattern, optional
            Only texts that this matches, see `sample`.
        max_memory : int
            Bytes that the search takes at most. Where they do not suffice, a RuntimeWarning says how many texts were
            found: these are the most probable ones all the same.

        Returns
        -------
        list of (str, float)
            What follows the prompt (bytes where that is bytes), the most probable first, and its log-probability given
            the prompt in nats, that of END included. Fewer than n where there are no more.

        Examples
        --------
        >>> model = charrnn.train.train(["ann", "bob", "ann"])
        >>> [text for text, _ in model.most_probable(2)]
        ['ann', 'bob']
        """
        return search.most_probable(self, n, prompt, length, min_length, pattern, max_memory)

    # Scoring

    def evaluate(
        self,
        data: Data,
        *,
        encoding: str = "utf-8",
        unknown: str = "error",
        weights: Iterable[float] | None = None,
        rows: int = 1,
        progress: bool = False,
    ) -> Evaluation:
        """The mean loss over a text, the state carried from its first character to its last.

        Parameters
        ----------
        data : str, bytes, os.PathLike, or iterable of str
            A text or a file of at least 2 characters, as `charrnn.train.train` takes it. An iterable is a set of texts,
            each read from a zero state. For a model of documents each text is a document, whose first character and END
            are predicted too.
        encoding : str
            Encoding of a file.
        unknown : "error" or "skip"
            Whether characters that are not in the vocabulary are left out; `num_skipped` says how many.
        weights : iterable of float, optional
            How many copies of each document there are, for a model of documents: the mean counts each as often.
        rows : int
            Read one long text in up to so many rows side by side, each of which first reads the 256 characters before
            it for its state alone: many times as fast with 64, and nearly the same, because a state hardly knows what
            lies further back. Documents are read side by side anyway.
        progress : bool
            Show a bar on a terminal, if it takes more than a second.

        Returns
        -------
        Evaluation

        Raises
        ------
        ValueError
            Characters are not in the vocabulary, and `unknown` is "error"; the message names all, and where they are.

        Examples
        --------
        >>> model = charrnn.train.train("hello world")
        >>> model.evaluate("hello world").num_chars
        10
        """
        return scoring.evaluate(self, data, encoding, unknown, weights, rows, progress)

    @overload
    def log_prob(self, text: str | bytes, *, rows: int = 1) -> npt.NDArray[np.float64]: ...  # type: ignore[overload-overlap]
    @overload
    def log_prob(self, text: Iterable[str | bytes], *, rows: int = 1) -> list[npt.NDArray[np.float64]]: ...
    def log_prob(self, text: Any, *, rows: int = 1) -> Any:
        """The log-probability of each character of a text; to compare texts, compare sums of them, as `score` gives.

        Each is that of a character after the first, given those before it.

        Parameters
        ----------
        text : str, bytes, or iterable of str
            An iterable is scored in parallel rows, each text from a zero state.
        rows : int
            Read a single long text in up to so many rows side by side, as in `evaluate`.

        Returns
        -------
        ndarray of float64, or a list of one for each text
            Nats. Length `len(text) - 1`; of a model of documents `len(text) + 1`: the first character and END are
            predicted too.

        Examples
        --------
        >>> model = charrnn.train.train("hello world")
        >>> bool(model.log_prob("hello").sum() > model.log_prob("hollo").sum())
        True
        """
        return scoring.log_prob(self, text, rows)

    @overload
    def score(self, texts: str | bytes, *, per_char: bool = False, unknown: str = "error") -> float: ...  # type: ignore[overload-overlap]
    @overload
    def score(
        self, texts: Iterable[str | bytes], *, per_char: bool = False, unknown: str = "error"
    ) -> npt.NDArray[np.float64]: ...
    def score(self, texts: Any, *, per_char: bool = False, unknown: str = "error") -> Any:
        """The log-probability of each text as a whole: the sum of what `log_prob` gives for its characters.

        Texts are read many at a time, on all cores, and from an iterator some thousand at a time.

        Parameters
        ----------
        texts : str, bytes, or iterable of them
            A list, a generator, a NumPy array, a pandas Series or an Arrow array of strings.
        per_char : bool
            Divide each score by the number of characters that were predicted. Sums are what compares texts; means
            say how well the characters of texts of different lengths are predicted.
        unknown : "error" or "impossible"
            What a character does that the model does not know: an error, which names all of them, or a score of -inf.

        Returns
        -------
        ndarray of float64, (n,), or a float for a single text
            Nats. Of a model of documents the first character and END are predicted too, so that this is the
            probability of the document; of a model of a text the first character is given.

        Raises
        ------
        ValueError
            A character is not in the vocabulary, and `unknown` is "error".

        Examples
        --------
        >>> model = charrnn.train.train(["anna", "hanna", "johanna"])
        >>> anna, odd = model.score(["anna", "naan"])
        >>> bool(anna > odd)
        True
        >>> model.score(["anna!"], unknown="impossible")
        array([-inf])
        """
        return ranking.score(self, texts, per_char, unknown)

    def guess_number(self, texts: Any, samples: int = 10_000, rng: Rng = None, *, with_error: bool = False) -> Any:
        """How many texts are more probable than each of these, estimated from texts that the model draws.

        Parameters
        ----------
        texts : str, bytes, or iterable of them
            As `score` takes them. A text with characters that the model does not know is never guessed: inf.
        samples : int
            Texts to draw. The standard error falls with the square root of their number.
        rng : int, numpy.random.Generator or numpy.random.RandomState, optional
            As in `sample`.
        with_error : bool
            Give the standard error of each number as well.

        Returns
        -------
        ndarray of float64, (n,), or a float for a single text
            The expected number of more probable texts; a text that is more probable than all that were drawn has 0.
            With `with_error` a tuple of it and the standard errors.

        References
        ----------
        Dell'Amico and Filippone, "Monte Carlo strength evaluation: fast and reliable password checking" (2015).

        Examples
        --------
        >>> model = charrnn.train.train(["anna", "hanna", "johanna"])
        >>> usual, odd = model.guess_number(["anna", "naan"], samples=1000, rng=0)
        >>> bool(usual < odd)
        True
        """
        flag("with_error", with_error)
        rank = ranking.Ranking(self, samples, rng)
        numbers, errors = rank.guess_number(ranking.score(self, texts, False, "impossible"))
        return (numbers, errors) if with_error else numbers

    def percentile(self, texts: Any, samples: int = 10_000, rng: Rng = None) -> Any:
        """The share of what the model itself draws that is less probable than each of these texts.

        What is odd for the model is a text that is less probable than nearly all that it draws: whoever calls odd what
        has at most 0.01 here is wrong about one in a hundred of the model's own texts.

        Parameters
        ----------
        texts, samples, rng
            As in `guess_number`.

        Returns
        -------
        ndarray of float64, (n,), or a float for a single text
            From 0 to 1.

        Examples
        --------
        >>> model = charrnn.train.train(["anna", "hanna", "johanna"])
        >>> usual, odd = model.percentile(["anna", "nnnnnnn"], samples=1000, rng=0)
        >>> bool(usual > 0.1 > odd)
        True
        """
        rank = ranking.Ranking(self, samples, rng)
        return rank.percentile(ranking.score(self, texts, False, "impossible"))
