"""Character-level recurrent language models, trained, sampled and scored on an ordinary CPU.

>>> import charrnn
>>> model = charrnn.train.train("hello world", seed=0)
>>> model.sample("h", 10, temperature=0)
'ello world'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn import kernels as kernels
    from charrnn import plot as plot
    from charrnn import show as show
    from charrnn import sklearn as sklearn
    from charrnn import train as train
    from charrnn.errors import DivergenceError, ModelFileError, TrainingInterrupted
    from charrnn.mixing import Mixture, mixture
    from charrnn.model import CharRNN, Evaluation, load
    from charrnn.text.documents import Documents, documents
    from charrnn.text.vocabulary import Vocabulary

__version__ = "0.1.0"

__all__ = [
    "CharRNN",
    "DivergenceError",
    "Documents",
    "Evaluation",
    "Mixture",
    "ModelFileError",
    "TrainingInterrupted",
    "Vocabulary",
    "documents",
    "load",
    "mixture",
]

#: The public modules.
_MODULES = ("kernels", "plot", "show", "sklearn", "train")

#: The module of each public name.
_HOMES = {
    "CharRNN": "model",
    "DivergenceError": "errors",
    "Documents": "text.documents",
    "Evaluation": "model",
    "Mixture": "mixing",
    "ModelFileError": "errors",
    "TrainingInterrupted": "errors",
    "Vocabulary": "text.vocabulary",
    "documents": "text.documents",
    "load": "model",
    "mixture": "mixing",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: the command line answers at once, and reports what fails to import."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return ["__version__", *__all__, *_MODULES]
