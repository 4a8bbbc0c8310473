"""CharRNN: a trained model with its parameters, its file, its hidden units and its gradients.

How it draws and scores text is said in language.py, for all kinds of models.

Shapes: T time, B batch, V symbols, H hidden units, L layers; G gates, of which "rnn" has 1, "gru" 3, "lstm" 4.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn import files, hidden, kernels
from charrnn.errors import ArgumentTypeError, ArgumentValueError, as_array, choice, integer
from charrnn.language import LanguageModel
from charrnn.parameters import CELLS, as_arrays, check_shapes, dtype_name, extended_arrays, initialize, network_of
from charrnn.scoring import Evaluation
from charrnn.system import threads_worth
from charrnn.text.documents import Cut
from charrnn.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Self  # known to every type checker, and not imported

    from charrnn.history import History
    from charrnn.kernels.kernels import Engine, Network, Sampler

__all__ = ["CharRNN", "Evaluation", "load"]


class CharRNN(LanguageModel):
    """A character-level recurrent language model: layers of recurrent cells and a softmax over the next character.

    Models come from `charrnn.train.train`, `charrnn.load` and `CharRNN.from_state_dict`; the constructor makes an
    untrained one.

    Parameters
    ----------
    vocabulary : Vocabulary or str
        The symbols. A str is the characters in index order.
    cell : "rnn", "gru" or "lstm"
        The tanh RNN, gated recurrent unit or long short-term memory of PyTorch's equations.
    hidden_size : int
        Number of hidden units in each layer, H.
    num_layers : int
        Number of layers, L.
    dtype : "float32" or "float64"
        Precision of all numbers.
    seed : int
        Random seed of the initial parameters. They are uniform in +-1/sqrt(H), as PyTorch's, except
        `rnn.weight_ih_l0`: its input is one symbol of V instead of H units of about 1, and would hardly matter beside
        them. It is uniform in +-H/32 for a tanh RNN, bounded by 1 and 8, and in +-H/200 for a GRU or an LSTM, bounded
        by 1 and 2.5.

    Attributes
    ----------
    vocabulary : Vocabulary
    cell : str
    hidden_size, num_layers : int
    dtype : numpy.dtype
    history : History or None
        How the training went, and what the model was made of; None for one that was not trained here.
    cut : Cut or None
        How the files that it was trained on were cut into documents; None for a text.

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
        initialize(self.state_dict(), self.cell, self.hidden_size, integer("seed", seed, 0, None))

    def _lay_out(
        self, vocabulary: Vocabulary | str, cell: str, hidden_size: int, num_layers: int, dtype: npt.DTypeLike
    ) -> None:
        """Set all attributes that need no memory for the parameters."""
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
        laid_out = {"vocabulary", "cell", "hidden_size", "num_layers", "dtype", "_kernels", "_network", "_arena"}
        others = {name: value for name, value in vars(self).items() if name not in laid_out}
        return type(self).from_state_dict, (self.vocabulary, state), others

    @property
    def cut(self) -> Cut | None:
        """How files are cut into documents for this model: as those that it was trained on, by default into lines."""
        if self.vocabulary.end is None:
            return None
        origin = None if self.history is None else self.history.origin
        return Cut(**(origin.cut or {})) if origin is not None else Cut()

    @property
    def num_parameters(self) -> int:
        """How many numbers training adjusts."""
        return sum(parameter.size for parameter in self.state_dict().values())

    # Parameters and files

    def state_dict(self) -> dict[str, np.ndarray]:
        """The parameters under PyTorch's names and in its shapes.

        The arrays share the model's memory, as in PyTorch: changing one changes the model. Copy arrays that must not
        change with it.

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
            The symbols. A str is the characters in index order; if the arrays have one symbol more, that one is END.
        state_dict : mapping of str to array
            As `state_dict` gives it, or as PyTorch gives that of a network of an `nn.RNN`, `nn.GRU` or `nn.LSTM` and an
            `nn.Linear`, whatever their names: tensors may require gradients and be of bfloat16, there may be no biases,
            and an `nn.Embedding` is multiplied into `rnn.weight_ih_l0`. Copied.

        Raises
        ------
        ValueError
            A name is missing or unknown, a shape does not fit the others, or a number is NaN or infinite; the message
            names it.

        Examples
        --------
        >>> model = charrnn.CharRNN("abc", hidden_size=5)
        >>> charrnn.CharRNN.from_state_dict("abc", model.state_dict())
        CharRNN(cell='rnn', vocab_size=3, hidden_size=5, num_layers=1, dtype='float32', num_parameters=68)
        """
        arrays = as_arrays(state_dict)
        model = cls.__new__(cls)
        model._lay_out(*network_of(vocabulary, arrays))
        check_shapes(arrays, {name: view.shape for name, view in model._network.views(None).items()})
        model._allocate()
        for name, parameter in model.state_dict().items():
            if not np.isfinite(arrays[name]).all():
                raise ArgumentValueError(name, "must have finite numbers alone, got NaN or infinity")
            parameter[...] = arrays[name]
        return model

    def extended(self, characters: str) -> Self:
        """The model with further characters: they have rows of their own, and those of the others are as they were.

        A new character is at first as probable as the logits' mean makes it. As an input it does what the mean of the
        others does.

        Parameters
        ----------
        characters : str
            Those that the vocabulary has already are passed over; the new ones come after them.

        Examples
        --------
        >>> model = charrnn.train.train("hello world").extended("hello, world!")
        >>> model.vocabulary
        <Vocabulary of 10 characters ' dehlorw!,'>
        """
        if not isinstance(characters, str):
            raise ArgumentTypeError("characters", f"must be a str, got {characters!r}")
        known = self.vocabulary
        vocabulary = Vocabulary(
            known.characters + "".join(sorted(set(characters) - set(known.characters))),
            end=known.end is not None,
            labels=known.labels,
        )
        extended = type(self).from_state_dict(vocabulary, extended_arrays(self.state_dict(), known, vocabulary))
        extended.history = self.history
        return extended

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a safetensors file, whole or not at all.

        `safetensors.torch.load_file(path)` is a state dict for PyTorch (see `state_dict`).

        Examples
        --------
        >>> charrnn.CharRNN("abc").save(path)
        """
        files.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file, as `charrnn.load` does; a subclass gives a model of its own class.

        Examples
        --------
        >>> charrnn.CharRNN("abc").save(path)
        >>> charrnn.CharRNN.load(path).vocabulary
        <Vocabulary of 3 characters 'abc'>
        """
        return files.load(path, cls)

    # Hidden units

    def activations(self, text: str | bytes) -> np.ndarray:
        """The hidden units after each character of a text, which is read from a zero state, or as a document.

        Parameters
        ----------
        text : str or bytes
            A text of any length. Bytes are read as Latin-1.

        Returns
        -------
        ndarray, (len(text), L * H)
            Unit j of layer l is column `l * hidden_size + j`. The dtype is the model's.

        Raises
        ------
        ValueError
            A character is not in the vocabulary. The message says which one it is, and where it stands.

        Examples
        --------
        >>> model = charrnn.CharRNN("abc", hidden_size=5, num_layers=2)
        >>> model.activations("cab").shape
        (3, 10)
        """
        return hidden.activations(self, text)

    # Training loops outside of this package

    def forward(self, inputs: npt.ArrayLike, state: npt.ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Logits of the symbol after each input.

        Parameters
        ----------
        inputs : array of int, (T, B)
            Indices of symbols. The state before END, the symbol between two documents, is zero.
        state : array, (L, B, H), optional
            The hidden state before the first step; zero by default. An "lstm" has (2, L, B, H): h, then c.

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
            Indices of symbols. Each target is the symbol that follows its input.
        state : array, (L, B, H) or (2, L, B, H), optional
            The hidden state before the first step, see `forward`; zero by default. No gradient flows into it.

        Returns
        -------
        loss : float
            Nats per character.
        grads : dict of str to ndarray
            A gradient for each array of `state_dict`, under the same name and in the same shape.
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
            raise ArgumentValueError("targets", f"must have the shape of inputs, {inputs.shape}, got {targets.shape}")
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
            # Every call starts threads of its own, which takes a part of the time that they save.
            num_threads=threads_worth(num_threads, operations / 5),
        )
        return engine

    def _sampler(self, rows: int, **settings: Any) -> Sampler:
        sampler: Sampler = self._kernels.Sampler(
            self._network,
            self._arena,
            rows,
            end=-1 if self.vocabulary.end is None else self.vocabulary.end,
            # Threads live for a call of many steps and wait for one another twice a step: less work is worth one.
            num_threads=threads_worth(None, 5 * 2 * rows * self._arena.size),
            **settings,
        )
        return sampler

    def _components(self) -> list[tuple[float, CharRNN]]:
        return [(1.0, self)]

    def _symbols(self, name: str, symbols: Any) -> np.ndarray:
        symbols = as_array(name, symbols)
        if symbols.dtype.kind not in "iu":
            raise ArgumentTypeError(name, f"must be an array of integers, got dtype {symbols.dtype}")
        if symbols.ndim != 2 or 0 in symbols.shape:
            raise ArgumentValueError(name, f"must have shape (T, B) with T and B at least 1, got {symbols.shape}")
        if symbols.min() < 0 or symbols.max() >= len(self.vocabulary):
            wrong = symbols[(symbols < 0) | (symbols >= len(self.vocabulary))][0]
            raise ArgumentValueError(name, f"must be from 0 to {len(self.vocabulary) - 1}, got {wrong}")
        return np.ascontiguousarray(symbols, np.int32)

    def _state(self, state: Any, batch_size: int) -> np.ndarray | None:
        if state is None:
            return None
        array = as_array("state", state)
        shape = self._network.state_shape(batch_size)
        if array.dtype.kind not in "fiu":
            raise ArgumentTypeError("state", f"must be an array of numbers, got dtype {array.dtype}")
        if array.shape != shape:
            axes = "(L, B, H)" if len(shape) == 3 else "(2, L, B, H)"
            raise ArgumentValueError("state", f"must have shape {axes} = {shape}, got {array.shape}")
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
        The file is not a charrnn model, or it is damaged. The message says what is wrong with it.
    OSError
        The file cannot be read.

    Notes
    -----
    A file, whoever made it, either becomes a model or raises this error: nothing in it is executed. The sizes that it
    claims are compared with its length before memory is taken, so that loading takes at most about three times that
    length. The file must not be shortened while it is read.

    Examples
    --------
    >>> import charrnn.train
    >>> charrnn.train.train("hello world").save(path)
    >>> charrnn.load(path).sample("h", 10, temperature=0)
    'ello world'
    """
    return CharRNN.load(path)
