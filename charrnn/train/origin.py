"""What a model file tells of the training that the model came from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import charrnn
from charrnn.history import Origin

if TYPE_CHECKING:
    from charrnn.train.loop import Run


def origin_of(run: Run) -> Origin:
    """Return what is known of a run before its first step."""
    training, validation = run.training, run.validation
    settings = {
        name: None if isinstance(value, float) and math.isinf(value) else value
        for name, value in vars(run.settings).items()
    }
    return Origin(
        version=charrnn.__version__,
        text=training.name,
        num_chars=run.num_chars,
        num_val_chars=run.num_val_chars,
        num_documents=training.num_documents + (0 if validation is None else validation.num_documents),
        cut=None if training.cut is None else training.cut.as_record(),
        settings=settings,
    )


def update_origin(run: Run) -> None:
    """Bring it to where the run is."""
    origin = run.history.origin
    assert origin is not None
    origin.steps = run.steps_before + run.trainer.step
    origin.epochs = run.epochs_before + run.trainer.step / run.steps_per_epoch
    origin.val_loss = None if math.isinf(run.best_val_loss) else run.best_val_loss
    origin.seconds = None if math.isinf(run.settings.max_seconds) else run.seconds()
