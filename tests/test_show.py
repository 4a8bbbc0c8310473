"""Hidden units of a text."""

import numpy as np
import pytest
from test_model import random_model

from charrnn import CharRNN, Vocabulary

DTYPES = ("float32", "float64")


def text_of(size, seed=0):
    return "".join(np.random.default_rng(seed).choice([*"abc\n"], size))


# Hidden units


def after_each(model, symbols):
    """h of all layers after each symbol, by forward over each prefix."""
    states = [model.forward(symbols[: t + 1, None])[1] for t in range(len(symbols))]
    return np.array([state.reshape(-1) for state in states])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 15, 16, 17, 30])
def test_activations_are_the_states_of_forward(dtype, num_layers, size):
    model, text = random_model("abc\n", 7, num_layers, dtype), text_of(size)
    activations = model.activations(text)
    assert activations.shape == (size, num_layers * 7)
    assert activations.dtype == dtype
    expected = after_each(model, model.vocabulary.encode(text))
    np.testing.assert_allclose(activations, expected, atol=1e-5 if dtype == "float32" else 1e-13)


def test_activations_of_a_document_are_those_after_end():
    model = random_model(Vocabulary("abc", end=True), 5, 2)
    expected = after_each(model, np.array([3, 2, 0, 1]))[1:]
    np.testing.assert_allclose(model.activations("cab"), expected, atol=1e-13)
    assert model.activations("").shape == (0, 10)


def test_activations_of_bytes_are_those_of_latin_1():
    model = random_model("ab\xff", 5)
    np.testing.assert_array_equal(model.activations(b"a\xffb"), model.activations("a\xffb"))


def test_activations_are_the_first_part_of_a_state_of_several():
    """As that of an LSTM: h and c."""

    class TwoParts(CharRNN):
        def forward(self, inputs, state=None):
            logits, h = super().forward(inputs, None if state is None else state[0])
            return logits, np.stack([h, 100 + h])

    model = random_model("abc\n", 6, 2)
    twice = TwoParts("abc\n", hidden_size=6, num_layers=2, dtype="float64")
    twice._arena[:] = model._arena
    np.testing.assert_array_equal(twice.activations(text_of(40)), model.activations(text_of(40)))


def test_activations_of_nothing_and_of_what_is_no_text():
    model = random_model("abc", 4, 2)
    assert model.activations("").shape == (0, 8)
    with pytest.raises(ValueError, match="'d' at position 2 of the text is not among the model's 3 characters"):
        model.activations("abd")
    with pytest.raises(TypeError, match="the text must be str or bytes, got list"):
        model.activations(["abc"])
