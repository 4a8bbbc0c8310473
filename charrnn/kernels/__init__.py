"""The compiled kernels, in the build that suits this CPU: `BUILD` names it.

A build is the same Cython source compiled for an instruction set; `CHARRNN_BUILD` in the environment forces one.
Each has the functions below for float32 and for float64, and takes the arrays' dtype as the choice between them.
In the signatures an array marked IN OUT or OUT is written in place and has to be C-contiguous; integer arrays of
any type are taken. Reading order of the source: bptt.pxd (which names the passes), cells.pxd, softmax.pxd and
optimizers.pxd; beneath them network.pxd, work.pxd and gemm.pxd.

>>> kernels.BUILD in kernels.BUILDS
True
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.errors import number

try:
    from charrnn.kernels.cpu import fma_peak as measured_peak
    from charrnn.kernels.cpu import x86_64_level
except ModuleNotFoundError as error:
    raise ImportError(
        f"{__file__} is in a source tree whose kernels are not compiled; "
        "build them there with: pip install -e . (or import an installed charrnn from another folder)"
    ) from error

if TYPE_CHECKING:
    import numpy.typing as npt

    from charrnn.kernels import kernels
    from charrnn.kernels.kernels import (
        adagrad,
        adam,
        bptt,
        clip_norm,
        clip_value,
        cross_entropy,
        exp,
        gru_cell,
        gru_cell_backward,
        lstm_cell,
        lstm_cell_backward,
        rmsprop,
        rnn_cell,
        rnn_cell_backward,
        sgd,
        sigmoid,
        softmax,
        tanh,
    )

__all__ = [
    "BUILD",
    "BUILDS",
    "Network",
    "VECTOR_LENGTH",
    "adagrad",
    "adam",
    "bptt",
    "clip_norm",
    "clip_value",
    "cross_entropy",
    "exp",
    "fma_peak",
    "get_include",
    "gru_cell",
    "gru_cell_backward",
    "lstm_cell",
    "lstm_cell_backward",
    "module",
    "rmsprop",
    "rnn_cell",
    "rnn_cell_backward",
    "sgd",
    "sigmoid",
    "slow_because",
    "softmax",
    "tanh",
]

#: Every build that there can be, the best first, with the level of CPU that it needs.
BUILDS = {"x86-64-v4": 4, "x86-64-v3": 3, "x86-64-v2": 2, "generic": 0}


def _import(build: str, dtype: str) -> ModuleType | None:
    name = f"{__name__}._{build.replace('-', '_')}_{dtype}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def _choose() -> tuple[str, ModuleType]:
    wanted = os.environ.get("CHARRNN_BUILD")
    if wanted and wanted not in BUILDS:
        raise ImportError(f"CHARRNN_BUILD must be one of {', '.join(BUILDS)}, got {wanted!r}")
    for build, level in BUILDS.items():
        if wanted and build != wanted:
            continue
        if level > x86_64_level():
            if wanted:
                raise ImportError(
                    f"CHARRNN_BUILD is {wanted}, but this CPU does not run it (it has level {x86_64_level()} of x86-64)"
                )
            continue
        kernels = _import(build, "float32")
        if kernels is not None:
            return build, kernels
    if wanted:
        raise ImportError(f"CHARRNN_BUILD is {wanted}, but this installation of charrnn does not contain that build")
    raise ImportError("this installation of charrnn contains no build that this CPU runs; build it from source here")


BUILD, _float32 = _choose()

#: Numbers of type float32 in a vector of this build; 1 where its compiler had no vector types.
VECTOR_LENGTH: int = _float32.VECTOR_LENGTH


def slow_because() -> str:
    """Why this build falls short of the CPU, as a sentence; "" where it does not.

    Examples
    --------
    >>> kernels.slow_because() == "" or kernels.BUILD != "x86-64-v4"
    True
    """
    if VECTOR_LENGTH == 1:
        return (
            "the kernels were compiled without vectors, which makes them some 15 times slower: compile them with clang "
            "or GCC, on Windows with clang-cl"
        )
    level = x86_64_level()
    if BUILDS[BUILD] < level and level > 1:
        return f"the kernels are those for {BUILD}, and this CPU runs those for x86-64-v{level}"
    return ""


def module(dtype: npt.DTypeLike) -> ModuleType:
    """The compiled module of this build for float32 or float64.

    Examples
    --------
    >>> kernels.module("float64").DTYPE
    dtype('float64')
    """
    with contextlib.suppress(TypeError):
        if np.dtype(dtype) == np.float32:
            return _float32
        if np.dtype(dtype) == np.float64:
            return _float64()
    raise TypeError(f"dtype must be float32 or float64, got {dtype}")


@functools.cache
def _float64() -> ModuleType:
    kernels = _import(BUILD, "float64")
    assert kernels is not None, "the two number types of a build are installed together"
    return kernels


def get_include() -> str:
    """The folder of simd.h, for the C compiler of another Cython project that cimports these kernels.

    Examples
    --------
    >>> os.path.exists(os.path.join(kernels.get_include(), "simd.h"))
    True
    """
    return os.path.dirname(__file__)


def Network(
    vocab_size: int,
    hidden_size: int,
    num_layers: int = 1,
    dtype: npt.DTypeLike = "float32",
    cell: str = "rnn",
    num_labels: int = 0,
) -> kernels.Network:
    """The sizes of a network and where its parameters lie in an arena: see its `arena_size` and `views`.

    Labels are symbols of the input beyond the vocabulary, which stand in the place of END before a document.

    Examples
    --------
    >>> network = kernels.Network(vocab_size=65, hidden_size=128, cell="lstm")
    >>> network.views(np.zeros(network.arena_size, np.float32))["head.weight"].shape
    (65, 128)
    """
    network: kernels.Network = module(dtype).Network(vocab_size, hidden_size, num_layers, cell, num_labels)
    return network


def fma_peak(seconds: float = 0.2, dtype: npt.DTypeLike = "float32") -> float:
    """Floating-point operations a second that one core can do at most, measured by multiply-adds in registers.

    It is the CPU's own peak, by the widest vectors that it has, whatever build of the kernels was chosen.

    Examples
    --------
    >>> kernels.fma_peak(seconds=0.01) > 1e8
    True
    """
    return measured_peak(number("seconds", seconds, 0), module(dtype) is not _float32)


def _by_dtype(name: str) -> Any:
    """The function of this name, in the module for the dtype of its first floating-point array."""

    @functools.wraps(getattr(_float32, name))
    def function(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args, *kwargs.values()):
            if isinstance(argument, np.ndarray) and argument.dtype.kind == "f":
                break
        else:
            first = next(iter(inspect.signature(function).parameters))
            raise TypeError(f"{first} must be a NumPy array of float32 or float64, and so must the others be of {name}")
        return getattr(module(argument.dtype), name)(*args, **kwargs)

    return function


if not TYPE_CHECKING:  # their types are imported above
    adagrad = _by_dtype("adagrad")
    adam = _by_dtype("adam")
    bptt = _by_dtype("bptt")
    clip_norm = _by_dtype("clip_norm")
    clip_value = _by_dtype("clip_value")
    cross_entropy = _by_dtype("cross_entropy")
    exp = _by_dtype("exp")
    gru_cell = _by_dtype("gru_cell")
    gru_cell_backward = _by_dtype("gru_cell_backward")
    lstm_cell = _by_dtype("lstm_cell")
    lstm_cell_backward = _by_dtype("lstm_cell_backward")
    rmsprop = _by_dtype("rmsprop")
    rnn_cell = _by_dtype("rnn_cell")
    rnn_cell_backward = _by_dtype("rnn_cell_backward")
    sgd = _by_dtype("sgd")
    sigmoid = _by_dtype("sigmoid")
    softmax = _by_dtype("softmax")
    tanh = _by_dtype("tanh")
