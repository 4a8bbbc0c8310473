"""The types of kernels.pyx, of which every compiled build is a module of its own: see `charrnn.kernels.module`.

Arrays are of the build's one number type here, and of either in the functions of `charrnn.kernels`. Those take
integer arrays of any type as well, which here are int32.
"""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from charrnn.automaton import Automaton

Real = TypeVar("Real", np.float32, np.float64)
Reals = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]

DTYPE: np.dtype[Any]
VECTOR_LENGTH: int
CELLS: dict[str, int]
OPTIMIZERS: dict[str, int]

def aligned_zeros(n: int) -> npt.NDArray[Any]: ...

class Network:
    cell: str
    def __init__(
        self, vocab_size: int, hidden_size: int, num_layers: int, cell: str = "rnn", num_labels: int = 0
    ) -> None: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def num_labels(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def arena_size(self) -> int: ...
    @property
    def gates(self) -> int: ...
    def state_shape(self, batch_size: int) -> tuple[int, ...]: ...
    def views(self, arena: npt.NDArray[Any] | None) -> dict[str, npt.NDArray[Any]]: ...

class Engine:
    network: Network
    num_threads: int
    num_bytes: float
    def __init__(
        self,
        network: Network,
        parameters: Reals,
        seq_length: int,
        batch_size: int,
        *,
        end: int = -1,
        gradients: Reals | None = None,
        dropout: float = 0,
        recurrent_dropout: float = 0,
        num_threads: int = 1,
    ) -> None: ...
    @classmethod
    def bytes_for(
        cls,
        network: Network,
        seq_length: int,
        batch_size: int,
        backward: bool,
        dropout: float,
        recurrent_dropout: float,
        num_threads: int,
    ) -> float: ...
    @property
    def seq_length(self) -> int: ...
    def get_state(self) -> npt.NDArray[Any]: ...
    def set_state(self, state: npt.NDArray[Any] | None) -> None: ...
    def logits(self, inputs: Integers) -> npt.NDArray[Any]: ...
    def losses(self, inputs: Integers, targets: Integers) -> npt.NDArray[np.float64]: ...
    def mean_loss(self) -> float: ...

class Trainer(Engine):
    position: int
    passes: int
    last_loss: float
    last_norm: float
    def __init__(
        self,
        network: Network,
        parameters: Reals,
        seq_length: int,
        batch_size: int,
        *,
        moments: Reals,
        squares: Reals,
        average: Reals | None = None,
        optimizer: str,
        momentum: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        clip_norm: float,
        clip_value: float,
        seed: int,
        end: int = -1,
        dropout: float = 0,
        recurrent_dropout: float = 0,
        num_threads: int = 1,
    ) -> None: ...
    @property
    def step(self) -> int: ...
    def read(
        self,
        codes: Integers,
        table: npt.NDArray[np.uint8],
        starts: npt.NDArray[np.int64],
        length: int,
        documents: npt.NDArray[np.int32] | npt.NDArray[np.int64] | None = None,
        first: npt.NDArray[np.int64] | None = None,
        targets: Integers | None = None,
    ) -> None: ...
    def restore(self, step: int, position: int, passes: int, state: npt.NDArray[Any]) -> None: ...
    def steps_left(self) -> int: ...
    def train(
        self,
        learning_rates: npt.NDArray[np.float64],
        losses: npt.NDArray[np.float64],
        average_shares: npt.NDArray[np.float64] | None = None,
    ) -> int: ...

class Sampler(Engine):
    def __init__(
        self,
        network: Network,
        parameters: Reals,
        batch_size: int,
        *,
        temperature: float = 1,
        top_k: int = 0,
        top_p: float = 1,
        min_p: float = 0,
        end: int = -1,
        length: int = -1,
        min_length: int = 0,
        automaton: Automaton | None = None,
        in_time: bool = False,
        partner: Sampler | None = None,
        weight: float = 1,
        num_threads: int = 1,
    ) -> None: ...
    def feed(self, inputs: Integers) -> None: ...
    def weights(self) -> npt.NDArray[Any]: ...
    def begin(self, prompt: Integers, n: int) -> None: ...
    def draw(self, next_double: int, bit_generator: int, symbols: Integers, over: npt.NDArray[np.uint8]) -> int: ...

def exp(x: npt.NDArray[Real], out: npt.NDArray[Real] | None = None) -> npt.NDArray[Real]: ...
def tanh(x: npt.NDArray[Real], out: npt.NDArray[Real] | None = None) -> npt.NDArray[Real]: ...
def sigmoid(x: npt.NDArray[Real], out: npt.NDArray[Real] | None = None) -> npt.NDArray[Real]: ...
def softmax(logits: npt.NDArray[Real], probs: npt.NDArray[Real] | None = None) -> npt.NDArray[Real]: ...
def cross_entropy(logits: npt.NDArray[Real], targets: Integers, dlogits: npt.NDArray[Real] | None = None) -> float: ...
def rnn_cell(
    x: npt.NDArray[Real],
    h_prev: npt.NDArray[Real],
    weight_ih: npt.NDArray[Real],
    weight_hh: npt.NDArray[Real],
    bias_ih: npt.NDArray[Real],
    bias_hh: npt.NDArray[Real],
) -> npt.NDArray[Real]: ...
def rnn_cell_backward(
    dh: npt.NDArray[Real],
    x: npt.NDArray[Real],
    h_prev: npt.NDArray[Real],
    h: npt.NDArray[Real],
    weight_ih: npt.NDArray[Real],
    weight_hh: npt.NDArray[Real],
) -> tuple[npt.NDArray[Real], npt.NDArray[Real], npt.NDArray[Real], npt.NDArray[Real], npt.NDArray[Real]]: ...
def gru_cell(
    x: npt.NDArray[Real],
    h_prev: npt.NDArray[Real],
    weight_ih: npt.NDArray[Real],
    weight_hh: npt.NDArray[Real],
    bias_ih: npt.NDArray[Real],
    bias_hh: npt.NDArray[Real],
) -> npt.NDArray[Real]: ...
def gru_cell_backward(
    dh: npt.NDArray[Real],
    x: npt.NDArray[Real],
    h_prev: npt.NDArray[Real],
    weight_ih: npt.NDArray[Real],
    weight_hh: npt.NDArray[Real],
    bias_ih: npt.NDArray[Real],
    bias_hh: npt.NDArray[Real],
) -> tuple[
    npt.NDArray[Real],
    npt.NDArray[Real],
    npt.NDArray[Real],
    npt.NDArray[Real],
    npt.NDArray[Real],
    npt.NDArray[Real],
]: ...
def lstm_cell(
    x: npt.NDArray[Real],
    h_prev: npt.NDArray[Real],
    c_prev: npt.NDArray[Real],
    weight_ih: npt.NDArray[Real],
    weight_hh: npt.NDArray[Real],
    bias_ih: npt.NDArray[Real],
    bias_hh: npt.NDArray[Real],
) -> tuple[npt.NDArray[Real], npt.NDArray[Real]]: ...
def lstm_cell_backward(
    dh: npt.NDArray[Real],
    dc: npt.NDArray[Real],
    x: npt.NDArray[Real],
    h_prev: npt.NDArray[Real],
    c_prev: npt.NDArray[Real],
    weight_ih: npt.NDArray[Real],
    weight_hh: npt.NDArray[Real],
    bias_ih: npt.NDArray[Real],
    bias_hh: npt.NDArray[Real],
) -> tuple[
    npt.NDArray[Real],
    npt.NDArray[Real],
    npt.NDArray[Real],
    npt.NDArray[Real],
    npt.NDArray[Real],
    npt.NDArray[Real],
    npt.NDArray[Real],
]: ...
def clip_norm(gradients: Reals, max_norm: float) -> float: ...
def clip_value(gradients: Reals, limit: float) -> None: ...
def sgd(
    parameters: npt.NDArray[Real],
    gradients: npt.NDArray[Real],
    moments: npt.NDArray[Real],
    *,
    learning_rate: float,
    momentum: float = 0,
    weight_decay: float = 0,
) -> None: ...
def adagrad(
    parameters: npt.NDArray[Real],
    gradients: npt.NDArray[Real],
    squares: npt.NDArray[Real],
    *,
    learning_rate: float,
    eps: float = 1e-10,
    weight_decay: float = 0,
) -> None: ...
def rmsprop(
    parameters: npt.NDArray[Real],
    gradients: npt.NDArray[Real],
    squares: npt.NDArray[Real],
    *,
    learning_rate: float,
    rho: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0,
) -> None: ...
def adam(
    parameters: npt.NDArray[Real],
    gradients: npt.NDArray[Real],
    moments: npt.NDArray[Real],
    squares: npt.NDArray[Real],
    *,
    step: int,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0,
) -> None: ...
def bptt(
    network: Network,
    parameters: npt.NDArray[Real],
    inputs: Integers,
    targets: Integers,
    gradients: npt.NDArray[Real],
    state: npt.NDArray[Real] | None = None,
    *,
    end: int = -1,
    num_threads: int = 1,
) -> tuple[float, npt.NDArray[Real]]: ...
