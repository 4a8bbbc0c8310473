"""What a training falls back on when it diverges: parameters of which a loss has shown that they are sane.

It knows neither steps nor validations, but only parameters and losses.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from charrnn import scoring

if TYPE_CHECKING:
    from charrnn.model import CharRNN
    from charrnn.text import corpus

# Loss, nats per character, beyond which nothing is learned any more; uniform guesses cost log V.
DIVERGED_LOSS = 1000.0
# From one snapshot of the parameters to the next.
SNAPSHOT_SECONDS = 1.0
# Characters that are read to see whether the parameters are sane.
PROBE = 128


def how_diverged(model: CharRNN, training: corpus.Corpus, averages: list[np.ndarray], num_threads: int) -> str | None:
    """What is wrong with parameters whose loss nobody knows yet, or with the optimizer's averages; None if nothing is.

    No step has followed the update that made them, and it may have been one too large.
    """
    # A sum is finite where all its numbers are, and takes no memory.
    if not all(math.isfinite(array.sum(dtype=np.float64)) for array in (model._arena, *averages)):
        return "a parameter or an average of the optimizer stopped being finite"
    probe = [(0, min(len(training) - 1, PROBE))]
    losses = np.concatenate([found for _, _, found in scoring.losses(model, training, probe, num_threads)])
    return None if losses.mean() <= DIVERGED_LOSS else f"the loss became {losses.mean():.4g}"


class Snapshots:
    """The last sane parameters of a training without a validation part.

    A snapshot, one a second, becomes the best so far once the loss of the step after it is known and is no worse than
    a uniform guess, or than the loss with which the training began.
    """

    def __init__(self, best: np.ndarray, vocab_size: int, began: float) -> None:
        self.best = best
        self.taken = began
        self.sane_loss = math.log(vocab_size)
        self.snapshot: np.ndarray | None = None
        self.step = 0

    def look(self, step: int, loss: float, parameters: np.ndarray, step_now: int) -> None:
        """The first step after `step` had this loss; there are other parameters by now, after `step_now` steps."""
        if step == 0:
            self.sane_loss = max(self.sane_loss, loss)
        if self.snapshot is not None and self.step == step and loss <= self.sane_loss:
            self.best[:] = self.snapshot
        if time.perf_counter() - self.taken > SNAPSHOT_SECONDS:
            self.snapshot = np.empty_like(parameters) if self.snapshot is None else self.snapshot
            self.snapshot[:] = parameters
            self.step, self.taken = step_now, time.perf_counter()
