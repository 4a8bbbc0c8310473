"""scikit-learn estimators over strings: a density, which is a model of documents.

X is a sequence of str: a list, a NumPy array, a pandas Series. The parameters are the settings of
`charrnn.train.train`, with `random_state` in place of `seed`. It needs scikit-learn, which nothing else in the package
imports.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.options import declared
from charrnn.train import train
from charrnn.train.settings import Settings

try:
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise ImportError("charrnn.sklearn needs scikit-learn: install charrnn[sklearn]") from error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sklearn.utils import Tags
    from typing_extensions import Self

    from charrnn.model import CharRNN

__all__ = ["CharRNNDensity"]

#: The parameters of an estimator and their defaults.
PARAMETERS: dict[str, Any] = {
    **{name: inspect.signature(train).parameters[name].default for name in declared(Settings) if name != "seed"},
    "num_threads": None,
    "random_state": None,
}


class _TextEstimator(BaseEstimator):  # type: ignore[misc]
    """What estimators over text share: their parameters, and what they take for X."""

    random_state: Any

    def __init__(self, **parameters: Any) -> None:
        for name in parameters.keys() - PARAMETERS.keys():
            raise TypeError(f"{name} is not a parameter of {type(self).__name__}: {', '.join(PARAMETERS)}")
        for name, default in PARAMETERS.items():
            setattr(self, name, parameters.get(name, default))

    # What scikit-learn's get_params and clone go by.
    __init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY),
            *(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=d) for name, d in PARAMETERS.items()),
        ]
    )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.non_deterministic = self.random_state is None
        return tags

    def _trained(self, documents: Iterable[Any]) -> CharRNN:
        settings = {name: getattr(self, name) for name in PARAMETERS if name != "random_state"}
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return train(documents, seed=seed, progress=False, **settings)


def _texts(X: Any) -> list[str]:
    """The texts of X, a sequence of them."""
    if isinstance(X, (str, bytes)):
        raise ValueError(f"X must be a sequence of str, got a single {type(X).__name__}")
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) != 1:
        raise ValueError(f"X must be one-dimensional, a sequence of str, got shape {tuple(shape)}")
    if not hasattr(X, "__iter__"):
        raise TypeError(f"X must be a sequence of str, got {type(X).__name__}")
    texts = list(X)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"X must be a sequence of str, got {type(text).__name__} at position {i}")
    if not texts:
        raise ValueError("X must have at least 1 text, got 0 samples")
    return texts


class CharRNNDensity(DensityMixin, _TextEstimator):  # type: ignore[misc]
    """The probability of a string, by a character-level recurrent model that is trained on strings.

    Parameters
    ----------
    **parameters
        The settings of `charrnn.train.train`, by their names; None is chosen by the size of the data.
    random_state : int, numpy.random.RandomState or None
        The source of the training's seed, as everywhere in scikit-learn.

    Attributes
    ----------
    model_ : CharRNN
        The trained model of documents.

    Examples
    --------
    >>> density = charrnn.sklearn.CharRNNDensity(hidden_size=16, epochs=20, random_state=0)
    >>> density = density.fit(["anna", "hanna", "johanna"])
    >>> anna, odd = density.score_samples(["anna", "nnaa"])
    >>> bool(anna > odd)
    True
    """

    def fit(self, X: Iterable[str], y: Any = None) -> Self:
        """Train on these strings; y is ignored.

        Raises
        ------
        TypeError, ValueError
            X is no sequence of str, or a parameter is out of its range.
        """
        self.model_ = self._trained(_texts(X))
        return self

    def score_samples(self, X: Iterable[str]) -> np.ndarray:
        """The log-probability of each string, (n,), in nats; -inf for one with characters that were not trained on."""
        check_is_fitted(self)
        scores: np.ndarray = self.model_.score(_texts(X), unknown="impossible")
        return scores

    def score(self, X: Iterable[str], y: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The total log-probability of these strings, in nats: greater is better. y is ignored."""
        return float(self.score_samples(X).sum())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> list[str]:
        """Draw n_samples strings."""
        check_is_fitted(self)
        return self.model_.sample_many(n_samples, rng=check_random_state(random_state))
