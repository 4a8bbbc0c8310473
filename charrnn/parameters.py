"""A model's parameters as arrays under PyTorch's names: their initial values, and the network that fits given arrays.

V symbols, H hidden units; a cell has G gates. Nothing here calculates with them.
"""

from __future__ import annotations

import math
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


def as_arrays(state_dict: Any) -> dict[str, np.ndarray]:
    """Return the values of a state dict as arrays; PyTorch tensors may require gradients."""
    if not isinstance(state_dict, Mapping):
        raise ArgumentTypeError("state_dict", f"must be a mapping of names to arrays, got {type(state_dict).__name__}")
    return {
        name: np.asarray(array.detach() if hasattr(array, "detach") else array) for name, array in state_dict.items()
    }


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
