"""Training speed of charrnn, PyTorch, JAX, plain NumPy and the notebook's own loop, side by side.

    python tests/benchmarks/compare.py [TEXT] [--threads N] [--only H,B,T ...] [--rounds N] [--seconds S]

A step is forward, backward, clipping to a global norm of 1 and Adam, in float32. All peers start from the same
weights and read the same chunks of the same text, the state carried from chunk to chunk; the losses of their first
steps must agree. Then they take turns on the same core(s), round after round: what else the machine does meets them
all. The table on stdout has medians, and the medians of each round's ratio charrnn / peer.

T time, B batch, H hidden units, V symbols, K chunks, N = T B.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import charrnn
from charrnn import corpus, kernels

CONFIGURATIONS = [(64, 1, 10), (64, 1, 25), (100, 1, 25), (128, 32, 50), (256, 50, 50), (512, 50, 50), (1024, 64, 50)]
LEARNING_RATE, BETA1, BETA2, EPS, CLIP_NORM = 1e-3, 0.9, 0.999, 1e-8, 1.0
MAX_CHARS = 1 << 21
# Seconds that one call of many steps takes, as in charrnn.train.
LOOK_SECONDS = 0.1
# Until the threads of the peer before have stopped spinning.
REST_SECONDS = 0.05


@dataclass
class Task:
    """What all peers of a row are given."""

    hidden_size: int
    batch_size: int
    seq_length: int
    vocab_size: int
    num_threads: int
    symbols: np.ndarray                 # reader b of the batch begins at b K T
    inputs: np.ndarray                  # (K, T, B)
    targets: np.ndarray                 # (K, T, B)
    parameters: dict[str, np.ndarray]   # PyTorch's names and shapes

    @classmethod
    def of(cls, text: str, hidden_size: int, batch_size: int, seq_length: int, num_threads: int) -> Task:
        stream = corpus.read(text)
        H, B, T, V = hidden_size, batch_size, seq_length, len(stream.vocabulary)
        K = (len(stream) - 1) // (B * T)
        if K == 0:
            raise SystemExit(f"text must have more than {B * T} characters for {H},{B},{T}, got {len(stream)}")
        symbols = stream.indices(0, B * K * T + 1)
        inputs, targets = (
            np.ascontiguousarray(part.reshape(B, K, T).transpose(1, 2, 0), np.int32)
            for part in (symbols[:-1], symbols[1:])
        )
        shapes = {
            "rnn.weight_ih_l0": (H, V),
            "rnn.weight_hh_l0": (H, H),
            "rnn.bias_ih_l0": (H,),
            "rnn.bias_hh_l0": (H,),
            "head.weight": (V, H),
            "head.bias": (V,),
        }
        rng, bound = np.random.default_rng(0), 1 / math.sqrt(H)
        parameters = {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}
        return cls(H, B, T, V, num_threads, symbols, inputs, targets, parameters)

    def with_table(self) -> dict[str, np.ndarray]:
        """The parameters, weight_ih transposed to (V, H): what a symbol adds to the state is then a row."""
        weight_ih = self.parameters["rnn.weight_ih_l0"]
        return {**self.parameters, "rnn.weight_ih_l0": np.ascontiguousarray(weight_ih.T)}


# Peers: __init__ prepares, run(steps) makes that many steps and gives the loss of the last one.


class CharRNN:
    name = "charrnn"

    def __init__(self, task: Task) -> None:
        module = kernels.module("float32")
        network = module.Network(task.vocab_size, task.hidden_size, 1)
        parameters, moments, squares = (module.aligned_zeros(network.arena_size) for _ in range(3))
        for name, view in network.views(parameters).items():
            view[...] = task.parameters[name]
        self.trainer = module.Trainer(
            network, parameters, task.seq_length, task.batch_size, moments=moments, squares=squares, optimizer="adam",
            momentum=0, beta1=BETA1, beta2=BETA2, eps=EPS, weight_decay=0, clip_norm=CLIP_NORM, clip_value=math.inf,
            seed=0, num_threads=task.num_threads,
        )
        length = len(task.symbols) // task.batch_size
        self.trainer.read(task.symbols, corpus.IDENTITY, np.arange(task.batch_size) * length, length, 0)

    def run(self, steps: int) -> float:
        losses = np.empty(steps)
        made = self.trainer.train(np.full(steps, LEARNING_RATE), losses)
        return losses[-1] if made == steps else math.nan


class PyTorch:
    """torch.nn.RNN, its input a gather of the unit vectors: as fast as one_hot at worst."""

    name = "PyTorch `nn.RNN`"

    def __init__(self, task: Task) -> None:
        import torch

        torch.set_num_threads(task.num_threads)
        self.torch, self.functional, self.step = torch, torch.nn.functional, 0
        self.inputs = torch.from_numpy(task.inputs.astype(np.int64))
        self.targets = torch.from_numpy(task.targets.astype(np.int64)).flatten(1)
        self.zeros = torch.zeros(task.batch_size, task.hidden_size)
        self.parameters = self.prepare(task)
        try:
            self.adam = torch.optim.Adam(self.parameters, LEARNING_RATE, (BETA1, BETA2), EPS, fused=True)
        except RuntimeError:    # before PyTorch 2.4 there was none for CPUs
            self.adam = torch.optim.Adam(self.parameters, LEARNING_RATE, (BETA1, BETA2), EPS)

    def prepare(self, task: Task) -> list[Any]:
        nn = self.torch.nn
        self.eye = self.torch.eye(task.vocab_size)
        modules = {"rnn": nn.RNN(task.vocab_size, task.hidden_size), "head": nn.Linear(task.hidden_size, task.vocab_size)}
        self.modules = nn.ModuleDict(modules)
        self.modules.load_state_dict({name: self.torch.tensor(array) for name, array in task.parameters.items()})
        return list(self.modules.parameters())

    def forward(self, inputs: Any, h: Any) -> tuple[Any, Any]:
        """Logits (N, V) of inputs (T, B), and the last state."""
        outputs, h = self.modules["rnn"](self.functional.embedding(inputs, self.eye), h[None])
        return self.modules["head"](outputs.flatten(0, 1)), h[0]

    def run(self, steps: int) -> float:
        for _ in range(steps):
            chunk = self.step % len(self.inputs)
            if chunk == 0:
                self.h = self.zeros
            logits, h = self.forward(self.inputs[chunk], self.h)
            loss = self.functional.cross_entropy(logits, self.targets[chunk])
            self.adam.zero_grad()
            loss.backward()
            self.torch.nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
            self.adam.step()
            self.h = h.detach()
            self.step += 1
        return loss.item()


class PyTorchLoop(PyTorch):
    """The recurrence written out: the input is a gather of weight_ih, and a step one addmm and one tanh."""

    name = "PyTorch loop"

    def prepare(self, task: Task) -> list[Any]:
        return [self.torch.nn.Parameter(self.torch.tensor(array)) for array in task.with_table().values()]

    def forward(self, inputs: Any, h: Any) -> tuple[Any, Any]:
        table, weight_hh, bias_ih, bias_hh, head_weight, head_bias = self.parameters
        weight_hh, outputs = weight_hh.t(), []
        for x in self.functional.embedding(inputs, table + (bias_ih + bias_hh)):
            h = self.torch.addmm(x, h, weight_hh).tanh()
            outputs.append(h)
        return self.functional.linear(self.torch.cat(outputs), head_weight, head_bias), h


class JAX:
    """One compiled function makes a whole step; Python calls it once a step, as training loops do."""

    name = "JAX"

    def __init__(self, task: Task) -> None:
        import jax
        import jax.numpy as jnp

        def forward(parameters: Any, h: Any, inputs: Any, targets: Any) -> tuple[Any, Any]:
            table, weight_hh, bias_ih, bias_hh, head_weight, head_bias = parameters

            def cell(h: Any, x: Any) -> tuple[Any, Any]:
                h = jnp.tanh(x + h @ weight_hh.T)
                return h, h

            h, outputs = jax.lax.scan(cell, h, (table + (bias_ih + bias_hh))[inputs])
            logits = outputs @ head_weight.T + head_bias
            chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
            return (jax.nn.logsumexp(logits, -1) - chosen).mean(), h

        def step(state: Any, inputs: Any, targets: Any) -> tuple[Any, Any]:
            parameters, moments, squares, h, step = state
            chunk = step % len(inputs)
            h = jnp.where(chunk == 0, 0, h)
            (loss, h), gradients = jax.value_and_grad(forward, has_aux=True)(parameters, h, inputs[chunk], targets[chunk])
            norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in gradients))
            scale, step = jnp.minimum(1, CLIP_NORM / (norm + 1e-6)), step + 1
            moments = [BETA1 * m + (1 - BETA1) * scale * g for m, g in zip(moments, gradients)]
            squares = [BETA2 * s + (1 - BETA2) * (scale * g) ** 2 for s, g in zip(squares, gradients)]
            rate, correction = LEARNING_RATE / (1 - BETA1**step), 1 / (1 - BETA2**step)
            parameters = [
                p - rate * m / (jnp.sqrt(s * correction) + EPS) for p, m, s in zip(parameters, moments, squares)
            ]
            return (parameters, moments, squares, h, step), loss

        def many_steps(state: Any, inputs: Any, targets: Any, steps: int) -> tuple[Any, Any]:
            def body(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
                return step(carry[0], inputs, targets)

            return jax.lax.fori_loop(0, steps, body, (state, jnp.float32(0)))

        self.one_step = jax.jit(step, donate_argnums=0)
        self.many_steps = jax.jit(many_steps, donate_argnums=0)
        self.inputs, self.targets = jnp.asarray(task.inputs), jnp.asarray(task.targets)
        parameters, moments, squares = (
            [jnp.array(array * factor) for array in task.with_table().values()] for factor in (1, 0, 0)
        )
        self.state = parameters, moments, squares, jnp.zeros((task.batch_size, task.hidden_size)), jnp.int32(0)

    def run(self, steps: int) -> float:
        for _ in range(steps):
            self.state, loss = self.one_step(self.state, self.inputs, self.targets)
        return float(loss)


class JAXManySteps(JAX):
    """The loop over the steps is compiled as well."""

    name = "JAX, many steps a call"

    def run(self, steps: int) -> float:
        self.state, loss = self.many_steps(self.state, self.inputs, self.targets, steps)
        return float(loss)


class Adam:
    """Clipping and Adam for a list of arrays, in place."""

    def __init__(self, parameters: list[np.ndarray]) -> None:
        self.parameters, self.step = parameters, 0
        self.moments, self.squares = ([np.zeros_like(p) for p in parameters] for _ in range(2))

    def update(self, gradients: list[np.ndarray]) -> None:
        self.step += 1
        norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
        scale = min(1, CLIP_NORM / (norm + 1e-6))
        root = math.sqrt(1 - BETA2**self.step)
        rate = LEARNING_RATE * root / (1 - BETA1**self.step)
        for p, g, m, s in zip(self.parameters, gradients, self.moments, self.squares):
            m *= BETA1
            m += (1 - BETA1) * scale * g
            s *= BETA2
            s += ((1 - BETA2) * scale**2) * (g * g)
            p -= rate * m / (np.sqrt(s) + EPS * root)


class NumPy:
    """What waits is one large product for all T; only the recurrence is a loop."""

    name = "NumPy"

    def __init__(self, task: Task) -> None:
        self.inputs, self.targets = task.inputs, task.targets.reshape(len(task.targets), -1)
        self.eye = np.eye(task.vocab_size, dtype=np.float32)
        self.h = np.zeros((task.seq_length + 1, task.batch_size, task.hidden_size), np.float32)
        self.adam = Adam(list(task.with_table().values()))

    def run(self, steps: int) -> float:
        for _ in range(steps):
            loss = self.make_step(self.adam.step % len(self.inputs))
        return loss

    def make_step(self, chunk: int) -> float:
        table, weight_hh, bias_ih, bias_hh, head_weight, head_bias = self.adam.parameters
        inputs, targets, h = self.inputs[chunk], self.targets[chunk], self.h
        T, N = len(inputs), inputs.size
        h[0] = 0 if chunk == 0 else h[T]
        x = table[inputs] + (bias_ih + bias_hh)
        for t in range(T):
            np.tanh(x[t] + h[t] @ weight_hh.T, out=h[t + 1])
        h_prev, outputs = h[:-1].reshape(N, -1), h[1:].reshape(N, -1)
        logits = outputs @ head_weight.T + head_bias
        logits -= logits.max(axis=1, keepdims=True)
        dlogits = np.exp(logits)
        sums = dlogits.sum(axis=1, keepdims=True)
        loss = float((np.log(sums[:, 0]) - logits[np.arange(N), targets]).mean())

        dlogits /= sums
        dlogits[np.arange(N), targets] -= 1
        dlogits /= N
        dz = (dlogits @ head_weight).reshape(x.shape)
        slope = 1 - h[1:] * h[1:]
        for t in reversed(range(T)):
            if t < T - 1:
                dz[t] += dz[t + 1] @ weight_hh
            dz[t] *= slope[t]
        dz = dz.reshape(N, -1)
        dbias = dz.sum(axis=0)
        self.adam.update([
            self.eye[inputs.reshape(N)].T @ dz, dz.T @ h_prev, dbias, dbias, dlogits.T @ outputs, dlogits.sum(axis=0)
        ])
        return loss


class Notebook(NumPy):
    """The loop of the notebook, its names, its one-hot products; exact through time, and with this task's optimizer."""

    name = "notebook's loop"

    def __init__(self, task: Task) -> None:
        self.inputs, self.targets = ([part[..., 0].tolist() for part in (task.inputs, task.targets)])
        self.vocab_size = task.vocab_size
        self.h = np.zeros((1, task.hidden_size), np.float32)
        self.adam = Adam([np.atleast_2d(array).copy() for array in task.parameters.values()])

    def make_step(self, chunk: int) -> float:
        Wxh, Whh, bx, bh, Why, by = self.adam.parameters
        inp, target = self.inputs[chunk], self.targets[chunk]
        h = np.zeros_like(bh) if chunk == 0 else self.h
        loss, xs, ps, hs = 0.0, {}, {}, {-1: h}
        for t in range(len(inp)):
            x = np.zeros((1, self.vocab_size), np.float32)
            x[:, inp[t]] = 1
            h = np.tanh(x @ Wxh.T + h @ Whh.T + (bx + bh))
            e_z = np.exp(h @ Why.T + by)
            xs[t], ps[t], hs[t] = x, e_z / e_z.sum(axis=1), h
            loss += -math.log(ps[t][0, target[t]])
        self.h = h

        dL_dWxh, dL_dWhh, dL_dbh, dL_dWhy, dL_dby = map(np.zeros_like, (Wxh, Whh, bh, Why, by))
        dF_dh = np.zeros_like(bh)
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
        self.adam.update([dL_dWxh, dL_dWhh, dL_dbh, dL_dbh, dL_dWhy, dL_dby])
        return loss / len(inp)


PEERS = (CharRNN, PyTorch, PyTorchLoop, JAX, JAXManySteps, NumPy, Notebook)


def prepare(task: Task, peers: list[type]) -> list[Any]:
    """The peers that can do this task, after three steps whose losses agree."""
    ready = [peer(task) for peer in peers if peer is not Notebook or task.batch_size == 1]
    losses = {peer.name: [peer.run(1) for _ in range(3)] for peer in ready}
    for name, found in losses.items():
        if not np.allclose(found, losses["charrnn"], rtol=1e-3, atol=0):
            raise SystemExit(f"the losses of the first 3 steps must agree, got {losses['charrnn']} of charrnn and "
                             f"{found} of {name}")
    return ready


def chars_per_second(peer: Any, task: Task, seconds: float) -> float:
    time.sleep(REST_SECONDS)
    steps, made, start = 1, 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        if made:
            steps = max(min(int(made / elapsed * LOOK_SECONDS), 4 * steps), 1)
        if not math.isfinite(peer.run(steps)):
            raise SystemExit(f"the loss of {peer.name} must stay finite")
        made += steps
    return made * task.batch_size * task.seq_length / elapsed


def measure(task: Task, peers: list[type], rounds: int, seconds: float) -> list[str]:
    """A row of the table."""
    H, B, T, V = task.hidden_size, task.batch_size, task.seq_length, task.vocab_size
    ready = prepare(task, peers)
    speeds: dict[str, list[float]] = {peer.name: [] for peer in ready}
    peaks = []
    for number in range(rounds):
        peaks.append(kernels.fma_peak() if hasattr(kernels, "fma_peak") else math.nan)
        for peer in ready:
            speeds[peer.name].append(chars_per_second(peer, task, seconds))
        print(f"{H}, {B}, {T}  round {number + 1} of {rounds}:", *(f"{s[-1]:.0f}" for s in speeds.values()),
              file=sys.stderr, flush=True)
    gflops = [6 * (H * H + H * V) * speed / 1e9 for speed in speeds["charrnn"]]
    row = [f"{H}, {B}, {T}", grouped(statistics.median(speeds["charrnn"])), f"{statistics.median(gflops):.1f}"]
    if hasattr(kernels, "fma_peak"):
        shares = [g / (task.num_threads * peak) for g, peak in zip(gflops, peaks)]
        row.append(f"{statistics.median(shares):.0%}")
    for peer in peers[1:]:
        theirs = speeds.get(peer.name)
        if theirs is None:
            row.append("")
        else:
            ratio = statistics.median(ours / their for ours, their in zip(speeds["charrnn"], theirs))
            row.append(f"{grouped(statistics.median(theirs))} ({ratio:.{2 if ratio < 10 else 0}f} ×)")
    return row


def grouped(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


# The process and the machine ------------------------------------------------------------------------------------


def confine(threads: int) -> None:
    """Begin anew on that many cores, in an environment that the libraries read when they are loaded."""
    if os.environ.get("CHARRNN_COMPARE") == "confined":
        return
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if threads > len(cores):
            raise SystemExit(f"--threads must be at most {len(cores)}, the cores of this process, got {threads}")
        os.sched_setaffinity(0, cores[:threads])
    else:
        print("this system cannot pin a process to cores", file=sys.stderr)
    one = " --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if threads == 1 else ""
    os.environ.update({
        "CHARRNN_COMPARE": "confined",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + one,
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)),
    })
    os.execv(sys.executable, [sys.executable, *sys.argv])


def installed(peers: tuple[type, ...]) -> list[type]:
    """Those of the peers whose library is here; a word of the others."""
    found = []
    for peer in peers:
        library = "torch" if issubclass(peer, PyTorch) else "jax" if issubclass(peer, JAX) else "numpy"
        try:
            __import__(library)
            found.append(peer)
        except ImportError:
            print(f"{peer.name} is left out: {library} is not installed", file=sys.stderr)
    return found


def heading(threads: int, rounds: int, seconds: float) -> str:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    parts = [cpu, f"{threads} core{'s' * (threads > 1)}", f"Python {platform.python_version()}"]
    for name in ("NumPy", "torch", "jax"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    parts.append(f"charrnn {charrnn.__version__} ({kernels.BUILD})")
    return f"{', '.join(parts)}; medians of {rounds} rounds of {seconds:g} s"


def standard_library_text() -> str:
    try:
        from charrnn.cli import standard_library_text as text
    except ImportError:
        files = sorted(Path(os.__file__).parent.glob("*.py"))
        return "".join(file.read_text("utf-8") for file in files)
    return text()


def configuration(text: str) -> tuple[int, ...]:
    sizes = tuple(map(int, text.split(",")))
    if len(sizes) != 3 or min(sizes) < 1:
        raise ValueError
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", nargs="?", type=Path, help="a UTF-8 file; default: the standard library's source")
    parser.add_argument("--threads", type=int, default=1, help="cores, and threads of each peer (1)")
    parser.add_argument("--only", type=configuration, action="append", metavar="H,B,T", help="this row; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn (1)")
    options = parser.parse_args()
    if min(options.threads, options.rounds) < 1 or options.seconds <= 0:
        parser.error("--threads and --rounds must be at least 1, --seconds above 0")
    confine(options.threads)
    text = (options.text.read_text("utf-8") if options.text else standard_library_text())[:MAX_CHARS]
    peers = installed(PEERS)
    head = ["hidden, batch, seq", "charrnn, chars/s", "GFLOP/s", *["of FMA peak"] * hasattr(kernels, "fma_peak")]
    head += [f"{peer.name} (ratio)" for peer in peers[1:]]
    rows = [head, ["---"] * len(head)]
    for sizes in options.only or CONFIGURATIONS:
        rows.append(measure(Task.of(text, *sizes, options.threads), peers, options.rounds, options.seconds))
    print(heading(options.threads, options.rounds, options.seconds), end="\n\n")
    for row in rows:
        print("|", " | ".join(row), "|")


if __name__ == "__main__":
    main()
