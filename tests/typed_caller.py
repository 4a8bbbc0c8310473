"""What a caller of charrnn may rely on from a type checker: mypy and pyright read this, nobody runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import charrnn.train
from charrnn import kernels

if TYPE_CHECKING:
    from typing_extensions import assert_type


def watch(report: charrnn.train.Report) -> None:
    assert_type(report.loss, float)
    assert_type(report.val_loss, float | None)
    assert_type(report.model, charrnn.CharRNN)


def train() -> charrnn.CharRNN:
    charrnn.train.train(b"bytes", hidden_size=8, epochs=1.5, callback=watch)
    charrnn.train.train(["ann", "bob"], optimizer="sgd", clip_norm=None, init_from="model.safetensors")
    return charrnn.train.train(Path("book.txt"), encoding="latin-1", max_seconds=180)


def sample(model: charrnn.CharRNN) -> None:
    assert_type(model.sample(), str)
    assert_type(model.sample("It was", 100, temperature=0.8, rng=0), str)
    assert_type(model.sample(b"It was", rng=np.random.default_rng(0)), bytes)
    assert_type(model.stream("It was"), Iterator[str])
    assert_type(model.sample_many(3, rng=np.random.RandomState(0)), list[str])
    assert_type(model.next_probs("q"), dict[str, float])


def score(model: charrnn.CharRNN) -> None:
    assert_type(model.evaluate("text").bits_per_char, float)
    assert_type(model.log_prob("text"), npt.NDArray[np.float64])
    assert_type([scores.size for scores in model.log_prob(["to", "be"])], list[int])
    assert_type(model.activations("text").ndim, int)


def loop(model: charrnn.CharRNN) -> float:
    inputs = np.zeros((3, 2), np.int64)
    logits, state = model.forward([[0], [1]])
    loss, grads, state = model.loss_and_grad(inputs, inputs, state)
    for name, parameter in model.state_dict().items():
        parameter -= 0.1 * grads[name] * logits.size
    return loss


def files(model: charrnn.CharRNN) -> charrnn.Vocabulary:
    model.save("model.safetensors")
    try:
        return charrnn.load(Path("model.safetensors")).vocabulary
    except charrnn.ModelFileError:
        return charrnn.Vocabulary("abc", end=True)


def history(model: charrnn.CharRNN) -> list[float]:
    return [] if model.history is None else model.history.losses


def low_level(x: npt.NDArray[np.float32], y: npt.NDArray[np.float64]) -> None:
    assert_type(kernels.BUILD, str)
    assert_type(kernels.tanh(x), npt.NDArray[np.float32])
    assert_type(kernels.softmax(y.reshape(1, -1)), npt.NDArray[np.float64])
    assert_type(kernels.Network(65, 128).arena_size, int)
    assert_type(kernels.cross_entropy(x.reshape(1, -1), np.zeros(1, np.int64)), float)
    assert_type(kernels.get_include(), str)
