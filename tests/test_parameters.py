"""What PyTorch's users have as a state dict becomes a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from charrnn import CharRNN

torch = pytest.importorskip("torch", reason="needs PyTorch")

CELLS = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


class Network(torch.nn.Module):  # type: ignore[misc,name-defined]
    """As tutorials have it: an embedding, recurrent layers, a head."""

    def __init__(self, cell: str, names: tuple[str, str, str], embedding_size: int, **options: Any) -> None:
        super().__init__()
        embedding, recurrent, head = self.names = names
        self.add_module(embedding, torch.nn.Embedding(4, embedding_size))
        self.add_module(recurrent, CELLS[cell](embedding_size, 5, 2, **options))
        self.add_module(head, torch.nn.Linear(5, 4))

    def log_prob(self, symbols: list[int]) -> Any:
        embedding, recurrent, head = map(self.get_submodule, self.names)
        inputs = torch.tensor(symbols[:-1])
        hidden, _ = recurrent(embedding(inputs)[:, None])
        log_probs = torch.log_softmax(head(hidden[:, 0]), -1)
        return log_probs[torch.arange(len(inputs)), torch.tensor(symbols[1:])].detach().numpy()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("embedding_size", [3, 5])
@pytest.mark.parametrize("names", [("embedding", "rnn", "head"), ("encoder", "lstm", "decoder"), ("emb", "gru", "fc")])
def test_a_network_with_an_embedding_is_the_same_network(
    cell: str, embedding_size: int, names: tuple[str, str, str]
) -> None:
    network = Network(cell, names, embedding_size)
    wrapped = {f"module.{name}": value for name, value in network.state_dict(keep_vars=True).items()}
    for state_dict in network.state_dict(), dict(network.named_parameters()), wrapped:
        model = CharRNN.from_state_dict("abcd", state_dict)
        assert (model.cell, model.hidden_size, model.num_layers) == (cell, 5, 2)
        np.testing.assert_allclose(model.log_prob("abcddcba"), network.log_prob([0, 1, 2, 3, 3, 2, 1, 0]), atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_layers_without_biases_have_those_of_0(cell: str) -> None:
    rnn, head = CELLS[cell](4, 5, 2, bias=False), torch.nn.Linear(5, 4, bias=False)
    model = CharRNN.from_state_dict("abcd", {**rnn.state_dict(), "head.weight": head.weight})
    hidden, _ = rnn(torch.eye(4)[[0, 1, 2]][:, None])
    expected = torch.log_softmax(head(hidden[:, 0]), -1)[torch.arange(3), torch.tensor([1, 2, 3])]
    np.testing.assert_allclose(model.log_prob("abcd"), expected.detach().numpy(), atol=1e-5)


def test_bfloat16_is_read_as_float32() -> None:
    rnn, head = torch.nn.GRU(4, 5).to(torch.bfloat16), torch.nn.Linear(5, 4).to(torch.bfloat16)
    state_dict = {**rnn.state_dict(prefix="rnn."), **head.state_dict(prefix="head.")}
    model = CharRNN.from_state_dict("abcd", state_dict)
    assert model.dtype == np.float32
    for name, value in model.state_dict().items():
        assert np.array_equal(value, state_dict[name].float().numpy())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["head.bias", "rnn.weight_ih_l0"])
def test_nan_and_infinity_are_refused(name: str, value: float) -> None:
    state_dict = {key: array.copy() for key, array in CharRNN("abc", hidden_size=4).state_dict().items()}
    state_dict[name].flat[1] = value
    with pytest.raises(ValueError, match=f"^{name} must have finite numbers alone, got NaN or infinity$"):
        CharRNN.from_state_dict("abc", state_dict)


def test_what_is_no_such_network_is_refused() -> None:
    state_dict = Network("gru", ("embedding", "rnn", "head"), 3).state_dict()
    for more in "other.weight", "rnn.weight_ih_l0_reverse", "rnn.weight_hr_l0":
        with pytest.raises(ValueError, match="^state_dict must have "):
            CharRNN.from_state_dict("abcd", {**state_dict, more: torch.zeros(4, 5)})
    with pytest.raises(ValueError, match=r"^embedding.weight must have a column for each of weight_ih_l0, got shapes"):
        CharRNN.from_state_dict("abcd", {**state_dict, "embedding.weight": torch.zeros(4, 7)})
