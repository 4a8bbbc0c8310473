"""Every compiled kernel against reference.py, in every build that this CPU runs and in both number types.

T time, B batch, V vocabulary, H hidden units, L layers, G gates, S arrays of state. Numbers that go into a kernel are
float32 numbers, so that float32, float64 and the reference compute the same thing; how far they may differ, TOLERANCE
says.
"""

from __future__ import annotations

import _thread
import ctypes
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
import pytest
import reference

import charrnn.kernels
from charrnn.automaton import Automaton, combined, stop_automaton
from charrnn.sampling.pattern import pattern_automaton

DTYPES = ("float32", "float64")
#: Of the largest element of an array: rounding errors of sums, the worst of them where H is 1 and terms cancel.
TOLERANCE = {"float32": 2e-4, "float64": 1e-12}


def runnable_builds() -> list[str]:
    """Builds that are installed and that this CPU runs."""
    levels = charrnn.kernels.BUILDS.items()
    candidates = [build for build, level in levels if level <= charrnn.kernels.x86_64_level()]
    return [build for build in candidates if charrnn.kernels._import(build, "float32") is not None]


every_cell = pytest.mark.parametrize("cell", reference.CELLS)

RUNNABLE_BUILDS = runnable_builds()
MODULES = {f"{build}-{dtype}": charrnn.kernels._import(build, dtype) for build in RUNNABLE_BUILDS for dtype in DTYPES}


@pytest.fixture(params=MODULES.values(), ids=MODULES.keys())
def kernels(request) -> ModuleType:
    """The compiled module of one build and number type."""
    return request.param


@pytest.fixture(params=[module for module in MODULES.values() if module.DTYPE == np.float64], ids=RUNNABLE_BUILDS)
def kernels64(request) -> ModuleType:
    """The compiled float64 module of one build."""
    return request.param


def float32_numbers(array) -> np.ndarray:
    """The nearest numbers that float32 has, in float64."""
    return np.asarray(array, np.float32).astype(np.float64)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return float32_numbers(rng.normal(size=shape))


def as_dtype(kernels: ModuleType, *arrays) -> list[np.ndarray]:
    """Copies, which a kernel may write."""
    return [np.array(array, kernels.DTYPE, order="C") for array in arrays]


def max_error(actual, expected) -> float:
    """The largest error, as a part of the largest element; infinite where one of them is NaN and the other not."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    error, largest = np.abs(actual - expected).max(initial=0), np.abs(expected).max(initial=0)
    if error == 0:
        return 0.0
    return float(error / largest) if np.isfinite(error) and largest > 0 else np.inf


def assert_close(actual, expected, tolerance: float, what: object = "") -> None:
    error = max_error(actual, expected)
    assert error <= tolerance, f"{what}: error {error:.2g} is over {tolerance:.2g}"


def bits(*arrays) -> bytes:
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


# Networks -------------------------------------------------------------------------------------------------------


def random_params(
    rng: np.random.Generator, V: int, H: int, L: int, cell: str = "rnn", num_labels: int = 0
) -> reference.Params:
    """Weights that bend tanh."""
    params = reference.random_params(rng, V, H, L, cell, num_labels)
    return {name: float32_numbers(1.5 * p) for name, p in params.items()}


def arena_of(network, params: reference.Params, dtype) -> np.ndarray:
    arena = np.zeros(network.arena_size, dtype)
    for name, view in network.views(arena).items():
        view[...] = params[name]
    return arena


def params_of(network, arena: np.ndarray) -> reference.Params:
    return {name: view.astype(np.float64) for name, view in network.views(arena).items()}


def network_of(kernels: ModuleType, params: reference.Params):
    V, H = params["head.weight"].shape
    num_labels = params["rnn.weight_ih_l0"].shape[1] - V
    return kernels.Network(V, H, reference.num_layers(params), reference.cell_name(params), num_labels)


def padding_of(network) -> np.ndarray:
    """Which elements of an arena belong to no parameter."""
    padding = np.ones(network.arena_size, bool)
    for view in network.views(padding).values():
        view[...] = False
    return padding


@functools.cache
def problem(cell: str, T: int, B: int, V: int, H: int, L: int, with_end: bool, with_state: bool = True) -> dict:
    """Arguments of reference.loss_and_grad; END is the last symbol and about every third input."""
    rng = np.random.default_rng((T, B, V, H, L))
    inputs, end = rng.integers(0, V, (T, B)), None
    if with_end:
        end = V - 1
        inputs[rng.random((T, B)) < 0.3] = end
    params = random_params(rng, V, H, L, cell)
    return {
        "params": params,
        "inputs": inputs,
        "targets": rng.integers(0, V, (T, B)),
        "state": float32_numbers(rng.uniform(-1, 1, reference.state_shape(params, B))) if with_state else None,
        "end": end,
    }


@functools.cache
def solution(*args) -> tuple[float, reference.Params, np.ndarray]:
    """Loss, gradients and last state by the reference."""
    return reference.loss_and_grad(**problem(*args))


def run_bptt(kernels: ModuleType, params, inputs, targets, state, end, num_threads=1):
    """Loss, the arena of gradients, the last state, and the network."""
    network = network_of(kernels, params)
    gradients = np.full(network.arena_size, np.nan, kernels.DTYPE)
    loss, state = kernels.bptt(
        network,
        arena_of(network, params, kernels.DTYPE),
        np.ascontiguousarray(inputs, np.int32),
        np.ascontiguousarray(targets, np.int32),
        gradients,
        None if state is None else state.astype(kernels.DTYPE),
        end=-1 if end is None else end,
        num_threads=num_threads,
    )
    return loss, gradients, state, network


def assert_bptt_is_the_reference(kernels: ModuleType, *args) -> None:
    loss, gradients, state, network = run_bptt(kernels, **problem(*args))
    expected_loss, expected_grads, expected_state = solution(*args)
    tolerance = TOLERANCE[kernels.DTYPE.name]
    assert loss == pytest.approx(expected_loss, rel=tolerance, abs=0), args
    assert_close(state, expected_state, tolerance, args)
    for name, gradient in network.views(gradients).items():
        assert_close(gradient, expected_grads[name], tolerance, (args, name))


# One below, at and one above: a vector (2 to 16 numbers), the two of a tile, a multiple of tiles.
HIDDEN_SIZES = (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 100)
# One below, at and one above the rows of a tile (6 or 8) and of two; two rows have a tile of their own.
BATCH_SIZES = (1, 2, 3, 5, 6, 7, 8, 9, 13, 17)
SEQ_LENGTHS = (1, 2, 33)
VOCAB_SIZES = (1, 2, 5, 65, 130)

# More than 128 rows of a product, 256 positions, 256 positions of one step, 128 rows of a gradient that is too large to
# be read in place; four whole panels; H whose stride would be a multiple of 256.
LARGE_SIZES = [
    (3, 130, 300, 17, 2, True),
    (130, 3, 2, 33, 2, True),
    (2, 300, 5, 9, 2, True),
    (1, 1, 5, 130, 2, False),
    (2, 2, 65, 131, 2, True),
    (5, 13, 65, 131, 2, True),
    (2, 1, 3, 257, 2, False),
    (3, 3, 2, 256, 2, True),
]


@every_cell
def test_bptt_is_the_reference_at_every_hidden_size_batch_size_and_length(kernels, cell):
    rng = np.random.default_rng(0)
    for H, B, T in itertools.product(HIDDEN_SIZES, BATCH_SIZES, SEQ_LENGTHS):
        V, L = int(rng.choice(VOCAB_SIZES)), int(rng.integers(1, 4))
        assert_bptt_is_the_reference(kernels, cell, T, B, V, H, L, bool(rng.integers(2)), bool(rng.integers(2)))


@every_cell
def test_bptt_is_the_reference_at_every_vocabulary_size_and_number_of_layers(kernels, cell):
    for V, L, with_end in itertools.product(VOCAB_SIZES, (1, 2, 3), (False, True)):
        assert_bptt_is_the_reference(kernels, cell, 4, 5, V, 17, L, with_end)


@every_cell
def test_bptt_is_the_reference_beyond_every_block(kernels, cell):
    for sizes in LARGE_SIZES:
        assert_bptt_is_the_reference(kernels, cell, *sizes)


@every_cell
def test_bptt_gives_the_same_bits_for_any_number_of_threads(kernels, cell):
    for sizes in [(33, 17, 65, 100, 2, True), (2, 3, 5, 7, 3, True), (1, 1, 2, 1, 1, False), *LARGE_SIZES]:
        expected = None
        for num_threads in (1, 2, 3, 8):
            loss, gradients, state, _ = run_bptt(kernels, **problem(cell, *sizes), num_threads=num_threads)
            expected = expected or bits(loss, gradients, state)
            assert bits(loss, gradients, state) == expected, (sizes, num_threads)


@every_cell
def test_threads_that_share_the_columns_of_a_step_give_the_same_bits(kernels, cell):
    """Rows too few to share, in steps large enough to meet after each: at least 300,000 operations for a thread.

    Some of 16 threads have no columns: one row is no work for so many, and few units have fewer panels.
    """
    size = {"rnn": 900, "gru": 520, "lstm": 450}[cell]
    few = {"rnn": 200, "gru": 116, "lstm": 100}[cell]
    for T, B, H, L in ((3, 1, size, 1), (2, 4, size // 2 + 3, 2), (2, 60, few, 2)):
        expected = None
        for num_threads in (1, 2, 3, 5, 16):
            args = problem(cell, T, B, 3, H, L, True)
            loss, gradients, state, _ = run_bptt(kernels, **args, num_threads=num_threads)
            expected = expected or bits(loss, gradients, state)
            assert bits(loss, gradients, state) == expected, (H, num_threads)


def test_one_row_takes_as_many_threads_as_have_columns_to_share(kernels):
    for hidden_size, batch_size, num_threads, expected in [
        (64, 1, 8, 1),
        (400, 1, 2, 1),
        (1024, 1, 2, 2),
        (1024, 1, 16, 6),
        (64, 2, 8, 8),
    ]:
        network = kernels.Network(vocab_size=3, hidden_size=hidden_size, num_layers=1)
        parameters = kernels.aligned_zeros(network.arena_size)
        engine = kernels.Engine(network, parameters, 5, batch_size, num_threads=num_threads)
        assert engine.num_threads == expected, (hidden_size, batch_size, num_threads)


@every_cell
def test_bptt_agrees_with_finite_differences_in_every_parameter(kernels64, cell):
    args = problem(cell, 6, 3, 5, 7, 2, True)
    _, gradients, _, network = run_bptt(kernels64, **args)
    for name, gradient in network.views(gradients).items():

        def loss_at(parameter, name=name):
            return run_bptt(kernels64, **args | {"params": args["params"] | {name: parameter}})[0]

        expected = reference.finite_difference(loss_at, args["params"][name])
        error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
        assert error < 1e-6, name


@every_cell
def test_bptt_agrees_with_autograd_of_pytorch(kernels, cell):
    torch = pytest.importorskip("torch", reason="PyTorch, which the kernels are compared with, is not installed")
    for L in (1, 2, 3):
        T, B, V, H = 33, 5, 13, 20
        args = problem(cell, T, B, V, H, L, False)
        rnn = getattr(torch.nn, cell.upper())(V, H, L, dtype=torch.float64)
        head = torch.nn.Linear(H, V, dtype=torch.float64)
        modules = torch.nn.ModuleDict({"rnn": rnn, "head": head})
        modules.load_state_dict({name: torch.tensor(p) for name, p in args["params"].items()})
        x = torch.nn.functional.one_hot(torch.tensor(args["inputs"]), V).double()
        state = torch.tensor(args["state"])
        h, expected_state = rnn(x, tuple(state) if cell == "lstm" else state)
        expected_state = torch.stack(expected_state) if cell == "lstm" else expected_state
        expected_loss = torch.nn.functional.cross_entropy(head(h).reshape(-1, V), torch.tensor(args["targets"].ravel()))
        expected_loss.backward()

        loss, gradients, state, network = run_bptt(kernels, **args)
        tolerance = TOLERANCE[kernels.DTYPE.name]
        assert loss == pytest.approx(expected_loss.item(), rel=tolerance)
        assert_close(state, expected_state.detach(), tolerance)
        for name, parameter in modules.named_parameters():
            assert_close(network.views(gradients)[name], parameter.grad, tolerance, (L, name))


@every_cell
def test_state_carried_over_a_cut_gives_the_state_of_the_uncut_sequence(kernels, cell):
    args = problem(cell, 9, 5, 7, 17, 2, True)
    _, _, expected, network = run_bptt(kernels, **args)
    assert expected.shape == network.state_shape(5)
    for cut in (1, 4, 8):
        before = {name: args[name][:cut] for name in ("inputs", "targets")}
        after = {name: args[name][cut:] for name in ("inputs", "targets")}
        _, _, middle, _ = run_bptt(kernels, **args | before)
        _, _, last, _ = run_bptt(kernels, **args | after | {"state": middle})
        assert_close(last, expected, TOLERANCE[kernels.DTYPE.name], cut)


@every_cell
def test_state_before_an_end_does_not_matter(kernels, cell):
    args = problem(cell, 4, 5, 7, 9, 2, True)
    inputs = np.vstack([np.full((1, 5), args["end"]), args["inputs"][1:]])
    loss, gradients, state, _ = run_bptt(kernels, **args | {"inputs": inputs})
    expected_loss, expected_gradients, expected_state, _ = run_bptt(kernels, **args | {"inputs": inputs, "state": None})
    assert loss == expected_loss
    np.testing.assert_array_equal(gradients, expected_gradients)
    np.testing.assert_array_equal(state, expected_state)


@every_cell
def test_bptt_of_weights_that_saturate_every_gate_is_finite(kernels, cell):
    args = problem(cell, 9, 5, 7, 17, 2, False)
    for size in (1e4, 1e30):
        params = {name: size * p if name.startswith("rnn.") else p for name, p in args["params"].items()}
        loss, gradients, state, _ = run_bptt(kernels, **args | {"params": params})
        assert np.isfinite(loss)
        assert np.isfinite(gradients).all()
        assert np.isfinite(state).all()


@every_cell
def test_bptt_overwrites_the_whole_arena_of_gradients(kernels, cell):
    for sizes in [(2, 3, 5, 7, 2, True), (3, 3, 2, 250, 1, False)]:
        _, gradients, _, network = run_bptt(kernels, **problem(cell, *sizes))  # NaN before
        assert np.all(gradients[padding_of(network)] == 0)


@every_cell
def test_bptt_leaves_its_arguments_as_they_are(kernels, cell):
    args = problem(cell, 4, 3, 5, 7, 2, True)
    network = network_of(kernels, args["params"])
    parameters = arena_of(network, args["params"], kernels.DTYPE)
    arrays = [np.ascontiguousarray(args[name], np.int32) for name in ("inputs", "targets")]
    arguments = [parameters, *arrays, args["state"].astype(kernels.DTYPE)]
    before = bits(*arguments)
    kernels.bptt(network, *arguments[:3], np.zeros_like(parameters), arguments[3], end=4)
    assert bits(*arguments) == before


def test_bptt_loss_is_finite_for_the_largest_logits(kernels):
    args = problem("rnn", 3, 4, 5, 2, 1, False)
    largest = float(np.finfo(kernels.DTYPE).max)
    bias = np.array([largest, -largest, 0, 1, -largest])
    loss, gradients, _, network = run_bptt(kernels, **args | {"params": args["params"] | {"head.bias": bias}})
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in network.views(gradients).values())


@functools.cache
def large_vocabulary_problem(cell: str, T: int, B: int, V: int, H: int) -> tuple[dict, float, reference.Params]:
    """Arguments of run_bptt, loss and gradients; one-hot over the few symbols that occur in the inputs, not over V."""
    rng = np.random.default_rng(0)
    params = random_params(rng, V, H, 1, cell)
    used = np.sort(rng.choice(V, 9, replace=False))
    inputs, targets = used[rng.integers(0, 9, (T, B))], rng.integers(0, V, (T, B))
    steps, (weight_ih, *weights) = reference.CELLS[cell], reference.layer_params(params, 0)
    x, ends, state = np.eye(9)[np.searchsorted(used, inputs)], np.zeros((T, B), bool), np.zeros((steps.S, B, H))
    states, states_prev = reference.layer_forward(steps, x, ends, 1.0, state, weight_ih[:, used], *weights)
    h = states[:, 0]
    logits = reference.head_forward(h, params["head.weight"], params["head.bias"])
    loss = reference.cross_entropy_forward(logits.reshape(-1, V), targets.ravel())
    dlogits = reference.softmax(logits)
    dlogits.reshape(-1, V)[np.arange(T * B), targets.ravel()] -= 1
    dh, dweight, dbias = reference.head_backward(dlogits / (T * B), h, params["head.weight"])
    _, d = reference.layer_backward(steps, dh, x, ends, 1.0, states_prev, weight_ih[:, used], *weights)
    grads = {f"rnn.{name}_l0": dweight for name, dweight in zip(reference.WEIGHTS, d, strict=True)}
    grads["rnn.weight_ih_l0"] = np.zeros_like(weight_ih)
    grads["rnn.weight_ih_l0"][:, used] = d[0]
    arguments = {"params": params, "inputs": inputs, "targets": targets, "state": None, "end": None}
    return arguments, loss, grads | {"head.weight": dweight, "head.bias": dbias}


def assert_large_vocabulary_is_the_reference(kernels: ModuleType, cell: str, T: int, B: int, V: int, H: int) -> None:
    arguments, expected_loss, expected = large_vocabulary_problem(cell, T, B, V, H)
    tolerance, results = 10 * TOLERANCE[kernels.DTYPE.name], set()
    for num_threads in (1, 3):
        loss, gradients, _, network = run_bptt(kernels, **arguments, num_threads=num_threads)
        results.add(bits(loss, *network.views(gradients).values()))
    assert len(results) == 1
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    for name, gradient in network.views(gradients).items():
        assert_close(gradient, expected[name], tolerance, name)


@every_cell
def test_bptt_with_a_vocabulary_whose_logits_are_held_in_blocks_is_the_reference(kernels, cell):
    # 59 positions of 70 000 symbols fit 4 Mi logits: three blocks, the last one shorter.
    assert_large_vocabulary_is_the_reference(kernels, cell, 26, 5, 70_000, 4)


def test_bptt_with_a_vocabulary_of_which_less_than_a_panel_fits_is_the_reference(kernels):
    # 6 positions fit: less than a panel of 32, 16 or 8.
    assert_large_vocabulary_is_the_reference(kernels, "rnn", 11, 3, 600_000, 1)


@every_cell
def test_engine_gives_the_logits_and_losses_of_the_reference(kernels, cell):
    tolerance = TOLERANCE[kernels.DTYPE.name]
    for sizes in [(5, 3, 7, 9, 2, True), (2, 1, 65, 33, 1, False), (33, 17, 2, 5, 3, True)]:
        params, inputs, targets, state, end = problem(cell, *sizes).values()
        network = network_of(kernels, params)
        arena = arena_of(network, params, kernels.DTYPE)
        engine = kernels.Engine(network, arena, 6, inputs.shape[1], end=-1 if end is None else end)
        logits, losses = [], []
        for method, results, arrays in ((engine.logits, logits, [inputs]), (engine.losses, losses, [inputs, targets])):
            engine.set_state(state.astype(kernels.DTYPE))
            for t in range(0, len(inputs), 6):  # in chunks, the state carried
                results.append(method(*(np.ascontiguousarray(array[t : t + 6], np.int32) for array in arrays)))
        expected, expected_state = reference.forward(params, inputs, state, end)
        expected_losses = -np.take_along_axis(reference.log_softmax(expected), targets[:, :, None], 2)[:, :, 0]
        assert_close(np.concatenate(logits), expected, tolerance, sizes)
        assert_close(np.concatenate(losses), expected_losses, tolerance, sizes)
        assert_close(engine.get_state(), expected_state, tolerance, sizes)


# The cell -------------------------------------------------------------------------------------------------------

CELL_SIZES = [*itertools.product((1, 3, 6, 7, 9), (1, 2, 17, 65), (1, 7, 16, 33)), (130, 5, 100), (2, 300, 257)]


def random_cell(cell: str, B: int, input_size: int, H: int) -> dict[str, np.ndarray]:
    """What the reference's step of this cell takes."""
    rng, (G, S, *_) = np.random.default_rng((B, input_size, H)), reference.CELLS[cell]
    weights = {"weight_ih": normal(rng, G * H, input_size) / 8, "weight_hh": normal(rng, G * H, H) / 8}
    biases = {"bias_ih": normal(rng, G * H), "bias_hh": normal(rng, G * H)}
    states = {name: normal(rng, B, H) for name in ("h_prev", "c_prev")[:S]}
    return {"x": normal(rng, B, input_size)} | states | weights | biases


@every_cell
def test_cell_is_the_reference(kernels, cell):
    step = getattr(kernels, f"{cell}_cell")
    for sizes in CELL_SIZES:
        given = random_cell(cell, *sizes)
        state = step(*as_dtype(kernels, *given.values()))
        expected = reference.CELLS[cell].forward(**given)
        assert {array.dtype for array in (state if cell == "lstm" else [state])} == {kernels.DTYPE}
        assert_close(state, expected, TOLERANCE[kernels.DTYPE.name], sizes)


@every_cell
def test_cell_backward_is_the_reference(kernels, cell):
    step_backward = getattr(kernels, f"{cell}_cell_backward")
    for sizes in CELL_SIZES:
        given = random_cell(cell, *sizes)
        dstate = normal(np.random.default_rng(0), reference.CELLS[cell].S, *given["h_prev"].shape)
        arguments, expected = [*dstate, *given.values()], reference.CELLS[cell].backward(*dstate, **given)
        if cell == "rnn":  # takes h and not the biases, of which it gives one gradient
            arguments[3:] = [reference.rnn_cell_forward(**given), given["weight_ih"], given["weight_hh"]]
            expected = expected[:-1]
        for result, exact in zip(step_backward(*as_dtype(kernels, *arguments)), expected, strict=True):
            assert result.dtype == kernels.DTYPE
            assert_close(result, exact, TOLERANCE[kernels.DTYPE.name], sizes)


@every_cell
def test_cell_takes_arrays_of_any_strides(kernels, cell):
    given = as_dtype(kernels, *random_cell(cell, 5, 6, 7).values())
    strided = [np.asfortranarray(array) if array.ndim == 2 else np.repeat(array, 2)[::2] for array in given]
    step = getattr(kernels, f"{cell}_cell")
    np.testing.assert_array_equal(step(*strided), step(*given))


# Softmax and cross-entropy --------------------------------------------------------------------------------------


def random_logits(N: int, V: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng((N, V))
    return 4 * normal(rng, N, V), rng.integers(0, V, N).astype(np.int32)


def largest_logits(kernels: ModuleType) -> list[float]:
    largest = float(np.finfo(kernels.DTYPE).max)
    return [1e4, 1e38, largest] if kernels.DTYPE == np.float32 else [1e4, 1e308, largest]


def test_softmax_is_the_reference(kernels):
    for N, V in itertools.product((1, 2, 3, 7, 8, 9, 15, 16, 17, 33), VOCAB_SIZES):
        logits, _ = random_logits(N, V)
        (x,) = as_dtype(kernels, logits)
        probs, out = kernels.softmax(x), np.full_like(x, np.nan)
        kernels.softmax(x, out)
        assert_close(probs, reference.softmax(logits), TOLERANCE[kernels.DTYPE.name], (N, V))
        np.testing.assert_array_equal(out, probs)
        np.testing.assert_array_equal(x, logits)


def test_softmax_of_large_logits_is_the_reference(kernels):
    for large in largest_logits(kernels):
        logits = np.array([[large, -large, 0], [large, large, -large], [-large, -large, -large], [0, 1, -large]])
        assert_close(
            kernels.softmax(*as_dtype(kernels, logits)), reference.softmax(logits), TOLERANCE[kernels.DTYPE.name], large
        )


def test_cross_entropy_is_the_reference(kernels):
    tolerance = TOLERANCE[kernels.DTYPE.name]
    for N, V in itertools.product((1, 2, 3, 7, 8, 9, 15, 16, 17, 33), VOCAB_SIZES):
        logits, targets = random_logits(N, V)
        (x,) = as_dtype(kernels, logits)
        dlogits = np.full_like(x, np.nan)
        loss = kernels.cross_entropy(x, targets, dlogits)
        assert loss == pytest.approx(reference.cross_entropy_forward(logits, targets), rel=tolerance, abs=0)
        assert loss == kernels.cross_entropy(x, targets)
        assert_close(dlogits, reference.cross_entropy_backward(logits, targets), tolerance, (N, V))
        np.testing.assert_array_equal(x, logits)


def test_cross_entropy_of_uniform_logits_is_log_vocab_size(kernels):
    for V, value in itertools.product(VOCAB_SIZES, (0.0, 1e4, -1e38)):
        logits, targets = np.full((3, V), value, kernels.DTYPE), np.zeros(3, np.int32)
        loss = kernels.cross_entropy(logits, targets)
        assert loss == pytest.approx(np.log(V), rel=1e-6 if kernels.DTYPE == np.float32 else 1e-14, abs=0)


def test_cross_entropy_of_large_logits_is_finite_and_the_reference(kernels):
    tolerance = TOLERANCE[kernels.DTYPE.name]
    for large, target in itertools.product(largest_logits(kernels), range(3)):
        for row in ([large, -large, 0], [large, large, -large], [-large, -large, -large], [0, 1, -large]):
            logits, targets = np.array([row]), np.array([target], np.int32)
            dlogits = np.full((1, 3), np.nan, kernels.DTYPE)
            loss = kernels.cross_entropy(*as_dtype(kernels, logits), targets, dlogits)
            assert np.isfinite(loss)
            assert loss == pytest.approx(reference.cross_entropy_forward(logits, targets), rel=tolerance)
            assert_close(dlogits, reference.cross_entropy_backward(logits, targets), tolerance)


def test_cross_entropy_is_finite_over_any_number_of_rows_of_the_largest_logits(kernels):
    largest = np.finfo(kernels.DTYPE).max
    for N in range(1, 300):
        logits = np.tile(np.array([largest, -largest], kernels.DTYPE), (N, 1))
        assert np.isfinite(kernels.cross_entropy(logits, np.ones(N, np.int32))), N


def test_nan_logits_give_nan_and_not_a_number_that_looks_right(kernels):
    logits = np.zeros((2, 3), kernels.DTYPE)
    logits[1, 2] = np.nan
    assert np.isnan(kernels.cross_entropy(logits, np.zeros(2, np.int32)))
    np.testing.assert_array_equal(np.isnan(kernels.softmax(logits)), [[False] * 3, [True] * 3])


# Clipping and optimizers ----------------------------------------------------------------------------------------

# One below, at and above: the lanes of a sum of squares, its block.
FLAT_SIZES = (1, 7, 15, 16, 17, 33, 4095, 4096, 4097, 10_000)


def test_clip_norm_is_the_reference(kernels):
    for n, part in itertools.product(FLAT_SIZES, (0.1, 1.5)):
        gradients = normal(np.random.default_rng(n), n)
        max_norm = float(part * np.linalg.norm(gradients))
        expected, expected_norm = reference.clip_norm({"g": gradients}, max_norm)
        (g,) = as_dtype(kernels, gradients)
        norm = kernels.clip_norm(g, max_norm)
        tolerance = 1e-6 if kernels.DTYPE == np.float32 else 1e-14
        assert norm == pytest.approx(expected_norm, rel=tolerance)
        assert_close(g, expected["g"], tolerance, n)
        if part > 1:
            np.testing.assert_array_equal(g, gradients)


def test_clip_norm_is_right_where_squares_overflow_and_underflow_in_float32(kernels):
    for n, magnitude in itertools.product((1, 17, 100), (1e-30, 1e25, 1e37)):
        gradients = magnitude * np.linspace(0.5, 1, n)
        (g,) = as_dtype(kernels, gradients)
        assert kernels.clip_norm(g, 0.1 * magnitude) == pytest.approx(np.linalg.norm(gradients), rel=1e-6, abs=0)
        assert np.linalg.norm(g.astype(np.float64)) == pytest.approx(0.1 * magnitude, rel=1e-6, abs=0)


def test_clip_norm_of_zeros_is_zero(kernels):
    g = np.zeros(20, kernels.DTYPE)
    assert kernels.clip_norm(g, 1.0) == 0
    assert not g.any()


def test_clip_value_is_the_reference(kernels):
    for n, limit in itertools.product(FLAT_SIZES, (0.0, 0.5, 100.0)):
        gradients = normal(np.random.default_rng(n), n)
        (g,) = as_dtype(kernels, gradients)
        kernels.clip_value(g, limit)
        np.testing.assert_array_equal(g, reference.clip_value({"g": gradients}, limit)["g"])


ADAM_CONSTANTS = {"beta1": 0.8, "beta2": 0.95, "eps": 1e-4}
#: The rule, its constants for the reference and for the kernel, and the state that it keeps.
OPTIMIZERS = {
    "sgd": (reference.sgd, {}, {}, ["m"]),
    "sgd with momentum": (reference.sgd, {"momentum": 0.9}, {"momentum": 0.9}, ["m"]),
    "adagrad": (reference.adagrad, {"eps": 1e-4}, {"eps": 1e-4}, ["s"]),
    "rmsprop": (reference.rmsprop, {"alpha": 0.9, "eps": 1e-4}, {"rho": 0.9, "eps": 1e-4}, ["s"]),
    "adam": (reference.adam, ADAM_CONSTANTS, ADAM_CONSTANTS, ["m", "s"]),
    "adagrad by default": (reference.adagrad, {}, {}, ["s"]),
    "rmsprop by default": (reference.rmsprop, {}, {}, ["s"]),
    "adam by default": (reference.adam, {}, {}, ["m", "s"]),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_is_the_reference_over_several_steps_with_weight_decay(kernels, name):
    rule, constants, settings, kept = OPTIMIZERS[name]
    for n, weight_decay in itertools.product(FLAT_SIZES, (0.0, 0.3)):
        rng = np.random.default_rng(n)
        optimizer = reference.Optimizer(rule, weight_decay, **constants)
        expected = {"p": normal(rng, n)}
        p, *state = as_dtype(kernels, expected["p"], *(np.zeros(n) for _ in kept))
        for step in range(1, 5):
            gradients, learning_rate = normal(rng, n), 0.1 / step
            gradients[0] = 0
            expected = optimizer.update(expected, {"p": gradients}, learning_rate)
            given = settings | ({"step": step} if rule is reference.adam else {})
            update = getattr(kernels, rule.__name__)
            (g,) = as_dtype(kernels, gradients)
            update(p, g, *state, learning_rate=learning_rate, weight_decay=weight_decay, **given)
        tolerance = TOLERANCE[kernels.DTYPE.name]
        assert_close(p, expected["p"], tolerance, (n, weight_decay))
        for array, attribute in zip(state, kept, strict=True):
            assert_close(array, getattr(optimizer, attribute)["p"], tolerance, (n, attribute))


# Trainer --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What a Trainer is to learn, and how."""

    params: reference.Params
    symbols: np.ndarray
    starts: np.ndarray
    length: int
    seq_length: int
    documents: np.ndarray | None = None
    first: np.ndarray | None = None
    end: int = -1
    optimizer: str = "adam"
    weight_decay: float = 0.0
    clip_norm: float = np.inf
    clip_value: float = np.inf
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    seed: int = 0
    constants: dict[str, float] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        return len(self.starts)

    def chunks(self) -> list[reference.Chunk]:
        """Those of an epoch."""
        if self.documents is None:
            ring, starts = (self.symbols[:-1], self.symbols[1:]), self.starts
        else:
            positions = [at for start in self.documents for at in self.document(start)]
            ring = self.symbols[positions], self.symbols[np.array(positions) + 1]
            starts = np.array([positions.index(start) for start in self.starts])
        return list(reference.chunks(*ring, starts, self.length, self.seq_length))

    def document(self, start: int) -> range:
        """Where its inputs are: END or a label, and its characters."""
        return range(start, start + 1 + int(np.argmax(self.symbols[start + 1 :] >= self.end)))


def text_task(H: int = 9, L: int = 2, B: int = 3, cell: str = "rnn", **settings) -> Task:
    """A text of 5 symbols, read by B readers in chunks of 7, 7, 7 and 2."""
    rng = np.random.default_rng((H, L, B))
    symbols, starts = rng.integers(0, 5, 23 * B + 1), 23 * np.arange(B)
    return Task(random_params(rng, 5, H, L, cell), symbols, starts, length=23, seq_length=7, **settings)


def documents_task(cell: str = "rnn", **settings) -> Task:
    """Documents with an END before each and after the last, in another order than that in which they are read.

    The first reader begins with a document, the second within one, the last goes on at the first documents.
    """
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 5, 41)
    ends = np.array([0, 4, 5, 11, 20, 29, 33, 40])
    symbols[ends] = 5
    order = ends[[3, 0, 6, 2, 5, 1, 4]].astype(np.int32)
    places = {"starts": np.array([11, 7, 23]), "first": np.array([0, 3, 6])}
    params = random_params(rng, 6, 9, 2, cell)
    return Task(params, symbols, length=18, seq_length=7, documents=order, end=5, **places, **settings)


CONSTANTS = {"momentum": 0.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


class Training:
    """A Trainer with all that it works on."""

    def __init__(
        self,
        kernels: ModuleType,
        task: Task,
        num_threads: int = 1,
        codes_dtype: str = "uint16",
        documents_dtype: str = "int32",
        *,
        average: np.ndarray | None = None,
        with_average: bool = True,
    ) -> None:
        self.network = network_of(kernels, task.params)
        self.parameters = arena_of(self.network, task.params, kernels.DTYPE)
        self.moments, self.squares = np.zeros_like(self.parameters), np.zeros_like(self.parameters)
        self.average = np.zeros_like(self.parameters) if average is None else average
        names = ("optimizer", "weight_decay", "clip_norm", "clip_value", "dropout", "recurrent_dropout", "seed", "end")
        self.trainer = kernels.Trainer(
            self.network,
            self.parameters,
            task.seq_length,
            task.batch_size,
            moments=self.moments,
            squares=self.squares,
            average=self.average if with_average else None,
            num_threads=num_threads,
            **{name: getattr(task, name) for name in names},
            **CONSTANTS | task.constants,
        )
        codes, table = task.symbols.astype(codes_dtype), np.zeros(256, np.uint8)
        if codes_dtype == "uint8":
            of_symbol = np.random.default_rng(0).permutation(256).astype(np.uint8)
            codes, table[of_symbol] = of_symbol[task.symbols], np.arange(256)
        documents = None if task.documents is None else task.documents.astype(documents_dtype)
        self.trainer.read(codes, table, task.starts.astype(np.int64), task.length, documents, task.first)

    def train(self, learning_rates: list[float], average_shares: list[float] | None = None) -> np.ndarray:
        """The losses of the steps made."""
        losses = np.full(len(learning_rates), np.nan)
        shares = None if average_shares is None else np.array(average_shares, np.float64)
        steps = self.trainer.train(np.array(learning_rates, np.float64), losses, shares)
        assert np.isnan(losses[steps:]).all()
        return losses[:steps]

    def params(self) -> reference.Params:
        return params_of(self.network, self.parameters)

    def everything(self) -> bytes:
        trainer = self.trainer
        counts = [trainer.step, trainer.position, trainer.passes]
        arrays = [self.parameters, self.moments, self.squares, self.average, trainer.get_state()]
        return bits(*arrays, counts, [trainer.last_loss, trainer.last_norm])


def reference_training(task: Task, learning_rates: list[float]) -> tuple[reference.Params, list, np.ndarray, float]:
    """Parameters, losses, state and the last norm."""
    constants = dict(task.constants)
    if task.optimizer == "rmsprop":
        constants["alpha"] = constants.pop("beta2")
    updates = list(
        reference.training(
            task.params,
            itertools.cycle(task.chunks()),
            learning_rates,
            reference.Optimizer(getattr(reference, task.optimizer), task.weight_decay, **constants),
            max_norm=task.clip_norm,
            max_value=task.clip_value,
            dropout=task.dropout,
            recurrent_dropout=task.recurrent_dropout,
            seed=task.seed,
            end=None if task.end < 0 else task.end,
        )
    )
    return updates[-1].params, [update.loss for update in updates], updates[-1].state, updates[-1].norm


#: Nine steps: twice to the end of the stream and one more.
LEARNING_RATES = [0.02, 0.01, 0.03, 0.02, 0.01, 0.01, 0.02, 0.03, 0.01]

TASKS = {
    "adam": text_task(),
    "adam with all settings": text_task(
        weight_decay=0.3, clip_norm=0.5, clip_value=0.1, constants={"beta1": 0.8, "beta2": 0.95, "eps": 1e-5}
    ),
    "sgd": text_task(optimizer="sgd", clip_norm=0.2, weight_decay=0.1, constants={"momentum": 0.9}),
    "adagrad": text_task(optimizer="adagrad", clip_value=0.05, constants={"eps": 1e-10}),
    "rmsprop": text_task(optimizer="rmsprop", constants={"beta2": 0.99, "eps": 1e-8}),
    "documents": documents_task(clip_norm=0.5),
    "dropout": text_task(dropout=0.3, seed=2**63 + 12345),
    "dropout and documents": documents_task(dropout=0.6, seed=7, optimizer="sgd"),
    "one row, one unit": text_task(H=1, L=1, B=1),
    "more than 4096 parameters": text_task(H=65, L=2, B=5, optimizer="sgd", clip_norm=0.5, dropout=0.1),
    "gru": text_task(H=33, B=7, cell="gru", dropout=0.3, seed=5, clip_norm=0.5, weight_decay=0.3),
    "lstm": text_task(H=33, B=7, cell="lstm", dropout=0.3, seed=5, clip_norm=0.5, weight_decay=0.3),
    "documents by gru": documents_task("gru", dropout=0.6, seed=7, optimizer="sgd"),
    "documents by lstm": documents_task("lstm", dropout=0.6, seed=7, optimizer="sgd"),
    "recurrent dropout": text_task(recurrent_dropout=0.4, seed=2**63 + 12345),
    "recurrent dropout, documents": documents_task(recurrent_dropout=0.3, dropout=0.2, seed=7, optimizer="sgd"),
    "recurrent dropout, gru": documents_task("gru", recurrent_dropout=0.3, dropout=0.2, seed=7, optimizer="sgd"),
    "recurrent dropout, lstm": documents_task("lstm", recurrent_dropout=0.3, dropout=0.2, seed=7, optimizer="sgd"),
    "recurrent dropout, 3 layers": text_task(
        H=65, L=3, B=7, cell="gru", recurrent_dropout=0.1, optimizer="sgd", clip_norm=0.5, seed=5
    ),
}
RECURRENT_DROPOUT = tuple(name for name in TASKS if name.startswith("recurrent dropout"))
GATED = ("gru", "lstm", "documents by gru", "documents by lstm", *RECURRENT_DROPOUT)


@pytest.mark.parametrize("name", TASKS)
def test_trainer_is_the_loop_of_the_reference(kernels, name):
    task = TASKS[name]
    training = Training(kernels, task)
    losses = training.train(LEARNING_RATES)
    params, expected_losses, state, norm = reference_training(task, LEARNING_RATES)
    # In float32 a direction of Adam is the sign of a gradient that may be all rounding error.
    tolerance = 1e-10 if kernels.DTYPE == np.float64 else 1e-2
    assert_close(losses, expected_losses, tolerance)
    assert_close(training.trainer.get_state(), state, tolerance)
    assert training.trainer.last_norm == pytest.approx(norm, rel=tolerance)
    assert training.trainer.last_loss == losses[-1]
    for parameter, value in training.params().items():
        assert_close(value, params[parameter], tolerance, parameter)


@pytest.mark.parametrize(
    ("codes_dtype", "documents_dtype"), [("uint8", "int32"), ("uint16", "int64"), ("int32", "int64")]
)
def test_trainer_reads_codes_of_every_width(kernels, codes_dtype, documents_dtype):
    for task in (TASKS["adam"], TASKS["documents"]):
        training = Training(kernels, task, codes_dtype=codes_dtype, documents_dtype=documents_dtype)
        expected = Training(kernels, task)
        losses = training.train(LEARNING_RATES)
        np.testing.assert_allclose(losses, reference_training(task, LEARNING_RATES)[1], rtol=1e-3)
        np.testing.assert_array_equal(losses, expected.train(LEARNING_RATES))
        assert training.everything() == expected.everything()


@pytest.mark.parametrize(
    "name", ["adam with all settings", "dropout and documents", "more than 4096 parameters", *GATED]
)
def test_trainer_gives_the_same_bits_for_any_number_of_threads_and_of_steps_a_call(kernels, name):
    expected = None
    for num_threads, steps in ((1, 1), (1, 4), (1, 9), (2, 1), (2, 9), (3, 4), (5, 1), (8, 9)):
        training = Training(kernels, TASKS[name], num_threads)
        calls = [LEARNING_RATES[i : i + steps] for i in range(0, len(LEARNING_RATES), steps)]
        losses = [training.train(call) for call in calls]
        result = bits(*losses) + training.everything()
        expected = expected or result
        assert result == expected, (num_threads, steps)


@every_cell
def test_threads_that_share_the_columns_of_a_step_drop_the_same_units(kernels, cell):
    size = {"rnn": 900, "gru": 520, "lstm": 450}[cell]
    for B, H, L in ((1, size, 1), (4, size // 2 + 3, 2)):
        task = text_task(H, L, B, cell, dropout=0.2, recurrent_dropout=0.3, optimizer="sgd", seed=3)
        expected = None
        for num_threads in (1, 2, 5):
            training = Training(kernels, task, num_threads)
            result = bits(training.train(LEARNING_RATES[:2])) + training.everything()
            expected = expected or result
            assert result == expected, (H, num_threads)


def test_trainer_counts_steps_position_and_passes(kernels):
    training = Training(kernels, TASKS["adam"])
    trainer, seen = training.trainer, []
    for learning_rate in LEARNING_RATES[:5]:
        seen.append((trainer.step, trainer.position, trainer.passes, trainer.steps_left()))
        training.train([learning_rate])
    assert seen == [(0, 0, 0, 4), (1, 7, 0, 3), (2, 14, 0, 2), (3, 21, 0, 1), (4, 0, 1, 4)]


def test_restored_trainer_goes_on_with_the_same_bits(kernels):
    for name in ("adam", "dropout and documents", *GATED):
        whole, first, second = (Training(kernels, TASKS[name]) for _ in range(3))
        whole.train(LEARNING_RATES)
        first.train(LEARNING_RATES[:5])
        for arena in ("parameters", "moments", "squares"):
            getattr(second, arena)[:] = getattr(first, arena)
        trainer = first.trainer
        second.trainer.restore(trainer.step, trainer.position, trainer.passes, trainer.get_state())
        second.train(LEARNING_RATES[5:])
        assert second.everything() == whole.everything()


def test_training_leaves_zero_what_lies_behind_the_hidden_size(kernels):
    names = ("adam with all settings", "dropout and documents", "rmsprop", *GATED)
    for name, num_threads in itertools.product(names, (1, 3)):
        training = Training(kernels, TASKS[name], num_threads)
        training.train(LEARNING_RATES)
        padding = padding_of(training.network)
        assert padding.sum() > 0
        for arena in (training.parameters, training.moments, training.squares):
            assert np.all(arena[padding] == 0)


def test_arrays_begin_on_a_cache_line_and_large_ones_on_a_large_page(kernels):
    large = (2 << 20) // kernels.DTYPE.itemsize
    for n, alignment in ((1, 64), (1000, 64), (large - 1, 64), (large, 2 << 20), (large + 1, 2 << 20)):
        array = kernels.aligned_zeros(n)
        assert array.shape == (n,)
        assert array.dtype == kernels.DTYPE
        assert not array.any()
        assert array.ctypes.data % alignment == 0


@every_cell
def test_views_share_the_arena_and_do_not_overlap(kernels, cell):
    for V, H, L in itertools.product((1, 5, 65), (1, 16, 17, 256, 300), (1, 3)):
        network = kernels.Network(V, H, L, cell=cell)
        assert (network.vocab_size, network.hidden_size, network.num_layers) == (V, H, L)
        arena = np.zeros(network.arena_size, kernels.DTYPE)
        for view in network.views(arena).values():
            view += 1
        params = reference.random_params(np.random.default_rng(0), V, H, L, cell)
        shapes = {name: p.shape for name, p in params.items()}
        assert {name: view.shape for name, view in network.views(arena).items()} == shapes
        assert network.state_shape(4) == reference.state_shape(params, 4)
        assert arena.max() == 1
        assert arena.sum() == sum(int(np.prod(shape)) for shape in shapes.values())


# Average

#: Nine steps: a copy, moves of several sizes, and steps that are left out.
AVERAGE_SHARES = [1.0, 0.5, 1 / 3, 0.0, 0.25, 0.0, 1e-3, 1.0, 0.7]


@pytest.mark.parametrize("name", ["adam with all settings", "more than 4096 parameters", "recurrent dropout, lstm"])
def test_average_is_that_of_the_reference_after_every_step(kernels, name):
    training = Training(kernels, TASKS[name])
    average = training.params()
    tolerance = 1e-14 if kernels.DTYPE == np.float64 else 1e-6
    for learning_rate, share in zip(LEARNING_RATES, AVERAGE_SHARES, strict=True):
        training.train([learning_rate], [share])
        average = reference.average_update(average, training.params(), share)
        for parameter, value in params_of(training.network, training.average).items():
            assert_close(value, average[parameter], tolerance, parameter)


def test_average_of_share_one_has_the_bits_of_the_parameters_and_of_share_zero_its_own(kernels):
    training = Training(kernels, TASKS["gru"])
    training.train(LEARNING_RATES[:3], [0.3, 0.5, 1.0])
    assert bits(training.average) == bits(training.parameters)
    before = bits(training.average)
    training.train(LEARNING_RATES[3:5], [0.0, 0.0])
    assert bits(training.average) == before != bits(training.parameters)
    training.train(LEARNING_RATES[5:7])
    assert bits(training.average) == before


@pytest.mark.parametrize("name", ["adam", "more than 4096 parameters"])
def test_average_changes_no_bit_of_the_training_and_does_not_depend_on_threads_or_calls(kernels, name):
    plain = Training(kernels, TASKS[name])
    losses = plain.train(LEARNING_RATES)
    expected = None
    for num_threads, steps in ((1, 9), (1, 2), (2, 9), (3, 4), (5, 1)):
        training = Training(kernels, TASKS[name], num_threads)
        for i in range(0, len(LEARNING_RATES), steps):
            call = training.train(LEARNING_RATES[i : i + steps], AVERAGE_SHARES[i : i + steps])
            assert bits(call) == bits(losses[i : i + steps])
        expected = expected or bits(training.average)
        assert bits(training.average) == expected, (num_threads, steps)
        for arena in ("parameters", "moments", "squares"):
            assert bits(getattr(training, arena)) == bits(getattr(plain, arena))


def test_average_stays_where_a_step_is_refused(kernels):
    training = Training(kernels, TASKS["adam"])
    training.train([0.01], [1.0])
    before = bits(training.average)
    training.parameters[:] = np.nan
    assert len(training.train([0.01], [0.5])) == 0
    assert bits(training.average) == before


def test_average_shares_of_another_length_or_without_an_average_are_errors(kernels):
    training, rates = Training(kernels, TASKS["adam"]), np.full(2, 0.01)
    with pytest.raises(ValueError, match="average_shares must have length 2"):
        training.trainer.train(rates, np.zeros(2), np.zeros(3))
    without = Training(kernels, TASKS["adam"], with_average=False)
    with pytest.raises(ValueError, match="average_shares must be None for a trainer that was given no average"):
        without.trainer.train(rates, np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="average must have length"):
        Training(kernels, TASKS["adam"], average=np.zeros(3, kernels.DTYPE))


# Dropout


def test_dropout_keeps_its_share_of_units_and_their_mean():
    for dropout in (0.1, 0.5, 0.9):
        mask = reference.dropout_masks(seed=3, step=1, L=2, T=50, B=20, H=500, dropout=dropout)
        n = mask.size
        assert np.mean(mask > 0) == pytest.approx(1 - dropout, abs=5 * np.sqrt(dropout * (1 - dropout) / n))
        assert set(np.unique(mask)) == {0, 1 / (1 - dropout)}
        assert mask.mean() == pytest.approx(1, abs=5 * np.sqrt(dropout / (1 - dropout) / n))


def test_dropout_of_a_unit_says_nothing_of_another_layer_step_row_unit_or_seed():
    masks = reference.dropout_masks(seed=3, step=1, L=2, T=50, B=20, H=500, dropout=0.5) - 1
    others = {
        "layer": masks[0] * masks[1],
        "time": masks[:, 1:] * masks[:, :-1],
        "row": masks[:, :, 1:] * masks[:, :, :-1],
        "unit": masks[..., 1:] * masks[..., :-1],
        "step": masks * (reference.dropout_masks(seed=3, step=2, L=2, T=50, B=20, H=500, dropout=0.5) - 1),
        "seed": masks * (reference.dropout_masks(seed=4, step=1, L=2, T=50, B=20, H=500, dropout=0.5) - 1),
        "recurrence": masks * (reference.recurrent_masks(seed=3, step=1, L=2, B=20, H=500, dropout=0.5)[:, None] - 1),
    }
    for what, products in others.items():
        assert abs(products.mean()) < 5 / np.sqrt(products.size), what


@every_cell
def test_first_step_with_dropout_moves_the_parameters_by_the_gradient_of_the_masked_network(kernels64, cell):
    task = text_task(cell=cell, dropout=0.4, recurrent_dropout=0.3, seed=11, optimizer="sgd")
    learning_rate = 1e-3
    training = Training(kernels64, task)
    (loss,) = training.train([learning_rate])
    inputs, targets, _ = task.chunks()[0]
    masks = reference.dropout_masks(11, 1, 2, *inputs.shape, 9, 0.4)
    recurrent = reference.recurrent_masks(11, 1, 2, 3, 9, 0.3)
    expected_loss, grads, _ = reference.loss_and_grad(task.params, inputs, targets, None, None, masks, recurrent)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    for name, value in training.params().items():
        assert_close((task.params[name] - value) / learning_rate, grads[name], 1e-10, name)


# Divergence


def assert_next_step_is_refused(training: Training) -> None:
    before = bits(training.parameters, training.moments, training.squares)
    step, position = training.trainer.step, training.trainer.position
    assert len(training.train([0.01, 0.01])) == 0
    assert bits(training.parameters, training.moments, training.squares) == before
    assert (training.trainer.step, training.trainer.position) == (step, position)


@pytest.mark.parametrize("task", ["adam with all settings", "gru", "lstm"])
@pytest.mark.parametrize("name", ["rnn.weight_ih_l0", "rnn.weight_hh_l1", "rnn.bias_hh_l0", "head.weight", "head.bias"])
def test_training_stops_at_a_parameter_that_is_nan_and_leaves_all_as_it_was(kernels, name, task):
    for num_threads in (1, 3):
        training = Training(kernels, TASKS[task], num_threads)
        training.train(LEARNING_RATES[:2])
        training.network.views(training.parameters)[name].flat[:] = np.nan
        assert_next_step_is_refused(training)
        assert not np.isfinite(training.trainer.last_loss)


def test_training_stops_at_an_infinite_loss_and_leaves_all_as_it_was(kernels):
    training = Training(kernels, TASKS["sgd"])
    weight = training.network.views(training.parameters)["head.weight"]
    weight[...] = np.finfo(kernels.DTYPE).max * np.array([[1], [-1], [1], [-1], [1]], kernels.DTYPE)
    assert_next_step_is_refused(training)
    assert not np.isfinite(training.trainer.last_loss)


def test_training_stops_at_an_infinite_norm_and_tells_loss_and_norm_of_that_step(kernels64):
    training = Training(kernels64, TASKS["sgd"])
    training.network.views(training.parameters)["head.weight"][...] *= 1e200
    assert_next_step_is_refused(training)
    assert np.isfinite(training.trainer.last_loss)
    assert np.isinf(training.trainer.last_norm)


def test_training_returns_the_steps_before_the_one_that_diverged(kernels):
    for num_threads in (1, 2):
        training, expected = (Training(kernels, TASKS["adam"], num_threads) for _ in range(2))
        losses = training.train([0.01, 0.02, np.inf, 0.01, 0.01])  # infinite parameters after the third step
        np.testing.assert_array_equal(losses, expected.train([0.01, 0.02, np.inf]))
        assert training.trainer.step == 3
        assert bits(training.parameters) == bits(expected.parameters)


def test_training_can_go_on_after_a_refused_step(kernels):
    training, expected = (Training(kernels, TASKS["dropout and documents"], 2) for _ in range(2))
    training.train(LEARNING_RATES[:3])
    kept = training.parameters.copy()
    training.parameters[0] = np.nan
    assert_next_step_is_refused(training)
    training.parameters[:] = kept
    training.train(LEARNING_RATES[3:])
    expected.train(LEARNING_RATES)
    assert training.everything() == expected.everything()


# Ctrl-C


def test_interrupted_training_stands_after_a_whole_step():
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 65, 16 * 1000 + 1)
    task = Task(random_params(rng, 65, 256, 1), symbols, 1000 * np.arange(16), length=1000, seq_length=32)
    training, expected = (Training(charrnn.kernels.module("float32"), task, 2) for _ in range(2))
    timer = threading.Timer(0.2, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        training.train([1e-3] * 100_000)
    expected.train([1e-3] * training.trainer.step)
    assert bits(training.parameters, training.moments, training.squares) == bits(
        expected.parameters, expected.moments, expected.squares
    )
    assert training.trainer.position == expected.trainer.position


# Sampler --------------------------------------------------------------------------------------------------------

DISTRIBUTIONS = [
    {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    for temperature, top_k, top_p in itertools.product((0.0, 0.1, 1.0, 3.0), (0, 1, 3, 17, 30), (0.1, 0.5, 0.9, 1.0))
] + [
    {"temperature": temperature, "top_k": 4, "top_p": top_p, "min_p": min_p}
    for temperature, top_p, min_p in itertools.product((0.0, 0.1, 1.0, 3.0), (0.5, 1.0), (0.01, 0.3, 1.0))
]


def random_sampler(
    kernels: ModuleType, B: int, V: int = 17, H: int = 9, L: int = 2, cell: str = "rnn", end: int = -1, **distribution
):
    """A sampler of B rows, its parameters, and symbols (4, B) that it has read."""
    rng = np.random.default_rng((B, V, H, L))
    params = random_params(rng, V, H, L, cell)
    params["head.weight"] *= 4  # strong opinions
    network = network_of(kernels, params)
    sampler = kernels.Sampler(network, arena_of(network, params, kernels.DTYPE), B, end=end, **distribution)
    prompt = rng.integers(0, V, (4, B))
    sampler.feed(prompt.astype(np.int32))
    return sampler, params, prompt


def probabilities(sampler) -> np.ndarray:
    weights = sampler.weights().astype(np.float64)
    return weights / weights.sum(axis=1, keepdims=True)


def reference_filter(logits: np.ndarray, temperature: float, top_k: int, top_p: float, min_p: float = 0) -> np.ndarray:
    return reference.filter_probs(logits, temperature, top_k or None, top_p, min_p)


def addresses(generator: np.random.Generator) -> tuple[int | None, int]:
    interface = generator.bit_generator.ctypes
    return ctypes.cast(interface.next_double, ctypes.c_void_p).value, interface.state_address


def steps(sampler, generator: np.random.Generator, T: int, B: int) -> tuple[np.ndarray, np.ndarray]:
    """The symbols, and what is said of them, of up to T steps of B rows."""
    symbols, over = np.full((T, B), -7, np.int32), np.full((T, B), 7, np.uint8)
    drawn = sampler.draw(*addresses(generator), symbols, over)
    assert (symbols[drawn:] == -7).all() and (over[drawn:] == 7).all()
    return symbols[:drawn], over[:drawn]


def draw(sampler, generator: np.random.Generator, T: int, prompt: Sequence[int]) -> np.ndarray:
    """Up to T symbols of a sampler of one row."""
    sampler.begin(np.array(prompt, np.int32), 1)
    symbols, over = steps(sampler, generator, T, 1)
    assert not over[:-1].any()
    return symbols[:, 0]


def draw_texts(
    sampler, generator: np.random.Generator, n: int, B: int, prompt: Sequence[int], T: int = 5
) -> list[list[int]]:
    """n texts of a sampler of B rows, T steps in a call, with those that were drawn anew."""
    sampler.begin(np.array(prompt, np.int32), n)
    texts, index, begun = [[] for _ in range(n + B)], list(range(B)), B
    while True:
        symbols, over = steps(sampler, generator, T, B)
        for row, said in zip(symbols.tolist(), over.tolist(), strict=True):
            for b in range(B):
                texts[index[b]] += [row[b]] if row[b] >= 0 else []
                texts[index[b]] += [ANEW] if said[b] == 2 else []
                if said[b] == 1:
                    index[b], begun = begun, begun + 1
        if not len(symbols):
            assert texts[n:] == [[]] * B
            return texts[:n]


#: Where a text was drawn anew.
ANEW = -2


def test_sampler_weights_are_the_filtered_probabilities_of_the_reference(kernels):
    tolerance = TOLERANCE[kernels.DTYPE.name]
    for B, distribution in itertools.product((1, 3, 9), DISTRIBUTIONS):
        sampler, params, prompt = random_sampler(kernels, B, **distribution)
        logits, state = reference.forward(params, prompt)
        expected = np.array([reference_filter(row, **distribution) for row in logits[-1]])
        assert_close(probabilities(sampler), expected, tolerance, distribution)
        np.testing.assert_array_equal(sampler.weights() > 0, expected > np.finfo(kernels.DTYPE).smallest_subnormal)
        assert_close(sampler.get_state(), state, tolerance)


@every_cell
def test_sampler_weights_are_right_for_every_shape(kernels, cell):
    for sizes in itertools.product((1, 2, 7), (1, 2, 15, 16, 17, 65, 300), (1, 17, 64, 100), (1, 2)):
        sampler, params, prompt = random_sampler(kernels, *sizes, cell)
        expected = reference.softmax(reference.forward(params, prompt)[0][-1])
        assert_close(probabilities(sampler), expected, TOLERANCE[kernels.DTYPE.name], sizes)


@every_cell
def test_sampler_reads_a_prompt_of_no_symbols_and_starts_from_a_given_state(kernels, cell):
    sampler, params, _ = random_sampler(kernels, 3, cell=cell)
    state = float32_numbers(np.random.default_rng(0).uniform(-1, 1, reference.state_shape(params, 3)))
    sampler.set_state(state.astype(kernels.DTYPE))
    sampler.feed(np.zeros((0, 3), np.int32))
    h = state[0, -1] if cell == "lstm" else state[-1]
    logits = reference.head_forward(h, params["head.weight"], params["head.bias"])
    assert_close(probabilities(sampler), reference.softmax(logits), TOLERANCE[kernels.DTYPE.name])
    np.testing.assert_array_equal(sampler.get_state(), state)


def test_sampler_weights_of_equals_keep_the_lower_index(kernels):
    network = kernels.Network(6, 2, 1)
    params = {name: np.zeros(view.shape) for name, view in network.views(np.zeros(network.arena_size)).items()}
    params["head.bias"] = np.array([0.0, 1, 1, 0, 1, 0])
    arena = arena_of(network, params, kernels.DTYPE)
    for settings, kept in (
        ({"top_k": 2}, [1, 2]),
        ({"top_k": 4}, [0, 1, 2, 4]),
        ({"top_p": 0.3}, [1, 2]),
        ({"top_k": 3, "top_p": 0.6}, [1, 2]),
        ({"temperature": 0}, [1]),
    ):
        sampler = kernels.Sampler(network, arena, 1, **settings)
        sampler.feed(np.zeros((1, 1), np.int32))
        np.testing.assert_array_equal(np.nonzero(sampler.weights()[0])[0], kept)


def test_top_k_of_one_is_greedy_at_every_temperature(kernels):
    for temperature in (1e-300, 1e-30, 0.1, 1.0, 10.0, 1e8, 1e300):
        greedy, _, _ = random_sampler(kernels, 9, temperature=0)
        sampler, _, _ = random_sampler(kernels, 9, temperature=temperature, top_k=1)
        np.testing.assert_array_equal(sampler.weights() > 0, greedy.weights() > 0, err_msg=f"{temperature}")


@every_cell
def test_draw_is_the_sample_index_of_the_reference_with_one_double_for_each_symbol(kernels64, cell):
    T = 12
    for distribution in DISTRIBUTIONS[::7]:
        sampler, params, prompt = random_sampler(kernels64, 1, cell=cell, **distribution)
        symbols = draw(sampler, np.random.default_rng(1), T, prompt[:, 0])
        uniforms = np.random.default_rng(1).random(T)
        logits, state = reference.forward(params, prompt)
        for t in range(T):
            probs = reference_filter(logits[-1, 0], **distribution)
            assert symbols[t] == reference.sample_index(probs, uniforms[t])
            before = state
            logits, state = reference.forward(params, symbols[t : t + 1, None], state)
        assert_close(sampler.get_state(), before, 1e-12)


def test_draw_is_the_sample_index_of_the_weights(kernels):
    generator, uniforms = np.random.default_rng(2), np.random.default_rng(2)
    sampler, _, _ = random_sampler(kernels, 1, V=65, H=33, temperature=1.5)
    sampler.begin(np.array([3], np.int32), 1)
    for _ in range(500):
        symbols, _ = steps(sampler, generator, 1, 1)
        assert symbols == [[reference.sample_index(sampler.weights()[0], uniforms.random())]]


class Steered:
    """What a text may be, in plain Python: the definition of what Sampler does with an automaton and bounds."""

    def __init__(self, automaton, end: int, length: int, min_length: int, in_time: bool) -> None:
        self.automaton, self.end, self.length, self.min_length, self.in_time = (
            automaton,
            end,
            length,
            min_length,
            in_time,
        )

    def allowed(self, text: list[int], V: int) -> np.ndarray:
        found = np.ones(V, bool)
        a = self.automaton
        if a is not None:
            state = self.state(text)
            for v in range(V):
                if v == self.end:
                    found[v] = a.ends[state]
                    continue
                after = a.next[state, a.classes[v]]
                late = self.in_time and len(text) + 1 + a.distance[after] > self.length >= 0
                found[v] = after >= 0 and not late
        return found

    def state(self, text: list[int]) -> int:
        state = 0
        for symbol in text:
            state = self.automaton.next[state, self.automaton.classes[symbol]]
        return state

    def said(self, text: list[int], V: int) -> int:
        """1 where it is over, 2 where it is drawn anew."""
        body = [v for v in text if v != self.end]
        stop = 0 if self.automaton is None else self.automaton.stops[self.state(body)]
        if stop or len(body) < len(text):
            return 2 if self.end >= 0 and len(body) - stop < self.min_length else 1
        if self.end >= 0:
            return 2 if 0 <= self.length < len(text) else 0
        return 1 if len(text) == self.length or not self.allowed(text, V).any() else 0


def texts_of_the_reference(params, prompt, end, n, B, steered, uniforms):
    """n texts that B rows draw side by side, with those that were drawn anew."""
    V = len(params["head.bias"])
    expected: list[list[int]] = []
    rows: list[tuple[list[int], list[int], list[int]] | None] = [None] * B  # what is read, drawn, and all that was
    while True:
        for b, row in enumerate(rows):
            if row is None and len(expected) < n:
                expected.append([])
                rows[b] = ([], [], expected[-1])
        if not any(rows):
            return expected
        for b, row in enumerate(rows):
            if row is None:
                continue
            read, drawn, written = row
            if len(read) < len(prompt):
                read.append(prompt[len(read)])
            if len(read) == len(prompt):
                said = 1
                if end >= 0 or not steered.said(drawn, V):
                    symbols = np.array([*prompt, *drawn])[:, None]
                    logits = params["head.bias"]
                    if len(symbols):
                        logits = reference.forward(params, symbols, end=end if end >= 0 else None)[0][-1, 0]
                    logits = np.where(steered.allowed(drawn, V), logits, -np.inf)
                    drawn.append(reference.sample_index(reference.softmax(logits), uniforms.random()))
                    written.append(drawn[-1])
                    said = steered.said(drawn, V)
                if said == 1:
                    rows[b] = None
                if said == 2:
                    written.append(ANEW)
                    rows[b] = ([], [], written)


def automata(V: int) -> list[Automaton | None]:
    """None, one that only stops, patterns, and a pattern with stops, of V symbols."""
    characters = "abcdefghijklmnopqrstuvwxyz"[:V]
    stops = stop_automaton([[3, 3], [1]], V)
    pattern = pattern_automaton("(?:[^e]{3})*|b+", characters)
    return [None, stops, pattern, combined(pattern, stops, 2), pattern_automaton("", characters)]


@every_cell
@pytest.mark.parametrize("which", range(5), ids=["free", "stops", "pattern", "both", "empty"])
def test_texts_drawn_in_rows_are_those_that_the_reference_draws(kernels64, cell, which):
    """Each step takes one double for each row that draws; a row whose text is done begins the next one."""
    n, B, V = 23, 4, 17
    _, params, _ = random_sampler(kernels64, 1, cell=cell)
    for prompt, end, length, min_length in (
        ([], -1, 9, 0),
        ([5, 7], -1, 0, 0),
        ([5, 7], -1, 6, 0),
        ([2], 16, -1, 0),
        ([2, 5, 7], 16, 7, 2),
    ):
        params["head.bias"] = np.where(np.arange(V) == end, 1.5, 0.0)
        automaton = automata(V - (end >= 0))[which]
        in_time = which in (2, 4)
        settings = {"end": end, "length": length, "min_length": min_length, "automaton": automaton, "in_time": in_time}
        if which == 4 and min_length:
            continue  # no text is both empty and so long
        network = network_of(kernels64, params)
        sampler = kernels64.Sampler(network, arena_of(network, params, kernels64.DTYPE), B, **settings)
        generator, uniforms = np.random.default_rng(3), np.random.default_rng(3)
        texts = draw_texts(sampler, generator, n, B, prompt)
        steered = Steered(automaton, end, length, min_length, in_time)
        assert texts == texts_of_the_reference(params, prompt, end, n, B, steered, uniforms), settings
        assert generator.random() == uniforms.random()
        if which < 4 and end >= 0:
            assert len({len(text) for text in texts}) > 1
        if which == 0 and min_length:
            assert any(ANEW in text for text in texts)


def test_what_is_forbidden_is_never_drawn_however_probable(kernels):
    """Where all that may come has a weight of 0 beside what may not, and in a model whose weights are not numbers."""
    automaton = pattern_automaton("[ab]*", "abcdefgh")
    network = kernels.Network(8, 4, 1)
    for logit in (1e4, np.nan):
        params = {name: np.zeros(view.shape) for name, view in network.views(np.zeros(network.arena_size)).items()}
        params["head.bias"] = np.array([0.0, 0, *[logit] * 6])
        if np.isnan(logit):
            params["head.bias"][:] = logit
        for settings in ({}, {"top_k": 1}, {"top_p": 0.5}, {"min_p": 0.5}, {"temperature": 0}, {"temperature": 1e300}):
            sampler = kernels.Sampler(
                network, arena_of(network, params, kernels.DTYPE), 1, automaton=automaton, length=50, **settings
            )
            symbols = draw(sampler, np.random.default_rng(0), 50, [2])
            assert set(symbols) <= {0, 1}
            if not np.isnan(logit) and settings.keys() <= {"min_p"}:
                assert set(symbols) == {0, 1}


def test_an_automaton_of_another_vocabulary_is_refused(kernels):
    for end, characters in ((-1, "ab"), (7, "abcdefgh")):
        with pytest.raises(ValueError, match="classes must have length"):
            network = kernels.Network(8, 4, 1)
            arena = np.zeros(network.arena_size, kernels.DTYPE)
            kernels.Sampler(network, arena, 1, end=end, automaton=pattern_automaton("a", characters))


class Uniforms:
    """A generator of given doubles, as `draw` takes it."""

    def __init__(self, *values: float) -> None:
        self.values = iter(values)
        self.function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)(lambda _: next(self.values))
        self.address = ctypes.cast(self.function, ctypes.c_void_p).value


def test_draw_of_the_least_and_the_largest_uniform_is_the_first_and_the_last_symbol_kept(kernels):
    for distribution in ({}, {"top_k": 3}, {"top_p": 0.5}):
        for u, which in ((0.0, 0), (1 - 2**-53, -1)):
            sampler, _, prompt = random_sampler(kernels, 1, **distribution)
            kept = np.nonzero(sampler.weights()[0])[0]
            sampler.begin(prompt[:, 0].astype(np.int32), 1)
            symbols = np.zeros((1, 1), np.int32)
            sampler.draw(Uniforms(u).address, 0, symbols, np.zeros((1, 1), np.uint8))
            assert symbols[0] == kept[which]


def test_draw_stops_at_end_and_takes_no_more_doubles(kernels):
    generator, end = np.random.default_rng(3), 2
    sampler, _, _ = random_sampler(kernels, 1, end=end)
    symbols = draw(sampler, generator, 2000, [end])
    assert 1 < len(symbols) < 2000
    assert list(symbols).index(end) == len(symbols) - 1
    used = np.random.default_rng(3)
    used.random(len(symbols))
    assert generator.random() == used.random()


def test_draw_wants_a_column_for_each_row(kernels):
    with pytest.raises(ValueError, match="rows of symbols must have length 2"):
        steps(random_sampler(kernels, 2)[0], np.random.default_rng(0), 1, 3)


@every_cell
def test_sampler_after_end_starts_from_a_zero_state(kernels, cell):
    sampler, params, _ = random_sampler(kernels, 2, cell=cell, end=16)
    sampler.feed(np.array([[3, 16]], np.int32))
    sampler.feed(np.array([[16, 16]], np.int32))
    expected = reference.softmax(reference.forward(params, np.array([[16, 16]]))[0][-1])
    assert_close(probabilities(sampler), expected, TOLERANCE[kernels.DTYPE.name])


# The choice of a build ------------------------------------------------------------------------------------------


def python(source: str, *emulator: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs it in a Python of its own."""
    given = {name: value for name, value in os.environ.items() if name != "CHARRNN_BUILD"}
    path = os.pathsep.join(path for path in sys.path if path)
    environment = given | {"PYTHONPATH": path} | environment
    command = [*emulator, sys.executable, "-c", source]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300 if emulator else 60)


def test_build_is_the_best_one_that_this_cpu_runs():
    run = python("import charrnn.kernels; print(charrnn.kernels.BUILD)")
    assert run.stdout == f"{RUNNABLE_BUILDS[0]}\n", run.stderr


@pytest.mark.parametrize("build", RUNNABLE_BUILDS)
def test_charrnn_build_forces_a_build_and_import_leaves_subnormals_as_they_are(build):
    run = python(
        "import sys, numpy as np, charrnn.kernels as kernels\n"
        "kernels.bptt(n := kernels.Network(3, 2), np.zeros(n.arena_size, np.float32), *np.zeros((2, 1, 1), int), "
        "np.zeros(n.arena_size, np.float32), num_threads=2)\n"
        "modules = [kernels.module(dtype) for dtype in (np.float32, np.float64)]\n"
        "print(kernels.BUILD, *(module.__name__ for module in modules), sys.float_info.min / 2 != 0)\n"
        "print(np.float32(2 ** -126) / np.float32(2) != 0, sys.float_info.min * 2.0 ** -52 != 0)",
        CHARRNN_BUILD=build,
    )
    module = f"charrnn.kernels._{build.replace('-', '_')}"
    assert run.stdout == f"{build} {module}_float32 {module}_float64 True\nTrue True\n", run.stderr


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="needs qemu-x86_64, of qemu-user")
@pytest.mark.parametrize(("cpu", "build"), [("Haswell", "x86-64-v3"), ("Nehalem", "x86-64-v2")])
def test_older_cpus_get_the_builds_that_they_run(cpu, build):
    if build not in RUNNABLE_BUILDS:
        pytest.skip(f"there is no build for {build} here")
    # The first has AVX2 and no AVX-512, the other no AVX at all: what they lack is an illegal instruction there.
    run = python(
        "import charrnn.train, charrnn.kernels\n"
        "model = charrnn.train.train('hello world', epochs=100, num_threads=1, progress=False)\n"
        "print(charrnn.kernels.BUILD, model.sample('h', 10, temperature=0), model.evaluate('hello world').loss < 0.1)",
        *("qemu-x86_64", "-cpu", cpu),
    )
    assert run.stdout == f"{build} ello world True\n", run.stderr


def test_charrnn_build_of_an_unknown_name_is_an_import_error_that_lists_the_names():
    run = python("import charrnn.kernels", CHARRNN_BUILD="x86-64-v9")
    assert run.returncode == 1
    message = "ImportError: CHARRNN_BUILD must be one of x86-64-v4, x86-64-v3, x86-64-v2, generic, got 'x86-64-v9'"
    assert run.stderr.splitlines()[-1] == message


def test_charrnn_build_that_this_cpu_lacks_is_an_import_error(monkeypatch):
    monkeypatch.setattr(charrnn.kernels, "x86_64_level", lambda: 2)
    monkeypatch.setenv("CHARRNN_BUILD", "x86-64-v3")
    with pytest.raises(ImportError, match="CHARRNN_BUILD is x86-64-v3, but this CPU does not run it .*level 2"):
        charrnn.kernels._choose()


def test_charrnn_build_that_is_not_installed_is_an_import_error(monkeypatch):
    monkeypatch.setattr(charrnn.kernels, "_import", lambda build, dtype: None)
    monkeypatch.setenv("CHARRNN_BUILD", "generic")
    with pytest.raises(ImportError, match="CHARRNN_BUILD is generic, but this installation .* does not contain"):
        charrnn.kernels._choose()
    monkeypatch.delenv("CHARRNN_BUILD")
    with pytest.raises(ImportError, match="contains no build that this CPU runs"):
        charrnn.kernels._choose()


@pytest.mark.parametrize("level", range(5))
def test_chosen_build_is_never_above_the_level_of_the_cpu(monkeypatch, level):
    monkeypatch.setattr(charrnn.kernels, "x86_64_level", lambda: level)
    monkeypatch.setattr(charrnn.kernels, "_import", lambda build, dtype: build)  # all are installed
    monkeypatch.delenv("CHARRNN_BUILD", raising=False)
    best = next(build for build, needed in charrnn.kernels.BUILDS.items() if needed <= level)
    assert charrnn.kernels._choose() == (best, best)


# What charrnn.kernels shows -------------------------------------------------------------------------------------

FUNCTIONS = sorted(set(charrnn.kernels.__all__) - {"BUILD", "BUILDS", "Network", "VECTOR_LENGTH", "module"})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_function_has_a_docstring(name):
    assert getattr(charrnn.kernels, name).__doc__


@pytest.mark.parametrize("dtype", DTYPES)
def test_public_functions_take_the_dtype_of_the_arrays_and_integers_of_any_type(dtype):
    logits, targets = random_logits(4, 5)
    logits = logits.astype(dtype)
    assert charrnn.kernels.softmax(logits).dtype == dtype
    assert charrnn.kernels.softmax(logits=logits).dtype == dtype
    for function in (charrnn.kernels.exp, charrnn.kernels.sigmoid, charrnn.kernels.tanh):
        assert function(logits[0]).dtype == dtype
    for integers in (np.uint8, np.uint16, np.int32, np.int64):
        loss = charrnn.kernels.cross_entropy(logits, targets.astype(integers))
        assert loss == pytest.approx(reference.cross_entropy_forward(logits, targets), rel=1e-5)
    for cell in reference.CELLS:
        network = charrnn.kernels.Network(5, 3, 2, dtype=dtype, cell=cell)
        parameters, gradients = np.zeros((2, network.arena_size), dtype)
        inputs, targets = np.zeros((3, 2), np.uint8), np.ones((3, 2), np.int64)
        loss, state = charrnn.kernels.bptt(network, parameters, inputs, targets, gradients)
        assert loss == pytest.approx(np.log(5), rel=1e-6)
        assert (state.shape, state.dtype) == ((2, 2, 2, 3) if cell == "lstm" else (2, 2, 3), dtype)


X = np.zeros((2, 3))
BPTT = {"inputs": ((0, 1),), "targets": ((2, 1),), "state": None, "sizes": (3, 2, 1), "arena_size": None}


def call_cell(cell="rnn", **shapes):
    rows, S = 4 * reference.CELLS[cell].G, reference.CELLS[cell].S
    given = {"x": (2, 3)} | dict.fromkeys(("h_prev", "c_prev")[:S], (2, 4))
    given |= {"weight_ih": (rows, 3), "weight_hh": (rows, 4), "bias_ih": (rows,), "bias_hh": (rows,)}
    return getattr(charrnn.kernels, f"{cell}_cell")(*(np.zeros(shape) for shape in (given | shapes).values()))


def call_cell_backward(cell="rnn", **shapes):
    rows, S = 4 * reference.CELLS[cell].G, reference.CELLS[cell].S
    given = dict.fromkeys(("dh", "dc")[:S], (2, 4)) | {"x": (2, 3)} | dict.fromkeys(("h_prev", "c_prev")[:S], (2, 4))
    given |= {"h": (2, 4)} if cell == "rnn" else {}
    given |= {"weight_ih": (rows, 3), "weight_hh": (rows, 4)}
    given |= {} if cell == "rnn" else {"bias_ih": (rows,), "bias_hh": (rows,)}
    return getattr(charrnn.kernels, f"{cell}_cell_backward")(*(np.zeros(shape) for shape in (given | shapes).values()))


def call_bptt(cell="rnn", num_threads=1, **changes):
    inputs, targets, state, sizes, arena_size = (BPTT | changes).values()
    network = charrnn.kernels.Network(*sizes, "float64", cell)
    arenas = np.zeros((2, arena_size or network.arena_size))
    inputs, targets = np.array(inputs, int), np.array(targets, int)
    return charrnn.kernels.bptt(network, arenas[0], inputs, targets, arenas[1], state, num_threads=num_threads)


def call(expression: str):
    return eval(expression, vars(charrnn.kernels) | globals())


WRONG_CALLS = {
    "softmax(X.astype(int))": "TypeError: .*float32 or float64",
    "softmax(X.astype('float16'))": "TypeError: dtype must be float32 or float64, got float16",
    "softmax([[1.0]])": "TypeError: .*float32 or float64",
    "softmax(X[0])": "ValueError: .*dimensions",
    "softmax(X, np.zeros((2, 2)))": "ValueError: .*probs must have",
    "softmax(X, np.zeros((1, 3)))": "ValueError: .*probs must have",
    "softmax(X, X.astype('float32'))": "TypeError: probs must have dtype float64, as the other arrays, got float32",
    "softmax(X, np.zeros((2, 6))[:, ::2])": "ValueError: probs must be C-contiguous",
    "cross_entropy(X[:0], np.zeros(0, int))": "ValueError: logits must have at least one row",
    "cross_entropy(X[:, :0], np.zeros(2, int))": "ValueError: logits must have at least one row and one column",
    "cross_entropy(X, np.array([0]))": "ValueError: targets must have length 2 .* got 1",
    "cross_entropy(X, np.array([0, 3]))": "ValueError: targets must be from 0 to 2, got 3",
    "cross_entropy(X, np.array([0, -1]))": "ValueError: targets must be from 0 to 2, got -1",
    "cross_entropy(X, np.array([0, 2**32 + 1]))": "ValueError: targets must be",
    "cross_entropy(X, np.zeros(2))": "(TypeError|ValueError): .*dtype",
    "cross_entropy(X, np.array([0, 1]), X.T.copy())": "ValueError: .*dlogits must have",
    "exp(X[0], np.zeros(2))": "ValueError: out must have length 3 .* got 2",
    "tanh(X)": "ValueError: x must have 1 dimension, got shape",
    "tanh(3.0)": "TypeError: .*float32 or float64",
    "sigmoid(X[0], np.zeros(2))": "ValueError: out must have length 3 .* got 2",
    "sgd(X[0], np.zeros(4), np.zeros(3), learning_rate=0.1)": "ValueError: gradients must have length 3 .* got 4",
    "sgd(X[0], X[1], None, learning_rate=0.1)": "TypeError: .*moments",
    "rmsprop(X[0], X[1], np.zeros(2), learning_rate=0.1)": "ValueError: squares must have length 3 .* got 2",
    "adam(*np.zeros((4, 3)), step=0, learning_rate=0.1)": "ValueError: step must be at least 1, got 0",
    "clip_norm(np.zeros(3, int), 1.0)": "TypeError: .*float32 or float64",
    "clip_norm(np.ones(3), -1.0)": "ValueError: max_norm must be",
    "clip_value(np.ones(3), -1.0)": "ValueError: limit must be",
    "call_bptt(inputs=np.zeros((0, 2)), targets=np.zeros((0, 2)))": "ValueError: inputs must have at least one step",
    "call_bptt(inputs=np.zeros((2, 0)), targets=np.zeros((2, 0)))": "ValueError: inputs must have at least one step",
    "call_bptt(inputs=[0], targets=[0])": "ValueError: .*dimensions",
    "call_bptt(targets=[[0], [1]])": "ValueError: targets must have the shape of inputs, \\(1, 2\\), got \\(2, 1\\)",
    "call_bptt(inputs=[[0, 3]])": "ValueError: inputs must be from 0 to 2, got 3",
    "call_bptt(inputs=[[-1, 2]])": "ValueError: inputs must be from 0 to 2, got -1",
    "call_bptt(targets=[[0, 3]])": "ValueError: targets must be from 0 to 2, got 3",
    "call_bptt(arena_size=7)": "ValueError: parameters must have length",
    "call_bptt(state=np.zeros((1, 1, 2)))": "ValueError: state must have shape \\(1, 2, 2\\), got \\(1, 1, 2\\)",
    "call_bptt('lstm', state=np.zeros((1, 2, 2)))": "ValueError: .*(dimensions|must have shape \\(2, 1, 2, 2\\))",
    "call_bptt('lstm', state=np.zeros((2, 1, 1, 2)))": "ValueError: state must have shape \\(2, 1, 2, 2\\), got",
    "call_bptt('gru', state=np.zeros((2, 1, 2, 2)))": "ValueError: .*(dimensions|must have shape \\(1, 2, 2\\))",
    "bptt(Network(3, 2), X[0], *np.zeros((2, 1, 1), int), X[1])": "TypeError: .*network",
    "Network(3, 2, 1, 'int32')": "TypeError: dtype must be float32 or float64, got int32",
    "Network(3, 2, cell='elman')": "ValueError: cell must be .*rnn.*gru.*lstm.*got 'elman'",
}


@pytest.mark.parametrize("expression", WRONG_CALLS)
def test_wrong_argument_is_an_error_that_says_so(expression):
    with pytest.raises((TypeError, ValueError)) as error:
        call(expression)
    assert re.match(WRONG_CALLS[expression], f"{kind(error.value)}: {error.value}")


def kind(error: Exception) -> str:
    """The built-in class of an error, of which the package has subclasses."""
    return "TypeError" if isinstance(error, TypeError) else "ValueError" if isinstance(error, ValueError) else ""


WRONG_SIZES = """
call_bptt(num_threads=0)
call_bptt(num_threads=-3)
call_bptt(sizes=(3, 2, 0))
call_bptt(sizes=(3, 2, -1))
call_bptt(sizes=(3, 0, 1))
call_bptt(sizes=(3, -5, 1))
call_bptt(sizes=(0, 2, 1))
call_cell(x=(2, 900_000))
call_cell(x=(2, 5))
call_cell(x=(3, 3))
call_cell(h_prev=(1, 4))
call_cell(h_prev=(2, 5))
call_cell(weight_ih=(5, 3))
call_cell(weight_hh=(4, 5))
call_cell(bias_ih=(1,))
call_cell(bias_hh=(5,))
call_cell_backward(dh=(2, 5))
call_cell_backward(x=(3, 3))
call_cell_backward(h_prev=(3, 4))
call_cell_backward(h=(1, 4))
call_cell_backward(weight_ih=(5, 3))
call_cell_backward(weight_hh=(5, 4))
call_cell('lstm', c_prev=(1, 4))
call_cell('lstm', c_prev=(2, 5))
call_cell_backward('lstm', c_prev=(1, 4))
call_cell_backward('lstm', c_prev=(2, 5))
call_cell_backward('lstm', dc=(1, 4))
call_cell_backward('lstm', dc=(2, 5))
""".split("\n")[1:-1]
WRONG_SIZES += [
    f"{function}({cell!r}, {wrong})"
    for cell, function, wrong in itertools.product(
        ("gru", "lstm"),
        ("call_cell", "call_cell_backward"),
        (
            "x=(2, 900_000)",
            "x=(2, 5)",
            "x=(3, 3)",
            "h_prev=(1, 4)",
            "h_prev=(2, 5)",
            "weight_ih=(4, 3)",
            "weight_ih=(17, 3)",
            "weight_hh=(4, 4)",
            "weight_hh=(16, 5)",
            "bias_ih=(4,)",
            "bias_hh=(1,)",
        ),
    )
]
WRONG_SIZES += [f"call_cell_backward({cell!r}, dh={shape})" for cell in ("gru", "lstm") for shape in ((1, 4), (2, 5))]


def print_what_wrong_sizes_raise() -> None:
    for expression in WRONG_SIZES:
        try:
            call(expression)
            print(expression, "raises nothing", flush=True)
        except Exception as error:
            print(expression, "raises", kind(error), flush=True)


def test_wrong_sizes_are_errors_and_touch_no_memory_beyond_the_arrays():
    # In a process of its own, for such a call may end it.
    run = python("import test_kernels; test_kernels.print_what_wrong_sizes_raise()")
    assert run.stdout.splitlines() == [f"{expression} raises ValueError" for expression in WRONG_SIZES], run.stderr
    assert run.returncode == 0
