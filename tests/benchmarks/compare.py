"""Training speed of charrnn, PyTorch, JAX, plain NumPy and the notebook's own loop, side by side.

    python tests/benchmarks/compare.py [TEXT] [--cell CELL] [--threads N] [--only H,B,T] [--rounds N] [--seconds S]

A step is forward, backward, clipping to a global norm of 1 and Adam, in float32. All start from the same weights and
read the same chunks of the same text, the state carried from chunk to chunk; the losses of the first three steps must
agree. Then they take turns on the same core(s), round after round, so that what else the machine does meets them all.

T time, B batch, H hidden units, G gates, V symbols, K chunks, N = T B.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import charrnn
from charrnn import kernels
from charrnn.cli import standard_library_text
from charrnn.parameters import CELLS
from charrnn.text import corpus
from charrnn.text.reading import read as read_data

CONFIGURATIONS = [(64, 1, 10), (64, 1, 25), (100, 1, 25), (128, 32, 50), (256, 50, 50), (512, 50, 50), (1024, 64, 50)]
GATED_CONFIGURATIONS = [(128, 32, 50), (256, 50, 50), (512, 50, 50)]
LEARNING_RATE, BETA1, BETA2, EPS, CLIP_NORM = 1e-3, 0.9, 0.999, 1e-8, 1.0
NAMES = [*(f"rnn.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")), "head.weight", "head.bias"]
MAX_CHARS = 1 << 21
# Right peers differ by at most 3e-6 in their first losses, the notebook's gradient of weight_hh by 2e-4.
LOSS_RTOL = 5e-5
# A call of many steps takes as long as in charrnn.train.
LOOK_SECONDS = 0.1
# The threads of the peer before go on spinning for a while.
REST_SECONDS = 0.05


class Task:
    """What all peers of a row are given; weight_ih is a table (V, G H): a symbol's input to the gates is a row."""

    def __init__(
        self, text: str, cell: str, hidden_size: int, batch_size: int, seq_length: int, num_threads: int
    ) -> None:
        stream = read_data(text)
        self.cell, GH = cell, CELLS[cell] * hidden_size
        H, B, T, V = self.sizes = hidden_size, batch_size, seq_length, len(stream.vocabulary)
        K = (len(stream) - 1) // (B * T)
        if K == 0:
            raise SystemExit(f"TEXT must have more than {B * T} characters, got {len(stream)}")
        self.num_threads = num_threads
        self.symbols = stream.indices(0, B * K * T + 1)
        self.inputs, self.targets = (
            np.ascontiguousarray(symbols.reshape(B, K, T).transpose(1, 2, 0), np.int32)
            for symbols in (self.symbols[:-1], self.symbols[1:])
        )
        rng, bound = np.random.default_rng(0), 1 / math.sqrt(H)
        self.parameters = [
            rng.uniform(-bound, bound, shape).astype(np.float32) for shape in ((V, GH), (GH, H), GH, GH, (V, H), V)
        ]
        table, *others = self.parameters
        self.state_dict = dict(zip(NAMES, (table.T, *others), strict=True))


class CharRNN:
    """A peer: __init__ prepares, run(steps) makes that many steps and gives the loss of the last one."""

    name, library = "charrnn", "charrnn"

    def __init__(self, task: Task) -> None:
        H, B, T, V = task.sizes
        module = kernels.module("float32")
        network = module.Network(V, H, 1, task.cell)
        parameters, moments, squares = (module.aligned_zeros(network.arena_size) for _ in range(3))
        for name, view in network.views(parameters).items():
            view[...] = task.state_dict[name]
        self.trainer = module.Trainer(
            network,
            parameters,
            T,
            B,
            moments=moments,
            squares=squares,
            optimizer="adam",
            momentum=0,
            beta1=BETA1,
            beta2=BETA2,
            eps=EPS,
            weight_decay=0,
            clip_norm=CLIP_NORM,
            clip_value=math.inf,
            seed=0,
            num_threads=task.num_threads,
        )
        length = len(task.inputs) * T
        self.trainer.read(task.symbols, corpus.IDENTITY, np.arange(B) * length, length)

    def run(self, steps: int) -> float:
        losses = np.empty(steps)
        made = self.trainer.train(np.full(steps, LEARNING_RATE), losses)
        return losses[-1] if made == steps else math.nan


class PyTorch:
    """torch.nn.RNN, GRU or LSTM; its input, unit vectors, is gathered: at least as fast as one_hot."""

    name, library = "PyTorch", "torch"

    def __init__(self, task: Task) -> None:
        import torch

        H, B, T, V = task.sizes
        torch.set_num_threads(task.num_threads)
        self.torch, self.functional, self.step = torch, torch.nn.functional, 0
        self.inputs, self.targets = torch.tensor(task.inputs).long(), torch.tensor(task.targets).long().flatten(1)
        self.start, self.eye = None, torch.eye(V)
        self.parameters = self.prepare(task)
        self.adam = torch.optim.Adam(self.parameters, LEARNING_RATE, (BETA1, BETA2), EPS, fused=True)

    def prepare(self, task: Task) -> list[Any]:
        H, B, T, V = task.sizes
        rnn = getattr(self.torch.nn, task.cell.upper())(V, H)
        self.modules = self.torch.nn.ModuleDict({"rnn": rnn, "head": self.torch.nn.Linear(H, V)})
        self.modules.load_state_dict({name: self.torch.tensor(array) for name, array in task.state_dict.items()})
        return list(self.modules.parameters())

    def forward(self, inputs: Any, h: Any) -> tuple[Any, Any]:
        """Logits (N, V) of inputs (T, B), and the last state."""
        outputs, h = self.modules["rnn"](self.functional.embedding(inputs, self.eye), h)
        return self.modules["head"](outputs.flatten(0, 1)), h

    def run(self, steps: int) -> float:
        for _ in range(steps):
            chunk = self.step % len(self.inputs)
            logits, h = self.forward(self.inputs[chunk], self.start if chunk == 0 else self.h)
            loss = self.functional.cross_entropy(logits, self.targets[chunk])
            self.adam.zero_grad()
            loss.backward()
            self.torch.nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
            self.adam.step()
            self.h = tuple(part.detach() for part in h) if isinstance(h, tuple) else h.detach()
            self.step += 1
        return loss.item()


class PyTorchLoop(PyTorch):
    """The recurrence written out: the input is a gather of the table, and a step one addmm and one tanh."""

    name = "PyTorch loop"

    def prepare(self, task: Task) -> list[Any]:
        self.start = self.torch.zeros(task.sizes[1], task.sizes[0])
        return [self.torch.nn.Parameter(self.torch.tensor(array)) for array in task.parameters]

    def forward(self, inputs: Any, h: Any) -> tuple[Any, Any]:
        table, weight_hh, bias_ih, bias_hh, head_weight, head_bias = self.parameters
        weight_hh, outputs = weight_hh.t(), []
        for x in self.functional.embedding(inputs, table + (bias_ih + bias_hh)).unbind():
            h = self.torch.addmm(x, h, weight_hh).tanh()
            outputs.append(h)
        return self.functional.linear(self.torch.cat(outputs), head_weight, head_bias), h


class JAX:
    """A whole step is one compiled function, its arguments donated. Flat parameters cost the fewest of them."""

    name, library = "JAX", "jax"

    def __init__(self, task: Task) -> None:
        import jax
        import jax.numpy as jnp
        from jax.flatten_util import ravel_pytree

        H, B, T, V = task.sizes
        flat, unravel = ravel_pytree(task.parameters)

        def rnn(h: Any, x: Any, weight_hh: Any, bias_hh: Any) -> tuple[Any, Any]:
            return (jnp.tanh(x + h @ weight_hh.T + bias_hh),) * 2

        def gru(h: Any, x: Any, weight_hh: Any, bias_hh: Any) -> tuple[Any, Any]:
            (x_r, x_z, x_n), (h_r, h_z, h_n) = (jnp.split(z, 3, -1) for z in (x, h @ weight_hh.T + bias_hh))
            z, n = jax.nn.sigmoid(x_z + h_z), jnp.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * h_n)
            return ((1 - z) * n + z * h,) * 2

        def lstm(state: Any, x: Any, weight_hh: Any, bias_hh: Any) -> tuple[Any, Any]:
            h, c = state
            i, f, g, o = jnp.split(x + h @ weight_hh.T + bias_hh, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return jnp.stack((h, c)), h

        cell = {"rnn": rnn, "gru": gru, "lstm": lstm}[task.cell]

        def forward(parameters: Any, h: Any, inputs: Any, targets: Any) -> tuple[Any, Any]:
            table, weight_hh, bias_ih, bias_hh, head_weight, head_bias = unravel(parameters)
            x = (table + bias_ih)[inputs]
            h, outputs = jax.lax.scan(lambda h, x: cell(h, x, weight_hh, bias_hh), h, x)
            logits = outputs @ head_weight.T + head_bias
            chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
            return (jax.nn.logsumexp(logits, -1) - chosen).mean(), h

        def one_step(state: Any, inputs: Any, targets: Any) -> tuple[Any, Any]:
            p, m, s, h, step = state
            chunk, step = step % len(inputs), step + 1
            h = jnp.where(chunk == 0, 0, h)
            (loss, h), g = jax.value_and_grad(forward, has_aux=True)(p, h, inputs[chunk], targets[chunk])
            g = g * jnp.minimum(1, CLIP_NORM / (jnp.linalg.norm(g) + 1e-6))
            m = BETA1 * m + (1 - BETA1) * g
            s = BETA2 * s + (1 - BETA2) * g * g
            p = p - LEARNING_RATE * (m / (1 - BETA1**step)) / (jnp.sqrt(s / (1 - BETA2**step)) + EPS)
            return (p, m, s, h, step), loss

        def many_steps(state: Any, inputs: Any, targets: Any, steps: int) -> tuple[Any, Any]:
            first = state, jnp.float32(0)
            return jax.lax.fori_loop(0, steps, lambda _, carry: one_step(carry[0], inputs, targets), first)

        self.one_step, self.many_steps = jax.jit(one_step, donate_argnums=0), jax.jit(many_steps, donate_argnums=0)
        self.data = jnp.asarray(task.inputs), jnp.asarray(task.targets)
        start = jnp.zeros((2, B, H) if task.cell == "lstm" else (B, H))
        self.state = flat, jnp.zeros_like(flat), jnp.zeros_like(flat), start, jnp.int32(0)

    def run(self, steps: int) -> float:
        for _ in range(steps):
            self.state, loss = self.one_step(self.state, *self.data)
        return float(loss)


class JAXManySteps(JAX):
    """The loop over the steps is compiled as well: nothing is left to Python, as in charrnn."""

    name = "JAX, many steps a call"

    def run(self, steps: int) -> float:
        self.state, loss = self.many_steps(self.state, *self.data, steps)
        return float(loss)


class NumPy:
    """All parameters lie in one array. Only the recurrence is a loop; the rest is one large product for all T."""

    name, library = "NumPy", "numpy"

    def __init__(self, task: Task) -> None:
        H, B, T, V = task.sizes
        self.inputs, self.targets = task.inputs, task.targets.reshape(-1, T * B)
        self.eye, self.h = np.eye(V, dtype=np.float32), np.zeros((T + 1, B, H), np.float32)
        self.prepare(task.parameters)

    def prepare(self, parameters: list[np.ndarray]) -> None:
        self.p = np.concatenate([array.ravel() for array in parameters])
        pieces = np.split(self.p, np.cumsum([array.size for array in parameters])[:-1])
        self.parameters = [piece.reshape(array.shape) for piece, array in zip(pieces, parameters, strict=True)]
        self.m, self.s, self.step = np.zeros_like(self.p), np.zeros_like(self.p), 0

    def run(self, steps: int) -> float:
        for _ in range(steps):
            loss, gradients = self.loss_and_gradients(self.step % len(self.inputs))
            self.adam(np.concatenate([g.ravel() for g in gradients]))
        return loss

    def loss_and_gradients(self, chunk: int) -> tuple[float, list[np.ndarray]]:
        table, weight_hh, bias_ih, bias_hh, head_weight, head_bias = self.parameters
        inputs, targets, h = self.inputs[chunk], self.targets[chunk], self.h
        T, N, positions = len(inputs), inputs.size, np.arange(inputs.size)
        h[0] = 0 if chunk == 0 else h[T]
        x = table[inputs] + (bias_ih + bias_hh)
        for t in range(T):
            np.tanh(x[t] + h[t] @ weight_hh.T, out=h[t + 1])
        h_prev, outputs = h[:-1].reshape(N, -1), h[1:].reshape(N, -1)
        logits = outputs @ head_weight.T + head_bias
        logits -= logits.max(axis=1, keepdims=True)
        probs = np.exp(logits)
        sums = probs.sum(axis=1, keepdims=True)
        loss = float((np.log(sums[:, 0]) - logits[positions, targets]).mean())

        dlogits = probs / (N * sums)
        dlogits[positions, targets] -= 1 / N
        dz, slope = (dlogits @ head_weight).reshape(x.shape), 1 - h[1:] * h[1:]
        for t in reversed(range(T)):
            if t < T - 1:
                dz[t] += dz[t + 1] @ weight_hh
            dz[t] *= slope[t]
        dz = dz.reshape(N, -1)
        dbias, dtable = dz.sum(axis=0), self.eye[inputs.reshape(N)].T @ dz
        return loss, [dtable, dz.T @ h_prev, dbias, dbias, dlogits.T @ outputs, dlogits.sum(axis=0)]

    def adam(self, g: np.ndarray) -> None:
        self.step += 1
        g *= min(1, CLIP_NORM / (math.sqrt(g @ g) + 1e-6))
        root = math.sqrt(1 - BETA2**self.step)
        self.m += (1 - BETA1) * (g - self.m)
        self.s += (1 - BETA2) * (g * g - self.s)
        self.p -= LEARNING_RATE * root / (1 - BETA1**self.step) * self.m / (np.sqrt(self.s) + EPS * root)


class Notebook(NumPy):
    """The loop of the notebook, in its names and with its one-hot products, but exact through time."""

    name = "notebook's loop"

    def __init__(self, task: Task) -> None:
        self.inputs, self.targets = task.inputs[..., 0].tolist(), task.targets[..., 0].tolist()
        self.prepare([np.atleast_2d(array) for array in task.state_dict.values()])

    def loss_and_gradients(self, chunk: int) -> tuple[float, list[np.ndarray]]:
        Wxh, Whh, bx, bh, Why, by = self.parameters
        inp, target = self.inputs[chunk], self.targets[chunk]
        h = np.zeros_like(bh) if chunk == 0 else self.h
        loss, xs, ps, hs = 0.0, {}, {}, {-1: h}
        for t in range(len(inp)):
            x = np.zeros_like(by)
            x[:, inp[t]] = 1
            h = np.tanh(x @ Wxh.T + h @ Whh.T + (bx + bh))
            e_z = np.exp(h @ Why.T + by)
            xs[t], ps[t], hs[t] = x, e_z / e_z.sum(axis=1), h
            loss += -np.log(ps[t][0, target[t]])
        self.h = h

        dL_dWxh, dL_dWhh, dL_dbh, dL_dWhy, dL_dby = map(np.zeros_like, (Wxh, Whh, bh, Why, by))
        dF_dh = np.zeros_like(h)
        for t in reversed(range(len(inp))):
            dL_dz2 = np.copy(ps[t])
            dL_dz2[:, target[t]] -= 1
            dL_dz2 /= len(inp)
            dL_dWhy += hs[t] * dL_dz2.T
            dL_dby += dL_dz2
            dL_dz1 = (1 - hs[t] ** 2) * (dF_dh + dL_dz2 @ Why)
            dL_dWxh += xs[t] * dL_dz1.T
            dL_dWhh += hs[t - 1] * dL_dz1.T
            dL_dbh += dL_dz1
            dF_dh = dL_dz1 @ Whh
        return loss / len(inp), [dL_dWxh, dL_dWhh, dL_dbh, dL_dbh, dL_dWhy, dL_dby]


def chars_per_second(peer: Any, chars_per_step: int, seconds: float) -> float:
    time.sleep(REST_SECONDS)
    made, steps, start = 0, 1, time.perf_counter()
    while True:
        loss = peer.run(steps)
        made, elapsed = made + steps, time.perf_counter() - start
        if not math.isfinite(loss):
            raise SystemExit(f"the loss must stay finite, got {loss} of {peer.name}")
        if elapsed >= seconds:
            return made * chars_per_step / elapsed
        steps = max(min(int(made / elapsed * LOOK_SECONDS), 4 * steps), 1)


def row(task: Task, classes: list[type], rounds: int, seconds: float) -> list[str]:
    H, B, T, V = task.sizes
    peers = [peer(task) for peer in classes if peer is not Notebook or B == 1]
    losses = {peer.name: [float(peer.run(1)) for _ in range(3)] for peer in peers}
    for name, found in losses.items():
        if not np.allclose(found, losses["charrnn"], rtol=LOSS_RTOL, atol=0):
            raise SystemExit(f"the first losses must agree, got {losses['charrnn']} of charrnn, {found} of {name}")
    speeds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    peaks = []
    for number in range(rounds):
        peaks.append(task.num_threads * kernels.fma_peak() / 1e9)
        for peer in peers:
            speeds[peer.name].append(chars_per_second(peer, B * T, seconds))
        shown = ", ".join(f"{name} {values[-1]:.0f}" for name, values in speeds.items())
        print(f"({H}, {B}, {T}) round {number + 1} of {rounds}: {shown}", file=sys.stderr, flush=True)
    ours = speeds.pop("charrnn")
    gflops = [6 * (CELLS[task.cell] * H * H + H * V) * speed / 1e9 for speed in ours]
    cells = [f"{H}, {B}, {T}", f"{median(ours):,.0f}", f"{median(gflops):.1f}"]
    cells.append(f"{median(g / peak for g, peak in zip(gflops, peaks, strict=True)):.0%}")
    for theirs in speeds.values():
        ratio = median(our / their for our, their in zip(ours, theirs, strict=True))
        cells.append(f"{median(theirs):,.0f} ({ratio:.{2 if ratio < 10 else 0}f} ×)")
    return cells + [""] * (len(classes) - len(peers))


def heading(threads: int, rounds: int, seconds: float) -> str:
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    cpu = info.partition("model name")[2].partition("\n")[0].strip("\t :") or platform.machine()
    cores = f"{threads} core{'s' * (threads > 1)}" + ", not pinned" * (not hasattr(os, "sched_setaffinity"))
    libraries = "".join(f"{name} {version(name)}, " for name in ("numpy", "torch", "jax") if name in sys.modules)
    return (
        f"{cpu}, {cores}, Python {platform.python_version()}, {libraries}charrnn {charrnn.__version__} (build "
        f"{kernels.BUILD}). Characters per second, medians of {rounds} rounds of {seconds:g} s; "
        "in brackets charrnn's multiple."
    )


def confine(threads: int) -> None:
    """Begin anew on that many cores, in an environment that the libraries read when they are loaded."""
    if os.environ.get("CHARRNN_COMPARE"):
        return
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if threads > len(cores):
            raise SystemExit(f"--threads must be at most {len(cores)}, the cores of this process, got {threads}")
        os.sched_setaffinity(0, cores[:threads])
    one = " --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if threads == 1 else ""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)))
    os.environ.update(CHARRNN_COMPARE="1", JAX_PLATFORMS="cpu", XLA_FLAGS=os.environ.get("XLA_FLAGS", "") + one)
    os.execv(sys.executable, sys.orig_argv)


def configuration(text: str) -> tuple[int, int, int]:
    H, B, T = map(int, text.split(","))
    return H, B, T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", nargs="?", metavar="TEXT", type=Path, help="file (the standard library's source)")
    parser.add_argument("--cell", choices=tuple(CELLS), default="rnn", help="the recurrent cell (rnn)")
    parser.add_argument("--threads", type=int, default=1, help="cores, and threads of each peer (1)")
    parser.add_argument("--only", type=configuration, action="append", metavar="H,B,T", help="a row; repeatable (all)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn (1)")
    options = parser.parse_args()
    if min(options.threads, options.rounds) < 1:
        parser.error("--threads and --rounds must be at least 1")
    confine(options.threads)
    classes = []
    of_rnn = (PyTorchLoop, NumPy, Notebook)  # written out for that cell alone
    for peer in (CharRNN, PyTorch, PyTorchLoop, JAX, JAXManySteps, NumPy, Notebook):
        if options.cell != "rnn" and peer in of_rnn:
            continue
        try:
            importlib.import_module(peer.library)
            classes.append(peer)
        except ImportError as error:
            print(f"{peer.name} is left out: {error}", file=sys.stderr)
    text = (options.text.read_text("utf-8") if options.text else standard_library_text())[:MAX_CHARS]
    head = [f"{options.cell}: hidden, batch, seq", "charrnn", "GFLOP/s", "of FMA peak"]
    rows = [head + [peer.name for peer in classes[1:]]]
    rows.append(["---", *["--:"] * (len(rows[0]) - 1)])
    for sizes in options.only or (CONFIGURATIONS if options.cell == "rnn" else GATED_CONFIGURATIONS):
        rows.append(row(Task(text, options.cell, *sizes, options.threads), classes, options.rounds, options.seconds))
    print(heading(options.threads, options.rounds, options.seconds), end="\n\n")
    for cells in rows:
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
