"""Settings: what a training is made with, and what surrounds it.

Each argument of `train` is declared once, as a field of one of these dataclasses: its default, how the command line
reads it, the rule that checks it, and its help. The signature of `train` repeats the default for those who read it, and
a test compares them. Nothing here knows the text, or the rule that chooses what is not given.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.errors import ArgumentTypeError, ArgumentValueError, file_path, flag, integer, number, output_path
from charrnn.model import CharRNN
from charrnn.options import check, option, optional, word
from charrnn.parameters import CELLS, DTYPES, dtype_name
from charrnn.system import num_threads_or_default

OPTIMIZERS = ("adam", "sgd", "rmsprop", "adagrad")
SCHEDULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # From the share of the run that is done to the share of the learning rate, both from 0 to 1.
    "cosine": lambda done: 0.5 + 0.5 * np.cos(np.pi * done),
    "linear": lambda done: 1 - done,
    "constant": np.ones_like,
}

# The headings in the help of the command line.
model_option = partial(option, group="the model")
model_word = partial(word, group="the model")
step_option = partial(option, group="the optimisation")
step_word = partial(word, group="the optimisation")
length_option = partial(option, group="its length (whichever ends first)")
file_option = partial(option, group="text and files")

BY_SIZE = "(default: by the text's size)"

above_zero = partial(number, low=0, above=True)
at_least_zero = partial(number, low=0)
share = partial(number, low=0, high=1)
below_one = partial(number, low=0, high=1, below=True)
at_least_one = partial(integer, low=1)


def number_or_none(word: str) -> float | None:
    """A word of the command line as a number, and "none" as None."""
    return None if word == "none" else float(word)


number_or_none.__name__ = "number"  # argparse says "invalid number value"


@dataclass(frozen=True)
class Settings:
    """The arguments of `train`, checked, with the rule's choices in place of None.

    Examples
    --------
    >>> reports = []
    >>> model = charrnn.train.train("hello world", epochs=1, callback=reports.append)
    >>> reports[-1].settings.optimizer
    'adam'
    """

    cell: str = model_word(None, tuple(CELLS), f"kind of recurrent cell {BY_SIZE}")
    hidden_size: int = model_option(None, int, at_least_one, f"hidden units in each layer {BY_SIZE}")
    num_layers: int = model_option(None, int, at_least_one, "number of layers (default: 1)")
    dropout: float = model_option(
        None,
        float,
        below_one,
        f"probability with which training leaves a unit out, between layers and before the output {BY_SIZE}",
    )
    recurrent_dropout: float = model_option(
        None,
        float,
        below_one,
        f"probability with which training leaves a unit out where it enters the recurrent weights {BY_SIZE}",
    )
    optimizer: str = step_word("adam", OPTIMIZERS, "how a gradient becomes a step")
    learning_rate: float = step_option(None, float, at_least_zero, f"highest learning rate of the run {BY_SIZE}")
    schedule: str = step_word("cosine", tuple(SCHEDULES), "how the learning rate falls over the run")
    warmup: float = step_option(0.02, float, share, "share of the run over which the learning rate first rises")
    clip_norm: float = step_option(
        0.25,
        number_or_none,
        above_zero,
        "scale the gradient down to this norm if its norm is greater; none: never",
        metavar="X",
    )
    clip_value: float = step_option(
        None, float, above_zero, "cut each element of the gradient off at plus and minus this value (default: none)"
    )
    weight_decay: float = step_option(
        None, float, at_least_zero, f"each step shrinks the parameters by this value times the learning rate {BY_SIZE}"
    )
    average: float = step_option(
        None,
        float,
        share,
        f"average the parameters over this newest share of the steps made so far; 0: no average {BY_SIZE}",
    )
    smoothing: float = step_option(
        None,
        float,
        share,
        f"probability with which a target is what follows the same few characters elsewhere in the text {BY_SIZE}",
    )
    momentum: float = step_option(0.9, float, below_one, "decay of the average step (sgd)")
    beta1: float = step_option(0.9, float, below_one, "decay of the average gradient (adam)")
    beta2: float = step_option(0.99, float, below_one, "decay of the average squared gradient (adam, rmsprop)")
    batch_size: int = step_option(
        None, int, at_least_one, f"number of places in the text that are read side by side {BY_SIZE}"
    )
    seq_length: int = step_option(
        None, int, at_least_one, f"number of characters through which gradients flow back {BY_SIZE}"
    )
    epochs: float = length_option(None, float, above_zero, f"number of passes over the text {BY_SIZE}")
    max_seconds: float = length_option(
        None, float, above_zero, "seconds that reading and training may take in all (default: no limit)", metavar="S"
    )
    patience: float = length_option(
        0.25,
        float,
        above_zero,
        "share of the run after which it ends if no validation in it was better than those before; 1: never",
    )
    val_fraction: float = file_option(
        None,
        float,
        below_one,
        f"last part of the text, or share of the documents, validated on instead of trained on {BY_SIZE}",
    )
    seed: int = step_option(0, int, partial(integer, low=0, high=2**64 - 1), "random seed")
    dtype: str = model_option(
        None, str, lambda name, value: dtype_name(value), "precision of all numbers (default: float32)", choices=DTYPES
    )

    # These must be the same when a training is resumed.
    KEPT = (
        "cell",
        "hidden_size",
        "num_layers",
        "dropout",
        "recurrent_dropout",
        "smoothing",
        "optimizer",
        "batch_size",
        "seq_length",
        "val_fraction",
        "seed",
        "dtype",
    )
    # The values of trainings whose checkpoints are older than the setting.
    BEFORE = {"recurrent_dropout": 0.0, "smoothing": 0.0}

    # The kernel's Trainer takes these under the same names.
    STEP = (
        "optimizer",
        "momentum",
        "beta1",
        "beta2",
        "weight_decay",
        "clip_norm",
        "clip_value",
        "seed",
        "dropout",
        "recurrent_dropout",
    )


def _model(name: str, value: Any) -> CharRNN | None:
    if value is None or isinstance(value, CharRNN):
        return value
    if isinstance(value, (str, os.PathLike)):
        return CharRNN.load(file_path(name, value))
    raise ArgumentTypeError(name, f"must be a CharRNN or the path of one, got {type(value).__name__}")


def _characters(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentTypeError(name, f"must be a str of characters, got {type(value).__name__}")
    return value


def _unchecked(name: str, value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Surroundings:
    """The arguments of `train` that are no settings, checked: what it begins with, where it runs, what it leaves."""

    encoding: str = file_option(
        "utf-8",
        str,
        _unchecked,  # here: what reads a file checks it, and nothing else needs it
        "encoding of the text files",
        metavar="NAME",
    )
    init_from: CharRNN | None = model_option(
        None, str, _model, "train this model further; cell, sizes and precision are its own", metavar="MODEL"
    )
    extend_vocabulary: bool = model_option(
        False, bool, flag, "give characters that the model of --init-from does not know rows of their own"
    )
    vocabulary: str = model_option(
        "",
        str,
        _characters,
        "characters that the model is to know besides those of the text (default: none)",
        metavar="TEXT",
    )
    num_threads: int = step_option(
        None,
        int,
        lambda name, value: num_threads_or_default(value),
        "number of threads; the result does not depend on it (default: one for each core)",
    )
    checkpoint: Path | None = file_option(
        None,
        str,
        optional(output_path),
        "file that keeps the state of the training (default: named after -o, with .checkpoint.safetensors, and removed "
        "when the training is complete)",
        metavar="PATH",
    )
    checkpoint_seconds: float = file_option(
        60.0, float, at_least_zero, "seconds from one save of the checkpoint to the next", metavar="S"
    )
    resume: bool = file_option(
        False, bool, flag, "go on from the checkpoint, if there is one, with the text and the options that it had"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.extend_vocabulary and self.init_from is None:
            raise ArgumentValueError("extend_vocabulary", "must come with init_from, the model to extend")
        if self.vocabulary and self.init_from is not None and not self.extend_vocabulary:
            raise ArgumentValueError("vocabulary", "must come with extend_vocabulary where a model is trained further")
        if self.resume and self.checkpoint is None:
            raise ArgumentValueError("resume", "must come with checkpoint, the file to resume from", other="checkpoint")
