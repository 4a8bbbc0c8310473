"""A model's parameters as arrays under PyTorch's names: their initial values, and the network that fits given arrays.

V symbols, H hidden units; a cell has G gates. Nothing here calculates with them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from charrnn.errors import ArgumentTypeError, ArgumentValueError, choice
from charrnn.text.vocabulary import Vocabulary

#: The cells, and how many gates each has.
CELLS = {"rnn": 1, "gru": 3, "lstm": 4}
DTYPES = ("float32", "float64")


def dtype_name(dtype: Any) -> str:
    """Return "float32" or "float64" for a dtype in any form that NumPy accepts."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = dtype
    return choice("dtype", name, DTYPES)


def initialize(parameters: Mapping[str, np.ndarray], cell: str, hidden_size: int, seed: int) -> None:
    """Draw the initial values, by the rule that the docstring of `CharRNN` states at `seed`."""
    rng, H = np.random.default_rng(seed), hidden_size
    input_bound = min(max(H / 32, 1), 8) if cell == "rnn" else min(max(H / 200, 1), 2.5)
    for name, parameter in parameters.items():
        bound = input_bound if name == "rnn.weight_ih_l0" else 1 / math.sqrt(H)
        parameter[...] = rng.uniform(-1, 1, parameter.shape) * bound


def extended_arrays(
    arrays: Mapping[str, np.ndarray], known: Vocabulary, vocabulary: Vocabulary
) -> dict[str, np.ndarray]:
    """The parameters for a vocabulary that has more characters than `known`: each new one is the mean of the others."""
    places = np.flatnonzero(np.isin(vocabulary.points, known.points))
    extended = dict(arrays)
    for name, axis in (("rnn.weight_ih_l0", 1), ("head.weight", 0), ("head.bias", 0)):
        old = np.moveaxis(arrays[name], axis, 0)
        new = np.empty((vocabulary.num_inputs if axis else len(vocabulary), *old.shape[1:]), old.dtype)
        new[:] = old[: len(known.characters)].mean(0)
        new[places[: len(old)]] = old
        extended[name] = np.moveaxis(new, 0, axis)
    return extended


def as_arrays(state_dict: Any) -> dict[str, np.ndarray]:
    """The arrays of a state dict, as it comes out of PyTorch, under the names and in the shapes of `CharRNN`'s.

    Tensors may require gradients, lie on another device and be of bfloat16. The layers may have any names or none, and
    wrappers around them; recurrent layers may have no biases, and neither may then the head. An embedding of the
    symbols is multiplied into the weights of the first layer: that is the same network.
    """
    if not isinstance(state_dict, Mapping):
        raise ArgumentTypeError("state_dict", f"must be a mapping of names to arrays, got {type(state_dict).__name__}")
    given = {str(name): _as_array(value) for name, value in state_dict.items()}
    arrays, embeddings = _renamed(given)
    if len(embeddings) == 1 and "rnn.weight_ih_l0" in arrays:
        name, weight = embeddings[0], arrays["rnn.weight_ih_l0"]
        if given[name].ndim != 2 or weight.ndim != 2 or given[name].shape[1] != weight.shape[1]:
            shapes = f"{given[name].shape} and {weight.shape}"
            raise ArgumentValueError(name, f"must have a column for each of weight_ih_l0, got shapes {shapes}")
        arrays["rnn.weight_ih_l0"] = weight @ given[name].T
    else:
        arrays.update({name: given[name] for name in embeddings})
    if not any(name.startswith("rnn.bias_") for name in arrays):
        _add_biases(arrays)
    return arrays


def _as_array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # which NumPy has not
            value = value.float()
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _renamed(given: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays under our names, but for embeddings, and the names of those.

    What is neither recurrent nor an embedding is the head, if there is one such weight and one such bias.
    """
    arrays, embeddings, others = {}, [], []
    for name, array in given.items():
        recurrent = re.fullmatch(r"(?:.*\.)?((?:weight|bias)_[ih]h_l\d+)", name)
        if recurrent:
            arrays[f"rnn.{recurrent[1]}"] = array
        elif re.search(r"(^|[._])(emb\w*|encoder|wte)\.weight$", name):
            embeddings.append(name)
        else:
            others.append(name)
    kinds = [name.rpartition(".")[2] for name in others]
    for name, kind in zip(others, kinds, strict=True):
        is_head = kind in ("weight", "bias") and "." in name and kinds.count(kind) == 1
        arrays[f"head.{kind}" if is_head else name] = given[name]
    return arrays, embeddings


def _add_biases(arrays: dict[str, np.ndarray]) -> None:
    """Add those that a network without biases lacks: zeros."""
    for name in [name for name in arrays if re.fullmatch(r"rnn\.weight_[ih]h_l\d+", name)]:
        arrays[name.replace("weight", "bias")] = np.zeros(arrays[name].shape[:1], arrays[name].dtype)
    if "head.weight" in arrays:
        weight = arrays["head.weight"]
        arrays.setdefault("head.bias", np.zeros(weight.shape[:1], weight.dtype))


def network_of(vocabulary: Any, arrays: Mapping[str, np.ndarray]) -> tuple[Vocabulary, str, int, int, str]:
    """Return vocabulary, cell, hidden_size, num_layers and dtype of the network that has these arrays."""
    for name in ("head.weight", "rnn.weight_hh_l0"):
        if name not in arrays:
            raise ArgumentValueError("state_dict", f"must have {name}, got {', '.join(arrays) or 'nothing'}")
        if arrays[name].ndim != 2:
            raise ArgumentValueError(name, f"must have 2 dimensions, got shape {arrays[name].shape}")
    vocab_size, hidden_size = arrays["head.weight"].shape
    if not isinstance(vocabulary, Vocabulary):
        characters = "".join(vocabulary)
        vocabulary = Vocabulary(characters, end=vocab_size == len(characters) + 1)
    if vocab_size != len(vocabulary):
        raise ValueError(f"head.weight must have {len(vocabulary)} rows, one for each symbol, got {vocab_size}")
    rows = arrays["rnn.weight_hh_l0"].shape[0]
    cell = next((cell for cell, gates in CELLS.items() if rows == gates * hidden_size), None)
    if cell is None:
        allowed = ", ".join(f"{gates * hidden_size} ({cell})" for cell, gates in CELLS.items())
        raise ValueError(f"rnn.weight_hh_l0 must have {allowed} rows for {hidden_size} hidden units, got {rows}")
    num_layers = sum(name.startswith("rnn.weight_hh_l") for name in arrays)
    if 4 * num_layers + 2 > 2 * len(arrays):  # far too few, whose names alone might take much memory
        raise ArgumentValueError(
            "state_dict", f"must have 4 arrays for each of {num_layers} layers, got {len(arrays)} in all"
        )
    return vocabulary, cell, hidden_size, num_layers, _common_dtype(arrays)


def check_shapes(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError unless the arrays have exactly these names and shapes."""
    for name in (*shapes, *arrays):
        if name not in arrays or name not in shapes:
            raise ArgumentValueError("state_dict", f"must have exactly {', '.join(shapes)}, got {', '.join(arrays)}")
        if arrays[name].shape != shapes[name]:
            raise ArgumentValueError(name, f"must have shape {shapes[name]}, got {arrays[name].shape}")


def _common_dtype(arrays: Mapping[str, np.ndarray]) -> str:
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise ArgumentValueError(name, f"must be an array of floating-point numbers, got dtype {array.dtype}")
    return "float64" if all(array.dtype == np.float64 for array in arrays.values()) else "float32"
