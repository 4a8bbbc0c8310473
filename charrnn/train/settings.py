"""Settings: what a training is made with. It knows neither the text nor the rule that chooses what is not given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

OPTIMIZERS = ("adam", "sgd", "rmsprop", "adagrad")
SCHEDULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # The share of the learning rate at a share of the run, both 0 ... 1.
    "cosine": lambda done: 0.5 + 0.5 * np.cos(np.pi * done),
    "linear": lambda done: 1 - done,
    "constant": np.ones_like,
}


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
