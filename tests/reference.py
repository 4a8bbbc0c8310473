"""The model in float64 NumPy, as equations: what the compiled kernels are tested against.

T time, B batch, V vocabulary, H hidden units, L layers, N = T B positions.

    state[t] = cell(x[t], state[t-1])                       every layer; x of layer 0 is the one-hot symbol
    logits[t] = W_head h[t] + b_head                        from h of the uppermost layer
    loss = mean over t, b of -log softmax(logits[t, b])[targets[t, b]]

What a cell hands on in time is its state, S arrays (B, H): h, and of an LSTM c. That of a network is an array
(L, B, H), of an LSTM (2, L, B, H) with h before c. The weights have the rows of G gates, G H; sigma is the logistic
function.

    rnn     h = tanh(W_ih x + b_ih + W_hh h_prev + b_hh)
    gru     r = sigma(W_ir x + b_ir + W_hr h_prev + b_hr)    z = sigma(W_iz x + b_iz + W_hz h_prev + b_hz)
            n = tanh(W_in x + b_in + r (W_hn h_prev + b_hn))    h = (1 - z) n + z h_prev
    lstm    i, f, o = sigma(W_i x + b_i + W_h h_prev + b_h)    g = tanh(W_ig x + b_ig + W_hg h_prev + b_hg)
            c = f c_prev + i g    h = o tanh(c)

Where there is a mask (B, H), as of recurrent dropout, it multiplies h_prev in every W h_prev, and nowhere else.

A backward stands under its forward; dx is the gradient of the loss with respect to x. Parameters and
gradients are dicts with the names and shapes of torch.nn.RNN, GRU or LSTM (as `rnn`), whose order of gates is
r, z, n and i, f, g, o, and torch.nn.Linear (as `head`).
No function changes its arguments, and float32 arrays are widened before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

Array = np.ndarray
Params = dict[str, Array]
Mask = Array | float

LARGEST = np.finfo(np.float64).max


def float64(*arrays: Array) -> list[Array]:
    return [np.asarray(array, np.float64) for array in arrays]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), as exp(-log(1 + exp(-x))), which does not overflow."""
    return np.exp(-np.logaddexp(0, -x))


def sums_forward(
    x: Array, h_prev: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array, mask: Mask = 1.0
) -> tuple[Array, Array]:
    """W_ih x + b_ih and W_hh (mask h_prev) + b_hh, (B, G H)."""
    return x @ weight_ih.T + bias_ih, (mask * h_prev) @ weight_hh.T + bias_hh


def sums_backward(
    da: Array, db: Array, x: Array, h_prev: Array, weight_ih: Array, weight_hh: Array, mask: Mask = 1.0
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """dx, dh_prev, dweight_ih, dweight_hh, dbias_ih, dbias_hh: a = W_ih x + b_ih and b = W_hh (mask h_prev) + b_hh."""
    dh_prev, dweight_hh = mask * (db @ weight_hh), db.T @ (mask * h_prev)
    return da @ weight_ih, dh_prev, da.T @ x, dweight_hh, da.sum(axis=0), db.sum(axis=0)


def rnn_cell_forward(
    x: Array, h_prev: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array, mask: Mask = 1.0
) -> Array:
    """h (B, H) = tanh(a + b), with x (B, input) and h_prev (B, H)."""
    a, b = sums_forward(*float64(x, h_prev, weight_ih, weight_hh, bias_ih, bias_hh, mask))
    return np.tanh(a + b)


def rnn_cell_backward(
    dh: Array,
    x: Array,
    h_prev: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    mask: Mask = 1.0,
) -> tuple[Array, ...]:
    """dx, dh_prev, dweight_ih, dweight_hh, dbias_ih, dbias_hh.

    tanh'(s) = 1 - tanh(s)^2, so da = db = dh (1 - h^2).
    """
    dh, *inputs = float64(dh, x, h_prev, weight_ih, weight_hh, bias_ih, bias_hh, mask)
    da = dh * (1 - rnn_cell_forward(*inputs) ** 2)
    return sums_backward(da, da, *inputs[:4], mask)


def gru_gates(*inputs: Array) -> tuple[Array, Array, Array, Array]:
    """r, z, n and the b of n, (B, H)."""
    (a_r, a_z, a_n), (b_r, b_z, b_n) = (np.split(s, 3, axis=1) for s in sums_forward(*inputs))
    r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z)
    return r, z, np.tanh(a_n + r * b_n), b_n


def gru_cell_forward(
    x: Array, h_prev: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array, mask: Mask = 1.0
) -> Array:
    """h (B, H) = (1 - z) n + z h_prev, with x (B, input) and h_prev (B, H)."""
    x, h_prev, *weights = float64(x, h_prev, weight_ih, weight_hh, bias_ih, bias_hh, mask)
    _, z, n, _ = gru_gates(x, h_prev, *weights)
    return (1 - z) * n + z * h_prev


def gru_cell_backward(
    dh: Array,
    x: Array,
    h_prev: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    mask: Mask = 1.0,
) -> tuple[Array, ...]:
    """dx, dh_prev, dweight_ih, dweight_hh, dbias_ih, dbias_hh.

    sigma'(s) = sigma(s) (1 - sigma(s)); r acts through n = tanh(a_n + r b_n); h_prev acts through the gates, and z of
    it by itself.
    """
    dh, x, h_prev, *weights = float64(dh, x, h_prev, weight_ih, weight_hh, bias_ih, bias_hh, mask)
    r, z, n, b_n = gru_gates(x, h_prev, *weights)
    da_n = dh * (1 - z) * (1 - n**2)
    da_z = dh * (h_prev - n) * z * (1 - z)
    da_r = da_n * b_n * r * (1 - r)
    da, db = np.hstack([da_r, da_z, da_n]), np.hstack([da_r, da_z, da_n * r])
    dx, dh_prev, *dweights = sums_backward(da, db, x, h_prev, *weights[:2], mask)
    return dx, dh_prev + dh * z, *dweights


def lstm_gates(*inputs: Array) -> tuple[Array, Array, Array, Array]:
    """i, f, g, o, (B, H)."""
    i, f, g, o = np.split(sum(sums_forward(*inputs)), 4, axis=1)
    return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)


def lstm_cell_forward(
    x: Array,
    h_prev: Array,
    c_prev: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    mask: Mask = 1.0,
) -> tuple[Array, Array]:
    """h (B, H) = o tanh(c) and c (B, H) = f c_prev + i g, with x (B, input), h_prev and c_prev (B, H)."""
    x, h_prev, c_prev, *weights = float64(x, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh, mask)
    i, f, g, o = lstm_gates(x, h_prev, *weights)
    c = f * c_prev + i * g
    return o * np.tanh(c), c


def lstm_cell_backward(
    dh: Array,
    dc: Array,
    x: Array,
    h_prev: Array,
    c_prev: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    mask: Mask = 1.0,
) -> tuple[Array, ...]:
    """dx, dh_prev, dc_prev, dweight_ih, dweight_hh, dbias_ih, dbias_hh.

    c acts by itself, which gives the dc handed in, and through h = o tanh(c).
    """
    given = (dh, dc, x, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh, mask)
    dh, dc, x, h_prev, c_prev, *weights = float64(*given)
    i, f, g, o = lstm_gates(x, h_prev, *weights)
    tanh_c = np.tanh(f * c_prev + i * g)
    dc = dc + dh * o * (1 - tanh_c**2)
    da_i, da_f, da_g = dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dc * i * (1 - g**2)
    da = np.hstack([da_i, da_f, da_g, dh * tanh_c * o * (1 - o)])
    dx, dh_prev, *dweights = sums_backward(da, da, x, h_prev, *weights[:2], mask)
    return dx, dh_prev, dc * f, *dweights


class Cell(NamedTuple):
    """state = forward(x, *state_prev, *weights)

    dx, *dstate_prev, *dweights = backward(*dstate, x, *state_prev, *weights)
    """

    G: int
    S: int
    forward: Callable
    backward: Callable


CELLS = {
    "rnn": Cell(1, 1, rnn_cell_forward, rnn_cell_backward),
    "gru": Cell(3, 1, gru_cell_forward, gru_cell_backward),
    "lstm": Cell(4, 2, lstm_cell_forward, lstm_cell_backward),
}


def cell_name(params: Params) -> str:
    """The cell that has as many gates as these parameters."""
    G = len(params["rnn.weight_hh_l0"]) // params["rnn.weight_hh_l0"].shape[1]
    return next(name for name, cell in CELLS.items() if cell.G == G)


def num_layers(params: Params) -> int:
    return sum(name.startswith("rnn.weight_hh") for name in params)


def state_shape(params: Params, batch_size: int) -> tuple[int, ...]:
    """(L, B, H), or (2, L, B, H) where the state is h and c."""
    S, shape = CELLS[cell_name(params)].S, (num_layers(params), batch_size, params["head.weight"].shape[1])
    return shape if S == 1 else (S, *shape)


def layer_forward(cell: Cell, x: Array, ends: Array, mask: Mask, state: Array, *weights: Array) -> tuple[Array, Array]:
    """The state (T, S, B, H) after each step and before it: that after the last one, or zero where ends[t, b]."""
    states, states_prev = np.empty((2, len(x), *state.shape))
    for t in range(len(x)):
        states_prev[t] = np.where(ends[t, :, None], 0, state)
        states[t] = state = np.reshape(cell.forward(x[t], *states_prev[t], *weights, mask), state.shape)
    return states, states_prev


def layer_backward(
    cell: Cell, dh: Array, x: Array, ends: Array, mask: Mask, states_prev: Array, *weights: Array
) -> tuple[Array, list[Array]]:
    """dx (T, B, input) and the gradients of the weights: backpropagation through time.

    The state after step t acts on the loss through the layers above, which give dh[t] to its h, and through the
    state before step t+1 if that is the same.
    """
    dx, dweights, dstate = np.empty(x.shape), [0] * len(weights), np.zeros(states_prev.shape[1:])
    for t in reversed(range(len(x))):
        dstate[0] += dh[t]
        dx[t], *d = cell.backward(*dstate, x[t], *states_prev[t], *weights, mask)
        dstate = np.where(ends[t, :, None], 0, d[: cell.S])
        dweights = [total + dweight for total, dweight in zip(dweights, d[cell.S :], strict=True)]
    return dx, dweights


def head_forward(x: Array, weight: Array, bias: Array) -> Array:
    """logits (T, B, V) = W x + b, with x (T, B, H)."""
    return x @ weight.T + bias


def head_backward(dlogits: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """dx (T, B, H), dweight (V, H), dbias (V)."""
    return dlogits @ weight, np.einsum("tbv,tbh->vh", dlogits, x), dlogits.sum(axis=(0, 1))


def below_max(logits: Array) -> Array:
    """logits - max: the same softmax, an exp that cannot overflow; finite where the logits are."""
    logits = np.asarray(logits, np.float64)
    with np.errstate(over="ignore"):  # 1e308 and -1e308 are further apart than LARGEST
        return np.maximum(logits - logits.max(axis=-1, keepdims=True), -LARGEST)


def softmax(logits: Array) -> Array:
    """exp(logits) / sum exp(logits), over the last axis."""
    exp = np.exp(below_max(logits))
    return exp / exp.sum(axis=-1, keepdims=True)


def log_softmax(logits: Array) -> Array:
    """logits - log sum exp(logits), over the last axis."""
    x = below_max(logits)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def cross_entropy_forward(logits: Array, targets: Array) -> float:
    """The mean of -log softmax(logits)[targets] over N positions, in nats; logits (N, V), targets (N)."""
    N = len(targets)
    with np.errstate(over="ignore"):
        return min(float(np.sum(-log_softmax(logits)[np.arange(N), targets] / N)), LARGEST)


def cross_entropy_backward(logits: Array, targets: Array) -> Array:
    """dlogits (N, V) = (softmax(logits) - onehot(targets)) / N."""
    N, V = np.shape(logits)
    return (softmax(logits) - np.eye(V)[targets]) / N


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def layer_params(params: Params, layer: int) -> list[Array]:
    return [params[f"rnn.{name}_l{layer}"] for name in WEIGHTS]


def layers_forward(
    params: Params,
    inputs: Array,
    state: Array | None,
    end: int | None,
    dropout_masks: Sequence[Array] | None,
    recurrent_masks: Sequence[Array] | None,
) -> tuple[list[Array], Array, Array, list[Array]]:
    """xs into each layer and the head, ends (T, B) where the input is END or a label, the last state, states_prev."""
    V, cell = len(params["head.weight"]), CELLS[cell_name(params)]
    num_inputs = params["rnn.weight_ih_l0"].shape[1]
    inputs = np.asarray(inputs)
    shape = state_shape(params, inputs.shape[1])
    ends = np.zeros(inputs.shape, bool) if end is None else (inputs == end) | (inputs >= V)
    state = np.zeros(shape) if state is None else np.array(state, np.float64)
    state = state.reshape(cell.S, *shape[-3:])
    xs, states_prev = [np.eye(num_inputs)[inputs]], []
    for layer in range(num_layers(params)):
        mask = 1.0 if recurrent_masks is None else recurrent_masks[layer]
        states, prev = layer_forward(cell, xs[layer], ends, mask, state[:, layer], *layer_params(params, layer))
        state[:, layer] = states[-1]
        states_prev.append(prev)
        xs.append(states[:, 0] if dropout_masks is None else states[:, 0] * dropout_masks[layer])
    return xs, ends, state.reshape(shape), states_prev


def forward(params: Params, inputs: Array, state: Array | None = None, end: int | None = None) -> tuple[Array, Array]:
    """logits (T, B, V) and the state after the last step, for symbols inputs (T, B).

    state is that before the first step, by default zero. Where inputs[t, b] is END or a label, V or more, the state of
    every layer of row b is zero before step t.
    """
    xs, _, state, _ = layers_forward(params, inputs, state, end, None, None)
    return head_forward(xs[-1], params["head.weight"], params["head.bias"]), state


def loss_and_grad(
    params: Params,
    inputs: Array,
    targets: Array,
    state: Array | None = None,
    end: int | None = None,
    dropout_masks: Sequence[Array] | None = None,
    recurrent_masks: Sequence[Array] | None = None,
) -> tuple[float, Params, Array]:
    """The loss, its gradient by every parameter, and the state after the last step.

    The given state is a constant. dropout_masks are L arrays (T, B, H) of 0 and 1 / (1 - dropout): a layer's
    multiplies what it hands up, to the next layer or the head, and not what it hands on in time. recurrent_masks are L
    arrays (B, H) of 0 and 1 / (1 - recurrent_dropout): a layer's multiplies h of every step before as it enters W_hh,
    and not the h that a GRU's z keeps. A target that is a label
    is END.
    """
    cell = CELLS[cell_name(params)]
    xs, ends, state, states_prev = layers_forward(params, inputs, state, end, dropout_masks, recurrent_masks)
    logits = head_forward(xs[-1], params["head.weight"], params["head.bias"])
    rows, targets = logits.reshape(-1, logits.shape[-1]), np.ravel(targets)
    targets = targets if end is None else np.where(targets < rows.shape[1], targets, end)
    loss = cross_entropy_forward(rows, targets)

    grads = {}
    dlogits = cross_entropy_backward(rows, targets).reshape(logits.shape)
    dx, grads["head.weight"], grads["head.bias"] = head_backward(dlogits, xs[-1], params["head.weight"])
    for layer in reversed(range(num_layers(params))):
        dh = dx if dropout_masks is None else dx * dropout_masks[layer]
        mask = 1.0 if recurrent_masks is None else recurrent_masks[layer]
        layer_args = xs[layer], ends, mask, states_prev[layer], *layer_params(params, layer)
        dx, dweights = layer_backward(cell, dh, *layer_args)
        grads |= {f"rnn.{name}_l{layer}": dweight for name, dweight in zip(WEIGHTS, dweights, strict=True)}
    return loss, {name: grads[name] for name in params}, state


def clip_norm(grads: Params, max_norm: float) -> tuple[Params, float]:
    """grads max_norm / norm if norm > max_norm, else grads; and norm, Euclidean, over all arrays together."""
    norm = float(np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in grads.values())))
    scale = max_norm / norm if norm > max_norm else 1.0
    return {name: np.asarray(g, np.float64) * scale for name, g in grads.items()}, norm


def clip_value(grads: Params, limit: float) -> Params:
    """Every element, or the nearer of -limit and limit where it is beyond."""
    return {name: np.clip(np.asarray(g, np.float64), -limit, limit) for name, g in grads.items()}


def sgd(g: Array, m: Array, s: Array, step: int, momentum=0.0) -> tuple[Array, Array, Array]:
    m = momentum * m + g
    return m, m, s


def adagrad(g: Array, m: Array, s: Array, step: int, eps=1e-10) -> tuple[Array, Array, Array]:
    s = s + g**2
    return g / (np.sqrt(s) + eps), m, s


def rmsprop(g: Array, m: Array, s: Array, step: int, alpha=0.99, eps=1e-8) -> tuple[Array, Array, Array]:
    s = alpha * s + (1 - alpha) * g**2
    return g / (np.sqrt(s) + eps), m, s


def adam(g: Array, m: Array, s: Array, step: int, beta1=0.9, beta2=0.999, eps=1e-8) -> tuple[Array, Array, Array]:
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * g**2
    return m / (1 - beta1**step) / (np.sqrt(s / (1 - beta2**step)) + eps), m, s


def average_update(average: Params, params: Params, share: float) -> Params:
    """average + share (params - average)."""
    return {name: average[name] + share * (params[name] - average[name]) for name in params}


class Optimizer:
    """params := (1 - learning_rate weight_decay) params - learning_rate direction

    direction, m, s = rule(g, m, s, step, **constants), with a rule from above, m and s zero at first, step
    the number of the update, from 1. Equations and defaults are those of torch.optim; adam here is AdamW.
    """

    def __init__(self, rule: Callable[..., tuple], weight_decay: float = 0.0, **constants: float) -> None:
        self.rule, self.weight_decay, self.constants = rule, weight_decay, constants
        self.m: Params = {}
        self.s: Params = {}
        self.step = 0

    def update(self, params: Params, grads: Params, learning_rate: float) -> Params:
        """The new parameters."""
        self.step += 1
        updated = {}
        for name in params:
            p, g = float64(params[name], grads[name])
            m, s = self.m.get(name, np.zeros(p.shape)), self.s.get(name, np.zeros(p.shape))
            direction, self.m[name], self.s[name] = self.rule(g, m, s, self.step, **self.constants)
            updated[name] = (1 - learning_rate * self.weight_decay) * p - learning_rate * direction
        return updated


def hash32(x: Array) -> Array:
    """The finaliser of MurmurHash3."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x85EBCA6B)
    x = x ^ (x >> np.uint32(13))
    x = x * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def mask_rows(seed: int, step: int, rows: Array, H: int, dropout: float) -> Array:
    """(..., H) of 0 and 1 / (1 - dropout) for rows (...): the hash of seed, update, row and unit decides."""
    key = np.array([seed ^ step << 32], np.uint64)
    low, high = key.astype(np.uint32), (key >> np.uint64(32)).astype(np.uint32)
    units = hash32(hash32(low + hash32(high + hash32(rows[..., None]))) + np.arange(H, dtype=np.uint32))
    return (units >= int(dropout * 2**32)) / (1 - dropout)


def dropout_masks(seed: int, step: int, L: int, T: int, B: int, H: int, dropout: float) -> Array:
    """(L, T, B, H) of the outputs: a row for each layer, position and reader."""
    return mask_rows(seed, step, np.arange(L * T * B, dtype=np.uint32).reshape(L, T, B), H, dropout)


def recurrent_masks(seed: int, step: int, L: int, B: int, H: int, dropout: float) -> Array:
    """(L, B, H) of h as it enters W_hh: a row for each layer and reader, counted down from 2^32 - 1."""
    return mask_rows(seed, step, ~np.arange(L * B, dtype=np.uint32).reshape(L, B), H, dropout)


class Chunk(NamedTuple):
    """What the readers of a batch read in one update: inputs and targets (T, B); whether the epoch ends with it."""

    inputs: Array
    targets: Array
    last: bool


def chunks(inputs: Array, targets: Array, starts: Array, length: int, seq_length: int) -> Iterator[Chunk]:
    """The chunks of an epoch: reader b has `length` inputs from starts[b] on; after the last one comes the first."""
    for position in range(0, length, seq_length):
        T = min(seq_length, length - position)
        at = np.asarray(starts)[None, :] + position + np.arange(T)[:, None]
        at = at % len(inputs)
        yield Chunk(inputs[at], targets[at], position + T == length)


class Update(NamedTuple):
    """What there is after an update: the new parameters, the loss and the gradient's norm before it, the state."""

    params: Params
    loss: float
    norm: float
    state: Array


def training(
    params: Params,
    batches: Iterable[Chunk],
    learning_rates: Iterable[float],
    optimizer: Optimizer,
    *,
    max_norm: float = np.inf,
    max_value: float = np.inf,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    seed: int = 0,
    end: int | None = None,
) -> Iterator[Update]:
    """Truncated BPTT, an update for each chunk: the state is carried on, and zero where an epoch begins."""
    state, L, H = None, num_layers(params), params["head.weight"].shape[1]
    for step, (chunk, learning_rate) in enumerate(zip(batches, learning_rates, strict=False), 1):
        T, B = chunk.inputs.shape
        masks = dropout_masks(seed, step, L, T, B, H, dropout), recurrent_masks(seed, step, L, B, H, recurrent_dropout)
        loss, grads, state = loss_and_grad(params, chunk.inputs, chunk.targets, state, end, *masks)
        grads, norm = clip_norm(grads, max_norm)
        params = optimizer.update(params, clip_value(grads, max_value), learning_rate)
        state = np.zeros_like(state) if chunk.last else state
        yield Update(params, loss, norm, state)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: (1 + np.cos(np.pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}


def learning_rate(step: int, total_steps: int, highest: float, schedule: str, warmup: float) -> float:
    """Of the update number `step`, from 1: it rises over the share `warmup` of the run, and falls by the schedule."""
    rising = min(step / total_steps / warmup, 1) if warmup else 1
    return highest * rising * SCHEDULES[schedule]((step - 1) / total_steps)


def sample_index(probs: Array, u: float) -> int:
    """The first index whose cumulative sum exceeds u times the total, for u in [0, 1)."""
    cumulative = np.cumsum(probs, dtype=np.float64)
    return int(np.argmax(cumulative > u * cumulative[-1]))


def filter_probs(
    logits: Array,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float = 0.0,
) -> Array:
    """softmax(logits / temperature) (V) over the symbols kept, zero for the others, in vocabulary order.

    top_k keeps the k most probable; of these, top_p keeps the fewest most probable that have this share of
    their probability; of these, min_p keeps those that are at least so many times as probable as the most probable.
    Among equals the lower index comes first. temperature 0 keeps only the most probable.
    """
    logits = below_max(logits)
    if temperature == 0:
        return np.eye(len(logits))[np.argmax(logits)]
    with np.errstate(over="ignore"):  # -1 / 1e-310
        probs = softmax(logits / temperature)
    kept = np.argsort(-logits, kind="stable")[:top_k]
    if top_p is not None and top_p < 1:
        cumulative = np.cumsum(probs[kept])
        kept = kept[: 1 + np.argmax(cumulative >= top_p * cumulative[-1])]
    kept = kept[probs[kept] >= min_p * probs.max()]
    filtered = np.zeros(len(logits))
    filtered[kept] = probs[kept] / probs[kept].sum()
    return filtered


def random_params(
    rng: np.random.Generator,
    vocab_size: int,
    hidden_size: int,
    num_layers: int,
    cell: str = "rnn",
    num_labels: int = 0,
) -> Params:
    """All uniform in +-1 / sqrt(H), as PyTorch begins; in the order of its state_dict."""
    V, H, G = vocab_size, hidden_size, CELLS[cell].G
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(num_layers):
        shapes[f"rnn.weight_ih_l{layer}"] = (G * H, V + num_labels if layer == 0 else H)
        shapes[f"rnn.weight_hh_l{layer}"] = (G * H, H)
        shapes[f"rnn.bias_ih_l{layer}"] = shapes[f"rnn.bias_hh_l{layer}"] = (G * H,)
    shapes |= {"head.weight": (V, H), "head.bias": (V,)}
    return {name: rng.uniform(-(H**-0.5), H**-0.5, shape) for name, shape in shapes.items()}


def finite_difference(f: Callable[[Array], float], x: Array, eps: float = 1e-5) -> Array:
    """df/dx = (f(x + eps) - f(x - eps)) / (2 eps) in each element, with an error O(eps^2)."""
    dx = np.empty(np.shape(x))
    for i in np.ndindex(dx.shape):
        step = np.zeros(dx.shape)
        step[i] = eps
        dx[i] = (f(x + step) - f(x - step)) / (2 * eps)
    return dx
