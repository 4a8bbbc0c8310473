"""train(): from a text to a model.

The arguments are checked here, the rule of defaults (`rule`) fills in what is not given, the `loop` trains. A
`Report` tells a callback how it goes, a `History` how it went, a `checkpoint` keeps it over a crash.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from charrnn import kernels
from charrnn.errors import ArgumentTypeError, ArgumentValueError, DivergenceError, TrainingInterrupted, flag
from charrnn.history import History
from charrnn.model import CharRNN
from charrnn.options import declared
from charrnn.system import check_memory
from charrnn.text.hints import warn_of_lines
from charrnn.text.reading import Data
from charrnn.text.reading import read as read_data
from charrnn.train.loop import Run
from charrnn.train.progress import Progress
from charrnn.train.report import Report
from charrnn.train.rule import MOST_REFIT_CHARS, default_learning_rate, defaults
from charrnn.train.settings import Settings, Surroundings
from charrnn.train.settle import as_of_model, settle, size_of, split_off

__all__ = [
    "DivergenceError",
    "History",
    "Report",
    "Settings",
    "TrainingInterrupted",
    "default_learning_rate",
    "defaults",
    "train",
]


def train(
    data: Data,
    *,
    cell: str | None = None,
    hidden_size: int | None = None,
    num_layers: int | None = None,
    dropout: float | None = None,
    recurrent_dropout: float | None = None,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    schedule: str = "cosine",
    warmup: float = 0.02,
    clip_norm: float | None = 0.25,
    clip_value: float | None = None,
    weight_decay: float | None = None,
    average: float | None = None,
    smoothing: float | None = None,
    momentum: float = 0.9,
    beta1: float = 0.9,
    beta2: float = 0.99,
    batch_size: int | None = None,
    seq_length: int | None = None,
    epochs: float | None = None,
    max_seconds: float | None = None,
    patience: float = 0.25,
    val_fraction: float | None = None,
    seed: int = 0,
    dtype: str | None = None,
    num_threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    resume: bool = False,
    init_from: CharRNN | str | os.PathLike[str] | None = None,
    extend_vocabulary: bool = False,
    vocabulary: str = "",
    weights: Iterable[float] | None = None,
    progress: bool = True,
    callback: Callable[[Report], Any] | None = None,
    encoding: str = "utf-8",
) -> CharRNN:
    """Train a character-level recurrent language model.

    Truncated backpropagation through time: `batch_size` readers go through the text side by side in chunks of
    `seq_length` characters; the hidden state is carried from chunk to chunk, gradients are not.

    Parameters
    ----------
    data : str, bytes, os.PathLike, or iterable of str
        A str is the text itself, bytes are text over byte values (byte n is character U+00n), a path is a file. An
        iterable is a set of documents (names, log lines), each independent of the others: the model learns where one
        begins and ends, and their order is shuffled each epoch. `charrnn.documents` reads them from files.
    cell : "rnn", "gru" or "lstm"
        The tanh RNN, gated recurrent unit or long short-term memory of PyTorch. Default: by the text's size, see
        `defaults`.
    hidden_size, num_layers : int
        Number of hidden units in each layer; number of layers. Defaults: by the text's size, see `defaults`; 1.
    dropout : float
        Probability, 0 to below 1, that a unit's output is dropped between layers and before the head. Default: by the
        text's size, see `defaults`; 0 for a tanh RNN.
    recurrent_dropout : float
        Probability, 0 to below 1, that a unit is dropped where it enters the recurrent weights, for all of a chunk.
        Default: by the text's size, see `defaults`.
    optimizer : "adam", "sgd", "rmsprop" or "adagrad"
    learning_rate : float
        The highest learning rate of the run. Default: by the text's size, hidden_size and cell, see `defaults` and
        `default_learning_rate`.
    schedule : "cosine", "linear" or "constant"
        How the learning rate goes to 0, or does not, over the epochs or max_seconds.
    warmup : float
        Share of the run over which the learning rate rises from 0.
    clip_norm : float or None
        If the L2 norm of the gradient over all parameters is greater, the gradient is scaled down to this norm.
    clip_value : float or None
        After that, each element of the gradient is limited to the range +-clip_value.
    weight_decay : float
        In each step every parameter shrinks by this times the learning rate (decoupled weight decay). Default: by the
        text's size, see `defaults`.
    average : float
        The parameters are averaged over about this share, 0 to 1, of the steps made so far, the newest; 0 for no
        average. It is the average that is validated, and at the end the last parameters as well; the better one is
        returned. Default: by the text's size, see `defaults`.
    smoothing : float
        Probability, 0 to 1, that a target is drawn from what follows the same few characters elsewhere in the text:
        what interpolation is for n-grams. Default: by the text's size, see `defaults`. It takes 150 bytes a character.
    momentum : float
        Decay of the average step of "sgd".
    beta1, beta2 : float
        Decay of the averages of the gradient and of its square ("adam"); beta2 also of "rmsprop".
    batch_size, seq_length : int
        Number of readers; number of characters in a chunk. Defaults: by the text's size, see `defaults`.
    epochs, max_seconds : float
        Passes over the text and seconds, reading and validating included; whichever ends first. Default: epochs by the
        text's size, see `defaults`; none where max_seconds is given, from 300 000 characters on.
    patience : float
        The run ends where the validations of this share of it were no better than those before; 1 for never.
    val_fraction : float
        Share of the text, the last part of it, that is not trained on but validated with, 20 times in a run (or for a
        twentieth of max_seconds); the model returned is then the one of the best validation. Of documents it is a
        choice that depends on their texts and the seed, not on their order: equal ones are all in it or none. Default:
        0.1, more of less than 10 000 characters, at most half a million characters; nothing of less than 20 documents
        or 1 000 characters of a text, which are learned by heart. Up to 20 000 characters, where neither this nor
        epochs nor max_seconds is given, the model is then trained anew with all of the text, for as many epochs as were
        best.
    seed : int
        Random seed. It fixes every bit of the result, for any number of threads, unless max_seconds ends the training.
    dtype : "float32" or "float64"
    num_threads : int
        Default: CHARRNN_NUM_THREADS from the environment, else the cores that this process may use.
    checkpoint : path
        The file in which the state of the training is saved every `checkpoint_seconds` and at its end. It is replaced
        as a whole: whatever happens, the last state that was saved is there. If the disk refuses, a RuntimeWarning says
        so and the training goes on.
    resume : bool
        Go on from the checkpoint, if there is one, as if nothing had come between. The text must be the same, and so
        must what `Settings.KEPT` names; epochs, learning rate, schedule and the rest may be others.
    init_from : CharRNN or path
        A model to train further, on data within its vocabulary.
    extend_vocabulary : bool
        Characters that the model of `init_from` does not know become symbols as well: they have rows of their own, and
        those of the others are as they were.
    vocabulary : str
        Characters that are to be symbols besides those of the text, for what the model may be trained on later.
    weights : iterable of float, optional
        How many copies of each document there are, at least 0: training reads a document as often in each epoch, of 2.5
        copies two or three times by chance, and a mean over documents counts each as often.
    progress : bool
        Show the progress on stderr, if the training takes more than a second.
    callback : callable
        Called with a `Report` some ten times a second.
    encoding : str
        Encoding of a file.

    Returns
    -------
    CharRNN
        With a `history`.

    Raises
    ------
    ValueError, TypeError
        An argument is wrong; the message names it.
    DivergenceError
        The loss stopped being finite; the best model so far is its `model`.
    TrainingInterrupted
        Ctrl-C (it is a KeyboardInterrupt); the model so far is its `model`.

    References
    ----------
    Williams, Peng, "An efficient gradient-based algorithm for on-line training of recurrent network trajectories"
    (1990): truncated BPTT. Karpathy, "The unreasonable effectiveness of recurrent neural networks" (2015). Gal,
    Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks" (2016). Shamir, Zhang,
    "Stochastic gradient descent for non-smooth optimization" (2013): averages over a share of the steps.

    Examples
    --------
    >>> model = charrnn.train.train("hello world", hidden_size=64, epochs=100, seed=0)
    >>> model.sample("h", 10, temperature=0)
    'ello world'
    """
    arguments = {name: value for name, value in locals().items() if name not in ("data", "weights")}
    began = time.perf_counter()
    flag("progress", progress)
    if callback is not None and not callable(callback):
        raise ArgumentTypeError("callback", f"must be callable, got {callback!r}")
    surroundings = Surroundings(**{name: arguments[name] for name in declared(Surroundings)})
    base = surroundings.init_from
    given = {name: arguments[name] for name in declared(Settings)}
    if base is not None:
        given = as_of_model(given, base)
    text = read_data(
        data,
        encoding=encoding,
        vocabulary=None if base is None else base.vocabulary,
        weights=weights,
        reserve=surroundings.vocabulary,
        unknown="extend" if extend_vocabulary else "error",
    )
    symbols = text.vocabulary
    if symbols.labels:
        raise ArgumentValueError("data", f"must be documents without labels, got {len(symbols.labels)} labels")
    warn_of_lines(text)
    size = size_of(text)
    given["val_fraction"], training, validation = split_off(text, val_fraction, seed)
    del text  # of documents it is used up
    settings = settle(given, *size, training.epoch_length, further=base is not None)
    _check_memory(settings, len(symbols), surroundings.num_threads)
    if base is None:
        model = CharRNN(
            symbols,
            cell=settings.cell,
            hidden_size=settings.hidden_size,
            num_layers=settings.num_layers,
            dtype=settings.dtype,
            seed=settings.seed,
        )
    else:
        model = base.extended(symbols.characters)
    run = Run(settings, model, training, validation, surroundings.num_threads, began)
    if all(value is None for value in (val_fraction, epochs, max_seconds, base)):
        run.refits = size[0] <= MOST_REFIT_CHARS
    if surroundings.checkpoint is not None:
        run.keep_checkpoint(surroundings.checkpoint, surroundings.checkpoint_seconds, resume)
    if kernels.VECTOR_LENGTH == 1:
        warnings.warn(kernels.slow_because(), RuntimeWarning, stacklevel=2)
    try:
        with Progress(progress, epochs=settings.epochs) as bar:
            run.train([bar.update] if callback is None else [callback, bar.update])
        return model
    except KeyboardInterrupt:
        run.interrupted()


def _check_memory(settings: Settings, vocab_size: int, num_threads: int) -> None:
    """Whether all that a training takes is there, before any of it is taken."""
    s = settings
    module = kernels.module(s.dtype)
    network = module.Network(vocab_size, s.hidden_size, s.num_layers, s.cell)
    # Parameters, gradients, two of the optimizer, the initial and the best parameters, and a snapshot that may become
    # the best; the average.
    arenas = (7 + (s.average > 0)) * network.arena_size * np.dtype(s.dtype).itemsize
    buffers = module.Trainer.bytes_for(
        network, s.seq_length, s.batch_size, True, s.dropout, s.recurrent_dropout, num_threads
    )
    check_memory(
        arenas + buffers,
        hidden_size=s.hidden_size,
        num_layers=s.num_layers,
        batch_size=s.batch_size,
        seq_length=s.seq_length,
    )
