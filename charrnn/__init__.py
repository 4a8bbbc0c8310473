"""Character-level recurrent language models, trained, sampled and scored on an ordinary CPU.

>>> import charrnn.train
>>> model = charrnn.train.train("hello world", seed=0)
>>> model.sample("h", 10, temperature=0)
'ello world'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.errors import DivergenceError, ModelFileError, TrainingInterrupted
    from charrnn.model import CharRNN, Evaluation, load
    from charrnn.text.vocabulary import Vocabulary

__version__ = "0.1.0"

__all__ = [
    "CharRNN",
    "DivergenceError",
    "Evaluation",
    "ModelFileError",
    "TrainingInterrupted",
    "Vocabulary",
    "load",
]

_MODULES = {
    "CharRNN": "model",
    "DivergenceError": "errors",
    "Evaluation": "model",
    "ModelFileError": "errors",
    "TrainingInterrupted": "errors",
    "Vocabulary": "text.vocabulary",
    "load": "model",
}


def __getattr__(name: str) -> Any:
    """A public name, imported at its first use: the command line is to answer at once, and to answer for what fails."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
