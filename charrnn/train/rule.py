"""The rule of defaults: what a text of some size is trained with where nothing else is asked for.

It knows the size of the text and of its vocabulary, and the seconds that are given, and nothing else.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

#: Documents, and characters of a text, below which nothing can be held out: it is learned by heart.
LEAST_DOCUMENTS, LEAST_CHARS = 20, 1000
#: Characters up to which a training that held some of them out is made anew with all of them, for as long as was best.
MOST_REFIT_CHARS = 20_000


def by_heart(num_chars: int, num_documents: int = 0) -> bool:
    """Whether a text, or a set of documents, is so short that all of it is learned by heart."""
    return num_documents < LEAST_DOCUMENTS if num_documents else num_chars < LEAST_CHARS


def default_val_fraction(num_chars: int, num_documents: int = 0) -> float:
    """The share that is held out: a tenth, more below 10 000 characters, at most half a million characters; nothing of
    what is learned by heart.

    Examples
    --------
    >>> default_val_fraction(100_000), round(default_val_fraction(1000), 3), default_val_fraction(999)
    (0.1, 0.215, 0.0)
    """
    if by_heart(num_chars, num_documents):
        return 0.0
    return min(0.1 * math.pow(max(10_000 / num_chars, 1), 1 / 3), 0.25, 500_000 / num_chars)


def defaults(
    num_chars: int, max_seconds: float = math.inf, num_documents: int = 0, cell: str | None = None
) -> dict[str, Any]:
    """The rule: what a text of this many characters to train on, in this time, is trained with.

    Between the sizes of the table each value goes evenly with the logarithm of the number of characters, so that no
    text fares worse for being a little longer.

    =================  ====== ====== ====== ====== ====== ====== ====== ======
    characters          1 000  3 000 10 000 30 000  100 k  300 k    1 M   10 M
    =================  ====== ====== ====== ====== ====== ====== ====== ======
    hidden_size            64     64    112    192    256    256    256    512
    dropout               0.5    0.5    0.4    0.3    0.3    0.3    0.2      0
    recurrent_dropout     0.2    0.2    0.1    0.1    0.1    0.1      0      0
    smoothing             0.6    0.6    0.4    0.2      0      0      0      0
    weight_decay          0.1    0.1    0.1    0.1    0.1    0.1    0.1      0
    average              0.15   0.15   0.15   0.15   0.15    0.1    0.1      0
    rate                    1    1.5      2      2    1.5      1      1      1
    epochs                120    100     60     36     18     15     15      1
    characters a step     256    256    256    512   1024   2048   2048   2048
    =================  ====== ====== ====== ====== ====== ====== ====== ======

    The rate is that by which `default_learning_rate` is multiplied. The cell is a GRU. A step reads chunks of
    seq_length 32 below 50 000 characters, 64 above, but 32 with 512 units: steps that are so dear come to few, and the
    carried state brings what lies further back. From 100 000 to 3 million characters 512 units are taken where 2
    minutes or more are given.

    A tanh RNN that is asked for takes no dropout, which slows it more than it helps, and a rate of 1.

    What is too short to hold anything out, below 20 documents or 1 000 characters of a text, is learned by heart: a
    tanh RNN of 64 units, 200 epochs, nothing of dropout, smoothing and weight decay.

    Examples
    --------
    >>> defaults(1_000_000)["hidden_size"], defaults(1_000_000, max_seconds=180)["hidden_size"]
    (256, 512)
    """
    if by_heart(num_chars, num_documents):
        return _rule_by_heart(num_chars)
    hidden_size = 16 * round(_between(num_chars, HIDDEN_SIZES) / 16)
    if 100_000 <= num_chars and 120 <= max_seconds < math.inf:
        hidden_size = 512
    seq_length = 32 if hidden_size == 512 or num_chars < 50_000 else 64
    batch_size = max(round(_between(num_chars, CHARS_A_STEP) / seq_length), 1)
    rule = {
        "cell": "gru",
        "hidden_size": hidden_size,
        "dropout": round(_between(num_chars, DROPOUT), 3),
        "recurrent_dropout": round(_between(num_chars, RECURRENT_DROPOUT), 3),
        "smoothing": round(_between(num_chars, SMOOTHING), 3),
        "average": round(_between(num_chars, AVERAGE), 3),
        "weight_decay": round(_between(num_chars, WEIGHT_DECAY), 3),
        "batch_size": min(batch_size, num_chars),
        "seq_length": min(seq_length, -(-num_chars // batch_size)),
        "epochs": min(_between(num_chars, EPOCHS), max(15_000_000 / num_chars, 1)),
        "rate": _between(num_chars, RATES),
    }
    return rule if cell != "rnn" else {**rule, **TANH_RNN}


#: What a tanh RNN takes in any case.
TANH_RNN = {"cell": "rnn", "dropout": 0.0, "recurrent_dropout": 0.0, "rate": 1.0}

SIZES = (1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 1e7)
HIDDEN_SIZES = (64, 64, 112, 192, 256, 256, 256, 512)
DROPOUT = (0.5, 0.5, 0.4, 0.3, 0.3, 0.3, 0.2, 0)
RECURRENT_DROPOUT = (0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0, 0)
SMOOTHING = (0.6, 0.6, 0.4, 0.2, 0, 0, 0, 0)
WEIGHT_DECAY = (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0)
AVERAGE = (0.15, 0.15, 0.15, 0.15, 0.15, 0.1, 0.1, 0)
RATES = (1, 1.5, 2, 2, 1.5, 1, 1, 1)
EPOCHS = (120, 100, 60, 36, 18, 15, 15, 15)
CHARS_A_STEP = (256, 256, 256, 512, 1024, 2048, 2048, 2048)


def _between(num_chars: int, values: tuple[float, ...]) -> float:
    return float(np.interp(math.log(max(num_chars, 1)), np.log(SIZES), values))


def _rule_by_heart(num_chars: int) -> dict[str, Any]:
    batch_size = min(max(num_chars // 2000, 1), 32)
    return {
        "cell": "rnn",
        "hidden_size": 64,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "smoothing": 0.0,
        "average": 0.0,
        "weight_decay": 0.0,
        "batch_size": batch_size,
        "seq_length": min(64, -(-num_chars // batch_size)),
        "epochs": min(max(15_000_000 / num_chars, 1), 200),
        "rate": 1.0,
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
