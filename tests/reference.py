"""The model in float64 NumPy, as equations: what the compiled kernels are tested against.

T time, B batch, V vocabulary, H hidden units, L layers, N = T B positions.

    h[t] = tanh(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh)      every layer; x of layer 0 is the one-hot symbol
    logits[t] = W_head h[t] + b_head                        from h of the uppermost layer
    loss = mean over t, b of -log softmax(logits[t, b])[targets[t, b]]

A backward stands under its forward; dx is the gradient of the loss with respect to x. Parameters and
gradients are dicts with the names and shapes of torch.nn.RNN (as `rnn`) and torch.nn.Linear (as `head`).
No function changes its arguments, and float32 arrays are widened before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray
Params = dict[str, Array]

LARGEST = np.finfo(np.float64).max


def float64(*arrays: Array) -> list[Array]:
    return [np.asarray(array, np.float64) for array in arrays]


def rnn_cell_forward(
    x: Array, h_prev: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array
) -> Array:
    """h (B, H) = tanh(z), z = W_ih x + b_ih + W_hh h_prev + b_hh, with x (B, input) and h_prev (B, H)."""
    x, h_prev, W_ih, W_hh, b_ih, b_hh = float64(x, h_prev, weight_ih, weight_hh, bias_ih, bias_hh)
    return np.tanh(x @ W_ih.T + b_ih + h_prev @ W_hh.T + b_hh)


def rnn_cell_backward(
    dh: Array, x: Array, h_prev: Array, h: Array, weight_ih: Array, weight_hh: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """dx, dh_prev, dweight_ih, dweight_hh, dbias; dbias (H) is dbias_ih and dbias_hh alike.

    tanh'(z) = 1 - tanh(z)^2, so dz = dh (1 - h^2); z is linear in all the rest.
    """
    dh, x, h_prev, h, W_ih, W_hh = float64(dh, x, h_prev, h, weight_ih, weight_hh)
    dz = dh * (1 - h**2)
    return dz @ W_ih, dz @ W_hh, dz.T @ x, dz.T @ h_prev, dz.sum(axis=0)


def layer_forward(x: Array, ends: Array, state: Array, *weights: Array) -> tuple[Array, Array]:
    """h (T, B, H) after each step and h_prev (T, B, H) before it: h[t-1], or zero where ends[t, b]."""
    h, h_prev = np.empty((2, *x.shape[:2], state.shape[-1]))
    for t in range(len(x)):
        h_prev[t] = np.where(ends[t, :, None], 0, state)
        h[t] = state = rnn_cell_forward(x[t], h_prev[t], *weights)
    return h, h_prev


def layer_backward(
    dh: Array, x: Array, ends: Array, h: Array, h_prev: Array, weight_ih: Array, weight_hh: Array
) -> tuple[Array, Array, Array, Array]:
    """dx (T, B, input), dweight_ih, dweight_hh, dbias: backpropagation through time.

    h[t] acts on the loss through the layers above, which give dh[t], and through h_prev[t+1] if that is h[t].
    """
    dx, dweight_ih, dweight_hh, dbias = np.empty(x.shape), 0, 0, 0
    dh_next = np.zeros(h.shape[1:])
    for t in reversed(range(len(x))):
        dx[t], dh_prev, *d = rnn_cell_backward(dh[t] + dh_next, x[t], h_prev[t], h[t], weight_ih, weight_hh)
        dh_next = np.where(ends[t, :, None], 0, dh_prev)
        dweight_ih, dweight_hh, dbias = dweight_ih + d[0], dweight_hh + d[1], dbias + d[2]
    return dx, dweight_ih, dweight_hh, dbias


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


def layer_params(params: Params, layer: int) -> list[Array]:
    return [params[f"rnn.{name}_l{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def layers_forward(
    params: Params, inputs: Array, state: Array | None, end: int | None, dropout_masks: Sequence[Array] | None
) -> tuple[list[Array], Array, list[Array], list[Array]]:
    """xs into each layer and the head, ends (T, B) where the input is END, h and h_prev of each layer."""
    (V, H), L = params["head.weight"].shape, sum(name.startswith("rnn.weight_hh") for name in params)
    inputs = np.asarray(inputs)
    ends = np.zeros(inputs.shape, bool) if end is None else inputs == end
    state = np.zeros((L, inputs.shape[1], H)) if state is None else state
    xs, hs, h_prevs = [np.eye(V)[inputs]], [], []
    for layer in range(L):
        h, h_prev = layer_forward(xs[layer], ends, state[layer], *layer_params(params, layer))
        hs.append(h)
        h_prevs.append(h_prev)
        xs.append(h if dropout_masks is None else h * dropout_masks[layer])
    return xs, ends, hs, h_prevs


def forward(params: Params, inputs: Array, state: Array | None = None, end: int | None = None) -> tuple[Array, Array]:
    """logits (T, B, V) and the state (L, B, H) after the last step, for symbols inputs (T, B).

    state is that before the first step, by default zero. Where inputs[t, b] == end, the state of every layer
    of row b is zero before step t.
    """
    xs, _, hs, _ = layers_forward(params, inputs, state, end, None)
    return head_forward(xs[-1], params["head.weight"], params["head.bias"]), np.stack([h[-1] for h in hs])


def loss_and_grad(
    params: Params,
    inputs: Array,
    targets: Array,
    state: Array | None = None,
    end: int | None = None,
    dropout_masks: Sequence[Array] | None = None,
) -> tuple[float, Params, Array]:
    """The loss, its gradient by every parameter, and the state (L, B, H) after the last step.

    The given state is a constant. dropout_masks are L arrays (T, B, H) of 0 and 1 / (1 - dropout): a layer's
    multiplies what it hands up, to the next layer or the head, and not what it hands on in time.
    """
    xs, ends, hs, h_prevs = layers_forward(params, inputs, state, end, dropout_masks)
    logits = head_forward(xs[-1], params["head.weight"], params["head.bias"])
    rows, targets = logits.reshape(-1, logits.shape[-1]), np.ravel(targets)
    loss = cross_entropy_forward(rows, targets)

    grads = {}
    dlogits = cross_entropy_backward(rows, targets).reshape(logits.shape)
    dx, grads["head.weight"], grads["head.bias"] = head_backward(dlogits, xs[-1], params["head.weight"])
    for layer in reversed(range(len(hs))):
        dh = dx if dropout_masks is None else dx * dropout_masks[layer]
        weights = layer_params(params, layer)[:2]
        dx, *d = layer_backward(dh, xs[layer], ends, hs[layer], h_prevs[layer], *weights)
        grads[f"rnn.weight_ih_l{layer}"], grads[f"rnn.weight_hh_l{layer}"] = d[0], d[1]
        grads[f"rnn.bias_ih_l{layer}"], grads[f"rnn.bias_hh_l{layer}"] = d[2], d[2].copy()
    return loss, {name: grads[name] for name in params}, np.stack([h[-1] for h in hs])


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


def sample_index(probs: Array, u: float) -> int:
    """The first index whose cumulative sum exceeds u times the total, for u in [0, 1)."""
    cumulative = np.cumsum(probs, dtype=np.float64)
    return int(np.argmax(cumulative > u * cumulative[-1]))


def filter_probs(
    logits: Array, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Array:
    """softmax(logits / temperature) (V) over the symbols kept, zero for the others, in vocabulary order.

    top_k keeps the k most probable; of these, top_p keeps the fewest most probable that have this share of
    their probability. Among equals the lower index comes first. temperature 0 keeps only the most probable.
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
    filtered = np.zeros(len(logits))
    filtered[kept] = probs[kept] / probs[kept].sum()
    return filtered


def random_params(rng: np.random.Generator, vocab_size: int, hidden_size: int, num_layers: int) -> Params:
    """All uniform in +-1 / sqrt(H), as PyTorch begins; in the order of its state_dict."""
    V, H = vocab_size, hidden_size
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(num_layers):
        shapes[f"rnn.weight_ih_l{layer}"] = (H, V if layer == 0 else H)
        shapes[f"rnn.weight_hh_l{layer}"] = (H, H)
        shapes[f"rnn.bias_ih_l{layer}"] = shapes[f"rnn.bias_hh_l{layer}"] = (H,)
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
