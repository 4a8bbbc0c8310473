"""When: the learning rate and the average's share of each step, and the next validation.

A run is counted in shares, from 0 to 1, by its steps or by its seconds, whichever is farther. Nothing here knows what
a step does.
"""

from __future__ import annotations

import math

import numpy as np

from charrnn.history import History
from charrnn.train.settings import SCHEDULES, Settings

# Where an average is over so many steps for each that it takes, others may be left out.
STEPS_BESIDE_ONE = 32
VALIDATIONS = 20
# Of a training that is made anew: there it takes little time, and the number of steps is what is looked for.
REFIT_VALIDATIONS = 40
# At most this share of max_seconds goes to them.
VALIDATION_SHARE = 0.05


def average_shares(share: float, steps: np.ndarray) -> np.ndarray:
    """How much of the average each of these steps, counted from 1, is to be: it is over the newest `share` of them.

    Shamir, Zhang, "Stochastic gradient descent for non-smooth optimization" (2013): polynomial decay. Of a long average
    every eighth step says as much as all of them, and costs nothing: all cost a tenth of a step of 64 units.
    """
    averaged = share * steps
    every = np.clip(averaged // STEPS_BESIDE_ONE, 1, 8)
    return np.where(steps % every == 0, np.minimum(every / averaged, 1), 0.0)


def learning_rates(
    settings: Settings, step: int, steps: int, total_steps: float, by_time: np.ndarray | None
) -> np.ndarray:
    """Return the learning rates of the steps after `step`; by_time is the share of the seconds before each of them."""
    begun, made = (np.arange(step + i, step + i + steps) / total_steps for i in (0, 1))
    if by_time is not None:
        begun, made = np.maximum(begun, by_time), np.maximum(made, by_time)
        if step == 0:
            begun[0] = 0  # reading may have taken all the time, and even then the first step is to be one
    rising = np.minimum(made / settings.warmup, 1) if settings.warmup else 1.0
    return settings.learning_rate * rising * SCHEDULES[settings.schedule](np.minimum(begun, 1))


def steps_done(history: History, total_steps: float) -> float:
    """Return the share of the steps that were made at the last validation."""
    return history.val_steps[-1] / total_steps if history.val_steps else 0.0


def next_validation(done: float, refits: bool, max_seconds: float, validation_seconds: float) -> float:
    """Return the share of the run at which to validate next, when this share is done and one takes these seconds."""
    validations = REFIT_VALIDATIONS if refits else VALIDATIONS
    if not math.isinf(max_seconds) and validation_seconds > 0:
        validations = max(min(validations, int(VALIDATION_SHARE * max_seconds / validation_seconds)), 1)
    return (math.floor(done * validations + 1e-9) + 1) / validations
