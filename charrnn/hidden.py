"""Hidden units: the state of a model after each character of a text.

`forward` gives the state after its last step only; here that of every step is found, in about twice the time of
reading the text once. T steps, V symbols, L layers, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from charrnn.system import check_memory

if TYPE_CHECKING:
    from charrnn.model import CharRNN


def activations(model: CharRNN, text: str | bytes) -> np.ndarray:
    """See `CharRNN.activations`."""
    end = [] if model.vocabulary.end is None else [model.vocabulary.end]
    symbols = np.concatenate([end, model.vocabulary.encode(text, "the text")]).astype(np.int32)
    return units(model, symbols, [state for _, state in blocks(model, symbols)])[len(end) :]


def blocks(model: CharRNN, symbols: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read n symbols in blocks of about sqrt(n); yield the logits (T, V) of each and the state before it."""
    length, state = _block_length(symbols), None
    for at in range(0, len(symbols), length):
        logits, after = model.forward(symbols[at : at + length, None], state)
        yield logits[:, 0], np.zeros_like(after) if state is None else state
        state = after


def units(model: CharRNN, symbols: np.ndarray, states: list[np.ndarray]) -> np.ndarray:
    """Return h of all layers (n, L H) after each of n symbols, given the states before the blocks.

    All blocks are read once more, side by side, one step in each call: that takes sqrt(n) calls. The state of an LSTM
    has c behind h, which is not returned.
    """
    length, (L, H) = _block_length(symbols), (model.num_layers, model.hidden_size)
    if not states:
        return np.empty((0, L * H), model.dtype)
    num_bytes = len(symbols) * L * H * model.dtype.itemsize
    check_memory(num_bytes, num_chars=len(symbols), num_layers=L, hidden_size=H)
    inputs = np.zeros((len(states), length), np.int32)
    inputs.flat[: len(symbols)] = symbols
    hidden = np.empty((len(states), length, L, H), model.dtype)
    state = np.concatenate(states, axis=-2)
    for t in range(length):
        _, state = model.forward(inputs[:, t][None], state)
        hidden[:, t] = np.moveaxis(state.reshape(-1, L, len(states), H)[0], 0, 1)
    return hidden.reshape(-1, L * H)[: len(symbols)]


def _block_length(symbols: np.ndarray) -> int:
    return math.isqrt(len(symbols)) + 1
