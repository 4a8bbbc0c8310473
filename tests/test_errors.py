"""Errors carry the names of the arguments that they are about, and say the same wherever they are caught."""

import pickle

import numpy as np
import pytest

import charrnn
from charrnn.errors import ArgumentError, ArgumentTypeError, ArgumentValueError, TooLargeError, integer, number
from charrnn.train import train


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: integer("size", 0, 1), ValueError, "size must be at least 1, got 0"),
        (lambda: integer("size", "x", 1), TypeError, "size must be an integer, got 'x'"),
        (lambda: number("rate", -1.5, 0), ValueError, "rate must be at least 0, got -1.5"),
        (lambda: train("hello world", hidden_size=0), ValueError, "hidden_size must be at least 1, got 0"),
        (lambda: charrnn.CharRNN("ab").sample(top_k=0), ValueError, "top_k must be at least 1, got 0"),
    ],
)
def test_a_wrong_argument_is_named_in_the_message_and_by_the_error(call, kind, message):
    with pytest.raises(kind) as raised:
        call()
    error = raised.value
    assert isinstance(error, ArgumentError) and str(error) == message
    assert error.name == message.split()[0]
    assert error.worded(lambda name: f"--{name}") == f"--{message}"


def test_an_error_words_the_other_argument_too():
    with pytest.raises(ArgumentValueError) as raised:
        train("hello world", resume=True)
    assert raised.value.worded(str.upper) == "RESUME must come with CHECKPOINT, the file to resume from"


@pytest.mark.parametrize(
    "error",
    [
        ArgumentValueError("size", "must be at least 1, got 0"),
        ArgumentTypeError("size", "must be an integer, got 'x'"),
        TooLargeError({"size": 3}, 4e9, 10**9),
        charrnn.DivergenceError("the loss became nan", 7, charrnn.CharRNN("ab"), {"learning_rate": 0.1}),
        charrnn.TrainingInterrupted(charrnn.CharRNN("ab"), True),
        charrnn.ModelFileError("m is damaged"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickle_as_those_of_another_process_do(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) != ""
    assert again.__dict__.keys() == error.__dict__.keys()


def test_what_does_not_fit_names_every_size_with_its_value():
    error = TooLargeError({"hidden_size": 10**9, "num_layers": 1}, 4e18, 10**9)
    assert isinstance(error, ValueError)
    assert error.worded(str.upper) == (
        "HIDDEN_SIZE, NUM_LAYERS must fit in memory, got HIDDEN_SIZE=1000000000, NUM_LAYERS=1, which need "
        "4,000,000,000,000,000,000 bytes of 1,000,000,000"
    )


def test_a_divergence_says_what_may_be_smaller():
    with pytest.raises(charrnn.DivergenceError) as raised:
        train("hello world", optimizer="sgd", learning_rate=1e9, clip_norm=None, progress=False)
    assert "try a smaller learning_rate (it is 1e+09) or clip_norm (it is inf)" in str(raised.value)
    assert np.isfinite(raised.value.model.state_dict()["head.weight"]).all()
