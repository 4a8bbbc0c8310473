"""Loads a charrnn model into PyTorch, where it gives the same logits: python to_pytorch.py [MODEL]"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import charrnn.train


class Model(torch.nn.Module):
    """The same network under the same names; layers of torch.nn.RNN, GRU or LSTM and a Linear."""

    def __init__(self, model: charrnn.CharRNN) -> None:
        super().__init__()
        self.vocab_size = len(model.vocabulary)
        recurrent = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[model.cell]
        self.rnn = recurrent(self.vocab_size, model.hidden_size, model.num_layers)
        self.head = torch.nn.Linear(model.hidden_size, self.vocab_size)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (T, B, V) of symbols (T, B)."""
        hidden, _ = self.rnn(torch.nn.functional.one_hot(inputs, self.vocab_size).to(self.head.weight.dtype))
        return self.head(hidden)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = sys.argv[1] if len(sys.argv) > 1 else str(Path(folder) / "model.safetensors")
        if len(sys.argv) == 1:
            charrnn.train.train("hello world", cell="gru", num_layers=2).save(path)
        model = charrnn.load(path)
        twin = Model(model).to(torch.float64 if model.dtype == np.float64 else torch.float32)
        twin.load_state_dict(load_file(path))
    inputs = np.arange(20).reshape(10, 2) % len(model.vocabulary)
    logits, _ = model.forward(inputs)
    with torch.no_grad():
        difference = np.abs(twin(torch.from_numpy(inputs)).numpy() - logits).max()
    print(f"{model}\nlogits differ by at most {difference:.1e}")


if __name__ == "__main__":
    main()
