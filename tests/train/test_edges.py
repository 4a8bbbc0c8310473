"""The edges of a training: Ctrl-C at every line, updates that are too large, time that is over before it begins."""

import math
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import inside
import numpy as np
import pytest

import charrnn
from charrnn import CharRNN, files
from charrnn.train import DivergenceError, TrainingInterrupted, train

TEXT = "the quick brown fox jumps over the lazy dog; " * 8
DOCUMENTS = ["stone", "sand", "sea", "salt", "shell", "shore", "ship", "sail"] * 3
MANY_DOCUMENTS = [
    first + second for first in ("sea", "star", "sun", "snow") for second in ("", "s", "shell", "way", "let")
]
MANY_DOCUMENTS += ["stone", "sand", "salt", "ship", "sail", "shore"]
SIZES = dict(cell="gru", hidden_size=5, batch_size=3, seq_length=11, dropout=0.2, progress=False)
PACKAGE = str(Path(charrnn.__file__).parent)


@pytest.fixture
def checkpoint(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def result(model):
    """Parameters and history of a training, without the clock's part."""
    history = {name: values for name, values in vars(model.history).items() if "times" not in name}
    return {name: array.tobytes() for name, array in model.state_dict().items()}, history


def state(path):
    """All that a checkpoint holds but for the clock's part: without validation it chooses the best parameters, too."""
    tensors, record = files.read(path, kind="checkpoint")
    if not record["history"]["val_steps"]:
        tensors = {name: array for name, array in tensors.items() if not name.startswith("best.")}
    history = {name: values for name, values in record["history"].items() if "times" not in name}
    numbers = {name: record[name] for name in ("step", "position", "passes", "best_val_loss", "settings", "text")}
    return {name: array.tobytes() for name, array in tensors.items()}, history, numbers


def finite(model):
    return all(np.isfinite(array).all() for array in model.state_dict().values())


# Ctrl-C at every line -------------------------------------------------------------------------------------------


class Tracer:
    """Counts the lines of charrnn that run within train() once its loop has begun, and raises Ctrl-C at one of them."""

    def __init__(self, at=None):
        self.at, self.lines, self.functions, self.begun = at, [], [], False

    def __call__(self, frame, event, argument):
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return None
        if event == "call":
            # train() has called what is to train the model.
            self.begun = self.begun or code.co_name == frame.f_back.f_code.co_name == "train"
        elif event == "line" and self.begun:
            self.lines.append((code.co_filename, frame.f_lineno))
            self.functions.append(code.co_name)
            if len(self.lines) - 1 == self.at:
                raise KeyboardInterrupt
        return self

    def run(self, *arguments, **options):
        before = sys.gettrace()
        sys.settrace(self)
        try:
            return train(*arguments, **options)
        finally:
            sys.settrace(before)


def moments(lines):
    """For each line that runs the first and the last time that it does."""
    times = {}
    for number, line in enumerate(lines):
        times.setdefault(line, []).append(number)
    return sorted({n for numbers in times.values() for n in (numbers[0], numbers[-1])})


@pytest.mark.skipif(not hasattr(sys, "gettrace"), reason="needs sys.settrace")
@pytest.mark.parametrize(
    "data, options",
    [
        (TEXT, dict(val_fraction=0.2, epochs=1.5)),
        (TEXT, dict(val_fraction=0.2, epochs=0.8, average=0.3)),
        (DOCUMENTS, dict(val_fraction=0, epochs=2.0)),
    ],
    ids=["text with validation", "average with validation", "documents without"],
)
def test_ctrl_c_at_every_line_leaves_a_model_and_a_checkpoint_of_a_run_that_was_never_interrupted(
    tmp_path, monkeypatch, data, options
):
    def options_of(path):
        # By a clock of its own every run looks in at the same steps.
        monkeypatch.setattr(time, "perf_counter", inside.Clock(0.03))
        return SIZES | options | dict(checkpoint=path, checkpoint_seconds=1.0)

    once, twice = tmp_path / "once", tmp_path / "twice"
    tracer = Tracer()
    model = tracer.run(data, **options_of(once))
    expected, at_the_end = result(model), state(once)
    tried = moments(tracer.lines)
    assert len(tried) > 300
    for at in tried:
        where = tracer.lines[at]
        twice.unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt) as raised:
            Tracer(at).run(data, **options_of(twice))
        assert isinstance(raised.value, TrainingInterrupted), where
        assert finite(raised.value.model), where
        assert math.isfinite(raised.value.model.evaluate(TEXT[:100] if data is TEXT else DOCUMENTS).loss), where
        assert not raised.value.checkpointed or twice.exists(), where
        resumed = train(data, resume=True, **options_of(twice))
        assert result(resumed) == expected, where
        assert state(twice) == at_the_end, where


def test_ctrl_c_between_a_run_and_the_one_that_is_made_anew_with_all_of_the_text(tmp_path, monkeypatch):
    def options_of(path):
        monkeypatch.setattr(time, "perf_counter", inside.Clock(1e-4))
        # Neither a share to validate on nor epochs: of so little text there are two runs.
        return SIZES | dict(batch_size=24, seq_length=100, checkpoint=path, checkpoint_seconds=1e9)

    once, twice = tmp_path / "once", tmp_path / "twice"
    tracer = Tracer()
    model = tracer.run(MANY_DOCUMENTS, **options_of(once))
    expected, at_the_end = result(model), state(once)
    between = [number for number, name in enumerate(tracer.functions) if name in ("begin_anew", "_begin")]
    assert len(between) > 20
    for at in between:
        where = tracer.lines[at]
        twice.unlink(missing_ok=True)
        with pytest.raises(TrainingInterrupted) as raised:
            Tracer(at).run(MANY_DOCUMENTS, **options_of(twice))
        assert finite(raised.value.model), where
        assert raised.value.model.history.num_steps < expected[1]["steps"][-1], where
        assert files.read(twice, kind="checkpoint")[1]["step"] > 0, where
        resumed = train(MANY_DOCUMENTS, resume=True, **options_of(twice))
        assert result(resumed) == expected, where
        assert state(twice) == at_the_end, where


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_ctrl_c_at_random_moments_time_and_again_changes_no_bit(tmp_path, every_thread_works):
    """As a signal, which may come anywhere: also while a kernel runs, or between two operations of one line."""
    options = SIZES | dict(val_fraction=0.2, epochs=60, checkpoint_seconds=0.01, num_threads=2)
    expected = result(train(TEXT, checkpoint=tmp_path / "once", **options))
    rng, interrupted, model = random.Random(0), 0, None
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        while model is None:
            seconds = 0.002 + 0.01 * rng.random() if interrupted < 40 else 0
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds)
                model = train(TEXT, checkpoint=tmp_path / "twice", resume=True, **options)
            except KeyboardInterrupt as interrupt:
                interrupted += 1
                # Before the first step, or while a checkpoint is read, there is no model yet.
                assert not isinstance(interrupt, TrainingInterrupted) or finite(interrupt.model)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 5
    assert result(model) == expected
    assert state(tmp_path / "twice") == state(tmp_path / "once")


def test_ctrl_c_in_the_last_checkpoint_gives_the_model_of_the_best_validation(checkpoint, monkeypatch):
    options = SIZES | dict(val_fraction=0.2, epochs=3, checkpoint=checkpoint)
    expected = result(train(TEXT, **options))
    replace, calls = os.replace, []

    def interrupted(*arguments):
        replace(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        train(TEXT, **options)
    assert isinstance(raised.value, TrainingInterrupted)
    assert raised.value.checkpointed
    assert result(raised.value.model) == expected


def test_an_error_while_an_interrupted_training_is_saved_is_told_and_loses_no_model(checkpoint, monkeypatch):
    def callback(report):
        if report.step > 5:
            monkeypatch.setattr(files, "write", broken)
            raise KeyboardInterrupt

    def broken(*arguments):
        raise MemoryError("no memory to save")

    with pytest.raises(TrainingInterrupted) as raised:
        train(TEXT, checkpoint=checkpoint, callback=callback, **SIZES)
    assert not raised.value.checkpointed
    assert isinstance(raised.value.__cause__, MemoryError)
    assert finite(raised.value.model)


# Divergence -----------------------------------------------------------------------------------------------------


def spoiling(value, when, then=None):
    """A callback that puts a value into the parameters, as an update that is too large does."""

    def callback(report):
        if when(report):
            report.model.state_dict()["rnn.weight_hh_l0"][:] = value
            report.model.state_dict()["head.weight"][0] = value
            if then is not None:
                raise then

    return callback


def at_the_end(report):
    return report.done == 1


@pytest.mark.parametrize("val_fraction", [0.0, 0.2])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_last_update_that_is_too_large_is_a_divergence_and_spoils_no_checkpoint(checkpoint, value, val_fraction):
    options = SIZES | dict(val_fraction=val_fraction, epochs=3, checkpoint=checkpoint, checkpoint_seconds=0.0)
    with pytest.raises(DivergenceError, match="training diverged at step") as raised:
        train(TEXT, callback=spoiling(value, at_the_end), **options)
    assert raised.value.model.evaluate(TEXT).loss < 5
    once = checkpoint.with_name("once")
    expected = train(TEXT, **options | dict(checkpoint=once))
    assert raised.value.step == expected.history.steps[-1]
    # What is there is from before that update.
    assert result(train(TEXT, resume=True, **options)) == result(expected)


@pytest.mark.parametrize("val_fraction", [0.0, 0.2])
def test_an_update_that_overflows_is_a_divergence_though_no_step_follows_it(checkpoint, val_fraction):
    options = SIZES | dict(val_fraction=val_fraction, epochs=1e-3, optimizer="sgd", warmup=0, clip_norm=None)
    with pytest.raises(DivergenceError, match="training diverged at step 1: ") as raised:
        train(TEXT, learning_rate=3e38, checkpoint=checkpoint, **options)
    assert raised.value.model.evaluate(TEXT).loss < 5
    assert not checkpoint.exists()


@pytest.mark.parametrize("value", [np.nan, 1e30])
def test_no_checkpoint_replaces_a_good_one_with_parameters_that_have_diverged(checkpoint, monkeypatch, value):
    module = charrnn.kernels.module("float32")

    class Spoiling(module.Trainer):
        """Its 21st update is too large, and every look is followed by a checkpoint."""

        def __init__(self, network, parameters, *arguments, **others):
            self.parameters = parameters
            super().__init__(network, parameters, *arguments, **others)

        def train(self, *arguments):
            made = super().train(*arguments)
            if self.step > 20:
                self.parameters *= value
            return made

    monkeypatch.setattr(module, "Trainer", Spoiling)
    monkeypatch.setattr(time, "perf_counter", inside.Clock(0.2))
    good = []
    options = SIZES | dict(checkpoint=checkpoint, checkpoint_seconds=0.0, val_fraction=0, epochs=30)
    with pytest.raises(DivergenceError, match="diverged at step 21"):
        train(TEXT, callback=lambda report: good.append(checkpoint.read_bytes()), **options)
    assert len(good) == 20
    assert checkpoint.read_bytes() == good[-1]


def test_ctrl_c_after_a_divergence_that_no_loss_has_shown_gives_the_last_good_model(checkpoint):
    options = SIZES | dict(val_fraction=0.0, epochs=30, checkpoint=checkpoint, checkpoint_seconds=0.0)
    with pytest.raises(TrainingInterrupted) as raised:
        train(TEXT, callback=spoiling(np.nan, lambda report: report.step > 5, KeyboardInterrupt()), **options)
    assert not raised.value.checkpointed
    assert raised.value.model.evaluate(TEXT).loss < 5
    files.read(checkpoint, kind="checkpoint")


@pytest.mark.parametrize("seconds", [0.02, 0.5, 2.0])
@pytest.mark.parametrize("learning_rate", [1e3, 1e6, 1e9])
def test_the_best_model_of_a_training_that_diverges_is_never_the_diverged_one(monkeypatch, learning_rate, seconds):
    # However long a step takes, and so whenever a snapshot is made.
    monkeypatch.setattr(time, "perf_counter", inside.Clock(seconds))
    options = SIZES | dict(optimizer="sgd", schedule="constant", warmup=0, clip_norm=None, val_fraction=0, epochs=50)
    with pytest.raises(DivergenceError) as raised:
        train(TEXT, learning_rate=learning_rate, **options)
    model = raised.value.model
    untrained = CharRNN(model.vocabulary, cell="gru", hidden_size=5).evaluate(TEXT).loss
    assert model.evaluate(TEXT).loss < 1.2 * max(untrained, math.log(len(model.vocabulary)))


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay"])
def test_a_number_that_is_infinite_in_the_precision_of_the_parameters_is_refused(name):
    message = rf"{name} must be at most 3.403e\+38, the largest number in float32, got 1e\+39"
    with pytest.raises(ValueError, match=message):
        train(TEXT, **{name: 1e39}, **SIZES)


def test_a_large_weight_decay_that_float64_holds_is_taken():
    train(TEXT, weight_decay=1e39, learning_rate=0.0, dtype="float64", epochs=0.1, **SIZES)


# Time limits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("val_fraction", [0.0, 0.2])
def test_time_that_is_over_before_the_first_step_is_told_and_one_step_is_made(monkeypatch, val_fraction):
    monkeypatch.setattr(time, "perf_counter", inside.Clock(3.0))
    with pytest.warns(RuntimeWarning, match="max_seconds, 2, was over before the first step, .* by one step only"):
        model = train(TEXT, max_seconds=2, val_fraction=val_fraction, **SIZES)
    assert model.history.steps == [1]
    assert model.history.learning_rates[0] > 0
    assert model.history.val_steps == ([1] if val_fraction else [])
    untrained = CharRNN(model.vocabulary, cell="gru", hidden_size=5)
    assert any(not np.array_equal(untrained.state_dict()[name], value) for name, value in model.state_dict().items())


def test_time_enough_for_a_few_steps_is_not_warned_of(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", inside.Clock(0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = train(TEXT, max_seconds=20, val_fraction=0.2, **SIZES)
    assert len(model.history.steps) > 5
    # The last step is validated, whenever the time ran out.
    assert model.history.val_steps[-1] == model.history.steps[-1]


@pytest.mark.parametrize("seconds", np.arange(1, 3, 0.09))
def test_the_last_parameters_of_a_timed_training_are_validated_whenever_its_time_runs_out(monkeypatch, seconds):
    monkeypatch.setattr(time, "perf_counter", inside.Clock(0.1))
    reports = []
    model = train(TEXT, max_seconds=seconds, val_fraction=0.2, callback=reports.append, **SIZES)
    assert model.history.val_steps[-1] == model.history.steps[-1]
    assert reports[-1].done == 1


def test_the_command_line_ends_a_training_without_time_with_a_model_and_a_word(tmp_path):
    (tmp_path / "fox.txt").write_text(TEXT)
    command = [sys.executable, "-m", "charrnn", "train", "fox.txt", "-o", "m", "--max-seconds", "0.0001"]
    environment = {**os.environ, "PYTHONPATH": str(Path(PACKAGE).parent)}
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert "max_seconds" in run.stderr or "--max-seconds" in run.stderr
    assert "before the first step" in run.stderr
    assert math.isfinite(charrnn.load(tmp_path / "m").evaluate(TEXT).loss)
