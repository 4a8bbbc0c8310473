"""exp, sigmoid and tanh over the whole range, in every build that this CPU runs: how far from exact they may be.

An error is |result - exact| in units of the last place of the exact result: 0.5 at most where each is correctly
rounded. The exact result is that of a wider type: float64 for float32, the 80 bits of x87 for float64.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_kernels import MODULES

# Just above the largest errors found, of all float32 numbers and of some 10^8 float64 numbers, with fused
# multiply-adds (x86-64-v3 and v4) or without: float32 1.044, 0.750 and 2.606; float64 1.028, 0.767 and 2.649.
MAX_ERROR_OF_EXP = 1.1
MAX_ERROR_OF_SUBNORMAL_EXP = 0.8
MAX_ERROR_OF_TANH = 2.8
MAX_ERROR_OF_SIGMOID = 2.8
MAX_ERROR_OF_SUBNORMAL_SIGMOID = 2.8

WIDER = {np.dtype(np.float32): np.float64, np.dtype(np.float64): np.longdouble}
MODULES_BY_DTYPE = {
    dtype: {name: module for name, module in MODULES.items() if module.DTYPE == dtype} for dtype in WIDER
}


def every_module_of(dtype: type):
    modules = MODULES_BY_DTYPE[np.dtype(dtype)]
    return pytest.mark.parametrize("kernels", modules.values(), ids=modules.keys())


FUNCTIONS = ("exp", "sigmoid", "tanh")

every_module = pytest.mark.parametrize("kernels", MODULES.values(), ids=MODULES.keys())
needs_80_bits = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="NumPy's longdouble is no wider than float64 here"
)


def errors(result: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """In units of the last place; an infinite result counts as 2^128 or 2^1024, and is right beyond that."""
    info, wider = np.finfo(result.dtype), exact.dtype.type
    limit = wider(2) ** info.maxexp
    with np.errstate(over="ignore"):
        unit = np.spacing(np.minimum(np.abs(exact), wider(info.max)).astype(result.dtype)).astype(wider)
    return np.abs(np.clip(result.astype(wider), -limit, limit) - np.clip(exact, -limit, limit)) / unit


def largest_error(function, exact_function, x: np.ndarray, subnormal: bool = False) -> float:
    """Of the results that are subnormal numbers or 0, or of all others."""
    with np.errstate(over="ignore", under="ignore"):
        exact = exact_function(x.astype(WIDER[x.dtype]))
    selected = (np.abs(exact) < np.finfo(x.dtype).tiny) == subnormal
    assert selected.any()
    return float(errors(function(x), exact)[selected].max())


def exact_sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def bounds_of_exp(dtype: np.dtype) -> tuple[float, float, float]:
    """Where exp overflows, becomes subnormal, and rounds to 0."""
    info = np.finfo(dtype)
    return tuple(np.log(2) * n for n in (info.maxexp, info.minexp, info.minexp - info.nmant - 1))


def around_bounds_of_exp(dtype: np.dtype) -> np.ndarray:
    """The 50 numbers on each side of each."""
    integers = np.dtype(f"int{8 * dtype.itemsize}")
    x = np.array(bounds_of_exp(dtype), dtype).view(integers)[:, None] + np.arange(-50, 51, dtype=integers)
    return x.ravel().view(dtype)


def float32_sample() -> np.ndarray:
    """Every 509th bit pattern: all exponents, both signs, subnormal numbers, all low bits."""
    patterns = np.arange(0, 2**32, 509, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate([patterns, around_bounds_of_exp(np.dtype(np.float32))])
    return x[np.isfinite(x)]


def float64_sample(n: int = 200_000) -> np.ndarray:
    """Random bit patterns, then numbers where exp or tanh are neither 0, 1, -1, x nor infinite, many near 0."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    ranges = [rng.uniform(low, high, n) for low, high in ((-746, 710), (-746, -708), (-20, 20), (-1, 1))]
    every_magnitude = rng.choice([-1.0, 1.0], n) * 2.0 ** rng.uniform(-1074, 10, n)
    x = np.concatenate([patterns, *ranges, every_magnitude, around_bounds_of_exp(np.dtype(np.float64))])
    return x[np.isfinite(x)]


@every_module_of(np.float32)
def test_exp_of_float32_is_within_its_bounds_for_all_exponents(kernels):
    x = float32_sample()
    assert largest_error(kernels.exp, np.exp, x) <= MAX_ERROR_OF_EXP
    assert largest_error(kernels.exp, np.exp, x, subnormal=True) <= MAX_ERROR_OF_SUBNORMAL_EXP


@every_module_of(np.float32)
def test_tanh_of_float32_is_within_its_bound_for_all_exponents(kernels):
    x = float32_sample()
    assert largest_error(kernels.tanh, np.tanh, x) <= MAX_ERROR_OF_TANH
    assert largest_error(kernels.tanh, np.tanh, x, subnormal=True) == 0


@every_module_of(np.float32)
def test_sigmoid_of_float32_is_within_its_bounds_for_all_exponents(kernels):
    x = float32_sample()
    assert largest_error(kernels.sigmoid, exact_sigmoid, x) <= MAX_ERROR_OF_SIGMOID
    assert largest_error(kernels.sigmoid, exact_sigmoid, x, subnormal=True) <= MAX_ERROR_OF_SUBNORMAL_SIGMOID


@needs_80_bits
@every_module_of(np.float64)
def test_exp_of_float64_is_within_its_bounds_for_all_exponents(kernels):
    x = float64_sample()
    assert largest_error(kernels.exp, np.exp, x) <= MAX_ERROR_OF_EXP
    assert largest_error(kernels.exp, np.exp, x, subnormal=True) <= MAX_ERROR_OF_SUBNORMAL_EXP


@needs_80_bits
@every_module_of(np.float64)
def test_tanh_of_float64_is_within_its_bound_for_all_exponents(kernels):
    x = float64_sample()
    assert largest_error(kernels.tanh, np.tanh, x) <= MAX_ERROR_OF_TANH
    assert largest_error(kernels.tanh, np.tanh, x, subnormal=True) == 0


@needs_80_bits
@every_module_of(np.float64)
def test_sigmoid_of_float64_is_within_its_bounds_for_all_exponents(kernels):
    x = float64_sample()
    assert largest_error(kernels.sigmoid, exact_sigmoid, x) <= MAX_ERROR_OF_SIGMOID
    assert largest_error(kernels.sigmoid, exact_sigmoid, x, subnormal=True) <= MAX_ERROR_OF_SUBNORMAL_SIGMOID


@every_module
def test_exp_is_right_where_it_overflows_becomes_subnormal_and_vanishes(kernels):
    info = np.finfo(kernels.DTYPE)
    overflow, subnormal, vanishing = bounds_of_exp(kernels.DTYPE)
    x = around_bounds_of_exp(kernels.DTYPE)
    result = kernels.exp(x)
    assert np.isinf(result[x > overflow * (1 + 4 * info.eps)]).all()
    assert np.isfinite(result[x < overflow * (1 - 4 * info.eps)]).all()
    assert (result[x < vanishing * (1 + 4 * info.eps)] == 0).all()
    assert (result[(x > vanishing * (1 - 4 * info.eps)) & (x < 0)] > 0).all()
    assert (result[(x > vanishing * (1 - 4 * info.eps)) & (x < subnormal * (1 + 4 * info.eps))] < info.tiny).all()


@every_module
def test_exp_at_the_ends_and_at_zero(kernels):
    largest = np.finfo(kernels.DTYPE).max
    x = np.array([-np.inf, -largest, -0.0, 0.0, largest, np.inf], kernels.DTYPE)
    np.testing.assert_array_equal(kernels.exp(x), [0, 0, 1, 1, np.inf, np.inf])


@every_module
def test_tanh_at_the_ends_and_at_zero(kernels):
    info = np.finfo(kernels.DTYPE)
    x = np.array([-np.inf, -info.max, -20, -0.0, 0.0, 20, info.max, np.inf], kernels.DTYPE)
    np.testing.assert_array_equal(kernels.tanh(x), [-1, -1, -1, 0, 0, 1, 1, 1])


@every_module
def test_sigmoid_at_the_ends_and_at_zero(kernels):
    info = np.finfo(kernels.DTYPE)
    x = np.array([-np.inf, -info.max, -1e4, -0.0, 0.0, 1e4, info.max, np.inf], kernels.DTYPE)
    np.testing.assert_array_equal(kernels.sigmoid(x), [0, 0, 0, 0.5, 0.5, 1, 1, 1])


@every_module
def test_tanh_of_tiny_numbers_is_the_number(kernels):
    info = np.finfo(kernels.DTYPE)
    tiny = info.smallest_subnormal * np.array([1, 2, 3, 1000], kernels.DTYPE)
    x = np.concatenate([tiny, info.tiny * np.array([1, 2, 3], kernels.DTYPE)])
    np.testing.assert_array_equal(kernels.tanh(np.concatenate([x, -x])), np.concatenate([x, -x]))


@every_module
@pytest.mark.parametrize("function", FUNCTIONS)
def test_nan_gives_nan_and_leaves_its_neighbours_alone(kernels, function):
    x = np.linspace(-3, 3, 40).astype(kernels.DTYPE)
    without, at = getattr(kernels, function)(x), np.array([0, 7, 8, 21, 39])
    x[at] = [np.nan, -np.nan, np.nan, -np.nan, np.nan]
    result = getattr(kernels, function)(x)
    np.testing.assert_array_equal(np.nonzero(np.isnan(result))[0], at)
    np.testing.assert_array_equal(np.delete(result, at), np.delete(without, at))


@every_module
@pytest.mark.parametrize(("function", "limit"), [("exp", 80.0), ("sigmoid", 6.0), ("tanh", 3.0)])
def test_larger_numbers_give_larger_results(kernels, function, limit):
    """Of a hundredth apart, where errors in the last place do not count."""
    assert np.all(np.diff(getattr(kernels, function)(np.arange(-limit, limit, 0.01).astype(kernels.DTYPE))) > 0)


@every_module
def test_tanh_never_leaves_minus_one_to_one(kernels):
    x = np.concatenate([np.linspace(-25, 25, 1_000_001), np.linspace(8, 10, 100_001)]).astype(kernels.DTYPE)
    assert np.abs(kernels.tanh(x)).max() == 1


@every_module
def test_sigmoid_never_leaves_zero_to_one(kernels):
    result = kernels.sigmoid(np.linspace(-25, 40, 1_000_001).astype(kernels.DTYPE))
    assert result.min() > 0
    assert result.max() == 1


@every_module
@pytest.mark.parametrize("function", FUNCTIONS)
def test_any_length_and_a_given_output_give_the_same_numbers(kernels, function):
    x = np.random.default_rng(0).normal(0, 3, 70).astype(kernels.DTYPE)
    whole = getattr(kernels, function)(x)
    for n, start in itertools.product(range(40), (0, 1, 3)):
        part, out = x[start : start + n], np.full(n, np.nan, kernels.DTYPE)
        np.testing.assert_array_equal(getattr(kernels, function)(part), whole[start : start + n])
        getattr(kernels, function)(part, out)
        np.testing.assert_array_equal(out, whole[start : start + n])
