"""CharRNN: sampling, scoring, its parameters, and agreement with PyTorch and with the notebook it grew from."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest
from reference import CELLS, filter_probs, finite_difference, forward, loss_and_grad, softmax, state_shape

import charrnn
import charrnn.train
from charrnn import CharRNN, Vocabulary

DTYPES = ("float32", "float64")

every_cell = pytest.mark.parametrize("cell", CELLS)


@pytest.fixture(scope="module")
def hello():
    return charrnn.train.train("hello world")


@pytest.fixture(scope="module")
def names():
    """A model of documents that has not quite made up its mind."""
    return charrnn.train.train(["ann", "bob", "bo", "cleo"], epochs=30, hidden_size=32)


def random_model(vocabulary, hidden_size, num_layers=1, dtype="float64", seed=0, cell="rnn"):
    """A model of strong opinions, but not so strong that rounding errors grow from step to step."""
    model = CharRNN(vocabulary, cell=cell, hidden_size=hidden_size, num_layers=num_layers, dtype=dtype)
    rng = np.random.default_rng(seed)
    for parameter in model.state_dict().values():
        parameter[...] = rng.normal(0, 0.8 / math.sqrt(hidden_size), parameter.shape)
    return model


@pytest.mark.parametrize(
    ("cell", "hidden_size", "input_bound"),
    [("rnn", 16, 1), ("rnn", 64, 2), ("rnn", 512, 8), ("gru", 64, 1), ("gru", 512, 2.5), ("lstm", 300, 1.5)],
)
def test_initial_parameters_fill_their_bounds(cell, hidden_size, input_bound):
    model = CharRNN("abc", cell=cell, hidden_size=hidden_size, num_layers=2, seed=1)
    for name, parameter in model.state_dict().items():
        bound = input_bound if name == "rnn.weight_ih_l0" else hidden_size**-0.5
        assert abs(parameter).max() <= bound
        if parameter.size > 30:
            assert parameter.min() < -0.8 * bound and parameter.max() > 0.8 * bound, name


def test_public_names_are_there_without_being_imported():
    for name in charrnn.__all__:
        assert getattr(charrnn, name).__module__.startswith("charrnn.")
    assert not hasattr(charrnn, "nothing")


# The notebook ---------------------------------------------------------------------------------------------------

NOTEBOOK_VOCABULARY = "edrlhw o"


def notebook_weights(rng):
    """The notebook's parameters, drawn in its order, under PyTorch's names; its biases are one, so the other is 0."""
    Wxh, Whh, bh = rng.randn(64, 8), rng.randn(64, 64), rng.randn(1, 64)
    Why, by = rng.randn(8, 64), rng.randn(1, 8)
    return {
        "rnn.weight_ih_l0": Wxh,
        "rnn.weight_hh_l0": Whh,
        "rnn.bias_ih_l0": bh[0],
        "rnn.bias_hh_l0": np.zeros(64),
        "head.weight": Why,
        "head.bias": by[0],
    }


def test_notebook_sample_is_oww():
    rng = np.random.RandomState(0)
    model = CharRNN.from_state_dict(NOTEBOOK_VOCABULARY, notebook_weights(rng))
    rng.randn(1, 8), rng.randn(1, 64)  # the notebook's x_t and h_prev
    assert model.dtype == np.float64
    assert model.sample("h", 4, rng=rng) == "oww "


def test_notebook_probabilities_agree_to_1e_12():
    rng = np.random.RandomState(0)
    p = notebook_weights(rng)
    x_t, h_prev = rng.randn(1, 8), rng.randn(1, 64)
    h_next = np.tanh(x_t @ p["rnn.weight_ih_l0"].T + h_prev @ p["rnn.weight_hh_l0"].T + p["rnn.bias_ih_l0"])
    e_z = np.exp(h_next @ p["head.weight"].T + p["head.bias"])

    cell = (p[f"rnn.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = charrnn.kernels.rnn_cell(x_t, h_prev, *cell)
    probs = charrnn.kernels.softmax(h @ p["head.weight"].T + p["head.bias"])
    np.testing.assert_allclose(h, h_next, atol=1e-12, rtol=0)
    np.testing.assert_allclose(probs, e_z / e_z.sum(), atol=1e-12, rtol=0)


# Parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell, rows", [("rnn", 5), ("gru", 15), ("lstm", 20)])
def test_state_dict_has_pytorch_names_and_shapes(cell, rows):
    model = CharRNN("abc", cell=cell, hidden_size=5, num_layers=2)
    assert {name: array.shape for name, array in model.state_dict().items()} == {
        "rnn.weight_ih_l0": (rows, 3),
        "rnn.weight_hh_l0": (rows, 5),
        "rnn.bias_ih_l0": (rows,),
        "rnn.bias_hh_l0": (rows,),
        "rnn.weight_ih_l1": (rows, 5),
        "rnn.weight_hh_l1": (rows, 5),
        "rnn.bias_ih_l1": (rows,),
        "rnn.bias_hh_l1": (rows,),
        "head.weight": (3, 5),
        "head.bias": (3,),
    }


@every_cell
@pytest.mark.parametrize("dtype", DTYPES)
def test_from_state_dict_reads_cell_sizes_and_precision(dtype, cell):
    model = random_model("abcd", 7, 3, dtype, cell=cell)
    again = CharRNN.from_state_dict("abcd", model.state_dict())
    assert repr(again) == repr(model)
    assert (again.cell, again.dtype) == (cell, dtype)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    assert again.log_prob("abcdabcd").tolist() == model.log_prob("abcdabcd").tolist()


def test_from_state_dict_copies_what_state_dict_shares():
    model = random_model("ab", 3)
    again = CharRNN.from_state_dict("ab", model.state_dict())
    before = model.log_prob("abab")
    model.state_dict()["head.bias"][:] = [100, 0]
    assert again.log_prob("abab").tolist() == before.tolist()
    assert model.log_prob("abab").tolist() != before.tolist()


def test_one_symbol_more_than_characters_is_end():
    model = CharRNN.from_state_dict("ab", random_model(Vocabulary("ab", end=True), 3).state_dict())
    assert model.vocabulary.end == 2
    assert len(model.log_prob("abba")) == 5


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("head.weight"), "state_dict must have head.weight"),
        (lambda s: s.pop("rnn.bias_ih_l0"), "state_dict must have exactly"),
        (lambda s: s.update(extra=np.zeros(2)), "state_dict must have exactly"),
        (lambda s: s.update({"head.bias": np.zeros(7)}), r"head.bias must have shape \(3,\), got \(7,\)"),
        (lambda s: s.update({"head.weight": np.zeros((9, 4))}), "head.weight must have 3 rows"),
        (lambda s: s.update({"head.weight": np.zeros(9)}), "head.weight must have 2 dimensions"),
        (lambda s: s.update({"head.bias": np.zeros(3, int)}), "head.bias must be an array of floating-point"),
        (lambda s: s.update({"rnn.weight_hh_l0": np.zeros((8, 4))}), "rnn.weight_hh_l0 must have"),
        (lambda s: s.update({"rnn.weight_hh_l0": np.zeros((12, 4))}), "rnn.weight_ih_l0 must have shape"),
    ],
)
def test_from_state_dict_names_what_is_wrong(change, message):
    state = dict(random_model("abc", 4).state_dict())
    change(state)
    with pytest.raises(ValueError, match=message):
        CharRNN.from_state_dict(Vocabulary("abc"), state)


def test_model_survives_pickle_and_deepcopy(names):
    for again in (pickle.loads(pickle.dumps(names)), copy.deepcopy(names)):
        assert again.log_prob("bob").tolist() == names.log_prob("bob").tolist()
        assert again.history.steps == names.history.steps


def test_from_state_dict_takes_tensors_that_require_gradients():
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    rnn, head = torch.nn.RNN(3, 4), torch.nn.Linear(4, 3)
    state = {f"{part}.{name}": p for part, m in (("rnn", rnn), ("head", head)) for name, p in m.named_parameters()}
    assert all(parameter.requires_grad for parameter in state.values())
    model = CharRNN.from_state_dict("abc", state)
    assert np.array_equal(model.state_dict()["head.bias"], head.bias.detach().numpy())


class Namer(CharRNN):
    """A subclass, at the top of a module, where pickle finds it."""


def test_a_subclass_keeps_its_class_and_its_attributes(tmp_path):
    model = Namer("ab", hidden_size=4)
    model.origin = "here"
    for again in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        assert type(again) is Namer and again.origin == "here"
        assert np.array_equal(again._arena, model._arena)
    model.save(tmp_path / "model")
    for again in (Namer.load(tmp_path / "model"), Namer.from_state_dict("ab", model.state_dict())):
        assert type(again) is Namer
        assert np.array_equal(again._arena, model._arena)
    assert type(charrnn.load(tmp_path / "model")) is CharRNN
    assert type(charrnn.train.train("abab", init_from=model, epochs=1, progress=False)) is Namer


@every_cell
def test_every_cell_survives_a_file_pickle_and_deepcopy(tmp_path, cell):
    model = random_model("abc\n", 17, 2, "float32", cell=cell)
    model.save(tmp_path / "model.safetensors")
    again = [charrnn.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    for other in again:
        assert repr(other) == repr(model)
        assert other.log_prob("abc\nab").tolist() == model.log_prob("abc\nab").tolist()
        assert other.sample("a", 50, rng=0) == model.sample("a", 50, rng=0)


@every_cell
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 2e-5)])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("end", [False, True])
def test_forward_and_gradients_are_those_of_the_reference(dtype, tolerance, num_layers, end, cell):
    model = random_model(Vocabulary("abcdefg", end=end), 20, num_layers, dtype, cell=cell)
    params = {name: array.astype(np.float64) for name, array in model.state_dict().items()}
    rng = np.random.default_rng(1)
    inputs, targets = rng.integers(0, len(model.vocabulary), (2, 9, 5))
    state = rng.normal(size=state_shape(params, 5)).astype(dtype)

    logits, last = model.forward(inputs, state)
    expected, expected_last = forward(params, inputs, state, end=model.vocabulary.end)
    np.testing.assert_allclose(logits, expected, atol=tolerance)
    np.testing.assert_allclose(last, expected_last, atol=tolerance)

    loss, grads, last = model.loss_and_grad(inputs, targets, state)
    expected_loss, expected_grads, _ = loss_and_grad(params, inputs, targets, state, end=model.vocabulary.end)
    assert loss == pytest.approx(expected_loss, abs=tolerance)
    assert grads.keys() == expected_grads.keys()
    for name in grads:
        np.testing.assert_allclose(grads[name], expected_grads[name], atol=tolerance, err_msg=name)
    np.testing.assert_allclose(last, expected_last, atol=tolerance)


@every_cell
@pytest.mark.parametrize("num_layers", [1, 2])
def test_gradients_agree_with_finite_differences(num_layers, cell):
    model = random_model(Vocabulary("abcd", end=True), 5, num_layers, cell=cell)
    rng = np.random.default_rng(1)
    inputs, targets = rng.integers(0, 5, (2, 6, 3))
    inputs[3, 0] = model.vocabulary.end
    parameters = model.state_dict()
    state = rng.normal(size=state_shape(parameters, 3))
    _, grads, _ = model.loss_and_grad(inputs, targets, state)
    for name, parameter in parameters.items():
        given = parameter.copy()

        def loss_at(value, parameter=parameter):
            parameter[...] = value
            return model.loss_and_grad(inputs, targets, state)[0]

        difference = finite_difference(loss_at, given)
        parameter[...] = given
        assert np.linalg.norm(grads[name] - difference) < 1e-6 * np.linalg.norm(difference), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_state_of_an_lstm_may_be_the_tuple_of_pytorch(dtype):
    model = random_model("abc", 6, 2, dtype, cell="lstm")
    inputs = np.random.default_rng(0).integers(0, 3, (4, 5))
    state = np.random.default_rng(0).normal(size=(2, 2, 5, 6))
    logits, last = model.forward(inputs, tuple(state))
    expected, expected_last = model.forward(inputs, state)
    assert last.shape == (2, 2, 5, 6)
    np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal(last, expected_last)
    assert model.loss_and_grad(inputs, inputs, (*state,))[0] == model.loss_and_grad(inputs, inputs, state)[0]
    for wrong in (state[0], (state[0], state[1], state[1]), (state[0], state[1][:1])):
        with pytest.raises(ValueError, match="state must have"):
            model.forward(inputs, wrong)


# PyTorch --------------------------------------------------------------------------------------------------------


def torch_module(cell, vocab_size, hidden_size, num_layers, dtype):
    """PyTorch's network of these sizes, with its own initial parameters."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    rnn = getattr(torch.nn, cell.upper())(vocab_size, hidden_size, num_layers)
    modules = torch.nn.ModuleDict({"rnn": rnn, "head": torch.nn.Linear(hidden_size, vocab_size)})
    return modules.to(getattr(torch, dtype))


def torch_forward(modules, inputs, state=None):
    """Logits and the state as this project has it: h and c of an LSTM stacked."""
    import torch

    weight = modules["head"].weight
    one_hot = torch.nn.functional.one_hot(torch.tensor(inputs), len(weight)).to(weight.dtype)
    if state is not None:
        state = torch.tensor(state, dtype=weight.dtype)
        state = tuple(state) if state.ndim == 4 else state
    hidden, last = modules["rnn"](one_hot, state)
    return modules["head"](hidden), torch.stack(last) if isinstance(last, tuple) else last


def assert_agrees(actual, expected, what=None):
    """To 1e-10 of the largest element in float64, 1e-4 in float32."""
    expected = expected.detach().numpy()
    tolerance = 1e-10 if expected.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=what)


@every_cell
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_pytorch_loads_a_saved_file_and_gives_the_same_logits(tmp_path, cell, dtype, num_layers):
    modules = torch_module(cell, 10, 17, num_layers, dtype)
    from safetensors.torch import load_file

    model = random_model("abcdefghij", 17, num_layers, dtype, cell=cell)
    model.save(tmp_path / "model.safetensors")
    modules.load_state_dict(load_file(tmp_path / "model.safetensors"))
    inputs = np.random.default_rng(0).integers(0, 10, (30, 4))
    for actual, expected in zip(model.forward(inputs), torch_forward(modules, inputs), strict=True):
        assert_agrees(actual, expected)


@every_cell
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_parameters_of_pytorch_give_its_logits_and_gradients(tmp_path, cell, dtype, num_layers):
    modules = torch_module(cell, 10, 33, num_layers, dtype)
    import torch
    from safetensors.numpy import load_file
    from safetensors.torch import save_file

    save_file(modules.state_dict(), tmp_path / "torch.safetensors")
    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(0, 10, (2, 30, 7))
    state = rng.normal(size=state_shape({n: p.detach().numpy() for n, p in modules.named_parameters()}, 7))
    expected_logits, expected_state = torch_forward(modules, inputs, state)
    expected_loss = torch.nn.functional.cross_entropy(expected_logits.flatten(0, 1), torch.tensor(targets).flatten())
    expected_loss.backward()

    for state_dict in (modules.state_dict(), load_file(tmp_path / "torch.safetensors")):
        model = CharRNN.from_state_dict("abcdefghij", state_dict)
        assert (model.cell, model.num_layers, model.dtype) == (cell, num_layers, dtype)
        logits, last = model.forward(inputs, state)
        loss, grads, last_of_loss = model.loss_and_grad(inputs, targets, state)
        assert_agrees(logits, expected_logits)
        assert_agrees(last, expected_state)
        assert_agrees(last_of_loss, expected_state)
        assert_agrees(loss, expected_loss)
        for name, parameter in modules.named_parameters():
            assert_agrees(grads[name], parameter.grad, name)


# Sampling -------------------------------------------------------------------------------------------------------


def test_sample_returns_only_what_follows_the_prompt(hello):
    assert hello.sample("h", 10, temperature=0) == "ello world"
    assert hello.sample("hello w", 4, temperature=0) == "orld"


def test_stream_gives_the_characters_of_sample(hello):
    assert "".join(hello.stream("h", 50, rng=5)) == hello.sample("h", 50, rng=5)


@every_cell
def test_stream_and_sample_many_of_every_cell_give_the_characters_of_sample(cell):
    for vocabulary in ("abcdef", Vocabulary("abcdef", end=True)):
        model = random_model(vocabulary, 17, 2, "float32", cell=cell)
        for seed in range(5):
            drawn = model.sample("abc", 50, rng=seed)
            assert "".join(model.stream("abc", 50, rng=seed)) == drawn
            assert model.sample_many(1, 50, prompt="abc", rng=seed) == [drawn]


@every_cell
def test_each_character_takes_one_double(cell):
    model = random_model("abcdef", 9, cell=cell)
    for make in (np.random.default_rng, np.random.RandomState):
        rng, counted = make(3), make(3)
        model.sample("a", 37, rng=rng)
        counted.random_sample(37) if make is np.random.RandomState else counted.random(37)
        assert rng.uniform() == counted.uniform()


def test_stream_takes_a_double_only_for_characters_asked_for():
    model = random_model("abcdef", 9)
    rng, counted = np.random.default_rng(3), np.random.default_rng(3)
    stream = model.stream("a", 37, rng=rng)
    for _ in range(5):
        next(stream)
    counted.random(5)
    assert rng.random() == counted.random()


@every_cell
@pytest.mark.parametrize("dtype", DTYPES)
def test_character_is_the_inverse_of_the_cumulative_distribution(dtype, cell):
    model = random_model("abcdefgh", 12, dtype=dtype, cell=cell)
    drawn = model.sample("a", 100, rng=11)
    uniforms = np.random.default_rng(11).random(100)
    for i, u in enumerate(uniforms):
        cumulative = np.cumsum(list(model.next_probs("a" + drawn[:i]).values()))
        assert drawn[i] == "abcdefgh"[np.searchsorted(cumulative, u * cumulative[-1], side="right")]


def test_sampling_frequencies_follow_next_probs():
    model = random_model("abcdef", 10)
    probs = np.array(list(model.next_probs("abc").values()))
    drawn = "".join(model.sample_many(4000, 1, prompt="abc", rng=0))
    counts = np.array([drawn.count(character) for character in "abcdef"])
    chi_square = ((counts - 4000 * probs) ** 2 / (4000 * probs)).sum()
    assert counts.sum() == 4000
    assert chi_square < 20.5  # the 0.1 % point of 5 degrees of freedom


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.3}, {"top_k": 2}, {"top_p": 0.6}, {"top_k": 4, "top_p": 0.5, "temperature": 2}],
)
@every_cell
def test_sampling_options_are_those_of_the_reference(options, cell):
    model = random_model("abcdef", 10, cell=cell)
    logits = model.forward(model.vocabulary.encode("abc")[:, None])[0][-1, 0]
    expected = filter_probs(logits, options.get("temperature", 1), options.get("top_k"), options.get("top_p"))
    expected = expected / expected.sum()
    uniforms = np.random.default_rng(4).random(300)
    wanted = np.searchsorted(np.cumsum(expected), uniforms * 1.0, side="right")
    drawn = "".join(model.sample_many(300, 1, prompt="abc", rng=4, **options))
    assert drawn == "".join("abcdef"[i] for i in wanted)


def test_tiny_temperature_is_greedy():
    model = random_model("abcdef", 10)
    assert model.sample("a", 20, temperature=1e-30) == model.sample("a", 20, temperature=0)


def test_sample_of_bytes_is_bytes():
    model = charrnn.train.train(b"\x00\xff\x80" * 20)
    assert model.sample(b"\x00", 3, temperature=0) == b"\xff\x80\x00"
    assert model.sample("\x00", 3, temperature=0) == "\xff\x80\x00"
    assert b"".join(model.stream(b"\x00", 3, temperature=0)) == b"\xff\x80\x00"


def test_empty_prompt_is_the_beginning_of_a_line():
    model = random_model("ab\n", 6)
    assert model.sample("", 30, rng=0) == model.sample("\n", 30, rng=0)
    model = random_model("ab", 6)
    bias = model.state_dict()["head.bias"]
    np.testing.assert_allclose(list(model.next_probs().values()), softmax(bias[None])[0], atol=1e-12)


def test_sample_of_documents_stops_at_end(names):
    drawn = names.sample_many(300, rng=0)
    assert {"ann", "bob", "bo", "cleo"} <= set(drawn)
    assert max(map(len, drawn)) < 30
    assert names.sample_many(3, 2, rng=0) == [text[:2] for text in names.sample_many(3, 2, rng=0)]


def test_first_row_of_sample_many_alone_is_sample(names):
    for seed in range(10):
        assert names.sample_many(1, rng=seed) == [names.sample(rng=seed)]


def test_end_in_a_row_of_sample_many_takes_no_more_doubles(names):
    rng, counted = np.random.default_rng(7), np.random.default_rng(7)
    drawn = names.sample_many(20, 200, rng=rng)
    counted.random(sum(len(text) + 1 for text in drawn))
    assert rng.random() == counted.random()


def test_prompt_may_be_very_long():
    model = random_model("ab", 8)
    assert len(model.sample("ab" * 50_000, 5, rng=0)) == 5


def test_sampling_from_many_threads_gives_what_one_gives():
    model = random_model("abcdef", 40, dtype="float32")
    expected = [model.sample("a", 300, rng=seed) for seed in range(8)]
    drawn = [None] * 8

    def draw(seed):
        drawn[seed] = model.sample("a", 300, rng=seed)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == expected


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (
            dict(prompt="hex"),
            ValueError,
            "'x' at position 2 of the prompt is not among the model's 8 characters (U+0078 LATIN SMALL LETTER X, once)",
        ),
        (dict(prompt=3), TypeError, "the prompt must be str or bytes, got int"),
        (dict(length=-1), ValueError, "length must be at least 0, got -1"),
        (dict(length=1.5), TypeError, "length must be an integer, got 1.5"),
        (dict(temperature=-0.1), ValueError, "temperature must be at least 0, got -0.1"),
        (dict(temperature=math.nan), ValueError, "temperature must be at least 0, got nan"),
        (dict(temperature="hot"), TypeError, "temperature must be a number, got 'hot'"),
        (dict(top_k=0), ValueError, "top_k must be at least 1, got 0"),
        (dict(top_p=0), ValueError, "top_p must be greater than 0 and at most 1, got 0"),
        (dict(top_p=1.1), ValueError, "top_p must be greater than 0 and at most 1, got 1.1"),
        (
            dict(rng="seed"),
            TypeError,
            "rng must be an int, a numpy.random.Generator or a numpy.random.RandomState, got 'seed'",
        ),
        (dict(rng=-1), ValueError, "rng must be at least 0, got -1"),
    ],
)
def test_sample_refuses(hello, arguments, error, message):
    for sample in (hello.sample, lambda **kwargs: list(hello.stream(**kwargs))):
        with pytest.raises(error) as raised:
            sample(**arguments)
        assert str(raised.value) == message


# Scoring --------------------------------------------------------------------------------------------------------


@every_cell
@pytest.mark.parametrize("dtype", DTYPES)
def test_log_prob_is_that_of_next_probs(dtype, cell):
    model = random_model("abcdef", 10, dtype=dtype, cell=cell)
    text = "abcfed" * 3
    expected = [math.log(model.next_probs(text[:i])[text[i]]) for i in range(1, len(text))]
    np.testing.assert_allclose(model.log_prob(text), expected, atol=1e-5 if dtype == "float32" else 1e-12)


def test_log_prob_of_one_text_has_the_same_bits_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr("charrnn.system.available_cpus", lambda: 8)
    model = random_model("abcdef", 1024, dtype="float32")
    monkeypatch.setenv("CHARRNN_NUM_THREADS", "1")
    expected = model.log_prob("abcfed" * 20)
    for num_threads in (2, 3):
        monkeypatch.setenv("CHARRNN_NUM_THREADS", str(num_threads))
        assert model._engine(120, 1).num_threads == num_threads
        np.testing.assert_array_equal(model.log_prob("abcfed" * 20), expected)


def test_log_prob_of_a_document_has_its_first_character_and_end(names):
    scores = names.log_prob("bob")
    expected = [names.next_probs("bob"[:i])[character] for i, character in enumerate(["b", "o", "b", ""])]
    np.testing.assert_allclose(scores, np.log(expected), atol=1e-5)
    assert len(names.log_prob("")) == 1


@every_cell
@pytest.mark.parametrize("documents", [False, True])
def test_log_prob_of_many_texts_is_that_of_each(documents, cell):
    model = random_model(Vocabulary("abc", end=documents), 10, cell=cell)
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abc"), size=n)) for n in rng.integers(0, 400, 150)]
    scores = model.log_prob(texts)
    assert [len(s) for s in scores] == [len(t) + 1 if documents else max(len(t) - 1, 0) for t in texts]
    for text, score in zip(texts, scores, strict=True):
        np.testing.assert_allclose(score, model.log_prob(text), atol=1e-12)


@pytest.mark.parametrize(
    "lengths, batches",
    [
        ({8: 1000, 3: 2000, 2: 1, 1: 1, 0: 1}, [1000, 2001]),
        ({3000: 1, 20: 100}, [1, 100]),  # the long one alone
        ({3000: 100, 0: 7}, [64, 36]),
        ({2: 10_000}, [64 * 128, 10_000 - 64 * 128]),
    ],
)
def test_log_prob_reads_texts_of_about_the_same_length_together(lengths, batches, monkeypatch):
    model = random_model("abc", 10)
    engine, found = model._engine, []

    def recorded(seq_length, batch_size, **options):
        found.append(batch_size)
        return engine(seq_length, batch_size, **options)

    monkeypatch.setattr(model, "_engine", recorded)
    texts = [("abcbca" * 500)[:length] for length, count in lengths.items() for _ in range(count)]
    scores = model.log_prob(texts)
    assert found == batches
    assert [len(score) for score in scores] == [max(len(text) - 1, 0) for text in texts]
    np.testing.assert_array_equal(scores[0], model.log_prob(texts[0]))


def test_what_little_memory_holds_does_not_ask_how_much_there_is(hello, monkeypatch):
    monkeypatch.setattr("charrnn.system.memory_size", lambda: pytest.fail("it was asked for"))
    assert len(hello.log_prob("hello")) == 4
    assert len(hello.sample(length=5)) == 5


@every_cell
def test_evaluate_is_the_mean_of_log_prob(names, cell):
    model = random_model("abc", 10, cell=cell)
    text = "abcacbcabbac" * 700
    evaluation = model.evaluate(text)
    assert evaluation.num_chars == len(text) - 1
    assert evaluation.loss == pytest.approx(-model.log_prob(text).mean(), rel=1e-12)
    assert evaluation.bits_per_char == pytest.approx(evaluation.loss / math.log(2))
    assert evaluation.perplexity == pytest.approx(math.exp(evaluation.loss))

    documents = ["bob", "", "ann", "cleo", "b"] * 50
    evaluation = names.evaluate(documents)
    assert evaluation.num_chars == sum(len(document) + 1 for document in documents)
    assert evaluation.loss == pytest.approx(-np.concatenate(names.log_prob(documents)).mean(), rel=1e-6)
    assert names.evaluate("bob").num_chars == 4


def test_evaluate_reads_a_file(tmp_path, hello):
    (tmp_path / "text.txt").write_text("hello hello")
    assert hello.evaluate(tmp_path / "text.txt") == hello.evaluate("hello hello")


def test_evaluate_of_separate_texts_starts_each_from_a_zero_state():
    model = random_model("abc", 10)
    texts = ["abc", "bbbbb", "ca"]
    scores = np.concatenate([model.log_prob(text) for text in texts])
    assert model.evaluate(texts).loss == pytest.approx(-scores.mean(), rel=1e-12)


def test_loss_of_uniform_logits_is_log_vocab_size():
    model = CharRNN("abcde", hidden_size=3, dtype="float64")
    for parameter in model.state_dict().values():
        parameter[...] = 0
    assert model.evaluate("abcdeabcde").loss == pytest.approx(math.log(5), rel=1e-14)


def test_loss_is_finite_for_huge_logits():
    for dtype in DTYPES:
        model = random_model("ab", 3, dtype=dtype)
        model.state_dict()["head.bias"][:] = [1e4, -1e4]
        assert model.evaluate("abab").loss == pytest.approx(2e4 * 2 / 3, rel=1e-3)


@pytest.mark.parametrize(
    "data, message",
    [
        ("hellx", "'x' at position 4 of data is not among the model's 8 characters"),
        ("", "data must have at least 2 characters"),
        ("h", "data must have at least 2 characters"),
    ],
)
def test_evaluate_refuses(hello, data, message):
    with pytest.raises(ValueError, match=message):
        hello.evaluate(data)


def test_log_prob_names_the_text_and_the_character(hello):
    with pytest.raises(ValueError, match="'x' at position 1 of text 2 is not among"):
        hello.log_prob(["he", "lo", "hx"])
    with pytest.raises(ValueError, match="'ß' at position 0 of text 3 is not among"):
        hello.log_prob(["he", b"lo", "", b"\xdf", "hx"])
    with pytest.raises(ValueError, match="'x' at position 2 of the text is not among"):
        hello.log_prob("hex")
    with pytest.raises(TypeError, match="text must be str, bytes or an iterable of them, got int at position 1"):
        hello.log_prob(["he", 3])


@pytest.mark.parametrize(
    "inputs, error, message",
    [
        ([[0.5]], TypeError, "inputs must be an array of integers, got dtype float64"),
        ([0, 1], ValueError, r"inputs must have shape \(T, B\) with T and B at least 1, got \(2,\)"),
        (np.zeros((0, 3), int), ValueError, r"inputs must have shape \(T, B\) with T and B at least 1, got \(0, 3\)"),
        ([[8]], ValueError, "inputs must be from 0 to 7, got 8"),
        ([[-1]], ValueError, "inputs must be from 0 to 7, got -1"),
        ([[2**40]], ValueError, "inputs must be from 0 to 7, got 1099511627776"),
    ],
)
def test_forward_refuses(hello, inputs, error, message):
    with pytest.raises(error, match=message):
        hello.forward(inputs)


def test_forward_takes_any_layout_of_arrays(hello):
    inputs = np.arange(8, dtype=np.uint8).reshape(4, 2)
    state = np.random.default_rng(0).normal(size=(1, 64, 2)).transpose(0, 2, 1)
    state.flags.writeable = False
    logits, _ = hello.forward(np.asfortranarray(inputs), state)
    expected, _ = hello.forward(inputs.astype(np.int64), state.copy().astype(np.float32))
    assert logits.tolist() == expected.tolist()
    with pytest.raises(ValueError, match=r"state must have shape \(L, B, H\) = \(1, 2, 64\), got \(2, 64\)"):
        hello.forward(inputs, np.zeros((2, 64)))
    with pytest.raises(ValueError, match=r"targets must have the shape of inputs, \(4, 2\), got \(2, 4\)"):
        hello.loss_and_grad(inputs, inputs.T)


def test_unknown_characters_may_be_left_out_of_an_evaluation_and_are_counted(hello, names):
    assert hello.evaluate("hexlzlo", unknown="skip").num_skipped == 2
    assert hello.evaluate("hexlzlo", unknown="skip").loss == hello.evaluate("hello").loss
    assert hello.evaluate(["hexl", "wozrld"], unknown="skip").loss == hello.evaluate(["hel", "world"]).loss
    assert hello.evaluate(["hexl", "wozrld"], unknown="skip").num_skipped == 2
    assert names.evaluate(["bzob"], unknown="skip").loss == names.evaluate(["bob"]).loss
    assert repr(hello.evaluate("hexlo", unknown="skip")).endswith(", num_chars=3, num_skipped=1)")
    assert hello.evaluate("hello").num_skipped == 0
    with pytest.raises(ValueError, match="^unknown must be 'error' or 'skip', got 'extend'$"):
        hello.evaluate("hexlo", unknown="extend")


def test_an_evaluation_counts_a_document_as_often_as_it_has_copies(hello, names):
    weighted, copied = names.evaluate(["bob", "ann"], weights=[3, 1]), names.evaluate(["bob", "bob", "bob", "ann"])
    assert weighted.loss == pytest.approx(copied.loss, rel=1e-6)
    assert weighted.num_chars == copied.num_chars
    assert names.evaluate(["bob", "ann"], weights=[0, 0.5]).loss == pytest.approx(
        names.evaluate(["ann"]).loss, rel=1e-6
    )
    with pytest.raises(ValueError, match="^weights must come with a model of documents, got a model of a text$"):
        hello.evaluate(["hello"], weights=[1])


# Long texts


def test_a_long_text_is_read_in_rows_that_warm_up_first():
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("abcdef"), 20_000))
    model = random_model("abcdef", 16, cell="gru")
    exact = model.log_prob(text)
    rows = model.log_prob(text, rows=8)
    assert rows.shape == exact.shape
    np.testing.assert_allclose(rows[:2000], exact[:2000], atol=1e-5)
    np.testing.assert_allclose(rows, exact, atol=1e-3)
    evaluation = model.evaluate(text, rows=8)
    assert evaluation.num_chars == len(text) - 1
    assert math.isclose(evaluation.loss, -rows.mean(), rel_tol=1e-6)
    # A text that is too short for warm-ups is read in one row, with the same bits.
    assert model.log_prob(text[:900], rows=64).tolist() == model.log_prob(text[:900]).tolist()


def test_rows_without_a_warm_up_would_be_seen(monkeypatch):
    text = "".join(np.random.default_rng(0).choice(list("abcdef"), 20_000))
    model = random_model("abcdef", 16, cell="gru")
    monkeypatch.setattr("charrnn.scoring.WARM_UP", 1)
    assert np.abs(model.log_prob(text, rows=64) - model.log_prob(text)).max() > 1e-3
