"""How fast this machine trains and samples, and what share that is of what its cores can do.

H hidden units, V symbols, L layers, G gates of a cell.
"""

from __future__ import annotations

import json
import math
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from charrnn import __version__, kernels
from charrnn.errors import number
from charrnn.model import CharRNN
from charrnn.parameters import CELLS
from charrnn.system import num_threads_or_default, threads_worth
from charrnn.text import corpus

__all__ = ["Benchmark", "Row", "Speed", "as_json", "bench", "table"]

#: 65 characters, as many as tiny Shakespeare has.
CHARACTERS = "".join(map(chr, range(ord("0"), ord("0") + 65)))
#: Symbols to train on: too many to learn by heart, because a vanishing gradient has subnormal numbers, which are slow.
STREAM = 1 << 20
LEARNING_RATE = 1e-3
ADAM = {"optimizer": "adam", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "momentum": 0, "weight_decay": 0}
CLIPPING = {"clip_norm": 1, "clip_value": math.inf}
#: Multiplications and additions for each weight that a character meets: forward, and twice as many backward.
OPERATIONS = {"train": 6, "sample": 2}
#: Each speed is the median of this many runs.
RUNS = 5
#: A run is at most this many times as long as the one before it, because a first step is slow.
GROWTH = 8


@dataclass(frozen=True)
class Speed:
    """The speed with a number of threads. Padding counts as no operations; the peak is that of one core per thread.

    Examples
    --------
    >>> Speed(num_threads=1, chars_per_second=1e6, gflops=50.0, share_of_peak=0.5).share_of_peak
    0.5
    """

    num_threads: int
    chars_per_second: float
    gflops: float
    share_of_peak: float


@dataclass(frozen=True)
class Row:
    """A configuration and, once it is measured, its speeds.

    Attributes
    ----------
    task : "train" or "sample"
        To train is forward, backpropagation through time, clipping to norm 1 and Adam. To sample is `CharRNN.sample`,
        with more than one row `CharRNN.sample_many`.
    hidden_size, batch_size, seq_length, num_layers : int
        A step is seq_length characters in each of batch_size rows; in sampling, one in each.
    cell : "rnn", "gru" or "lstm"
    speeds : tuple of Speed
        Of one thread, then of all; sampling has one.

    Examples
    --------
    >>> Row("train", hidden_size=64, batch_size=1, seq_length=10).operations_per_char
    49536
    """

    task: str
    hidden_size: int
    batch_size: int
    seq_length: int = 1
    num_layers: int = 1
    cell: str = "rnn"
    speeds: tuple[Speed, ...] = ()

    @property
    def chars_per_step(self) -> int:
        return self.batch_size * self.seq_length

    @property
    def operations_per_char(self) -> int:
        """2(G(2L - 1)H² + HV) forward, twice that backward; the input of the first layer is a gather and takes none."""
        G, H, L, V = CELLS[self.cell], self.hidden_size, self.num_layers, len(CHARACTERS)
        return OPERATIONS[self.task] * (G * (2 * L - 1) * H * H + H * V)


@dataclass(frozen=True)
class Benchmark:
    """What `bench` found; a peak is the CPU's own, in 10^9 operations a second.

    vector_length is how many numbers the build's vectors hold; slow_because says why this build falls short of the CPU,
    and is empty where it does not.

    Examples
    --------
    >>> bench([], num_threads=1, seconds=0.01).peak_gflops > 0.1
    True
    """

    version: str
    build: str
    vector_length: int
    slow_because: str
    cpu: str
    dtype: str
    vocab_size: int
    num_threads: int
    peak_gflops: float
    peak_gflops_all_threads: float
    rows: tuple[Row, ...]


ROWS = (
    Row("train", 64, 1, 10),
    Row("train", 64, 1, 25),
    Row("train", 100, 1, 25),
    Row("train", 128, 32, 50),
    Row("train", 256, 50, 50),
    Row("train", 512, 50, 50),
    Row("train", 1024, 64, 50),
    Row("train", 256, 50, 50, cell="gru"),
    Row("train", 256, 50, 50, cell="lstm"),
    Row("sample", 128, 1),
    Row("sample", 512, 1),
    Row("sample", 256, 64),
)


def bench(
    rows: Sequence[Row] = ROWS,
    *,
    num_threads: int | None = None,
    seconds: float = 1.0,
    say: Callable[[str], object] = lambda text: None,
) -> Benchmark:
    """Measure training and sampling in float32, on random symbols.

    Parameters
    ----------
    rows : sequence of Row
        What to measure.
    num_threads : int, optional
        Training is measured with one thread and with this number; by default the cores that this process may use.
    seconds : float
        Seconds for each row and number of threads, greater than 0. A few steps are made in any case.
    say : callable
        Called with a line about each row before it is measured.

    Returns
    -------
    Benchmark

    Examples
    --------
    >>> result = bench([Row("train", hidden_size=8, batch_size=1, seq_length=5)], num_threads=1, seconds=0.01)
    >>> result.rows[0].speeds[0].chars_per_second > 1000
    True
    """
    num_threads = num_threads_or_default(num_threads)
    seconds = number("seconds", seconds, 0, above=True)
    peak = kernels.fma_peak(min(seconds, 0.5)) / 1e9
    measured = []
    for i, row in enumerate(rows, 1):
        sizes = f"hidden {row.hidden_size}, batch {row.batch_size}, seq {row.seq_length}"
        say(f"{i}/{len(rows)}  {row.task} {row.cell}, {sizes}")
        measured.append(replace(row, speeds=tuple(_measure(row, n, seconds, peak) for n in _threads(row, num_threads))))
    return Benchmark(
        version=__version__,
        build=kernels.BUILD,
        vector_length=kernels.VECTOR_LENGTH,
        slow_because=kernels.slow_because(),
        cpu=cpu_name(),
        dtype="float32",
        vocab_size=len(CHARACTERS),
        num_threads=num_threads,
        peak_gflops=peak,
        peak_gflops_all_threads=num_threads * peak,
        rows=tuple(measured),
    )


def _threads(row: Row, num_threads: int) -> list[int]:
    """Return [1, all threads], or [1] if `train` would use no more."""
    if row.task == "sample":
        return [1]
    return sorted({1, threads_worth(num_threads, row.operations_per_char * row.chars_per_step)})


def _measure(row: Row, num_threads: int, seconds: float, peak: float) -> Speed:
    run = _training(row, num_threads) if row.task == "train" else _sampling(row)
    chars_per_second = row.chars_per_step * steps_per_second(run, seconds)
    gflops = chars_per_second * row.operations_per_char / 1e9
    return Speed(num_threads, chars_per_second, gflops, gflops / (num_threads * peak))


def steps_per_second(run: Callable[[int], object], seconds: float) -> float:
    """Return the median speed of RUNS runs, which together take about these seconds."""

    def timed() -> float:
        start = time.perf_counter()
        run(steps)
        return max(time.perf_counter() - start, 1e-9)

    steps, wanted = 1, seconds / RUNS
    while (elapsed := timed()) < wanted / 2:
        steps = math.ceil(steps * min(wanted / elapsed, GROWTH))
    return steps / median(timed() for _ in range(RUNS))


def _training(row: Row, num_threads: int) -> Callable[[int], None]:
    """Return a function that makes a number of training steps."""
    trainer = _trainer(row, num_threads)

    def run(steps: int) -> None:
        if trainer.train(np.full(steps, LEARNING_RATE), np.empty(steps)) < steps:
            raise FloatingPointError(f"the loss must stay finite, got {trainer.last_loss} of {row}")

    return run


def _trainer(row: Row, num_threads: int) -> Any:
    """Return a trainer like that of `charrnn.train.train`, whose readers stand side by side in random symbols."""
    model = CharRNN(CHARACTERS, cell=row.cell, hidden_size=row.hidden_size, num_layers=row.num_layers)
    trainer = kernels.module("float32").Trainer(
        model._network,
        model._arena,
        row.seq_length,
        row.batch_size,
        moments=model._kernels.aligned_zeros(model._arena.size),
        squares=model._kernels.aligned_zeros(model._arena.size),
        seed=0,
        num_threads=num_threads,
        **ADAM,
        **CLIPPING,
    )
    length = max(STREAM // row.chars_per_step, 1) * row.seq_length
    symbols = np.random.default_rng(0).integers(len(CHARACTERS), size=row.batch_size * length + 1, dtype=np.uint8)
    trainer.read(symbols, corpus.IDENTITY, np.arange(row.batch_size) * length, length)
    return trainer


def _sampling(row: Row) -> Callable[[int], object]:
    """Return a function that draws a number of characters in each row."""
    model = CharRNN(CHARACTERS, cell=row.cell, hidden_size=row.hidden_size, num_layers=row.num_layers)
    rng = np.random.default_rng(0)
    if row.batch_size == 1:
        return lambda steps: model.sample("", steps, rng=rng)
    return lambda steps: model.sample_many(row.batch_size, steps, rng=rng)


def cpu_name() -> str:
    """What the system calls this CPU; Linux alone tells more than `platform` does."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def as_json(result: Benchmark) -> str:
    """The result as a JSON object of its attributes.

    Examples
    --------
    >>> json.loads(as_json(bench([], num_threads=1, seconds=0.01)))["num_threads"]
    1
    """
    return json.dumps(asdict(result), indent=2)


def table(result: Benchmark) -> str:
    """The result as aligned text: where it was measured, the rows, and how operations are counted.

    Examples
    --------
    >>> table(bench([], num_threads=1, seconds=0.01)).startswith("charrnn")
    True
    """
    lines = [[""] * 4, ["", "hidden", "batch", "seq"]]
    for n in sorted({1, result.num_threads}):
        lines[0] += [f"{n} thread{'' if n == 1 else 's'}", "", ""]
        lines[1] += ["chars/s", "GFLOP/s", "of peak"]
    for row in result.rows:
        cells = [f"{row.task} {row.cell}", str(row.hidden_size), str(row.batch_size), str(row.seq_length)]
        for speed in row.speeds:
            cells += [f"{speed.chars_per_second:,.0f}", f"{speed.gflops:.1f}", f"{speed.share_of_peak:.1%}"]
        lines.append(cells + ["-"] * (len(lines[0]) - len(cells)))
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    all_threads = f", {result.peak_gflops_all_threads:.1f} on {result.num_threads}" if result.num_threads > 1 else ""
    head = [
        f"charrnn  {result.version}, {result.build} kernels, {result.dtype} in vectors of {result.vector_length}",
        f"CPU      {result.cpu}",
        f"peak     {result.peak_gflops:.1f} GFLOP/s on one core{all_threads}, by multiply-adds",
        *([f"slow     {result.slow_because}"] if result.slow_because else []),
    ]
    body = ["  ".join([name.ljust(first), *map(str.rjust, cells, others)]).rstrip() for name, *cells in lines]
    foot = [
        f"Operations a character, with one layer: {OPERATIONS['train']}(G H² + HV) to train, "
        f"{OPERATIONS['sample']}(G H² + HV) to sample; V = {result.vocab_size}; G = "
        + ", ".join(f"{gates} ({cell})" for cell, gates in CELLS.items())
        + ". Sampling, and training in steps too short to share, runs on one thread."
    ]
    return "\n".join([*head, "", *body, "", *foot])
