"""From arguments to settings: those that are given are checked, the rule of defaults chooses the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from charrnn.errors import ArgumentValueError, integer
from charrnn.model import CharRNN
from charrnn.options import declared
from charrnn.text import corpus
from charrnn.text.splitting import split
from charrnn.train.rule import by_heart, default_learning_rate, default_val_fraction, defaults
from charrnn.train.settings import Settings

#: The share of the learning rate with which a trained model is trained further.
FURTHER_RATE = 1 / 6
#: Characters from which on max_seconds alone says how long a training is; and so it does of what is learned by heart.
TIMELESS_CHARS = 300_000


def as_of_model(given: Mapping[str, Any], model: CharRNN) -> dict[str, Any]:
    """Return the arguments with cell, sizes and precision of the model that is trained further."""
    own = {name: getattr(model, name) for name in ("cell", "hidden_size", "num_layers", "dtype")}
    for name, value in own.items():
        if given[name] is not None and given[name] != value:
            said = f"must be {value!r}, as of the model in init_from, got {given[name]!r}"
            raise ArgumentValueError(name, said, other="init_from")
    return {**given, **own}


def size_of(text: corpus.Corpus) -> tuple[int, int]:
    """The symbols and the documents that the rule goes by, each as often as it has copies; no documents of a text."""
    if text.vocabulary.end is None:
        return len(text), 0
    return text.epoch_length, text.num_documents if text.weights is None else round(float(text.weights.sum()))


def split_off(
    text: corpus.Corpus, val_fraction: float | None, seed: int
) -> tuple[float, corpus.Corpus, corpus.Corpus | None]:
    """The share to validate on that was asked for, the part to train on and that to validate on.

    By default nothing is validated on where no choice of documents comes near the share.
    """
    if len(text) < 2:
        raise ArgumentValueError(
            "text", f"has {len(text)} character{'s' * (len(text) != 1)}; training needs at least 2"
        )
    seed = integer("seed", seed, 0, 2**64 - 1)
    if val_fraction is not None:
        return val_fraction, *split(text, val_fraction, seed)
    val_fraction = default_val_fraction(*size_of(text))
    try:
        return val_fraction, *split(text, val_fraction, seed)
    except ValueError:
        return 0.0, text, None


def settle(
    given: Mapping[str, Any],
    num_chars: int,
    num_documents: int,
    num_predictions: int,
    further: bool = False,
) -> Settings:
    """The settings for a text: those given, checked, and the rule's where None is given.

    Parameters
    ----------
    given : mapping
        The arguments of `train`.
    num_chars, num_documents : int
        Size of all of the text. A single text has 0 documents.
    num_predictions : int
        Number of characters that an epoch predicts.
    further : bool
        Whether a model that knows something already is trained.
    """
    options = declared(Settings)

    def settled(name: str, chosen: Any) -> Any:
        value = given[name]
        return chosen if value is None and chosen is not None else options[name][1].rule(name, value)

    max_seconds = settled("max_seconds", math.inf)
    rule = defaults(num_chars, max_seconds, num_documents, given["cell"])
    rate = rule.pop("rate")
    cell = settled("cell", rule["cell"])
    hidden_size = settled("hidden_size", rule["hidden_size"])
    learning_rate = default_learning_rate(hidden_size, cell) * (FURTHER_RATE if further else rate)
    limited = num_chars < TIMELESS_CHARS and not by_heart(num_chars, num_documents)
    chosen = {
        **rule,
        "num_layers": 1,
        "learning_rate": learning_rate,
        "clip_norm": math.inf,
        "clip_value": math.inf,
        "batch_size": min(rule["batch_size"], num_predictions),
        "epochs": math.inf if max_seconds < math.inf and not limited else rule["epochs"],
        "max_seconds": math.inf,
        "dtype": "float32",
    }
    values = {name: settled(name, chosen.get(name)) for name in options}
    if values["batch_size"] > num_predictions:
        raise ArgumentValueError(
            "batch_size",
            f"must be at most {num_predictions}, the characters to predict in the text, got {values['batch_size']}",
        )
    values["seq_length"] = min(values["seq_length"], num_predictions)
    _check_finite(values["dtype"], learning_rate=values["learning_rate"], weight_decay=values["weight_decay"])
    return Settings(**values)


def _check_finite(dtype: str, **factors: float) -> None:
    """Whether what parameters are multiplied by is finite in their own precision."""
    largest = float(np.finfo(dtype).max)
    for name, value in factors.items():
        if value > largest:
            said = f"must be at most {largest:.4g}, the largest number in {dtype}, got {value}"
            raise ArgumentValueError(name, said)
