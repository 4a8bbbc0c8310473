"""`charrnn bench`: what it measures, how it counts, what it shows."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import charrnn
from charrnn import bench as benchmark
from charrnn import cli, kernels
from charrnn.bench import ROWS, Row, Speed, as_json, bench, steps_per_second, table
from charrnn.system import num_threads_or_default

SMALL = [Row("train", 8, 1, 5), Row("train", 16, 4, 6, num_layers=2), Row("sample", 8, 1), Row("sample", 8, 3)]


@pytest.fixture(scope="module")
def result() -> benchmark.Benchmark:
    return bench(SMALL, num_threads=2, seconds=0.01)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its one number is the time, which stands still."""
    now = [0.0]
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now[0])
    return now


# Counting


def test_operations_are_six_a_weight_in_training_and_two_in_sampling() -> None:
    assert Row("train", 256, 50, 50).operations_per_char == 6 * (256 * 256 + 256 * 65)
    assert Row("train", 10, 1, 1, cell="gru").operations_per_char == 6 * (3 * 100 + 10 * 65)
    assert Row("train", 10, 1, 1, num_layers=3).operations_per_char == 6 * (5 * 100 + 10 * 65)
    assert Row("sample", 256, 64).operations_per_char == 2 * (256 * 256 + 256 * 65)


def test_operations_are_those_of_the_matrix_products_of_a_model() -> None:
    model = charrnn.CharRNN(benchmark.CHARACTERS, hidden_size=12, num_layers=2)
    weights = sum(array.size for name, array in model.state_dict().items() if array.ndim == 2 and "ih_l0" not in name)
    assert Row("sample", 12, 1, num_layers=2).operations_per_char == 2 * weights


def test_share_of_peak_follows_from_characters_per_second(result: benchmark.Benchmark) -> None:
    assert result.peak_gflops_all_threads == 2 * result.peak_gflops > 0
    for row in result.rows:
        for speed in row.speeds:
            gflops = speed.chars_per_second * row.operations_per_char / 1e9
            assert math.isclose(speed.gflops, gflops)
            assert math.isclose(speed.share_of_peak, gflops / (speed.num_threads * result.peak_gflops))
            assert 0 < speed.share_of_peak < 1


# Measuring


@pytest.mark.parametrize("step", [1e-5, 0.013, 3.0])
def test_a_speed_is_the_median_of_runs_that_take_the_seconds_together(clock: list[float], step: float) -> None:
    calls = []

    def run(steps: int) -> None:
        calls.append(steps)
        clock[0] += steps * step

    assert math.isclose(steps_per_second(run, seconds=1.0), 1 / step)
    assert len(set(calls[-benchmark.RUNS :])) == 1
    assert sum(calls[-benchmark.RUNS :]) * step >= 0.5
    assert clock[0] <= max(2.5, (benchmark.RUNS + 1) * step)


def test_slow_first_steps_and_one_slow_run_do_not_show(clock: list[float]) -> None:
    runs = []

    def run(steps: int) -> None:
        runs.append(steps)
        clock[0] += steps * 0.001 + (0.02 if len(runs) == 1 else 5 if runs.count(steps) == 3 else 0)

    assert math.isclose(steps_per_second(run, seconds=1.0), 1000)


def test_training_is_measured_on_one_thread_and_on_all_where_they_are_of_use() -> None:
    assert benchmark._threads(Row("train", 256, 50, 50), 2) == [1, 2]
    assert benchmark._threads(Row("train", 256, 50, 50), 1) == [1]
    assert benchmark._threads(Row("train", 64, 1, 10), 2) == [1]
    assert benchmark._threads(Row("sample", 256, 64), 2) == [1]


def test_training_learns_and_reads_all_of_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "STREAM", 240)
    trainer = benchmark._trainer(Row("train", 32, 4, 6), num_threads=1)
    losses = np.empty(1000)
    assert trainer.train(np.full(1000, benchmark.LEARNING_RATE), losses) == 1000
    assert trainer.passes == 100
    assert abs(losses[0] - math.log(65)) < 0.5
    assert losses[-1] < losses[0] / 2


def test_a_configuration_larger_than_the_stream_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "STREAM", 10)
    assert bench([Row("train", 8, 3, 5)], num_threads=1, seconds=1e-6).rows[0].speeds[0].chars_per_second > 0


def test_each_row_is_told_before_it_is_measured() -> None:
    told: list[str] = []
    bench(SMALL[:2], num_threads=1, seconds=0.001, say=told.append)
    assert told == ["1/2  train rnn, hidden 8, batch 1, seq 5", "2/2  train rnn, hidden 16, batch 4, seq 6"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seconds": 0}, ValueError, "seconds must be greater than 0, got 0"),
        ({"seconds": math.nan}, ValueError, "seconds must be greater than 0, got nan"),
        ({"seconds": "1"}, TypeError, "seconds must be a number"),
        ({"num_threads": 0}, ValueError, "num_threads must be from 1 to 1024, got 0"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        bench(SMALL, **options)


# Showing


def test_a_table_has_a_line_for_each_row_and_columns_that_align(result: benchmark.Benchmark) -> None:
    text = table(result)
    assert kernels.BUILD in text
    assert benchmark.cpu_name() in text
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if "chars/s" in line)
    header, *rows = lines[first : first + 1 + len(SMALL)]
    assert {len(line) for line in (header, *rows)} == {len(header)}
    assert lines[first - 1].split() == ["1", "thread", "2", "threads"]
    assert header.split() == ["hidden", "batch", "seq", *["chars/s", "GFLOP/s", "of", "peak"] * 2]
    for row, line in zip(result.rows, rows, strict=True):
        cells = line.split()
        assert cells[:5] == [row.task, row.cell, str(row.hidden_size), str(row.batch_size), str(row.seq_length)]
        assert cells[5] == f"{row.speeds[0].chars_per_second:,.0f}"
        assert cells[8:] == ["-"] * 3 or cells[10] == f"{row.speeds[1].share_of_peak:.1%}"


def test_a_table_of_one_thread_has_no_columns_for_more() -> None:
    text = table(bench(SMALL[:1], num_threads=1, seconds=0.01))
    assert "threads" not in text
    assert text.count("chars/s") == 1


def test_json_gives_the_result_back(result: benchmark.Benchmark) -> None:
    found = json.loads(as_json(result))
    rows = [Row(**{**row, "speeds": tuple(Speed(**speed) for speed in row["speeds"])}) for row in found["rows"]]
    assert benchmark.Benchmark(**{**found, "rows": tuple(rows)}) == result


def test_a_cpu_that_proc_does_not_name_is_named_by_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path) -> str:
        raise FileNotFoundError

    assert benchmark.cpu_name().strip()
    monkeypatch.setattr(benchmark.platform, "processor", lambda: "")
    monkeypatch.setattr(benchmark.platform, "machine", lambda: "z80")
    for read in (missing, lambda path: "processor\t: 0\nBogoMIPS\t: 48.00\n"):
        monkeypatch.setattr(Path, "read_text", read)
        assert benchmark.cpu_name() == "z80"


# The command line


def run(*args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(charrnn.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-m", "charrnn", "bench", *args],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        timeout=120,
    )


def test_command_prints_json_of_every_row_and_progress_apart() -> None:
    result = run("--json", "--seconds", "0.01")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["build"] == kernels.BUILD
    assert found["num_threads"] == num_threads_or_default(None)
    assert [{**row, "speeds": ()} for row in found["rows"]] == [vars(row) for row in ROWS]
    assert all(np.isfinite(speed["chars_per_second"]) for row in found["rows"] for speed in row["speeds"])
    assert len(result.stderr.splitlines()) == len(ROWS)


def test_command_prints_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(benchmark, "bench", partial(bench, SMALL))
    assert cli.main(["bench", "--num-threads", "1", "--seconds", "0.01"]) == 0
    out, err = capsys.readouterr()
    assert len([line for line in out.splitlines() if line.startswith(("train ", "sample "))]) == len(SMALL)
    assert "threads" not in out
    assert len(err.splitlines()) == len(SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seconds", "0"], "--seconds must be greater than 0, got 0.0"),
        (["--num-threads", "0"], "--num-threads must be from 1 to 1024, got 0"),
    ],
)
def test_a_wrong_option_is_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", *options]) == 2
    assert capsys.readouterr() == ("", f"charrnn: error: {message}\n")
