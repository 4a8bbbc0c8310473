"""train(): from a text to a model. The rule of defaults, the loop, validation, checkpoints, progress.

The steps themselves (forward, BPTT, clipping, optimizer) run in `charrnn/kernels`, many to a call and without
Python; the loop here looks in every tenth of a second to report, to validate, to save and to answer Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn import files, kernels
from charrnn.errors import (
    DivergenceError,
    TrainingInterrupted,
    choice,
    file_path,
    flag,
    integer,
    number,
    output_path,
)
from charrnn.history import History
from charrnn.model import CELLS, CharRNN, dtype_name
from charrnn.progress import Progress
from charrnn.system import check_memory, num_threads_or_default, threads_worth
from charrnn.text import corpus
from charrnn.text.batching import streams

if TYPE_CHECKING:
    from charrnn.kernels.kernels import Trainer

__all__ = ["DivergenceError", "History", "Report", "TrainingInterrupted", "train"]

OPTIMIZERS = ("adam", "sgd", "rmsprop", "adagrad")
SCHEDULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # The share of the learning rate at a share of the run, both 0 ... 1.
    "cosine": lambda done: 0.5 + 0.5 * np.cos(np.pi * done),
    "linear": lambda done: 1 - done,
    "constant": np.ones_like,
}
LOOK_SECONDS = 0.1
VALIDATIONS = 20
# At most this share of max_seconds goes to them.
VALIDATION_SHARE = 0.05
# Loss of a step, nats per character, beyond which nothing is learned any more; uniform guesses cost log V.
DIVERGED_LOSS = 1000.0


@dataclass
class Report:
    """What a callback is told, some ten times a second and once at the end.

    Attributes
    ----------
    step, epoch : int, float
        Updates made, and passes over the text that they amount to.
    loss : float
        Mean training loss since the last report, nats per character.
    val_loss : float or None
        The newest validation loss, nats per character.
    validated : bool
        Whether val_loss is new in this report.
    learning_rate : float
    chars_per_second : float
        Training speed since the last report.
    seconds : float
        Since the training began.
    done : float
        The share of the training that is done, 0 to 1.
    model : CharRNN
        The model being trained, to be sampled or saved but not changed.
    settings : Settings
        The arguments of `train`, with what the rule of defaults chose.
    num_chars : int
        Characters of the text, the validation part included.

    Examples
    --------
    >>> def watch(report):
    ...     if report.done == 1:
    ...         print(report.step, report.settings.cell, report.num_chars)
    >>> model = charrnn.train.train("hello world", epochs=3, callback=watch)
    3 rnn 11
    """

    step: int
    epoch: float
    loss: float
    val_loss: float | None
    validated: bool
    learning_rate: float
    chars_per_second: float
    seconds: float
    done: float
    model: CharRNN
    settings: Settings
    num_chars: int


@dataclass(frozen=True)
class Settings:
    """The arguments of `train`, checked, with the rule's choices in place of None."""

    cell: str
    hidden_size: int
    num_layers: int
    dropout: float
    optimizer: str
    learning_rate: float
    schedule: str
    warmup: float
    clip_norm: float
    clip_value: float
    weight_decay: float
    momentum: float
    beta1: float
    beta2: float
    batch_size: int
    seq_length: int
    epochs: float
    max_seconds: float
    val_fraction: float
    seed: int
    dtype: str

    # What a resumed training has to share with the one it goes on with.
    KEPT = (
        "cell",
        "hidden_size",
        "num_layers",
        "dropout",
        "optimizer",
        "batch_size",
        "seq_length",
        "val_fraction",
        "seed",
        "dtype",
    )


def default_val_fraction(num_chars: int) -> float:
    """A tenth, at most half a million characters; nothing of a text too short to spare it."""
    return 0.0 if num_chars < 10_000 else min(0.1, 500_000 / num_chars)


def defaults(num_chars: int, max_seconds: float = math.inf) -> dict[str, Any]:
    """The rule: what a text of this many characters to train on, in this time, is trained with.

    ==============  ======================================================================================
    cell            "rnn" below 10 000 characters, "gru" above
    hidden_size     64 below 10 000 characters, 128 below 100 000, 256 below 3 million, 512 above; but between 100 000
                    and 3 million 512 where 2 minutes or more are given
    dropout         0 below 10 000 characters, 0.3 below half a million, 0.2 below 10 million, 0 above: the fewer the
                    epochs, the less is learned by heart; but 0 for a tanh RNN, which it slows more than it helps
    weight_decay    0.1 from 10 000 to 10 million characters, else 0
    batch_size      one reader for each 2 000 characters, 1 to 32
    seq_length      64, but 32 with 512 units: steps that are so dear come to few, and the carried state brings what
                    lies further back; less where the readers have less to read
    epochs          15 million characters in all, 1 to 200 epochs
    learning_rate   by the hidden size and the cell, see `default_learning_rate`
    ==============  ======================================================================================
    """
    regularized = 10_000 <= num_chars < 10_000_000
    medium = 512 if 120 <= max_seconds < math.inf else 256
    hidden_size = next(h for limit, h in ((1e4, 64), (1e5, 128), (3e6, medium), (math.inf, 512)) if num_chars < limit)
    batch_size = min(max(num_chars // 2000, 1), 32)
    return {
        "cell": "rnn" if num_chars < 10_000 else "gru",
        "hidden_size": hidden_size,
        "dropout": (0.3 if num_chars < 500_000 else 0.2) if regularized else 0.0,
        "weight_decay": 0.1 if regularized else 0.0,
        "batch_size": batch_size,
        "seq_length": min(32 if hidden_size == 512 else 64, -(-num_chars // batch_size)),
        "epochs": min(max(15_000_000 / num_chars, 1), 200),
    }


def default_learning_rate(hidden_size: int, cell: str) -> float:
    """0.006 at 256 hidden units and inversely as the square root of their number, but at most 0.01.

    A tanh RNN of more than 256 units, which no gate holds in check, takes it inversely as their number.
    """
    units = hidden_size / 256
    return 0.006 / units if cell == "rnn" and units > 1 else min(0.006 / math.sqrt(units), 0.01)


def train(
    data: corpus.Data,
    *,
    cell: str | None = None,
    hidden_size: int | None = None,
    num_layers: int | None = None,
    dropout: float | None = None,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    schedule: str = "cosine",
    warmup: float = 0.02,
    clip_norm: float | None = 0.25,
    clip_value: float | None = None,
    weight_decay: float | None = None,
    momentum: float = 0.9,
    beta1: float = 0.9,
    beta2: float = 0.99,
    batch_size: int | None = None,
    seq_length: int | None = None,
    epochs: float | None = None,
    max_seconds: float | None = None,
    val_fraction: float | None = None,
    seed: int = 0,
    dtype: str | None = None,
    num_threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    resume: bool = False,
    init_from: CharRNN | str | os.PathLike[str] | None = None,
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
        begins and ends, and their order is shuffled each epoch.
    cell : "rnn", "gru" or "lstm"
        The tanh RNN, gated recurrent unit or long short-term memory of PyTorch. Default: by the text's size, see
        `defaults`.
    hidden_size, num_layers : int
        Units of a layer; layers. Defaults: by the text's size, see `defaults`; 1.
    dropout : float
        Probability, 0 to below 1, that a unit's output is dropped between layers and before the head. Default: by the
        text's size, see `defaults`; 0 for a tanh RNN.
    optimizer : "adam", "sgd", "rmsprop" or "adagrad"
    learning_rate : float
        At its highest. Default: by hidden_size and cell, see `default_learning_rate`.
    schedule : "cosine", "linear" or "constant"
        How the learning rate goes to 0, or does not, over the epochs or max_seconds.
    warmup : float
        Share of the run over which the learning rate rises from 0.
    clip_norm : float or None
        The gradient is scaled down to this L2 norm over all parameters where it is longer.
    clip_value : float or None
        After that, each element is brought into +-clip_value.
    weight_decay : float
        Decoupled: parameters shrink by learning_rate times it each step. Default: by the text's size, see `defaults`.
    momentum : float
        Of "sgd".
    beta1, beta2 : float
        Decay of the averages of the gradient and of its square ("adam"); beta2 also of "rmsprop".
    batch_size, seq_length : int
        Readers; characters of a chunk. Defaults: by the text's size, see `defaults`.
    epochs, max_seconds : float
        Passes over the text and seconds, reading and validating included; whichever ends first. Default: by the text's
        size, see `defaults`, where neither is given.
    val_fraction : float
        Share of the text, the last part of it, that is not trained on but validated with, 20 times in a run (or for a
        twentieth of max_seconds); the model returned is then the one of the best validation. Default: 0.1 from 10 000
        characters on, at most half a million characters.
    seed : int
        Fixes every bit of the result, for any number of threads (but with max_seconds the clock has a say).
    dtype : "float32" or "float64"
    num_threads : int
        Default: CHARRNN_NUM_THREADS from the environment, else the cores that this process may use.
    checkpoint : path
        Where the state of the training is saved every `checkpoint_seconds` and at its end. It is replaced as a whole:
        whatever happens, the last one is there. Where one cannot be saved, a RuntimeWarning says so and the training
        goes on.
    resume : bool
        Go on from the checkpoint, if there is one, as if nothing had come between. The text must be the same, and so
        must what `Settings.KEPT` names; epochs, learning rate, schedule and the rest may be others.
    init_from : CharRNN or path
        A model to train further, on data within its vocabulary.
    progress : bool
        Show the progress on stderr, if the training takes more than a second.
    callback : callable
        Called with a `Report` some ten times a second.
    encoding : str
        Of a file.

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
    (1990): truncated BPTT. Karpathy, "The unreasonable effectiveness of recurrent neural networks" (2015).

    Examples
    --------
    >>> model = charrnn.train.train("hello world", hidden_size=64, epochs=100, seed=0)
    >>> model.sample("h", 10, temperature=0)
    'ello world'
    """
    began = time.perf_counter()
    if isinstance(init_from, (str, os.PathLike)):
        init_from = CharRNN.load(file_path("init_from", init_from))
    if init_from is not None and not isinstance(init_from, CharRNN):
        raise TypeError(f"init_from must be a CharRNN or the path of one, got {type(init_from).__name__}")
    flag("progress", progress)
    if checkpoint is not None:
        checkpoint = output_path("checkpoint", checkpoint)
    if flag("resume", resume) and checkpoint is None:
        raise ValueError("resume must come with checkpoint, the file to resume from")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {callback!r}")
    for name, given in (("cell", cell), ("hidden_size", hidden_size), ("num_layers", num_layers), ("dtype", dtype)):
        _check_same(name, given, init_from)
    if init_from is not None:
        cell, hidden_size, num_layers = init_from.cell, init_from.hidden_size, init_from.num_layers
        dtype = init_from.dtype.name
    num_threads = num_threads_or_default(num_threads)
    checkpoint_seconds = number("checkpoint_seconds", checkpoint_seconds, 0)

    text = corpus.read(data, encoding=encoding, vocabulary=None if init_from is None else init_from.vocabulary)
    if len(text) < 2:
        raise ValueError(f"text has {len(text)} character{'s' * (len(text) != 1)}; training needs at least 2")
    if val_fraction is None:
        val_fraction = default_val_fraction(len(text)) if text.num_documents != 1 else 0.0
    training, validation = text.split(number("val_fraction", val_fraction, 0, 1, below=True))
    max_seconds = math.inf if max_seconds is None else number("max_seconds", max_seconds, 0, above=True)
    rule = defaults(len(training) - 1, max_seconds)
    cell = choice("cell", rule["cell"] if cell is None else cell, CELLS)
    if dropout is None:
        dropout = 0.0 if cell == "rnn" else rule["dropout"]
    if weight_decay is None:
        weight_decay = rule["weight_decay"]
    hidden_size = integer("hidden_size", rule["hidden_size"] if hidden_size is None else hidden_size, 1)
    batch_size = integer("batch_size", rule["batch_size"] if batch_size is None else batch_size, 1)
    if batch_size > len(training) - 1:
        raise ValueError(
            f"batch_size must be at most {len(training) - 1}, the characters to predict in the text, got {batch_size}"
        )
    if epochs is None:
        passes = rule["epochs"] if math.isinf(max_seconds) else math.inf
    else:
        passes = number("epochs", epochs, 0, above=True)
    if learning_rate is None:
        learning_rate = default_learning_rate(hidden_size, cell)
    settings = Settings(
        cell=cell,
        hidden_size=hidden_size,
        num_layers=integer("num_layers", 1 if num_layers is None else num_layers, 1),
        dropout=number("dropout", dropout, 0, 1, below=True),
        optimizer=choice("optimizer", optimizer, OPTIMIZERS),
        learning_rate=number("learning_rate", learning_rate, 0),
        schedule=choice("schedule", schedule, SCHEDULES),
        warmup=number("warmup", warmup, 0, 1),
        clip_norm=math.inf if clip_norm is None else number("clip_norm", clip_norm, 0, above=True),
        clip_value=math.inf if clip_value is None else number("clip_value", clip_value, 0, above=True),
        weight_decay=number("weight_decay", weight_decay, 0),
        momentum=number("momentum", momentum, 0, 1, below=True),
        beta1=number("beta1", beta1, 0, 1, below=True),
        beta2=number("beta2", beta2, 0, 1, below=True),
        batch_size=batch_size,
        seq_length=min(
            integer("seq_length", rule["seq_length"] if seq_length is None else seq_length, 1), len(training) - 1
        ),
        epochs=passes,
        max_seconds=max_seconds,
        val_fraction=val_fraction,
        seed=integer("seed", seed, 0, 2**64 - 1),
        dtype=dtype_name("float32" if dtype is None else dtype),
    )
    _check_memory(settings, len(text.vocabulary), num_threads)
    if init_from is None:
        model = CharRNN(
            text.vocabulary,
            cell=settings.cell,
            hidden_size=settings.hidden_size,
            num_layers=settings.num_layers,
            dtype=settings.dtype,
            seed=settings.seed,
        )
    else:
        model = CharRNN.from_state_dict(init_from.vocabulary, init_from.state_dict())
    run = _Run(settings, model, training, validation, num_threads, began)
    if checkpoint is not None:
        run.keep_checkpoint(checkpoint, checkpoint_seconds, resume)
    with Progress(progress, epochs=settings.epochs) as bar:
        return run.train([bar.update] if callback is None else [callback, bar.update])


def _check_same(name: str, given: Any, init_from: CharRNN | None) -> None:
    if given is not None and init_from is not None and given != getattr(init_from, name):
        raise ValueError(f"{name} must be {getattr(init_from, name)!r}, as of the model in init_from, got {given!r}")


def _check_memory(settings: Settings, vocab_size: int, num_threads: int) -> None:
    """Whether all that a training takes is there, before any of it is taken."""
    s = settings
    module = kernels.module(s.dtype)
    network = module.Network(vocab_size, s.hidden_size, s.num_layers, s.cell)
    # Parameters, gradients, two of the optimizer, and the best parameters so far.
    arenas = 5 * network.arena_size * np.dtype(s.dtype).itemsize
    buffers = module.Trainer.bytes_for(network, s.seq_length, s.batch_size, True, s.dropout, num_threads)
    check_memory(
        arenas + buffers,
        hidden_size=s.hidden_size,
        num_layers=s.num_layers,
        batch_size=s.batch_size,
        seq_length=s.seq_length,
    )


class _Run:
    """One training: what changes from step to step, and what is done with it between the calls of the kernel."""

    def __init__(
        self,
        settings: Settings,
        model: CharRNN,
        training: corpus.Corpus,
        validation: corpus.Corpus | None,
        num_threads: int,
        began: float,
    ) -> None:
        self.settings = settings
        self.model = model
        self.training = training
        self.validation = validation
        self.num_threads = num_threads
        self.began = began
        # The stream of n documents has n + 1 ENDs.
        parts = [training] if validation is None else [training, validation]
        self.num_chars = sum(len(part) - (part.num_documents and part.num_documents + 1) for part in parts)
        self.history = model.history = History(chars_per_step=settings.batch_size * settings.seq_length)
        self.moments = np.zeros_like(model._arena)
        self.squares = np.zeros_like(model._arena)
        self.trainer: Trainer = model._kernels.Trainer(
            model._network,
            model._arena,
            settings.seq_length,
            settings.batch_size,
            moments=self.moments,
            squares=self.squares,
            optimizer=settings.optimizer,
            momentum=settings.momentum,
            beta1=settings.beta1,
            beta2=settings.beta2,
            eps=1e-10 if settings.optimizer == "adagrad" else 1e-8,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
            clip_value=settings.clip_value,
            seed=settings.seed,
            end=-1 if model.vocabulary.end is None else model.vocabulary.end,
            dropout=settings.dropout,
            num_threads=threads_worth(num_threads, 6 * model._arena.size * settings.batch_size * settings.seq_length),
        )
        self.best = model._arena.copy()
        self.best_val_loss = math.inf
        self.kept = began
        self.validation_seconds = 0.0
        self.checkpoint: Path | None = None
        self.checkpoint_seconds = math.inf
        self.saved = began
        self._read_epoch(0)
        self.steps_per_epoch = self.trainer.steps_left()
        self.total_steps = math.inf
        if not math.isinf(settings.epochs):
            self.total_steps = max(round(settings.epochs * self.steps_per_epoch), 1)

    def _read_epoch(self, epoch: int) -> None:
        """Documents come in another order each epoch, which seed and epoch determine."""
        stream = self.training
        if stream.num_documents:
            stream = stream.shuffled(np.random.default_rng([self.settings.seed, epoch]))
        starts, length = streams(stream, self.settings.batch_size)
        period = len(stream) - 1 if stream.num_documents else 0
        self.trainer.read(stream.codes, stream.table, starts, length, period)

    # The loop

    def train(self, observers: list[Callable[[Report], Any]]) -> CharRNN:
        try:
            self._loop(observers)
        except KeyboardInterrupt:
            checkpointed = False
            try:
                checkpointed = self.checkpoint is not None and self.trainer.step > 0 and self._save_checkpoint()
            finally:  # an impatient second Ctrl-C does not lose the model
                raise TrainingInterrupted(self.model, checkpointed) from None
        if self.checkpoint is not None:
            self._save_checkpoint()
        if self.validation is not None:
            self.model._arena[:] = self.best
        return self.model

    def _loop(self, observers: list[Callable[[Report], Any]]) -> None:
        next_validation = self._next_validation()
        rate, steps = 0.0, 1  # steps a second, steps of a call
        while self._done() < 1:
            start, step = self._seconds(), self.trainer.step
            # The last chunk of an epoch may be much shorter than the others, and its rate promise too much.
            steps = int(min(max(rate * LOOK_SECONDS, 1), 4 * steps, self.total_steps - step))
            if not math.isinf(self.total_steps):
                steps = min(steps, max(math.ceil(next_validation * self.total_steps) - step, 1))
            if self.training.num_documents:
                steps = min(steps, self.trainer.steps_left())
            losses, learning_rates = self._steps(steps, rate)
            stop = self._seconds()
            rate = len(losses) / max(stop - start, 1e-9)
            validated = self._done() >= next_validation or self._done() >= 1
            if validated:
                self._validate()
                next_validation = self._next_validation()
            elif self.validation is None:
                self._keep_good()
            self.training.forget()
            self._save_checkpoint_now_and_then()
            report = Report(
                step=self.trainer.step,
                epoch=self.trainer.step / self.steps_per_epoch,
                loss=float(losses.mean()),
                val_loss=self.history.val_losses[-1] if self.history.val_losses else None,
                validated=validated and self.validation is not None,
                learning_rate=float(learning_rates[-1]),
                chars_per_second=rate * self.history.chars_per_step,
                seconds=self._seconds(),
                done=min(self._done(), 1.0),
                model=self.model,
                settings=self.settings,
                num_chars=self.num_chars,
            )
            for observe in observers:
                observe(report)

    def _seconds(self) -> float:
        return time.perf_counter() - self.began

    def _done(self) -> float:
        """The share of the training that is done; time is kept for a last validation."""
        limit = self.settings.max_seconds
        by_time = self._seconds() / max(limit - self.validation_seconds, 1e-9) if not math.isinf(limit) else 0.0
        return max(self.trainer.step / self.total_steps, by_time)

    def _next_validation(self) -> float:
        """The share of the training at which to validate next; by the last one, which a resumed training knows too."""
        if self.validation is None:
            return 1.0
        done, validations = self._done(), VALIDATIONS
        if math.isinf(self.settings.max_seconds):
            done = self.history.val_steps[-1] / self.total_steps if self.history.val_steps else 0.0
        elif self.validation_seconds > 0:
            affordable = VALIDATION_SHARE * self.settings.max_seconds / self.validation_seconds
            validations = max(min(VALIDATIONS, int(affordable)), 1)
        return (math.floor(done * validations + 1e-9) + 1) / validations

    def _steps(self, steps: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
        """Makes these steps; their losses and learning rates."""
        step, start = self.trainer.step, self._seconds()
        learning_rates = self._learning_rates(step, steps, rate)
        losses = np.empty(steps)
        try:
            self.trainer.train(learning_rates, losses)
        finally:
            made = self.trainer.step - step
            self.history.add(step, losses[:made], learning_rates[:made], start, self._seconds())
        if self.training.num_documents and self.trainer.position == 0:
            self._read_epoch(self.trainer.passes)
        beyond = np.flatnonzero(losses[:made] > DIVERGED_LOSS)
        if len(beyond):
            self._diverge(step + int(beyond[0]) + 1, f"the loss became {losses[beyond[0]]:.4g}")
        if made < steps:
            loss, norm = self.trainer.last_loss, self.trainer.last_norm
            self._diverge(step + made + 1, f"the loss became {loss:.4g}, the gradient's norm {norm:.4g}")
        return losses, learning_rates

    def _learning_rates(self, step: int, steps: int, rate: float) -> np.ndarray:
        """Of the steps after `step`, when some `rate` of them are made in a second."""
        s = self.settings
        begun, made = (np.arange(step + i, step + i + steps) / self.total_steps for i in (0, 1))
        if not math.isinf(s.max_seconds):
            seconds = self._seconds() + np.arange(steps) / max(rate, 1)
            by_time = seconds / max(s.max_seconds - self.validation_seconds, 1e-9)
            begun, made = np.maximum(begun, by_time), np.maximum(made, by_time)
        rising = np.minimum(made / s.warmup, 1) if s.warmup else 1.0
        return s.learning_rate * rising * SCHEDULES[s.schedule](np.minimum(begun, 1))

    def _diverge(self, step: int, how: str) -> None:
        s = self.settings
        self.model._arena[:] = self.best
        raise DivergenceError(
            f"training diverged at step {step}: {how}; try a smaller learning_rate (it is {s.learning_rate:g}) or "
            f"clip_norm (it is {s.clip_norm:g})",
            step,
            self.model,
        )

    def _validate(self) -> None:
        """The loss of the validation part, in parallel rows that each read some of what precedes them first."""
        if self.validation is None:
            return
        start = time.perf_counter()
        loss = self.model._validation_loss(self.validation, self.num_threads)
        self.history.val_steps.append(self.trainer.step)
        self.history.val_losses.append(loss)
        self.history.val_times.append(self._seconds())
        if loss < self.best_val_loss:
            self.best_val_loss = loss
            self.best[:] = self.model._arena
        self.validation_seconds = max(self.validation_seconds, time.perf_counter() - start)

    def _keep_good(self) -> None:
        """Without a validation part, the parameters to fall back on should the training diverge."""
        if time.perf_counter() - self.kept > 1:
            self.kept = time.perf_counter()
            self.best[:] = self.model._arena

    # Checkpoints

    def keep_checkpoint(self, path: Path, seconds: float, resume: bool) -> None:
        """Save to `path` every so many seconds; go on from what is there where `resume`."""
        self.checkpoint = path
        self.checkpoint_seconds = seconds
        self.fingerprint = _fingerprint(self.training, self.validation)
        files.remove_leftovers(path)
        if resume and path.exists():
            self._restore(path)

    def _save_checkpoint_now_and_then(self) -> None:
        if self.checkpoint is not None and time.perf_counter() - self.saved >= self.checkpoint_seconds:
            self._save_checkpoint()

    def _save_checkpoint(self) -> bool:
        """Whether it could be saved. Hours of training are not to end because a disk is full."""
        assert self.checkpoint is not None
        record = {
            **files.describe(self.model),
            "kind": "checkpoint",
            "settings": {name: getattr(self.settings, name) for name in Settings.KEPT},
            "text": self.fingerprint,
            "step": self.trainer.step,
            "position": self.trainer.position,
            "passes": self.trainer.passes,
            "seconds": self._seconds(),
            "best_val_loss": None if math.isinf(self.best_val_loss) else self.best_val_loss,
            "history": dataclasses.asdict(self.history),
        }
        try:
            files.write(self.checkpoint, {**self._arenas(), "state": self.trainer.get_state()}, record)
        except OSError as error:
            message = f"the checkpoint could not be saved, the training goes on without: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return False
        finally:
            self.saved = time.perf_counter()
        return True

    def _arenas(self) -> dict[str, np.ndarray]:
        """Parameters, optimizer state and the best parameters so far, by the names in a checkpoint."""
        arenas = {"parameters": self.model._arena, "moments": self.moments, "squares": self.squares, "best": self.best}
        return {
            f"{kind}.{name}": array
            for kind, arena in arenas.items()
            for name, array in self.model._network.views(arena).items()
        }

    def _restore(self, path: Path) -> None:
        tensors, record = files.read(path, kind="checkpoint")
        try:
            for name in Settings.KEPT:
                before, now = record["settings"][name], getattr(self.settings, name)
                if before != now:
                    raise ValueError(f"{name} must be {before!r}, as in the training that {path} holds, got {now!r}")
            if record["text"] != self.fingerprint:
                raise ValueError(f"data must be the text that {path} was trained on, got another one")
        except (KeyError, TypeError) as error:
            raise files.damaged(path, error) from None
        try:
            arenas = self._arenas()
            if tensors.keys() != {*arenas, "state"}:
                raise ValueError(f"it lacks arrays or has others: {', '.join(tensors.keys() ^ {*arenas, 'state'})}")
            for name, array in arenas.items():
                if tensors[name].shape != array.shape:
                    raise ValueError(f"{name} must have shape {array.shape}, got {tensors[name].shape}")
            self._read_epoch(integer("passes", record["passes"], 0))
            self.trainer.restore(
                integer("step", record["step"], 0, 2**62),
                integer("position", record["position"], 0),
                record["passes"],
                tensors["state"],
            )
            history = History.from_record(record["history"])
            best_val_loss = record["best_val_loss"]
            best_val_loss = math.inf if best_val_loss is None else number("best_val_loss", best_val_loss, 0)
            seconds = number("seconds", record["seconds"], 0)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise files.damaged(path, error) from None
        for name, array in arenas.items():
            array[...] = tensors[name]
        self.history = self.model.history = history
        self.best_val_loss = best_val_loss
        self.began -= seconds


def _fingerprint(*streams: corpus.Corpus | None) -> str:
    """A hash of what is trained and validated on."""
    import hashlib  # here, for it imports OpenSSL

    digest = hashlib.blake2b(digest_size=16)
    for stream in streams:
        if stream is not None:
            identity = (stream.vocabulary.characters, stream.vocabulary.end, len(stream))
            digest.update(repr(identity).encode("utf-8", "backslashreplace"))
            # Indices, not codes: the same text has others where it is mapped.
            for start in range(0, len(stream), corpus.BLOCK):
                digest.update(stream.indices(start, start + corpus.BLOCK).data)
                stream.forget()
    return digest.hexdigest()
