"""Labels in the kernels: symbols of the input beyond the head's, which stand in the place of END before a document."""

import numpy as np
import pytest
import reference
from test_kernels import (
    TOLERANCE,
    Task,
    Training,
    arena_of,
    assert_close,
    bits,
    every_cell,
    float32_numbers,
    kernels,  # noqa: F401 (a fixture)
    network_of,
    random_params,
    reference_training,
    run_bptt,
)

V, K, END = 6, 3, 5


def labelled(cell, T=33, B=7, H=17, L=2):
    """Arguments of reference.loss_and_grad: END and labels are a third of the inputs and of the targets."""
    rng = np.random.default_rng(H)
    symbols = rng.integers(0, END, (2, T, B))
    special = rng.random(symbols.shape) < 0.3
    symbols[special] = rng.integers(END, V + K, special.sum())
    params = random_params(rng, V, H, L, cell, K)
    state = float32_numbers(rng.uniform(-1, 1, reference.state_shape(params, B)))
    return {"params": params, "inputs": symbols[0], "targets": symbols[1], "state": state, "end": END}


@every_cell
@pytest.mark.parametrize("num_threads", [1, 3])
def test_bptt_with_labels_is_the_reference(kernels, cell, num_threads):  # noqa: F811
    problem, tolerance = labelled(cell), TOLERANCE[kernels.DTYPE.name]
    loss, gradients, state, network = run_bptt(kernels, **problem, num_threads=num_threads)
    expected_loss, expected_grads, expected_state = reference.loss_and_grad(**problem)
    assert loss == pytest.approx(expected_loss, rel=tolerance, abs=0)
    assert_close(state, expected_state, tolerance)
    for name, gradient in network.views(gradients).items():
        assert_close(gradient, expected_grads[name], tolerance, name)


def test_labels_are_rows_of_the_first_weights_alone(kernels):  # noqa: F811
    network = kernels.Network(V, 4, 2, "gru", K)
    shapes = {name: view.shape for name, view in network.views(None).items()}
    assert shapes["rnn.weight_ih_l0"] == (12, V + K)
    assert shapes["head.weight"] == (V, 4)
    assert shapes["head.bias"] == (V,)
    assert network.num_labels == K


def test_a_label_with_the_weights_of_end_is_end(kernels):  # noqa: F811
    """Read or predicted: the loss and every gradient but those of the first weights are the same bits."""
    problem = labelled("lstm")
    problem["params"]["rnn.weight_ih_l0"][:, V:] = problem["params"]["rnn.weight_ih_l0"][:, [END]]
    plain = {**problem, "inputs": np.minimum(problem["inputs"], END), "targets": np.minimum(problem["targets"], END)}
    loss, gradients, state, network = run_bptt(kernels, **problem)
    plain_loss, plain_gradients, plain_state, _ = run_bptt(kernels, **plain)
    assert (loss, bits(state)) == (plain_loss, bits(plain_state))
    for name, gradient in network.views(gradients).items():
        expected = network.views(plain_gradients)[name]
        if name == "rnn.weight_ih_l0":
            np.testing.assert_array_equal(gradient[:, :END], expected[:, :END])
            assert_close(gradient[:, END:].sum(axis=1), expected[:, END], TOLERANCE[kernels.DTYPE.name])
        elif not name.startswith("rnn.bias"):  # in which other terms are added up first
            np.testing.assert_array_equal(gradient, expected, name)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
def test_training_on_labelled_documents_is_the_reference(kernels, dtype):  # noqa: F811
    """Documents of 3, 0, 6 and 4 characters, of two labels and of none, read in another order than they lie."""
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, END, 18)
    symbols[[0, 4, 5, 12, 17]] = V + 1, V, END, V + 1, END
    params = random_params(rng, V, 9, 1, "gru", K)
    starts, documents = np.array([5, 12]), np.array([5, 0, 12, 4], np.int32)
    task = Task(params, symbols, starts, length=9, seq_length=7, documents=documents, first=np.array([0, 2]), end=END)
    training, rates = Training(kernels, task, codes_dtype=dtype), [0.01] * 5
    losses = training.train(rates)
    expected_params, expected_losses, _, _ = reference_training(task, rates)
    tolerance = 10 * TOLERANCE[kernels.DTYPE.name]
    assert_close(losses, np.array(expected_losses), tolerance)
    for name, value in training.params().items():
        assert_close(value, expected_params[name], tolerance, name)


def test_sampler_reads_a_label_as_the_reference_does_and_never_draws_one(kernels):  # noqa: F811
    problem = labelled("gru", T=5, B=3)
    network = network_of(kernels, problem["params"])
    sampler = kernels.Sampler(network, arena_of(network, problem["params"], kernels.DTYPE), 3, end=END)
    sampler.feed(problem["inputs"].astype(np.int32))
    weights = sampler.weights().astype(float)
    logits, _ = reference.forward(problem["params"], problem["inputs"], end=END)
    assert weights.shape == (3, V)
    expected = reference.softmax(logits[-1])
    assert_close(weights / weights.sum(axis=1, keepdims=True), expected, TOLERANCE[kernels.DTYPE.name])


def test_labels_come_with_end(kernels):  # noqa: F811
    network = kernels.Network(V, 4, 1, "rnn", K)
    with pytest.raises(ValueError, match="end must be the index of END where there are labels, got -1"):
        kernels.Engine(network, kernels.aligned_zeros(network.arena_size), 3, 2)
