"""Mixtures: a model whose probabilities are the weighted mean of several models'.

Where models differ, their mean is better than the best of them (Hansen, Salamon, "Neural network ensembles", 1990).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.errors import ArgumentTypeError, ArgumentValueError, number
from charrnn.language import LanguageModel, Scorer
from charrnn.model import CharRNN

if TYPE_CHECKING:
    from charrnn.kernels.kernels import Sampler
    from charrnn.text.vocabulary import Vocabulary

__all__ = ["Mixture", "mixture"]


def mixture(models: Iterable[LanguageModel], weights: Iterable[float] | None = None) -> Mixture:
    """Make a model of several: its probability of each next character is the weighted mean of theirs.

    Parameters
    ----------
    models : iterable of CharRNN or Mixture
        With the same characters, in any order, and all with END or all without. They may differ in all else.
    weights : iterable of float, optional
        Of each model, greater than 0; they are divided by their sum. By default all count the same.

    Returns
    -------
    Mixture
        It samples and scores like any model. Where the models' parameters change, so does it, but for those whose
        characters are in another order than the first one's or whose dtype differs: these are copied.

    Examples
    --------
    >>> models = [charrnn.train.train("hello world", seed=seed) for seed in range(3)]
    >>> mixed = charrnn.mixture(models)
    >>> mixed.sample("hell", 7, temperature=0)
    'o world'
    >>> p = [model.next_probs("wor")["l"] for model in models]
    >>> abs(mixed.next_probs("wor")["l"] - sum(p) / 3) < 1e-6
    True
    """
    return Mixture(models, weights)


class Mixture(LanguageModel):
    """A weighted mean of models; see `mixture`.

    Attributes
    ----------
    vocabulary : Vocabulary
        That of the first model.
    models : tuple of CharRNN
    weights : tuple of float
        Of these models; they add up to 1.

    Examples
    --------
    >>> charrnn.mixture([charrnn.CharRNN("abc", seed=seed) for seed in range(2)], [1, 3]).weights
    (0.25, 0.75)
    """

    def __init__(self, models: Iterable[LanguageModel], weights: Iterable[float] | None = None) -> None:
        given = _checked_models(models)
        shares = _checked_weights(weights, len(given))
        self.vocabulary = given[0].vocabulary
        parts = [
            (share * weight, network)
            for share, model in zip(shares, given, strict=True)
            for weight, network in model._components()
        ]
        dtype = np.result_type(*(network.dtype for _, network in parts))
        self.models = tuple(_aligned(network, self.vocabulary, dtype) for _, network in parts)
        total = sum(weight for weight, _ in parts)
        self.weights = tuple(weight / total for weight, _ in parts)

    def __repr__(self) -> str:
        weights = ", ".join(f"{weight:.3g}" for weight in self.weights)
        return f"<Mixture of {len(self.models)} models with the weights {weights}: {', '.join(map(repr, self.models))}>"

    def _components(self) -> list[tuple[float, CharRNN]]:
        return list(zip(self.weights, self.models, strict=True))

    def _engine(self, seq_length: int, batch_size: int, *, num_threads: int | None = None) -> Scorer:
        engines = [model._engine(seq_length, batch_size, num_threads=num_threads) for model in self.models]
        return _MixedEngine(engines, self.weights)

    def _sampler(self, rows: int, **settings: Any) -> Sampler:
        """A chain of samplers, the first of which mixes itself with the second, and so on."""
        sampler, rest = self.models[-1]._sampler(rows, **(settings if len(self.models) == 1 else {})), self.weights[-1]
        for i in range(len(self.models) - 2, -1, -1):
            rest += self.weights[i]
            share = self.weights[i] / rest
            own = settings if i == 0 else {}
            sampler = self.models[i]._sampler(rows, partner=sampler, weight=share, **own)
        return sampler


class _MixedEngine:
    """Engines that read the same."""

    def __init__(self, engines: list[Any], weights: tuple[float, ...]) -> None:
        self.engines = engines
        self.log_weights = np.log(weights)

    def set_state(self, state: None) -> None:
        for engine in self.engines:
            engine.set_state(state)

    def losses(self, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        losses = [engine.losses(inputs, targets) for engine in self.engines]
        log_probs = [weight - loss for weight, loss in zip(self.log_weights, losses, strict=True)]
        mixed: np.ndarray = -np.logaddexp.reduce(log_probs)
        return mixed


def _checked_models(models: Any) -> list[LanguageModel]:
    if isinstance(models, LanguageModel) or not isinstance(models, Iterable):
        raise ArgumentTypeError("models", f"must be several models, got {type(models).__name__}")
    given = list(models)
    if not given:
        raise ArgumentValueError("models", "must be at least 1 model, got none")
    for i, model in enumerate(given):
        if not isinstance(model, LanguageModel):
            raise ArgumentTypeError("models", f"must be models, got {type(model).__name__} at position {i}")
        first, other = given[0].vocabulary, model.vocabulary
        if set(first.characters) != set(other.characters):
            differing = "".join(sorted({*first.characters} ^ {*other.characters}))
            which = f"{differing[:20]!r}{'...' if len(differing) > 20 else ''}"
            raise ArgumentValueError(
                "models", f"must have the same characters, got {which} in one of those at positions 0 and {i}"
            )
        if (first.end is None) != (other.end is None):
            raise ArgumentValueError(
                "models", f"must be all of documents or all of texts, got one of each at positions 0 and {i}"
            )
        if set(first.labels) != set(other.labels):
            raise ArgumentValueError("models", f"must have the same labels, got others at positions 0 and {i}")
    return given


def _checked_weights(weights: Any, count: int) -> list[float]:
    if weights is None:
        return [1.0] * count
    if not isinstance(weights, Iterable):
        raise ArgumentTypeError("weights", f"must be a number for each model, got {weights!r}")
    found = [number("weights", weight, 0, above=True) for weight in weights]
    if len(found) != count:
        raise ArgumentValueError("weights", f"must be a number for each of {count} models, got {len(found)}")
    return found


def _aligned(model: CharRNN, vocabulary: Vocabulary, dtype: np.dtype[Any]) -> CharRNN:
    """The model with its symbols in this order and of this dtype: itself where it is so already."""
    if model.vocabulary == vocabulary and model.dtype == dtype:
        return model
    own = model.vocabulary
    order = [own.characters.index(character) for character in vocabulary.characters]
    if own.end is not None:
        order.append(own.end)
    inputs = [*order, *(len(own) + own.labels.index(label) for label in vocabulary.labels)]
    state = {name: array.astype(dtype) for name, array in model.state_dict().items()}
    state["rnn.weight_ih_l0"] = state["rnn.weight_ih_l0"][:, inputs]
    for name in ("head.weight", "head.bias"):
        state[name] = state[name][order]
    return CharRNN.from_state_dict(vocabulary, state)
