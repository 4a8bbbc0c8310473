"""The rule of defaults: what a text of some size is trained with where nothing else is asked for.

It knows the size of the text and the seconds that are given, and nothing else.
"""

from __future__ import annotations

import math
from typing import Any


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
    recurrent_dropout, average
                    0
    weight_decay    0.1 from 10 000 to 10 million characters, else 0
    batch_size      one reader for each 2 000 characters, 1 to 32
    seq_length      64, but 32 with 512 units: steps that are so dear come to few, and the carried state brings what
                    lies further back; less where the readers have less to read
    epochs          15 million characters in all, 1 to 200 epochs
    learning_rate   by the hidden size and the cell, see `default_learning_rate`
    ==============  ======================================================================================

    Examples
    --------
    >>> defaults(1_000_000)["hidden_size"], defaults(1_000_000, max_seconds=180)["hidden_size"]
    (256, 512)
    """
    regularized = 10_000 <= num_chars < 10_000_000
    medium = 512 if 120 <= max_seconds < math.inf else 256
    hidden_size = next(h for limit, h in ((1e4, 64), (1e5, 128), (3e6, medium), (math.inf, 512)) if num_chars < limit)
    batch_size = min(max(num_chars // 2000, 1), 32)
    return {
        "cell": "rnn" if num_chars < 10_000 else "gru",
        "hidden_size": hidden_size,
        "dropout": (0.3 if num_chars < 500_000 else 0.2) if regularized else 0.0,
        "recurrent_dropout": 0.0,
        "average": 0.0,
        "weight_decay": 0.1 if regularized else 0.0,
        "batch_size": batch_size,
        "seq_length": min(32 if hidden_size == 512 else 64, -(-num_chars // batch_size)),
        "epochs": min(max(15_000_000 / num_chars, 1), 200),
    }


def default_learning_rate(hidden_size: int, cell: str) -> float:
    """0.006 at 256 hidden units and inversely as the square root of their number, but at most 0.01.

    A tanh RNN of more than 256 units, which no gate holds in check, takes it inversely as their number.

    Examples
    --------
    >>> default_learning_rate(256, "gru"), default_learning_rate(1024, "gru")
    (0.006, 0.003)
    """
    units = hidden_size / 256
    return 0.006 / units if cell == "rnn" and units > 1 else min(0.006 / math.sqrt(units), 0.01)
