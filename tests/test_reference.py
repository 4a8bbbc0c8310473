"""The reference against finite differences, hand computed numbers and, where it is installed, PyTorch.

T time, B batch, V vocabulary, H hidden units, L layers.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import reference

T, B, V, H = 6, 3, 5, 4
END = V - 1
LOG2, LOG3 = math.log(2), math.log(3)
LARGEST = np.finfo(np.float64).max

every_cell = pytest.mark.parametrize("cell", reference.CELLS)


def torch_or_skip():
    return pytest.importorskip("torch", reason="PyTorch, which the reference is compared with, is not installed")


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """|actual - expected| / |expected|, in Euclidean norms, so that no element near zero decides."""
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def random_problem(num_layers: int, cell: str = "rnn") -> dict:
    """Arguments of loss_and_grad: weights that bend tanh; END first, last, midway and twice running."""
    rng = np.random.default_rng(0)
    params = reference.random_params(rng, V, H, num_layers, cell)
    inputs = rng.integers(0, END, (T, B))
    inputs[2, 0] = inputs[0, 1] = inputs[3, 1] = inputs[4, 1] = inputs[T - 1, 2] = END
    return {
        "params": {name: 1.5 * p for name, p in params.items()},
        "inputs": inputs,
        "targets": rng.integers(0, V, (T, B)),
        "state": rng.uniform(-1, 1, reference.state_shape(params, B)),
        "end": END,
        "dropout_masks": [(rng.random((T, B, H)) >= 0.3) / 0.7 for _ in range(num_layers)],
        "recurrent_masks": [(rng.random((B, H)) >= 0.4) / 0.6 for _ in range(num_layers)],
    }


def hand_computed_problem() -> dict:
    """V = 2, H = 1, T = 2; tanh(log(3) / 2) = 1/2 makes h 1/2, -1/2 and the probabilities thirds."""
    params = {
        "rnn.weight_ih_l0": [[LOG3 / 2 - 0.75, LOG3 / 2 - 0.75]],
        "rnn.weight_hh_l0": [[-2 * LOG3]],
        "rnn.bias_ih_l0": [0.25],
        "rnn.bias_hh_l0": [0.5],
        "head.weight": [[2 * LOG2], [0.0]],
        "head.bias": [7.0, 7.0],
    }
    params = {name: np.array(p) for name, p in params.items()}
    return {"params": params, "inputs": np.array([[0], [1]]), "targets": np.array([[0], [0]])}


# The cell


def test_cell_with_a_one_hot_input_picks_a_column_of_the_input_weights():
    rng = np.random.default_rng(0)
    weight_ih, weight_hh, bias_ih, bias_hh = list(reference.random_params(rng, V, H, 1).values())[:4]
    symbols, h_prev = rng.integers(0, V, B), rng.uniform(-1, 1, (B, H))
    h = reference.rnn_cell_forward(np.eye(V)[symbols], h_prev, weight_ih, weight_hh, bias_ih, bias_hh)
    for b in range(B):
        z = weight_ih[:, symbols[b]] + bias_ih + weight_hh @ h_prev[b] + bias_hh
        np.testing.assert_allclose(h[b], np.tanh(z), rtol=1e-14)


def test_gru_cell_of_the_hand_computed_example():
    """sigma(-log 3, 0, log 3) = 1/4, 1/2, 3/4: r = 1/4, z = 3/4, n = tanh(log(3) / 2) = 1/2."""
    bias_ih, bias_hh = [LOG3, LOG3, LOG3], [-2 * LOG3, 0, 2 * LOG3]
    weight_ih, weight_hh = np.zeros((3, 1)), np.array([[0.0], [0.0], [-4 * LOG3]])
    h = reference.gru_cell_forward([[7.0]], [[1.0]], weight_ih, weight_hh, bias_ih, bias_hh)
    np.testing.assert_allclose(h, [[1 / 4 * 1 / 2 + 3 / 4 * 1]], rtol=1e-14)


def test_lstm_cell_of_the_hand_computed_example():
    """i = 3/4, f = 1/4, g = tanh(log(3) / 2) = 1/2, o = 1/2, tanh(c) = 1/2."""
    bias_ih, bias_hh = [LOG3, -LOG3, 0, 1], [0, 0, -LOG3, 0]
    weight_ih, weight_hh = np.array([[0.0], [0.0], [LOG3 / 2], [0.0]]), np.array([[0.0], [0.0], [0.0], [-0.5]])
    c = LOG3 / 2
    c_prev = 4 * (c - 3 / 4 * 1 / 2)
    result = reference.lstm_cell_forward([[3.0]], [[2.0]], [[c_prev]], weight_ih, weight_hh, bias_ih, bias_hh)
    np.testing.assert_allclose(result, [[[1 / 2 * 1 / 2]], [[c]]], rtol=1e-14)


def test_sigmoid_is_one_over_one_plus_exp_and_overflows_nowhere():
    x = np.linspace(-30, 30, 61)
    np.testing.assert_allclose(reference.sigmoid(x), 1 / (1 + np.exp(-x)), rtol=1e-14)
    with np.errstate(over="raise"):
        np.testing.assert_array_equal(reference.sigmoid(np.array([-1e4, 0, 1e4])), [0, 0.5, 1])


@every_cell
def test_cell_backward_agrees_with_finite_differences(cell):
    G, S, forward, backward = reference.CELLS[cell]
    rng = np.random.default_rng(0)
    shapes = {
        "x": (B, V),
        "h_prev": (B, H),
        "c_prev": (B, H),
        "weight_ih": (G * H, V),
        "weight_hh": (G * H, H),
        "bias_ih": G * H,
        "bias_hh": G * H,
    }
    given = {name: rng.normal(size=shape) for name, shape in shapes.items() if name != "c_prev" or S == 2}
    dstate = rng.normal(size=(S, B, H))

    for (name, value), grad in zip(given.items(), backward(*dstate, *given.values()), strict=True):
        difference = reference.finite_difference(
            lambda value, name=name: np.sum(dstate * forward(**{**given, name: value})), value
        )
        assert relative_error(grad, difference) < 1e-8, name


# Softmax and cross-entropy


def test_softmax_is_exp_over_its_sum():
    logits = np.random.default_rng(0).normal(size=(7, V))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1)[:, None]
    np.testing.assert_allclose(reference.softmax(logits), expected, rtol=1e-14)
    np.testing.assert_allclose(reference.log_softmax(logits), np.log(expected), rtol=1e-13)


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_softmax_does_not_change_with_a_large_constant_added(shift):
    logits = np.arange(V) / 4
    np.testing.assert_allclose(reference.softmax(logits + shift), reference.softmax(logits), rtol=1e-14)
    np.testing.assert_allclose(reference.log_softmax(logits + shift), reference.log_softmax(logits), rtol=1e-14)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1.0, 1e3, 1e100, 1e308, LARGEST])
def test_loss_and_its_gradient_are_finite_for_every_finite_logits(size):
    logits, targets = size * np.array([[1.0, -1.0, 0.5], [-1.0, 1.0, 1.0]] * 3), np.array([1, 0] * 3)
    loss = reference.cross_entropy_forward(logits, targets)
    assert size <= loss <= LARGEST
    assert np.isfinite(reference.log_softmax(logits)).all()
    assert np.isfinite(reference.cross_entropy_backward(logits, targets)).all()
    np.testing.assert_allclose(reference.softmax(logits).sum(axis=1), 1, rtol=1e-15)


@pytest.mark.filterwarnings("error")
def test_loss_is_finite_where_every_position_has_the_largest_loss():
    for positions in range(1, 50):
        logits, targets = np.tile([LARGEST, -LARGEST], (positions, 1)), np.ones(positions, int)
        assert LARGEST / 2 < reference.cross_entropy_forward(logits, targets) <= LARGEST


def test_loss_of_uniform_logits_is_log_vocab_size():
    for vocab_size in (1, 2, 65):
        logits = np.full((4, vocab_size), 123.0)
        loss = reference.cross_entropy_forward(logits, np.arange(4) % vocab_size)
        assert loss == pytest.approx(math.log(vocab_size), rel=1e-15)


def test_loss_of_a_zero_head_is_log_vocab_size():
    problem = random_problem(2)
    problem["params"] |= {"head.weight": np.zeros((V, H)), "head.bias": np.zeros(V)}
    loss, grads, _ = reference.loss_and_grad(**problem)
    assert loss == pytest.approx(math.log(V), rel=1e-15)
    assert not grads["rnn.weight_ih_l0"].any()
    assert grads["head.bias"].any()


def test_loss_is_the_mean_over_all_positions():
    logits, targets = np.random.default_rng(0).normal(size=(8, V)), np.arange(8) % V
    each = [reference.cross_entropy_forward(logits[n : n + 1], targets[n : n + 1]) for n in range(8)]
    assert reference.cross_entropy_forward(logits, targets) == pytest.approx(np.mean(each), rel=1e-15)


def test_cross_entropy_backward_agrees_with_finite_differences():
    logits, targets = np.random.default_rng(0).normal(size=(8, V)), np.arange(8) % V
    dlogits = reference.cross_entropy_backward(logits, targets)
    difference = reference.finite_difference(lambda x: reference.cross_entropy_forward(x, targets), logits)
    assert relative_error(dlogits, difference) < 1e-8
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-16)


# The whole model


def test_forward_of_the_hand_computed_example():
    problem = hand_computed_problem()
    logits, state = reference.forward(problem["params"], problem["inputs"])
    probs = reference.softmax(logits)
    np.testing.assert_allclose(state, [[[-1 / 2]]], rtol=1e-14)
    np.testing.assert_allclose(probs[:, 0], [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], rtol=1e-14)


def test_gradient_of_the_hand_computed_example():
    """dlogits is (-1, 1) / 6, then (-1, 1) / 3; dz = dh (1 - h^2) = 3/4 dh; dweight_hh has h[0], not h[1]."""
    loss, grads, _ = reference.loss_and_grad(**hand_computed_problem())
    dz1 = 3 / 4 * (2 * LOG2) * (-1 / 3)
    dz0 = 3 / 4 * ((2 * LOG2) * (-1 / 6) + (-2 * LOG3) * dz1)
    expected = {
        "rnn.weight_ih_l0": [[dz0, dz1]],
        "rnn.weight_hh_l0": [[1 / 2 * dz1]],
        "rnn.bias_ih_l0": [dz0 + dz1],
        "rnn.bias_hh_l0": [dz0 + dz1],
        "head.weight": [[-1 / 6 * 1 / 2 - 1 / 3 * -1 / 2], [1 / 6 * 1 / 2 + 1 / 3 * -1 / 2]],
        "head.bias": [-1 / 2, 1 / 2],
    }
    assert loss == pytest.approx((math.log(3 / 2) + math.log(3)) / 2, rel=1e-14)
    assert list(grads) == list(expected)
    for name in expected:
        np.testing.assert_allclose(grads[name], expected[name], rtol=1e-13, err_msg=name)


def test_forward_of_the_seed_0_weights_of_the_notebook_samples_what_the_notebook_prints():
    characters, generator = "edrlhw o", np.random.RandomState(0)
    params = {
        "rnn.weight_ih_l0": generator.randn(64, 8),
        "rnn.weight_hh_l0": generator.randn(64, 64),
        "rnn.bias_ih_l0": generator.randn(64),
        "rnn.bias_hh_l0": np.zeros(64),
        "head.weight": generator.randn(8, 64),
        "head.bias": generator.randn(8),
    }
    generator.randn(8 + 64)  # x_t and h_prev of the notebook's trial step
    symbol, state, sampled = characters.index("h"), None, ""
    for _ in range(4):
        logits, state = reference.forward(params, [[symbol]], state)
        symbol = reference.sample_index(reference.softmax(logits[0, 0]), generator.random_sample())
        sampled += characters[symbol]
    assert sampled == "oww "


def assert_gradients_are_finite_differences(params, **problem):
    _, grads, _ = reference.loss_and_grad(params, **problem)
    assert list(grads) == list(params)
    for name in params:
        difference = reference.finite_difference(
            lambda value, name=name: reference.loss_and_grad({**params, name: value}, **problem)[0], params[name]
        )
        assert grads[name].shape == params[name].shape
        # Three LSTM layers leave gradients of 1e-4, beside which rounding errors of a loss of 1 come to 4e-8.
        assert relative_error(grads[name], difference) < 1e-7, name


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("given", [(), ("state",), ("end",), ("dropout_masks",), ("recurrent_masks",)], ids="+".join)
def test_gradient_of_every_parameter_agrees_with_finite_differences(num_layers, given):
    problem = random_problem(num_layers)
    assert_gradients_are_finite_differences(**{name: problem[name] for name in ("params", "inputs", "targets", *given)})


@every_cell
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_gradient_with_state_end_and_dropout_agrees_with_finite_differences(num_layers, cell):
    assert_gradients_are_finite_differences(**random_problem(num_layers, cell))


@every_cell
def test_gradient_at_length_1_and_batch_1_agrees_with_finite_differences(cell):
    params = random_problem(1, cell)["params"]
    state = np.full(reference.state_shape(params, 1), 0.5)
    assert_gradients_are_finite_differences(params, inputs=np.array([[0]]), targets=np.array([[1]]), state=state)


@every_cell
def test_loss_is_the_cross_entropy_of_the_logits_of_forward(cell):
    problem = random_problem(2, cell)
    del problem["dropout_masks"], problem["recurrent_masks"]
    targets = problem.pop("targets")
    logits, state = reference.forward(**problem)
    loss, _, last_state = reference.loss_and_grad(targets=targets, **problem)
    assert logits.shape == (T, B, V)
    assert loss == reference.cross_entropy_forward(logits.reshape(-1, V), targets.ravel())
    np.testing.assert_array_equal(state, last_state)


@every_cell
def test_dropout_masks_of_ones_change_nothing(cell):
    problem = random_problem(2, cell)
    loss, grads, state = reference.loss_and_grad(**{**problem, "dropout_masks": [np.ones((T, B, H))] * 2})
    plain_loss, plain_grads, plain_state = reference.loss_and_grad(**{**problem, "dropout_masks": None})
    assert loss == plain_loss
    np.testing.assert_array_equal(state, plain_state)
    for name in grads:
        np.testing.assert_array_equal(grads[name], plain_grads[name])


@every_cell
def test_recurrent_masks_of_ones_change_nothing(cell):
    problem = random_problem(2, cell)
    loss, grads, state = reference.loss_and_grad(**{**problem, "recurrent_masks": [np.ones((B, H))] * 2})
    plain_loss, plain_grads, plain_state = reference.loss_and_grad(**{**problem, "recurrent_masks": None})
    assert loss == plain_loss
    np.testing.assert_array_equal(state, plain_state)
    for name in grads:
        np.testing.assert_array_equal(grads[name], plain_grads[name])


def test_a_recurrent_mask_of_zeros_leaves_the_biases_of_weight_hh_and_what_a_gru_keeps():
    weights = [np.zeros((3, 1)), np.full((3, 1), 7.0), np.zeros(3), np.zeros(3)]
    params = dict(
        zip(("rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0"), weights, strict=True)
    )
    params |= {"head.weight": np.zeros((1, 1)), "head.bias": np.zeros(1)}
    one, state = np.array([[0]]), np.array([[[0.5]]])
    _, grads, last_state = reference.loss_and_grad(params, one, one, state, recurrent_masks=[np.zeros((1, 1))])
    assert last_state.item() == 0.25  # every gate half open, nothing new
    assert not grads["rnn.weight_hh_l0"].any()


@every_cell
def test_dropout_masks_of_zeros_leave_the_state_of_layer_0_and_the_head_bias_alone(cell):
    problem = random_problem(2, cell)
    _, _, state = reference.loss_and_grad(**{**problem, "dropout_masks": None})
    loss, grads, masked_state = reference.loss_and_grad(**{**problem, "dropout_masks": [np.zeros((T, B, H))] * 2})
    bias_only = np.broadcast_to(problem["params"]["head.bias"], (T * B, V))
    assert loss == reference.cross_entropy_forward(bias_only, problem["targets"].ravel())
    np.testing.assert_array_equal(masked_state[..., 0, :, :], state[..., 0, :, :])
    assert not grads["rnn.weight_hh_l0"].any()


@every_cell
def test_state_carried_over_a_cut_gives_the_logits_of_the_uncut_sequence(cell):
    problem = random_problem(3, cell)
    params, inputs, state = problem["params"], problem["inputs"], problem["state"]
    for cut in range(1, T):
        first, middle = reference.forward(params, inputs[:cut], state, END)
        second, last = reference.forward(params, inputs[cut:], middle, END)
        logits, last_uncut = reference.forward(params, inputs, state, END)
        np.testing.assert_allclose(np.concatenate([first, second]), logits, rtol=1e-13)
        np.testing.assert_allclose(last, last_uncut, rtol=1e-13)


@every_cell
def test_end_starts_a_row_anew_and_no_other_row(cell):
    problem = random_problem(2, cell)
    params, inputs, state = problem["params"], problem["inputs"], problem["state"]
    logits, _ = reference.forward(params, inputs, state, END)
    without_end, _ = reference.forward(params, inputs, state)
    from_zero, _ = reference.forward(params, inputs[2:, :1])
    np.testing.assert_allclose(logits[2:, :1], from_zero, rtol=1e-13)
    np.testing.assert_allclose(logits[:2, 0], without_end[:2, 0], rtol=1e-13)
    assert np.abs(logits[2:, 0] - without_end[2:, 0]).min() > 1e-6


@every_cell
def test_gradient_through_an_end_is_the_sum_of_the_gradients_of_its_sides(cell):
    problem = random_problem(2, cell)
    params, state, targets = problem["params"], problem["state"][..., :1, :], problem["targets"][:, :1]
    inputs = np.array([0, 1, END, 2, 3, 0])[:, None]
    _, grads, _ = reference.loss_and_grad(params, inputs, targets, state, END)
    _, before, _ = reference.loss_and_grad(params, inputs[:2], targets[:2], state)
    _, after, _ = reference.loss_and_grad(params, inputs[2:], targets[2:])
    for name in grads:
        np.testing.assert_allclose(grads[name], (2 * before[name] + 4 * after[name]) / 6, rtol=1e-12, atol=1e-16)


@every_cell
def test_nothing_given_is_changed(cell):
    problem = random_problem(2, cell)
    before = copy.deepcopy(problem)
    _, grads, _ = reference.loss_and_grad(**problem)
    grads_before = copy.deepcopy(grads)
    reference.clip_norm(grads, 1e-3)
    reference.clip_value(grads, 1e-3)
    optimizer = reference.Optimizer(reference.adam, weight_decay=0.1)
    for _ in range(2):
        optimizer.update(problem["params"], grads, 1.0)
    np.testing.assert_equal(problem, before)
    np.testing.assert_equal(grads, grads_before)


@every_cell
def test_float32_arrays_are_computed_with_in_float64(cell):
    problem = random_problem(2, cell)
    narrow = {name: p.astype(np.float32) for name, p in problem["params"].items()}
    wide = {name: p.astype(np.float64) for name, p in narrow.items()}
    loss, grads, state = reference.loss_and_grad(**{**problem, "params": narrow})
    wide_loss, wide_grads, wide_state = reference.loss_and_grad(**{**problem, "params": wide})
    assert (loss, state.tolist()) == (wide_loss, wide_state.tolist())
    for name in grads:
        assert grads[name].dtype == np.float64
        np.testing.assert_array_equal(grads[name], wide_grads[name])


def test_float32_gradients_are_clipped_and_followed_in_float64():
    narrow = {"p": np.linspace(0.1, 1, 10, dtype=np.float32)}
    wide = {"p": narrow["p"].astype(np.float64)}
    assert reference.clip_norm(narrow, 1.0)[1] == reference.clip_norm(wide, 1.0)[1]
    for rule in (reference.sgd, reference.adagrad, reference.rmsprop, reference.adam):
        updated = [reference.Optimizer(rule, 0.1).update(arrays, arrays, 0.01)["p"] for arrays in (narrow, wide)]
        assert updated[0].dtype == np.float64
        np.testing.assert_array_equal(*updated)


# Clipping


def test_clip_norm_of_3_4_12_is_13():
    grads = {"a": np.array([3.0, 4.0]), "b": np.array([[-12.0]])}
    clipped, norm = reference.clip_norm(grads, 6.5)
    assert norm == 13
    np.testing.assert_equal(clipped, {"a": np.array([1.5, 2.0]), "b": np.array([[-6.0]])})


@pytest.mark.parametrize("max_norm", [13.0, 14.0, math.inf])
def test_clip_norm_leaves_a_norm_up_to_the_bound_alone(max_norm):
    grads = {"a": np.array([3.0, 4.0]), "b": np.array([[-12.0]])}
    np.testing.assert_equal(reference.clip_norm(grads, max_norm), (grads, 13.0))


def test_clip_norm_of_zero_gradients_is_zero():
    grads = {"a": np.zeros(3)}
    np.testing.assert_equal(reference.clip_norm(grads, 1.0), (grads, 0.0))


def test_clip_value_bounds_each_element_by_itself():
    clipped = reference.clip_value({"a": np.array([-5.0, -1.0, 0.5, 1.5])}, 1.0)
    np.testing.assert_equal(clipped, {"a": np.array([-1.0, -1.0, 0.5, 1.0])})


# Optimizers


def test_sgd_with_momentum_moves_by_the_sum_of_discounted_gradients():
    optimizer, params = reference.Optimizer(reference.sgd, momentum=0.5), {"p": np.array([10.0])}
    for gradient, expected in [(1.0, 9.0), (1.0, 7.5), (-2.0, 8.75)]:
        params = optimizer.update(params, {"p": np.array([gradient])}, 1.0)
        assert params["p"] == expected


@pytest.mark.parametrize("rule", [reference.adagrad, reference.adam])
def test_first_step_of_adagrad_and_adam_is_the_learning_rate_whatever_the_gradient(rule):
    grads = {"p": np.array([1e-3, -1.0, 1e3])}
    params = reference.Optimizer(rule).update({"p": np.zeros(3)}, grads, 0.1)
    np.testing.assert_allclose(params["p"], [-0.1, 0.1, -0.1], rtol=2e-5)


@pytest.mark.parametrize("rule", [reference.sgd, reference.adagrad, reference.rmsprop, reference.adam])
def test_weight_decay_shrinks_parameters_by_learning_rate_times_decay_and_leaves_the_direction_alone(rule):
    params, grads = {"p": np.array([2.0, -3.0])}, {"p": np.array([0.5, 0.0])}
    plain = reference.Optimizer(rule).update(params, grads, 0.1)
    decayed = reference.Optimizer(rule, weight_decay=0.2).update(params, grads, 0.1)
    np.testing.assert_allclose(decayed["p"], plain["p"] - 0.02 * params["p"], rtol=1e-14)


@pytest.mark.parametrize(
    ("torch_name", "rule", "constants", "torch_constants"),
    [
        ("SGD", reference.sgd, {}, {}),
        ("SGD", reference.sgd, {"momentum": 0.9}, {"momentum": 0.9}),
        ("Adagrad", reference.adagrad, {}, {}),
        ("RMSprop", reference.rmsprop, {}, {}),
        ("RMSprop", reference.rmsprop, {"alpha": 0.9, "eps": 1e-3}, {"alpha": 0.9, "eps": 1e-3}),
        ("Adam", reference.adam, {}, {}),
        ("Adam", reference.adam, {"beta1": 0.8, "beta2": 0.99}, {"betas": (0.8, 0.99)}),
        ("AdamW", reference.adam, {"eps": 1e-3}, {"eps": 1e-3}),
    ],
)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_optimizers_agree_with_torch(torch_name, rule, constants, torch_constants, weight_decay):
    torch = torch_or_skip()
    rng = np.random.default_rng(0)
    params = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=5)}
    tensors = {name: torch.tensor(p) for name, p in params.items()}
    # PyTorch's own decay is decoupled in AdamW alone.
    own_decay = {"weight_decay": weight_decay} if torch_name == "AdamW" else {}
    theirs = getattr(torch.optim, torch_name)(list(tensors.values()), **torch_constants, **own_decay)
    ours = reference.Optimizer(rule, weight_decay=weight_decay, **constants)
    for step in range(20):
        learning_rate = 0.1 / (1 + step)
        grads = {name: rng.normal(size=p.shape) for name, p in params.items()}
        params = ours.update(params, grads, learning_rate)
        theirs.param_groups[0]["lr"] = learning_rate
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grads[name])
            if not own_decay:
                tensor.mul_(1 - learning_rate * weight_decay)
        theirs.step()
        for name, tensor in tensors.items():
            np.testing.assert_allclose(params[name], tensor.numpy(), rtol=1e-12, atol=1e-14)


# PyTorch


@every_cell
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("carried", [False, True])
def test_loss_and_gradients_agree_with_torch_and_linear(num_layers, carried, cell):
    torch = torch_or_skip()
    problem = random_problem(num_layers, cell)
    params, inputs, targets = problem["params"], problem["inputs"], problem["targets"]
    state = problem["state"] if carried else None
    rnn = getattr(torch.nn, cell.upper())(V, H, num_layers)
    model = torch.nn.ModuleDict({"rnn": rnn, "head": torch.nn.Linear(H, V)}).double()
    model.load_state_dict({name: torch.tensor(p) for name, p in params.items()})

    one_hot = torch.nn.functional.one_hot(torch.tensor(inputs), V).double()
    torch_state = torch.tensor(state) if carried else None
    h, torch_state = rnn(one_hot, tuple(torch_state) if carried and cell == "lstm" else torch_state)
    torch_state = torch.stack(torch_state) if cell == "lstm" else torch_state
    torch_logits = model["head"](h)
    torch_loss = torch.nn.functional.cross_entropy(torch_logits.flatten(0, 1), torch.tensor(targets).flatten())
    torch_loss.backward()

    loss, grads, last_state = reference.loss_and_grad(params, inputs, targets, state)
    logits, _ = reference.forward(params, inputs, state)
    assert list(params) == list(model.state_dict())
    assert loss == pytest.approx(torch_loss.item(), rel=1e-12)
    np.testing.assert_allclose(logits, torch_logits.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(last_state, torch_state.detach().numpy(), rtol=1e-10, atol=1e-12)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(grads[name], parameter.grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)


@every_cell
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_gradients_with_end_and_dropout_agree_with_torch_autograd(num_layers, cell):
    torch = torch_or_skip()
    step = {
        "rnn": lambda x, state, *weights: torch.rnn_tanh_cell(x, state[0], *weights)[None],
        "gru": lambda x, state, *weights: torch.gru_cell(x, state[0], *weights)[None],
        "lstm": lambda x, state, *weights: torch.stack(torch.lstm_cell(x, list(state), *weights)),
    }[cell]
    problem = random_problem(num_layers, cell) | {"recurrent_masks": None}
    weights = {name: torch.tensor(p, requires_grad=True) for name, p in problem["params"].items()}
    masks, shape = torch.tensor(np.stack(problem["dropout_masks"])), problem["state"].shape
    states = list(torch.tensor(problem["state"]).reshape(-1, num_layers, B, H).unbind(1))
    one_hot, logits = torch.nn.functional.one_hot(torch.tensor(problem["inputs"]), V).double(), []
    for t in range(T):
        x, keep = one_hot[t], torch.tensor(problem["inputs"][t] != END)[:, None]
        for layer in range(num_layers):
            cell_weights = [p for name, p in weights.items() if name.endswith(f"_l{layer}")]
            states[layer] = step(x, states[layer] * keep, *cell_weights)
            x = states[layer][0] * masks[layer, t]
        logits.append(torch.nn.functional.linear(x, weights["head.weight"], weights["head.bias"]))
    torch_loss = torch.nn.functional.cross_entropy(torch.cat(logits), torch.tensor(problem["targets"]).flatten())
    torch_loss.backward()

    loss, grads, last_state = reference.loss_and_grad(**problem)
    expected_state = torch.stack(states, dim=1).detach().numpy().reshape(shape)
    assert loss == pytest.approx(torch_loss.item(), rel=1e-12)
    np.testing.assert_allclose(last_state, expected_state, rtol=1e-10, atol=1e-12)
    for name, weight in weights.items():
        np.testing.assert_allclose(grads[name], weight.grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)


# Sampling


@pytest.mark.parametrize(("u", "index"), [(0.0, 1), (0.2499, 1), (0.25, 3), (0.9999, 3), (1 - 2**-53, 3)])
def test_sample_index_is_the_first_whose_cumulative_sum_exceeds_u(u, index):
    assert reference.sample_index([0.0, 1.0, 0.0, 3.0, 0.0], u) == index


def test_sample_index_draws_as_numpy_choice_does():
    ours, theirs = np.random.RandomState(0), np.random.RandomState(0)
    probs = reference.softmax(np.random.default_rng(0).normal(size=65))
    for _ in range(1000):
        assert reference.sample_index(probs, ours.random_sample()) == theirs.choice(65, p=probs)


def test_filter_probs_without_filters_is_softmax():
    logits = np.random.default_rng(0).normal(size=9)
    for top_k, top_p in [(None, None), (9, 1.0), (10, None), (None, 1.0)]:
        np.testing.assert_allclose(
            reference.filter_probs(logits, 1.0, top_k, top_p), reference.softmax(logits), rtol=1e-14
        )


def test_filter_probs_divides_logits_by_temperature():
    probs = reference.filter_probs(np.log([1.0, 3.0]), 0.5)
    np.testing.assert_allclose(probs, [0.1, 0.9], rtol=1e-14)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [0, 1e-320, 1e-300, 1e-3])
def test_filter_probs_at_and_near_temperature_zero_keeps_the_most_probable(temperature):
    probs = reference.filter_probs([1.0, 1000.0, 999.0, -1e308], temperature)
    np.testing.assert_array_equal(probs, [0, 1, 0, 0])


def test_filter_probs_at_temperature_zero_keeps_the_lowest_index_of_equals():
    np.testing.assert_array_equal(reference.filter_probs([1.0, 5.0, 5.0], 0), [0, 1, 0])


@pytest.mark.parametrize(
    ("top_k", "kept"), [(1, [1]), (2, [1, 3]), (3, [1, 3, 4]), (4, [1, 3, 4, 0]), (5, [0, 1, 2, 3, 4])]
)
def test_top_k_keeps_the_most_probable_and_the_lower_index_of_equals(top_k, kept):
    probs = np.array([0.1, 0.3, 0.1, 0.3, 0.2])
    expected = np.zeros(5)
    expected[kept] = probs[kept] / probs[kept].sum()
    np.testing.assert_allclose(reference.filter_probs(np.log(probs), top_k=top_k), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(1e-9, [2]), (0.49, [2]), (0.51, [2, 0]), (0.74, [2, 0]), (0.76, [2, 0, 3]), (1.0, [0, 1, 2, 3])],
)
def test_top_p_keeps_the_fewest_symbols_whose_mass_reaches_it(top_p, kept):
    probs = np.array([0.25, 0.05, 0.5, 0.2])
    expected = np.zeros(4)
    expected[kept] = probs[kept] / probs[kept].sum()
    np.testing.assert_allclose(reference.filter_probs(np.log(probs), top_p=top_p), expected, rtol=1e-14)


def test_top_k_keeps_the_lowest_indices_among_many_equals():
    probs = reference.filter_probs(np.arange(1000) % 3, top_k=7)
    np.testing.assert_array_equal(np.flatnonzero(probs), range(2, 23, 3))


def test_top_p_of_1_keeps_what_is_too_improbable_to_change_the_sum():
    assert reference.filter_probs([0.0, -50.0], top_p=1.0)[1] > 0


def test_top_p_that_is_reached_exactly_adds_no_symbol():
    np.testing.assert_array_equal(reference.filter_probs([0.0, 0.0, 0.0, 0.0], top_p=0.5), [0.5, 0.5, 0, 0])


def test_top_p_counts_the_mass_of_what_top_k_keeps():
    probs = np.array([0.4, 0.2, 0.2, 0.2])
    kept = reference.filter_probs(np.log(probs), top_k=2, top_p=0.6)
    np.testing.assert_array_equal(kept, [1, 0, 0, 0])


def test_temperature_comes_before_top_p():
    probs = np.array([0.6, 0.4])
    np.testing.assert_array_equal(reference.filter_probs(np.log(probs), 0.1, top_p=0.9), [1, 0])
    assert reference.filter_probs(np.log(probs), 1.0, top_p=0.9).all()


# Helpers


def test_finite_difference_of_a_cubic_is_its_derivative():
    x = np.array([[1.0, -2.0], [0.0, 3.0]])
    np.testing.assert_allclose(reference.finite_difference(lambda x: np.sum(x**3), x), 3 * x**2, rtol=1e-8, atol=1e-9)


@every_cell
def test_random_params_have_the_names_and_shapes_of_torch(cell):
    torch = torch_or_skip()
    params = reference.random_params(np.random.default_rng(0), V, H, 3, cell)
    assert reference.cell_name(params) == cell
    model = torch.nn.ModuleDict({"rnn": getattr(torch.nn, cell.upper())(V, H, 3), "head": torch.nn.Linear(H, V)})
    assert {n: p.shape for n, p in params.items()} == {n: tuple(p.shape) for n, p in model.state_dict().items()}


@every_cell
def test_adam_learns_hello_world_in_a_hundred_steps(cell):
    text = "hello world"
    characters = sorted(set(text))
    stream = np.array([characters.index(character) for character in text])[:, None]
    params = reference.random_params(np.random.default_rng(0), len(characters), 32, 1, cell)
    optimizer = reference.Optimizer(reference.adam)
    for _ in range(100):
        loss, grads, _ = reference.loss_and_grad(params, stream[:-1], stream[1:])
        grads, _ = reference.clip_norm(grads, 1.0)
        params = optimizer.update(params, grads, 0.02)
    logits, _ = reference.forward(params, stream[:-1])
    assert loss < 0.01
    assert "".join(characters[i] for i in logits[:, 0].argmax(axis=1)) == text[1:]
