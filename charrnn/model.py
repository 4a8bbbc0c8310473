"""CharRNN: a trained model, to sample, score, save and take apart.

Shapes: T time, B batch, V symbols, H hidden units, L layers; G gates, of which "rnn" has 1, "gru" 3, "lstm" 4.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from charrnn import files, kernels
from charrnn.errors import as_array, choice, integer, number
from charrnn.system import check_memory, threads_worth
from charrnn.text import corpus
from charrnn.text.batching import streams
from charrnn.text.decoding import code_point_blocks, gathered
from charrnn.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Self, TypeVar  # known to every type checker, and not imported

    from charrnn.history import History
    from charrnn.kernels.kernels import Engine, Network, Sampler

    Rng = int | np.random.Generator | np.random.RandomState | None  # at run time it would import numpy.random
    #: Of a prompt and of what is drawn after it.
    Text = TypeVar("Text", str, bytes, default=str)

#: With the gates of each.
CELLS = {"rnn": 1, "gru": 3, "lstm": 4}
DTYPES = ("float32", "float64")

# Rows that are sampled or scored side by side, and steps of them that are scored in one call.
ROWS = 64
STEPS = 128

# Symbols of texts that are drawn at once.
SYMBOLS = 1 << 20

# Characters that a row of the validation part reads before those that count.
WARM_UP = 256


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts a text.

    Attributes
    ----------
    loss : float
        Mean negative log-probability of a character, in nats.
    num_chars : int
        Characters predicted (of documents: and ENDs).

    Examples
    --------
    >>> charrnn.Evaluation(loss=math.log(2), num_chars=10)
    Evaluation(loss=0.6931, bits_per_char=1.0000, perplexity=2.0000, num_chars=10)
    """

    loss: float
    num_chars: int

    @property
    def bits_per_char(self) -> float:
        """The loss in bits: loss / ln 2."""
        return self.loss / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(loss): from how many equally probable characters the model seems to choose."""
        return math.exp(self.loss) if self.loss < 709 else math.inf

    def __repr__(self) -> str:
        return (
            f"Evaluation(loss={self.loss:.4f}, bits_per_char={self.bits_per_char:.4f}, "
            f"perplexity={self.perplexity:.4f}, num_chars={self.num_chars})"
        )


class CharRNN:
    """A character-level recurrent language model: layers of recurrent cells and a softmax over the next character.

    Models come from `charrnn.train.train`, `charrnn.load` and `CharRNN.from_state_dict`; the constructor makes an
    untrained one.

    Parameters
    ----------
    vocabulary : Vocabulary or str
        The symbols; a str is the characters in index order.
    cell : "rnn", "gru" or "lstm"
        The tanh RNN, gated recurrent unit or long short-term memory of PyTorch's equations.
    hidden_size : int
        Hidden units of a layer, H.
    num_layers : int
        Layers, L.
    dtype : "float32" or "float64"
    seed : int
        Of the initial parameters: uniform in +-1/sqrt(H), as PyTorch's, but for `rnn.weight_ih_l0`. Its input is one
        symbol of V, not H units of about 1, and what it adds to a unit's input is to matter beside them: it is uniform
        in +-H/32 of a tanh RNN, kept between 1 and 8, and in +-H/200 of a GRU or an LSTM, kept between 1 and 2.5.

    Attributes
    ----------
    vocabulary : Vocabulary
    cell : str
    hidden_size, num_layers : int
    dtype : numpy.dtype
    history : History or None
        How the training went, if this model was trained in this process.

    Examples
    --------
    >>> charrnn.CharRNN("helo wrd", cell="gru", hidden_size=64)
    CharRNN(cell='gru', vocab_size=8, hidden_size=64, num_layers=1, dtype='float32', num_parameters=14728)
    """

    def __init__(
        self,
        vocabulary: Vocabulary | str,
        *,
        cell: str = "rnn",
        hidden_size: int = 128,
        num_layers: int = 1,
        dtype: npt.DTypeLike = "float32",
        seed: int = 0,
    ) -> None:
        self._lay_out(vocabulary, cell, hidden_size, num_layers, dtype)
        self._allocate()
        rng = np.random.default_rng(integer("seed", seed, 0, None))
        H = self.hidden_size
        input_bound = min(max(H / 32, 1), 8) if self.cell == "rnn" else min(max(H / 200, 1), 2.5)
        for name, parameter in self.state_dict().items():
            bound = input_bound if name == "rnn.weight_ih_l0" else 1 / math.sqrt(H)
            parameter[...] = rng.uniform(-1, 1, parameter.shape) * bound

    def _lay_out(
        self, vocabulary: Vocabulary | str, cell: str, hidden_size: int, num_layers: int, dtype: npt.DTypeLike
    ) -> None:
        """What there is to know before memory is taken."""
        self.vocabulary = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary(vocabulary)
        self.cell = choice("cell", cell, CELLS)
        self.hidden_size = integer("hidden_size", hidden_size, 1)
        self.num_layers = integer("num_layers", num_layers, 1)
        self.dtype = np.dtype(dtype_name(dtype))
        self.history: History | None = None
        self._kernels = kernels.module(self.dtype)
        self._network: Network = self._kernels.Network(
            len(self.vocabulary), self.hidden_size, self.num_layers, self.cell
        )

    def _allocate(self) -> None:
        self._arena = self._kernels.aligned_zeros(self._network.arena_size)

    def __repr__(self) -> str:
        return (
            f"CharRNN(cell={self.cell!r}, vocab_size={len(self.vocabulary)}, hidden_size={self.hidden_size}, "
            f"num_layers={self.num_layers}, dtype={self.dtype.name!r}, num_parameters={self.num_parameters})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: parameter.copy() for name, parameter in self.state_dict().items()}
        return CharRNN.from_state_dict, (self.vocabulary, state), {"history": self.history}

    @property
    def num_parameters(self) -> int:
        """How many numbers training adjusts."""
        return sum(parameter.size for parameter in self.state_dict().values())

    # Parameters and files

    def state_dict(self) -> dict[str, np.ndarray]:
        """The parameters under PyTorch's names and in its shapes.

        The arrays share the model's memory: to change one changes the model, as in PyTorch. Copy what is to stay.

        Returns
        -------
        dict of str to ndarray
            `rnn.weight_ih_l0` (G H, V), `rnn.weight_hh_l0` (G H, H), `rnn.bias_ih_l0` (G H,), `rnn.bias_hh_l0` (G H,),
            the same for each further layer with `weight_ih` (G H, H), `head.weight` (V, H), `head.bias` (V,). With
            these, `torch.nn.RNN(V, H, L)`, `GRU` or `LSTM` named `rnn` and `torch.nn.Linear(H, V)` named `head`
            compute the same.

        Examples
        --------
        >>> charrnn.CharRNN("abc", hidden_size=5).state_dict()["head.weight"].shape
        (3, 5)
        """
        return self._network.views(self._arena)

    @classmethod
    def from_state_dict(cls, vocabulary: Vocabulary | str, state_dict: Mapping[str, Any]) -> Self:
        """The model with these parameters; cell and sizes are read off their shapes, the precision off their dtype.

        Parameters
        ----------
        vocabulary : Vocabulary or str
            The symbols; a str is the characters in index order, and where the arrays have one symbol more, that is END.
        state_dict : mapping of str to array
            As `state_dict` gives it; PyTorch tensors will do. Copied.

        Raises
        ------
        ValueError
            A name is missing or unknown, or a shape does not fit the others; the message names it.

        Examples
        --------
        >>> model = charrnn.CharRNN("abc", hidden_size=5)
        >>> charrnn.CharRNN.from_state_dict("abc", model.state_dict())
        CharRNN(cell='rnn', vocab_size=3, hidden_size=5, num_layers=1, dtype='float32', num_parameters=68)
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict must be a mapping of names to arrays, got {type(state_dict).__name__}")
        arrays = {name: np.asarray(array) for name, array in state_dict.items()}
        for name in ("head.weight", "rnn.weight_hh_l0"):
            if name not in arrays:
                raise ValueError(f"state_dict must have {name}, got {', '.join(arrays) or 'nothing'}")
            if arrays[name].ndim != 2:
                raise ValueError(f"{name} must have 2 dimensions, got shape {arrays[name].shape}")
        vocab_size, hidden_size = arrays["head.weight"].shape
        if not isinstance(vocabulary, Vocabulary):
            characters = "".join(vocabulary)
            vocabulary = Vocabulary(characters, end=vocab_size == len(characters) + 1)
        if vocab_size != len(vocabulary):
            raise ValueError(f"head.weight must have {len(vocabulary)} rows, one for each symbol, got {vocab_size}")
        rows = arrays["rnn.weight_hh_l0"].shape[0]
        cell = next((cell for cell, gates in CELLS.items() if rows == gates * hidden_size), None)
        if cell is None:
            allowed = ", ".join(f"{gates * hidden_size} ({cell})" for cell, gates in CELLS.items())
            raise ValueError(f"rnn.weight_hh_l0 must have {allowed} rows for {hidden_size} hidden units, got {rows}")
        model = cls.__new__(cls)
        num_layers = sum(name.startswith("rnn.weight_hh_l") for name in arrays)
        if 4 * num_layers + 2 > 2 * len(arrays):  # far too few, whose names alone might take much memory
            raise ValueError(f"state_dict must have 4 arrays for each of {num_layers} layers, got {len(arrays)} in all")
        model._lay_out(vocabulary, cell, hidden_size, num_layers, _common_dtype(arrays))
        shapes = {name: view.shape for name, view in model._network.views(None).items()}
        for name in (*shapes, *arrays):
            if name not in arrays or name not in shapes:
                raise ValueError(f"state_dict must have exactly {', '.join(shapes)}, got {', '.join(arrays)}")
            if arrays[name].shape != shapes[name]:
                raise ValueError(f"{name} must have shape {shapes[name]}, got {arrays[name].shape}")
        model._allocate()
        for name, parameter in model.state_dict().items():
            parameter[...] = arrays[name]
        return model

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a safetensors file, whole or not at all.

        `safetensors.torch.load_file(path)` is a state dict for PyTorch (see `state_dict`).

        Examples
        --------
        >>> charrnn.CharRNN("abc").save(path)
        """
        files.save(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> CharRNN:
        """Read a model file: the same as `charrnn.load`.

        Examples
        --------
        >>> charrnn.CharRNN("abc").save(path)
        >>> charrnn.CharRNN.load(path).vocabulary
        <Vocabulary of 3 characters 'abc'>
        """
        return files.load(path, CharRNN)

    # Sampling

    def sample(
        self,
        prompt: Text = "",  # type: ignore[assignment]
        length: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng: Rng = None,
    ) -> Text:
        """Draw text that follows a prompt.

        Parameters
        ----------
        prompt : str or bytes
            What comes before, of any length. A model of documents begins a document with it. Otherwise an empty prompt
            is the beginning of a line where the model knows "\\n", else a zero state. Bytes are read as Latin-1.
        length : int
            Characters to draw. A model of documents may stop before, at END.
        temperature : float
            Divides the logits: below 1 the probable becomes more probable; 0 takes the most probable, always.
        top_k : int, optional
            Draw from the k most probable characters only.
        top_p : float, optional
            Draw from the fewest most probable characters whose probabilities add up to at least top_p only
            (Holtzman et al., "The curious case of neural text degeneration", 2020).
        rng : int, numpy.random.Generator or numpy.random.RandomState, optional
            A seed or a generator; by default each call draws anew. Each character takes one uniform double of it, and
            is the inverse of the cumulative distribution in vocabulary order.

        Returns
        -------
        str
            What follows the prompt, the prompt not included; bytes where the prompt is bytes.

        Raises
        ------
        ValueError
            A character of the prompt is not in the vocabulary, or a number is out of its range.

        Examples
        --------
        >>> model = charrnn.train.train("hello world")
        >>> model.sample("hell", 7, temperature=0)
        'o world'
        """
        length = integer("length", length, 0)
        check_memory(length * np.dtype(np.int32).itemsize, length=length)
        sampler = self._sampler(1, temperature, top_k, top_p)
        sampler.feed(self._beginning(prompt)[:, None])
        symbols = np.empty(length, np.int32)
        drawn = _draw(sampler.draw, _bit_generator(rng), symbols)
        text: Text = self._text(symbols[:drawn], isinstance(prompt, bytes))
        return text

    def stream(
        self,
        prompt: Text = "",  # type: ignore[assignment]
        length: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng: Rng = None,
    ) -> Iterator[Text]:
        """The same as `sample`, character by character as they are drawn.

        Examples
        --------
        >>> model = charrnn.train.train("hello world")
        >>> for character in model.stream("hell", 7, temperature=0):
        ...     print(character, end="")
        o world
        """
        length = integer("length", length, 0)
        sampler = self._sampler(1, temperature, top_k, top_p)
        sampler.feed(self._beginning(prompt)[:, None])
        return self._stream(sampler, length, _bit_generator(rng), isinstance(prompt, bytes))

    def _stream(self, sampler: Any, length: int, bit_generator: Any, as_bytes: bool) -> Iterator[Any]:
        symbols = np.empty(1, np.int32)
        for _ in range(length):
            _draw(sampler.draw, bit_generator, symbols)
            if symbols[0] == self.vocabulary.end:
                return
            character = self.vocabulary.characters[symbols[0]]
            yield character.encode("latin-1") if as_bytes else character

    def sample_many(
        self,
        n: int,
        length: int = 200,
        *,
        prompt: Text = "",  # type: ignore[assignment]
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng: Rng = None,
    ) -> list[Text]:
        """Draw n texts, many at a time in parallel rows; the arguments are those of `sample`.

        Each of up to 64 rows draws a text and then begins the next. The generator gives one double to each row that
        draws, in the order of the rows, step after step.

        Returns
        -------
        list of n str, or bytes where the prompt is bytes

        Examples
        --------
        >>> model = charrnn.train.train(["ann", "bob"])
        >>> sorted(set(model.sample_many(20, temperature=0.1, rng=0)))
        ['ann', 'bob']
        """
        n = integer("n", n, 0)
        length = integer("length", length, 0)
        bit_generator = _bit_generator(rng)
        beginning = self._beginning(prompt)
        sampler = self._sampler(max(min(ROWS, n), 1), temperature, top_k, top_p)
        texts: list[Text] = []
        # At most so many at once that they take some megabytes.
        at_once = min(n, max(SYMBOLS // max(length, 1), ROWS))
        check_memory(n * sys.getsizeof("") + at_once * length * np.dtype(np.int32).itemsize, n=n, length=length)
        while len(texts) < n:
            symbols = np.empty((min(n - len(texts), at_once), length), np.int32)
            lengths = np.zeros(len(symbols), np.intp)
            _draw(sampler.draw_texts, bit_generator, beginning, symbols, lengths)
            as_bytes = isinstance(prompt, bytes)
            texts += [self._text(row[:drawn], as_bytes) for row, drawn in zip(symbols, lengths, strict=True)]
        return texts

    def _text(self, drawn: np.ndarray, as_bytes: bool) -> Any:
        """The characters of drawn symbols, among which END has none."""
        if self.vocabulary.end is not None:
            drawn = drawn[drawn != self.vocabulary.end]
        text = self.vocabulary.decode(drawn)
        return text.encode("latin-1") if as_bytes else text

    def next_probs(self, prompt: str | bytes = "") -> dict[str, float]:
        """The probability of each character to be the next one after a prompt.

        Returns
        -------
        dict of str to float
            In vocabulary order; END, where the model has it, under the empty string.

        Examples
        --------
        >>> probs = charrnn.train.train("hello world").next_probs("hell")
        >>> max(probs, key=probs.get)
        'o'
        """
        sampler = self._sampler(1)
        sampler.feed(self._beginning(prompt)[:, None])
        weights = sampler.weights()[0].astype(np.float64)
        symbols = [*self.vocabulary.characters] + [""] * (self.vocabulary.end is not None)
        return dict(zip(symbols, (weights / weights.sum()).tolist(), strict=True))

    def _sampler(
        self, rows: int, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
    ) -> Sampler:
        sampler: Sampler = self._kernels.Sampler(
            self._network,
            self._arena,
            rows,
            temperature=number("temperature", temperature, 0),
            top_k=0 if top_k is None else integer("top_k", top_k, 1),
            top_p=1.0 if top_p is None else number("top_p", top_p, 0, 1, above=True),
            end=-1 if self.vocabulary.end is None else self.vocabulary.end,
        )
        return sampler

    def _beginning(self, prompt: str | bytes) -> np.ndarray:
        """The symbols to read from a zero state before those to draw."""
        indices = self.vocabulary.encode(prompt, "the prompt")
        if self.vocabulary.end is not None:
            indices = np.concatenate([[self.vocabulary.end], indices])
        elif not len(indices) and "\n" in self.vocabulary:
            indices = self.vocabulary.encode("\n")
        return np.ascontiguousarray(indices, np.int32)

    # Scoring

    def evaluate(self, data: corpus.Data, *, encoding: str = "utf-8") -> Evaluation:
        """The mean loss over a text, the state carried from its first character to its last.

        Parameters
        ----------
        data : str, bytes, os.PathLike, or iterable of str
            A text or a file, as `charrnn.train.train` takes it, at least 2 characters. An iterable is a set of texts,
            each from a zero state. For a model of documents each text is a document, whose first character and END
            are predicted too.
        encoding : str
            Of a file.

        Returns
        -------
        Evaluation

        Raises
        ------
        ValueError
            A character is not in the vocabulary; the message says which and where.

        Examples
        --------
        >>> model = charrnn.train.train("hello world")
        >>> model.evaluate("hello world").num_chars
        10
        """
        total, num_chars = 0.0, 0
        for _, _, losses in self._losses(*self._rows(data, encoding)):
            total += float(losses.sum())
            num_chars += losses.size
        if num_chars == 0:
            raise ValueError("data must have at least 2 characters, for the first one is not predicted")
        return Evaluation(total / num_chars, num_chars)

    @overload
    def log_prob(self, text: str | bytes) -> npt.NDArray[np.float64]: ...  # type: ignore[overload-overlap]
    @overload
    def log_prob(self, text: Iterable[str | bytes]) -> list[npt.NDArray[np.float64]]: ...
    def log_prob(self, text: Any) -> Any:
        """The log-probability of each character of a text after the first, given those before it.

        Parameters
        ----------
        text : str, bytes, or iterable of str
            An iterable is scored in parallel rows, each text from a zero state.

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
        single = isinstance(text, (str, bytes, bytearray))
        texts = [text] if single else self._listed("text", text)
        stream, rows = self._texts(texts)
        scores = [np.empty(max(stop - start, 0)) for start, stop in rows]
        for row, at, losses in self._losses(stream, rows):
            scores[row][at : at + losses.size] = -losses
        return scores[0] if single else scores

    def _rows(self, data: Any, encoding: str) -> tuple[corpus.Corpus, list[tuple[int, int]]]:
        """A stream of symbols and the ranges of it whose symbols are read, each range from a zero state."""
        if self.vocabulary.end is None and not isinstance(data, (str, bytes, bytearray, memoryview, os.PathLike)):
            return self._texts(self._listed("data", data))
        stream = corpus.read(data, encoding=encoding, vocabulary=self.vocabulary)
        if self.vocabulary.end is None:
            return stream, [(0, len(stream) - 1)]
        return stream, self._document_rows(stream)

    def _listed(self, name: str, texts: Any) -> list[Any]:
        if not isinstance(texts, Iterable):
            raise TypeError(f"{name} must be a text or an iterable of texts, got {type(texts).__name__}")
        return list(texts)

    def _document_rows(self, stream: corpus.Corpus) -> list[tuple[int, int]]:
        """Rows of whole documents: the state before an END is zero anyhow, so that any END can begin a row."""
        starts, _ = streams(stream, min(ROWS, stream.num_documents))
        bounds = [*np.unique(starts).tolist(), len(stream) - 1]
        return list(zip(bounds[:-1], bounds[1:], strict=True))

    def _validation_loss(self, stream: corpus.Corpus, num_threads: int) -> float:
        """Nearly what `evaluate` gives, but of parallel rows that first read WARM_UP characters for the state alone."""
        warm_up = 0
        if self.vocabulary.end is None:
            warm_up = WARM_UP
            count = len(stream) - 1
            parts = max(min(ROWS, count // (4 * WARM_UP)), 1)
            rows = [(max(count * i // parts - warm_up, 0), count * (i + 1) // parts) for i in range(parts)]
        else:
            rows = self._document_rows(stream)
        total, num_chars = 0.0, 0
        for row, at, losses in self._losses(stream, rows, num_threads):
            counted = losses[max(warm_up - at, 0) :] if rows[row][0] > 0 else losses
            total += float(counted.sum())
            num_chars += counted.size
        return total / num_chars

    def _texts(self, texts: list[Any]) -> tuple[corpus.Corpus, list[tuple[int, int]]]:
        """The same, of texts in memory: a row each."""
        for i, text in enumerate(texts):
            if not isinstance(text, (str, bytes, bytearray)):
                got = f"{type(text).__name__} at position {i}"
                raise TypeError(f"text must be str, bytes or an iterable of them, got {got}")
        bounds = np.cumsum([0, *map(len, texts)])

        def place(position: int) -> str:
            i = int(np.searchsorted(bounds, position, "right")) - 1
            return f"position {position - bounds[i]} of {f'text {i}' if len(texts) > 1 else 'the text'}"

        joined = "".join(text if isinstance(text, str) else text.decode("latin-1") for text in texts)
        blocks = self.vocabulary.encode_blocks(code_point_blocks(joined), place)
        symbols = gathered(blocks, self.vocabulary.dtype)
        starts, stops = bounds[:-1], bounds[1:] - 1
        if self.vocabulary.end is not None:
            symbols = np.insert(symbols, bounds, self.vocabulary.end)
            starts, stops = starts + np.arange(len(texts)), stops + np.arange(len(texts)) + 2
        return corpus.Corpus(self.vocabulary, symbols), list(zip(starts.tolist(), stops.tolist(), strict=True))

    def _losses(
        self, stream: corpus.Corpus, rows: list[tuple[int, int]], num_threads: int | None = None
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """(row, place in the row, losses from there on), in nats, of every symbol of the rows but their first."""
        bounds = np.array(rows, np.int64).reshape(-1, 2)
        lengths = bounds[:, 1] - bounds[:, 0]
        order = np.argsort(-lengths, kind="stable")  # the longest first
        lengths = lengths[order]
        first, stop = 0, int(np.count_nonzero(lengths > 0))
        while first < stop:
            # Short rows many at a time; but none of less than half the length, which would wait for the others.
            length = int(lengths[first])
            last = min(first + max(ROWS, ROWS * STEPS // length), int(np.count_nonzero(2 * lengths >= length)))
            batch, first = order[first:last], last
            starts, stops = bounds[batch].T
            engine = self._engine(min(length, STEPS * ROWS // len(batch)), len(batch), num_threads=num_threads)
            for at in range(0, length, engine.seq_length):
                steps = np.arange(min(engine.seq_length, length - at) + 1)
                # A row that has ended goes on with its last symbol, and what that gives is left out.
                symbols = stream.take(np.minimum(starts + at + steps[:, None], stops)).astype(np.int32)
                losses = engine.losses(symbols[:-1], symbols[1:])
                counts = np.minimum(stops - starts - at, len(losses)).tolist()
                for row, count, column in zip(batch.tolist(), counts, losses.T, strict=True):
                    if count > 0:
                        yield row, at, column[:count]

    # Hidden units

    def activations(self, text: str | bytes) -> np.ndarray:
        """The hidden units after each character of a text, which is read from a zero state, or as a document.

        Parameters
        ----------
        text : str or bytes
            Of any length. Bytes are read as Latin-1.

        Returns
        -------
        ndarray, (len(text), L * H)
            Of the model's dtype; the units of layer 0 first. Unit j of layer l is column `l * hidden_size + j`.

        Raises
        ------
        ValueError
            A character is not in the vocabulary; the message says which and where.

        Examples
        --------
        >>> model = charrnn.CharRNN("abc", hidden_size=5, num_layers=2)
        >>> model.activations("cab").shape
        (3, 10)
        """
        end = [] if self.vocabulary.end is None else [self.vocabulary.end]
        symbols = np.concatenate([end, self.vocabulary.encode(text, "the text")]).astype(np.int32)
        return self._hidden(symbols, [state for _, state in self._blocks(symbols)])[len(end) :]

    def _blocks(self, symbols: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(logits (T, V), state before the first step) of each block of about sqrt(n) of these n symbols."""
        length, state = _block_length(symbols), None
        for at in range(0, len(symbols), length):
            logits, after = self.forward(symbols[at : at + length, None], state)
            yield logits[:, 0], np.zeros_like(after) if state is None else state
            state = after

    def _hidden(self, symbols: np.ndarray, states: list[np.ndarray]) -> np.ndarray:
        """h of all layers (n, L H) after each symbol, of the states before the blocks.

        `forward` gives the state after its last step only. All blocks are therefore read once more, side by side, a
        step a call: that is sqrt(n) calls. A state may have more parts than h, and then h is the first.
        """
        length, (L, H) = _block_length(symbols), (self.num_layers, self.hidden_size)
        if not states:
            return np.empty((0, L * H), self.dtype)
        num_bytes = len(symbols) * L * H * self.dtype.itemsize
        check_memory(num_bytes, num_chars=len(symbols), num_layers=L, hidden_size=H)
        inputs = np.zeros((len(states), length), np.int32)
        inputs.flat[: len(symbols)] = symbols
        hidden = np.empty((len(states), length, L, H), self.dtype)
        state = np.concatenate(states, axis=-2)
        for t in range(length):
            _, state = self.forward(inputs[:, t][None], state)
            hidden[:, t] = np.moveaxis(state.reshape(-1, L, len(states), H)[0], 0, 1)
        return hidden.reshape(-1, L * H)[: len(symbols)]

    # Loops of one's own

    def forward(self, inputs: npt.ArrayLike, state: npt.ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Logits of the symbol after each input.

        Parameters
        ----------
        inputs : array of int, (T, B)
            Indices of symbols. Where one is END, the state before it is zero.
        state : array, (L, B, H), optional
            The hidden state before the first step; zero by default. Of "lstm" (2, L, B, H): its h, then its c.

        Returns
        -------
        logits : ndarray, (T, B, V)
        state : ndarray, (L, B, H) or (2, L, B, H)
            The hidden state after the last step.

        Examples
        --------
        >>> model = charrnn.CharRNN("abc", hidden_size=5)
        >>> logits, state = model.forward([[0], [1]])
        >>> logits.shape, state.shape
        ((2, 1, 3), (1, 1, 5))
        """
        inputs = self._symbols("inputs", inputs)
        engine = self._engine(*inputs.shape)
        engine.set_state(self._state(state, inputs.shape[1]))
        logits = engine.logits(inputs)
        return logits, engine.get_state()

    def loss_and_grad(
        self, inputs: npt.ArrayLike, targets: npt.ArrayLike, state: npt.ArrayLike | None = None
    ) -> tuple[float, dict[str, np.ndarray], np.ndarray]:
        """The mean loss and its exact gradients, by backpropagation through time over the T steps.

        Parameters
        ----------
        inputs, targets : array of int, (T, B)
            Indices of symbols; targets are what follows the inputs.
        state : array, (L, B, H) or (2, L, B, H), optional
            The hidden state before the first step, see `forward`; zero by default. No gradient flows into it.

        Returns
        -------
        loss : float
            Nats per character.
        grads : dict of str to ndarray
            Under the names and in the shapes of `state_dict`.
        state : ndarray, (L, B, H) or (2, L, B, H)
            The hidden state after the last step.

        References
        ----------
        Werbos, "Backpropagation through time: what it does and how to do it" (1990).

        Examples
        --------
        A training loop of one's own, with plain gradient descent:

        >>> model = charrnn.CharRNN("helo", hidden_size=16)
        >>> text = model.vocabulary.encode("hello")
        >>> for _ in range(200):
        ...     loss, grads, _ = model.loss_and_grad(text[:-1, None], text[1:, None])
        ...     for name, parameter in model.state_dict().items():
        ...         parameter -= 0.5 * grads[name]
        >>> loss < 0.1
        True
        """
        inputs = self._symbols("inputs", inputs)
        targets = self._symbols("targets", targets)
        if targets.shape != inputs.shape:
            raise ValueError(f"targets must have the shape of inputs, {inputs.shape}, got {targets.shape}")
        gradients = self._kernels.aligned_zeros(self._network.arena_size)
        engine = self._engine(*inputs.shape, gradients=gradients)
        engine.set_state(self._state(state, inputs.shape[1]))
        engine.losses(inputs, targets)
        return engine.mean_loss(), self._network.views(gradients), engine.get_state()

    def _engine(
        self, seq_length: int, batch_size: int, *, gradients: Any = None, num_threads: int | None = None
    ) -> Engine:
        operations = (2 if gradients is None else 6) * seq_length * batch_size * self._arena.size
        engine: Engine = self._kernels.Engine(
            self._network,
            self._arena,
            seq_length,
            batch_size,
            end=-1 if self.vocabulary.end is None else self.vocabulary.end,
            gradients=gradients,
            # Each call starts its threads anew.
            num_threads=threads_worth(num_threads, operations / 5),
        )
        return engine

    def _symbols(self, name: str, symbols: Any) -> np.ndarray:
        symbols = as_array(name, symbols)
        if symbols.dtype.kind not in "iu":
            raise TypeError(f"{name} must be an array of integers, got dtype {symbols.dtype}")
        if symbols.ndim != 2 or 0 in symbols.shape:
            raise ValueError(f"{name} must have shape (T, B) with T and B at least 1, got {symbols.shape}")
        if symbols.min() < 0 or symbols.max() >= len(self.vocabulary):
            wrong = symbols[(symbols < 0) | (symbols >= len(self.vocabulary))][0]
            raise ValueError(f"{name} must be from 0 to {len(self.vocabulary) - 1}, got {wrong}")
        return np.ascontiguousarray(symbols, np.int32)

    def _state(self, state: Any, batch_size: int) -> np.ndarray | None:
        if state is None:
            return None
        array = as_array("state", state)
        shape = self._network.state_shape(batch_size)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"state must be an array of numbers, got dtype {array.dtype}")
        if array.shape != shape:
            axes = "(L, B, H)" if len(shape) == 3 else "(2, L, B, H)"
            raise ValueError(f"state must have shape {axes} = {shape}, got {array.shape}")
        return array


def load(path: str | os.PathLike[str]) -> CharRNN:
    """Read the model that `CharRNN.save` wrote.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    CharRNN

    Raises
    ------
    ModelFileError
        The file is no charrnn model, or it is damaged; the message says what is wrong with it.
    OSError
        The file cannot be read.

    Notes
    -----
    No file, whoever made it, does anything but become a model or raise this error: nothing in it is executed, and its
    numbers are held against its length before memory is taken, some three times that length. While it is read the file
    must not be shortened.

    Examples
    --------
    >>> import charrnn.train
    >>> charrnn.train.train("hello world").save(path)
    >>> charrnn.load(path).sample("h", 10, temperature=0)
    'ello world'
    """
    return files.load(path, CharRNN)


def _block_length(symbols: np.ndarray) -> int:
    return math.isqrt(len(symbols)) + 1


def _draw(method: Any, bit_generator: Any, *arguments: Any) -> Any:
    """A method of a sampler that takes doubles from this generator."""
    interface = bit_generator.ctypes
    with bit_generator.lock:
        return method(_address(interface.next_double), interface.state_address, *arguments)


def _address(function: Any) -> int:
    import ctypes

    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _bit_generator(rng: Any) -> Any:
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


def dtype_name(dtype: Any) -> str:
    """The name of one of DTYPES, however it is given."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = dtype
    return choice("dtype", name, DTYPES)


def _common_dtype(arrays: Mapping[str, np.ndarray]) -> str:
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise ValueError(f"{name} must be an array of floating-point numbers, got dtype {array.dtype}")
    return "float64" if all(array.dtype == np.float64 for array in arrays.values()) else "float32"
