"""Whatever an argument is, it is taken or refused by name: every public function with values of every wrong kind."""

import decimal
import fractions
import inspect
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import charrnn
import charrnn.train
from charrnn import CharRNN, Vocabulary, bench, kernels, plot, show
from charrnn.train import History, train

NOTHING = [None]
JUNK = [[], [1], {}, (), object(), "1", b"1", 1j, float, np.zeros(2), [[[]]]]
FLOATS = [1.5, math.nan, math.inf, -math.inf, np.float64(2), decimal.Decimal("0.5"), fractions.Fraction(1, 2)]


def integers(low, high=None, *, none=False):
    """Values that are no integers from low to high."""
    beyond = [10**30, 2**64] if high is None else [high + 1, 10**30]
    return JUNK + FLOATS + [True, np.bool_(True), low - 1, -(10**30)] + beyond + ([] if none else NOTHING)


def numbers(low, high=math.inf, *, low_too=True, high_too=True, none=False):
    values = [math.nan, math.inf, -math.inf, math.nextafter(low, -math.inf), -1e308, -(10**400), 10**400]
    values += [] if low_too else [low]
    values += [] if math.isinf(high) else [math.nextafter(high, math.inf) if high_too else high]
    return [value for value in JUNK if not isinstance(value, np.ndarray)] + [True] + values + ([] if none else NOTHING)


def words(*, none=False):
    return ["", "nonsense", b"rnn", 3, True, object(), math.nan, [], {}] + ([] if none else NOTHING)


FLAGS = [None, 0, 1, "yes", "", [], object()]
TEXTS = [None, 3, 1.5, object(), [3], [None], ["a", 3]]
ENCODINGS = [None, 3, "utf-9", "", "a\0b", "base64", object()]
PATHS = [3, 1.5, "", "a\0b", object(), []]
THREADS = integers(1, 1024, none=True)


@pytest.fixture(scope="module")
def model():
    return train("hello world", hidden_size=4, epochs=1, progress=False)


@pytest.fixture(scope="module")
def names():
    return train(["hello", "world"], hidden_size=4, epochs=1, progress=False)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("book") / "book.txt"
    path.write_text("hello world")
    return path


def named(name, function, *args, **kwargs):
    """The call is refused by a message that begins with the argument, or says it early."""
    with pytest.raises((TypeError, ValueError)) as raised:
        result = function(*args, **kwargs)
        print(f"{name} was taken from {args} {kwargs}: {result!r}")
    message = str(raised.value)
    assert re.search(rf"\b({name})\b", message), message
    assert len(message) < 1000


# charrnn.train.train --------------------------------------------------------------------------------------------

#: Of a text no numbers of copies are known.
WEIGHTS = [3, "a", [1.0], [-1.0], [float("nan")], [[1.0]]]

TRAIN = {
    "cell": words(none=True),
    "hidden_size": integers(1, none=True) + [10**7, 10**9, 2**62],
    "num_layers": integers(1, none=True) + [10**8, 10**12, 2**62],
    "dropout": numbers(0, 1, high_too=False, none=True),
    "recurrent_dropout": numbers(0, 1, high_too=False, none=True),
    "optimizer": words(),
    "learning_rate": numbers(0, none=True),
    "schedule": words(),
    "warmup": numbers(0, 1),
    "clip_norm": numbers(0, low_too=False, none=True),
    "clip_value": numbers(0, low_too=False, none=True),
    "weight_decay": numbers(0, none=True),
    "average": numbers(0, 1, none=True),
    "smoothing": numbers(0, 1, none=True),
    "momentum": numbers(0, 1, high_too=False),
    "beta1": numbers(0, 1, high_too=False),
    "beta2": numbers(0, 1, high_too=False),
    "batch_size": integers(1, none=True) + [11, 10**9],
    "seq_length": integers(1, none=True),
    "epochs": numbers(0, low_too=False, none=True),
    "max_seconds": numbers(0, low_too=False, none=True),
    "patience": numbers(0, low_too=False),
    "val_fraction": numbers(0, 1, high_too=False, none=True),
    "seed": integers(0, 2**64 - 1),
    "dtype": ["float16", "int32", "nonsense", 3, object(), "", np.int32, "S1"],
    "num_threads": THREADS,
    "checkpoint": [3, 1.5, "", "a\0b", object(), [], ".", "nowhere/checkpoint"],
    "checkpoint_seconds": numbers(0),
    "resume": FLAGS,
    "init_from": [3, [], object(), "", "a\0b", Vocabulary("ab")],
    "progress": FLAGS,
    "callback": [3, "print", []],
    "extend_vocabulary": FLAGS,
    "vocabulary": [None, 3, b"ab", [3]],
    "weights": WEIGHTS,
    "encoding": ENCODINGS,
}


def test_every_argument_of_train_is_tried():
    assert TRAIN.keys() == train.__kwdefaults__.keys()


@pytest.mark.parametrize("name", TRAIN)
def test_train_refuses_by_name(name, book, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in TRAIN[name]:
        options = {"epochs": 1, "progress": False, name: value}
        named(name, train, book if name == "encoding" else "hello world", **options)


@pytest.mark.parametrize("data", [*TEXTS, "", b"", [], [""], ["", ""], "a", b"a", {}, iter(())])
def test_train_refuses_data(data):
    named("data|text", train, data, epochs=1)


# CharRNN and Vocabulary -----------------------------------------------------------------------------------------

PROMPTS = [3, None, ["h"], "hex", b"\xff", "\ud800", object()]
SAMPLING = {
    "prompt": PROMPTS,
    "length": integers(0, none=True) + [10**13],
    "min_length": integers(0) + [10**13],
    "stop": [3, 1.5, object(), "", b"", [""], ["a", ""], ["a", 3], [None]],
    "pattern": [3, 1.5, object(), ["h"], "(", "x", r"(l)\1", "(?<=l)d", "l{201}", "(?:.{999}){999}", r"[^\s\S]", b"["],
    "temperature": numbers(0),
    "top_k": integers(1, none=True),
    "top_p": numbers(0, 1, low_too=False, none=True),
    "min_p": numbers(0, 1, none=True),
    "rng": ["1", -1, 1.5, [], True, np.random, object()],
}
INPUTS = [
    None,
    3,
    "ab",
    [],
    [0, 1],
    [[]],
    [[0.0]],
    [["a"]],
    [[None]],
    [[True]],
    [[[0]]],
    [[0], [1, 2]],
    [[-1]],
    [[8]],
    [[2**31]],
    [[2**63]],
    [[-(2**63)]],
    np.zeros((2, 0), int),
    np.zeros((1, 1), "M8[s]"),
    np.zeros((1, 1), complex),
]
STATES = [
    3,
    "state",
    [],
    object(),
    np.zeros((1, 1, 3)),
    np.zeros((1, 2, 4)),
    np.zeros((2, 1, 4)),
    np.zeros(4),
    np.zeros((1, 1, 4), complex),
    np.full((1, 1, 4), "a"),
    np.zeros((1, 1, 4), object),
    [[[0, 0, 0, 0]], [[0]]],
]
RANKING = {"samples": integers(1), "rng": SAMPLING["rng"]}
METHODS = {
    "sample": SAMPLING,
    "stream": SAMPLING,
    "sample_many": {
        "n": integers(0) + [10**13],
        **SAMPLING,
        "unique": FLAGS,
        "novel": [3, "h", b"h", object(), [3], ["h", None]],
        "accept": [3, "h", []],
        "max_tries": integers(1, none=True),
    },
    "next_probs": {"prompt": PROMPTS},
    "most_probable": {
        "n": integers(0),
        "prompt": PROMPTS,
        **{name: SAMPLING[name] for name in ("length", "min_length", "pattern")},
        "max_memory": integers(1 << 20),
    },
    "extended": {"characters": [None, 3, [], object()]},
    "evaluate": {
        "data": [None, 3, object(), "", "h", [], "hex"],
        "encoding": ENCODINGS,
        "unknown": words(),
        "weights": WEIGHTS,
        "rows": integers(1),
        "progress": FLAGS,
    },
    "log_prob": {"text": [None, 3, object(), [3], "hex", ["he", "x"]], "rows": integers(1)},
    "score": {"texts": [None, 3, object(), [3]], "per_char": FLAGS, "unknown": words()},
    "guess_number": {"texts": [None, 3, object(), [3]], **RANKING, "with_error": FLAGS},
    "percentile": {"texts": [None, 3, object(), [3]], **RANKING},
    "activations": {"text": [None, 3, object(), [], "hex"]},
    "forward": {"inputs": INPUTS, "state": STATES},
    "loss_and_grad": {"inputs": INPUTS, "targets": [*INPUTS, [[0, 1]]], "state": STATES},
    "save": {"path": [*PATHS, None]},
}
GOOD = {"n": 2, "data": "hello", "text": "hello", "texts": "hello", "inputs": [[0]], "targets": [[0]]}


@pytest.mark.parametrize("method, name", [(method, name) for method in METHODS for name in METHODS[method]])
def test_a_model_refuses_by_name(model, names, book, method, name):
    function = getattr(names if method in ("guess_number", "percentile") else model, method)
    parameters = inspect.signature(function).parameters
    assert parameters.keys() >= METHODS[method].keys()
    good = {
        key: GOOD[key] for key, parameter in parameters.items() if parameter.default is parameter.empty and key in GOOD
    }
    if name == "encoding":
        good["data"] = book
    for value in METHODS[method][name]:
        call = (lambda **kwargs: list(model.stream(**kwargs))) if method == "stream" else function
        if method == "stream" and isinstance(value, int) and value == 10**13:
            continue  # it draws for as long as one asks
        named(name, call, **{**good, name: value})


def test_every_argument_of_a_model_is_tried():
    public = {name for name, _ in inspect.getmembers(CharRNN, inspect.isfunction) if not name.startswith("_")}
    assert public == {*METHODS, "state_dict"}
    for method in METHODS:
        assert inspect.signature(getattr(CharRNN, method)).parameters.keys() == {"self", *METHODS[method]}


CONSTRUCTOR = {
    "vocabulary": [None, 3, "", "aa", [], ["ab"], [3], b"ab", {}],
    "cell": words(),
    "hidden_size": integers(1) + [10**7, 2**62],
    "num_layers": integers(1) + [10**9, 2**62],
    "dtype": TRAIN["dtype"],
    "seed": ["1", -1, 1.5, None, [], True],
}


@pytest.mark.parametrize("name", CONSTRUCTOR)
def test_a_new_model_refuses_by_name(name):
    for value in CONSTRUCTOR[name]:
        named("characters|vocabulary" if name == "vocabulary" else name, CharRNN, **{"vocabulary": "ab", name: value})


@pytest.mark.parametrize("value", [None, 3, [], "state", {}, {"head.weight": 3}])
def test_from_state_dict_refuses_by_name(value):
    named("state_dict|head.weight", CharRNN.from_state_dict, "ab", value)


@pytest.mark.parametrize("name", CharRNN("ab").state_dict())
def test_from_state_dict_refuses_every_wrong_array_by_name(name):
    good = CharRNN("ab", hidden_size=4).state_dict()
    array = good[name]
    wrong = [
        None,
        3.0,
        [],
        "array",
        array[:0],
        array[None],
        array.astype(int),
        array.astype(complex),
        array.astype(str),
    ]
    for value in [*wrong, np.zeros((0, 10**12)), np.broadcast_to(np.float32(0), (10**6, 10**6))]:
        named(
            f"{re.escape(name)}|state_dict|rnn.weight_hh_l0|rnn.weight_ih_l0|head.weight",
            CharRNN.from_state_dict,
            "ab",
            {**good, name: value},
        )
    named("state_dict", CharRNN.from_state_dict, "ab", {**good, "more": array})
    named("state_dict", CharRNN.from_state_dict, "ab", {key: value for key, value in good.items() if key != name})


VOCABULARY = {
    "characters": [None, 3, "", [], "aa", ["ab"], [3], b"ab", [b"a"], [""], object()],
    "end": FLAGS,
}


@pytest.mark.parametrize("name", VOCABULARY)
def test_a_vocabulary_refuses_by_name(name):
    for value in VOCABULARY[name]:
        named(name, Vocabulary, **{"characters": "ab", name: value})


def test_encode_and_decode_refuse_by_name():
    vocabulary = Vocabulary("ab", end=True)
    for value in (None, 3, ["a"], object()):
        named("text", vocabulary.encode, value)
    named("text", vocabulary.encode, "abc")
    for value in (None, 3, "ab", [0.0], [[0]], [2], [3], [-1], [2**63], [None], [True], ["a"], object()):
        named("indices", vocabulary.decode, value)


@pytest.mark.parametrize("function", [charrnn.load, CharRNN.load])
def test_load_refuses_by_name(function):
    for value in [*PATHS, None]:
        named("path", function, value)


# Pages, pictures, the benchmark ---------------------------------------------------------------------------------

PAGE = {
    "model": [None, 3, "model.safetensors"],
    "data": [None, 3, "", "h", "hex", [3], object()],
    "length": integers(1),
    "units": integers(1, none=True),
    "encoding": ENCODINGS,
    "unknown": words(),
    "title": [3, [], b"title"],
    "say": [3, None, "print"],
}


def test_every_argument_of_a_page_is_tried():
    assert inspect.signature(show.page).parameters.keys() == PAGE.keys()


@pytest.mark.parametrize("name", PAGE)
def test_a_page_refuses_by_name(model, book, name):
    for value in PAGE[name]:
        arguments = {"model": model, "data": book if name == "encoding" else "hello world", name: value}
        named(name, show.page, **arguments)


def test_learning_curves_refuse_by_name(model, tmp_path):
    for value in (None, 3, [], History()):
        named("history", plot.learning_curves, value, tmp_path / "curve.png")
    for value in [*PATHS, None]:
        named("path", plot.learning_curves, model.history, value)


def test_bench_refuses_by_name():
    for value in THREADS:
        named("num_threads", bench.bench, num_threads=value, seconds=0.001)
    for value in numbers(0, low_too=False):
        named("seconds", bench.bench, seconds=value)


# Kernels --------------------------------------------------------------------------------------------------------


def read_only(array):
    array.flags.writeable = False
    return array


def wrong_arrays(good, written):
    """What is no array as this one."""
    yield from (None, 3, 1.5, "array", [1.0], object(), good.tolist())
    yield from (good.astype(dtype) for dtype in ("float16", "int64", "complex128", "bool", "object", "U8", ">f8"))
    yield from (
        good.astype("float32"),
        good[None],
        good[..., None],
        np.zeros(()),
        good[:-1],
        np.concatenate([good, good]),
    )
    if written:
        yield read_only(good.copy())
        yield np.repeat(good, 2, axis=-1)[..., ::2]


X, H, C = np.ones((2, 3)), np.ones((2, 4)), np.ones((2, 4))
V = np.ones(5)


def cell_arguments(gates, *more):
    weights = {"weight_ih": np.ones((gates * 4, 3)), "weight_hh": np.ones((gates * 4, 4))}
    biases = {"bias_ih": np.ones(gates * 4), "bias_hh": np.ones(gates * 4)}
    return {**dict.fromkeys(more, H), "x": X, "h_prev": H, **weights, **biases}


STEP = {"learning_rate": numbers(0), "weight_decay": numbers(0)}
FRACTION = numbers(0, 1, high_too=False)
#: Of each function its arrays, with those that are written to, and values that its other arguments must not have.
KERNELS = {
    "exp": ({"x": V, "out": V}, {"out"}, {}),
    "tanh": ({"x": V, "out": V}, {"out"}, {}),
    "sigmoid": ({"x": V, "out": V}, {"out"}, {}),
    "softmax": ({"logits": X, "probs": X}, {"probs"}, {}),
    "cross_entropy": ({"logits": X, "targets": np.zeros(2, int), "dlogits": X}, {"dlogits"}, {}),
    "clip_norm": ({"gradients": V}, {"gradients"}, {"max_norm": numbers(0)}),
    "clip_value": ({"gradients": V}, {"gradients"}, {"limit": numbers(0)}),
    "sgd": (
        dict.fromkeys(["parameters", "gradients", "moments"], V),
        {"parameters", "moments"},
        {**STEP, "momentum": FRACTION},
    ),
    "adagrad": (
        dict.fromkeys(["parameters", "gradients", "squares"], V),
        {"parameters", "squares"},
        {**STEP, "eps": numbers(0)},
    ),
    "rmsprop": (
        dict.fromkeys(["parameters", "gradients", "squares"], V),
        {"parameters", "squares"},
        {**STEP, "eps": numbers(0), "rho": FRACTION},
    ),
    "adam": (
        dict.fromkeys(["parameters", "gradients", "moments", "squares"], V),
        {"parameters", "moments", "squares"},
        {**STEP, "eps": numbers(0), "beta1": FRACTION, "beta2": FRACTION, "step": integers(1)},
    ),
    "rnn_cell": (cell_arguments(1), set(), {}),
    "gru_cell": (cell_arguments(3), set(), {}),
    "lstm_cell": (cell_arguments(4, "c_prev"), set(), {}),
    "rnn_cell_backward": (
        {"dh": H, "h": H, **{k: v for k, v in cell_arguments(1).items() if "bias" not in k}},
        set(),
        {},
    ),
    "gru_cell_backward": (cell_arguments(3, "dh"), set(), {}),
    "lstm_cell_backward": (cell_arguments(4, "dh", "dc", "c_prev"), set(), {}),
}
DEFAULTED = {"out", "probs", "dlogits"}


def test_every_kernel_is_tried():
    functions = {name for name in kernels.__all__ if inspect.isfunction(getattr(kernels, name))}
    assert functions == {*KERNELS, "bptt", "Network", "fma_peak", "module", "get_include", "slow_because"}
    for name, (arrays, _, others) in KERNELS.items():
        assert inspect.signature(getattr(kernels, name)).parameters.keys() == {*arrays, *others}


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_refuses_by_name(name):
    function, (arrays, written, others) = getattr(kernels, name), KERNELS[name]
    good = {key: array.copy() for key, array in arrays.items()}
    for key in {"learning_rate", "step", "max_norm", "limit"} & {*others}:
        good[key] = 1
    for key, array in arrays.items():
        for value in wrong_arrays(array, key in written):
            if value is None and key in DEFAULTED:
                continue
            dtype = getattr(value, "dtype", None)
            if len(arrays) == 1 and dtype in (np.float32, np.float64) and value.ndim == 1 and value.flags.writeable:
                continue  # another size or number type is as good
            if (
                array.dtype == int
                and np.shape(value) == array.shape
                and isinstance(value, (list, np.ndarray))
                and np.asarray(value).dtype.kind == "i"
            ):
                continue
            # Where the first one decides on the number type it may be another one that does not fit.
            named(rf"{key}|{'|'.join(arrays)}|dtype", function, **{**good, key: value})
    for key, values in others.items():
        for value in values:
            named(key, function, **{**good, key: value})


def test_bptt_and_network_refuse_by_name():
    network = kernels.Network(3, 4, dtype="float64")
    good = dict(network=network, parameters=np.zeros(network.arena_size), gradients=np.zeros(network.arena_size))
    good |= dict(inputs=[[0]], targets=[[0]])
    wrong = {
        "network": [None, 3, object()],
        "parameters": list(wrong_arrays(good["parameters"], True)),
        "gradients": list(wrong_arrays(good["gradients"], True)),
        "inputs": INPUTS,
        "targets": INPUTS,
        "state": STATES,
        "end": integers(-1, 2),
        "num_threads": integers(1, 1024),
    }
    assert wrong.keys() == inspect.signature(kernels.bptt).parameters.keys()
    for key, values in wrong.items():
        for value in values:
            named(f"{key}|parameters|gradients|network|dtype", kernels.bptt, **{**good, key: value})
    sizes = dict(vocab_size=3, hidden_size=4, num_layers=1)
    for key in sizes:
        for value in integers(1) + [2**62, 10**15]:
            named(key, kernels.Network, **{**sizes, key: value})
    for value in words():
        named("cell", kernels.Network, **sizes, cell=value)
    for value in TRAIN["dtype"]:
        named("dtype", kernels.Network, **sizes, dtype=value)
        named("dtype", kernels.module, value)
    for value in numbers(0):
        named("seconds", kernels.fma_peak, value)


# What is taken --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "ab",
        "aaaa",
        "\0\0",
        "\ud800\udfff",
        "\U0010ffff\0",
        b"\x00\xff",
        bytearray(b"ab"),
        ["a"],
        ["", "a"],
        ["a", "", ""],
        ("a", "b"),
        {"a", "b"},
        frozenset("ab"),
        {"a": 1, "b": 2}.keys(),
    ],
)
def test_the_smallest_and_strangest_texts_are_learnt_sampled_scored_and_saved(tmp_path, data):
    model = train(data, hidden_size=3, epochs=2, progress=False)
    assert set(model.sample("", 20, rng=0)) <= set(model.vocabulary.characters)
    assert model.sample_many(3, 5, rng=0)
    assert math.isfinite(model.evaluate(data).loss)
    model.save(tmp_path / "model")
    assert charrnn.load(tmp_path / "model").vocabulary == model.vocabulary


def test_a_generator_is_read_once_and_may_be_any_iterable():
    documents = ["stone", "sand"] * 5
    expected = train(documents, hidden_size=3, epochs=2)
    for data in ((document for document in documents), iter(documents), tuple(documents)):
        assert train(data, hidden_size=3, epochs=2).log_prob("sand").tolist() == expected.log_prob("sand").tolist()


def test_a_vocabulary_of_50_000_and_a_prompt_of_100_000_characters():
    characters = "".join(map(chr, range(0x100, 0x100 + 50_000)))
    model = train(characters, hidden_size=4, epochs=0.01, batch_size=2, seq_length=8, val_fraction=0)
    assert len(model.vocabulary) == 50_000
    prompt = characters * 2
    for options in ({}, {"top_k": 3}, {"top_p": 0.5}):
        assert len(model.sample(prompt, 3, rng=0, **options)) == 3
    assert len(model.log_prob(prompt)) == len(prompt) - 1


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, 1)[:, ::2], lambda a: a[::-1][::-1]])
@pytest.mark.parametrize("dtype", ["u1", "i2", "<i4", ">i4", "i8", "u8"])
def test_arrays_of_any_layout_and_integer_type_give_the_same(model, dtype, layout):
    inputs = np.arange(8).reshape(4, 2)
    logits, state = model.forward(inputs)
    given = read_only(layout(inputs.astype(dtype)))
    assert model.forward(given, read_only(layout(np.zeros((1, 2, 4)))))[0].tolist() == logits.tolist()
    loss, grads, _ = model.loss_and_grad(given, given)
    expected, expected_grads, _ = model.loss_and_grad(inputs, inputs)
    assert loss == expected
    assert all(np.array_equal(grads[name], expected_grads[name]) for name in grads)


def test_a_state_of_nan_gives_nan_and_harms_nobody(model):
    logits, state = model.forward([[0], [1]], np.full((1, 1, 4), math.nan))
    assert np.isnan(logits).all() and np.isnan(state).all()
    assert np.isfinite(model.forward([[0], [1]])[0]).all()


def test_more_threads_than_the_system_has_give_the_same():
    expected = train("hello world" * 20, hidden_size=16, batch_size=20, epochs=2)
    for num_threads in (64, 1024):
        model = train("hello world" * 20, hidden_size=16, batch_size=20, epochs=2, num_threads=num_threads)
        assert model.log_prob("hello").tolist() == expected.log_prob("hello").tolist()


@settings(max_examples=200, deadline=None)
@given(
    inputs=hnp.arrays(
        st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes()),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
    )
)
def test_any_array_is_taken_or_refused(model, inputs):
    try:
        logits, state = model.forward(inputs)
    except (TypeError, ValueError) as error:
        assert "inputs must" in str(error)
    else:
        assert logits.shape == (*inputs.shape, 8)
        assert np.isfinite(logits).all()


@settings(max_examples=100, deadline=None)
@given(
    text=st.text(st.characters(), min_size=0, max_size=30),
    batch_size=st.integers(1, 10),
    seq_length=st.integers(1, 10),
    val_fraction=st.floats(0, 0.9),
)
def test_any_text_is_learnt_or_refused(text, batch_size, seq_length, val_fraction):
    sizes = dict(batch_size=batch_size, seq_length=seq_length, val_fraction=val_fraction, hidden_size=2, epochs=1)
    try:
        model = train(text, **sizes)
    except ValueError as error:
        assert re.match("data|text|batch_size|val_fraction", str(error))
    else:
        assert set(model.sample("", 5)) <= set(text)
        assert math.isfinite(model.evaluate(text).loss)
