"""How a model reads a text, in numbers: surprisal, guesses and hidden units of each character.

T characters, V symbols, H hidden units, L layers. Nothing here knows how a page shows it.
"""

from __future__ import annotations

import numpy as np

from charrnn.hidden import blocks, units
from charrnn.model import CharRNN

#: How many guesses are shown for each character.
GUESSES = 5
#: Characters, about a word: a unit has a memory if its value now tells its value this many characters later.
LAG = 5


def read(model: CharRNN, symbols: np.ndarray) -> tuple[np.ndarray, ...]:
    """Surprisals (T - 1,), best guesses and their probabilities (T - 1, GUESSES), and hidden units (T, L H)."""
    states, predictions, at = [], [], 1
    for logits, state in blocks(model, symbols):
        states.append(state)
        targets = symbols[at : at + len(logits)]
        predictions.append(_predictions(logits[: len(targets)], targets))
        at += len(targets)
    surprisal, guesses, probs = map(np.concatenate, zip(*predictions, strict=True))
    return surprisal, guesses, probs, units(model, symbols, states)


def _predictions(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    log_probs = (logits - logits.max(1, keepdims=True)).astype(np.float64)
    log_probs -= np.log(np.exp(log_probs).sum(1, keepdims=True))
    count = min(GUESSES, logits.shape[1])
    best = np.argpartition(-log_probs, count - 1)[:, :count]
    order = np.argsort(-np.take_along_axis(log_probs, best, 1), kind="stable")
    guesses = np.take_along_axis(best, order, 1)
    return -log_probs[np.arange(len(targets)), targets], guesses, np.exp(np.take_along_axis(log_probs, guesses, 1))


def longest_memory(hidden: np.ndarray) -> np.ndarray:
    """Return the units by falling covariance of their value with their value LAG characters later."""
    deviations = hidden - hidden.mean(0)
    lag = min(LAG, len(hidden) - 1)
    return np.argsort(-np.einsum("ti,ti->i", deviations[lag:], deviations[:-lag]), kind="stable")
