"""Between train() and the kernels: every setting arrives, and what the loop does around the steps is done.

`reference_training` is train() in float64 NumPy, the loop around `reference.training`: where the readers of a batch
stand, the order of documents, the learning rates, the validations. It shares no code with charrnn but the vocabulary
and the initial parameters, which have tests of their own.
"""

import dataclasses
import itertools
import math
import os
import stat
import sys
import time
import tracemalloc
from pathlib import Path

import inside
import numpy as np
import pytest
import reference

import charrnn
from charrnn import CharRNN
from charrnn.text import reading
from charrnn.train import DivergenceError, train
from charrnn.train.smoothing import Smoothing

TEXT = "the quick brown fox jumps over the lazy dog; " * 5 + "pack my box with five dozen liquor jugs. "
DOCUMENTS = ["stone", "", "sand", "sea", "salt and sugar", "o", "shell", "shore", "ship", "sail", "sun"]

#: What train() is given where a test says nothing else. What is not among it has its default.
BASE = dict(cell="rnn", hidden_size=6, num_layers=1, dropout=0.0, weight_decay=0.0, learning_rate=0.02)
BASE |= dict(batch_size=3, seq_length=7, epochs=3.0, val_fraction=0.0, dtype="float64")
BASE |= dict(recurrent_dropout=0.0, average=0.0, smoothing=0.0)

#: The defaults that do not depend on the text, in numbers: a change of one of them changes everybody's results.
DEFAULTS = dict(optimizer="adam", schedule="cosine", warmup=0.02, clip_norm=0.25, clip_value=None)
DEFAULTS |= dict(momentum=0.9, beta1=0.9, beta2=0.99, seed=0, patience=0.25)

# train() in NumPy -------------------------------------------------------------------------------------------------

#: Rows of the validation part at most; characters that each reads before those that count.
VALIDATION_ROWS, WARM_UP = 64, 256


def epoch(inputs, targets, batch_size, seq_length):
    """The chunks of an epoch: the readers stand evenly."""
    predictions = len(inputs)
    starts = [predictions * b // batch_size for b in range(batch_size)]
    return list(reference.chunks(inputs, targets, starts, math.ceil(predictions / batch_size), seq_length))


def documents_epoch(documents, order, vocabulary, batch_size, seq_length):
    """The chunks of an epoch of documents in this order: END is the first input of each and its last target."""
    inputs, targets = [], []
    for i in order:
        symbols = vocabulary.encode(documents[i]).tolist()
        inputs += [vocabulary.end, *symbols]
        targets += [*symbols, vocabulary.end]
    return epoch(np.array(inputs), np.array(targets), batch_size, seq_length)


def epochs_of(data, vocabulary, settings):
    """The epochs of a training, without end."""
    sizes = settings["batch_size"], settings["seq_length"]
    if isinstance(data, str):
        symbols = vocabulary.encode(data)
        if not settings["smoothing"]:
            return itertools.repeat(epoch(symbols[:-1], symbols[1:], *sizes))
        # What is borrowed has tests of its own; here, that each epoch borrows anew.
        smoothing = Smoothing(reading.read(data, vocabulary=vocabulary), settings["smoothing"])
        rngs = (np.random.default_rng([settings["seed"], number]) for number in itertools.count())
        return (epoch(symbols[:-1], smoothing.targets(rng)[1:], *sizes) for rng in rngs)
    orders = (np.random.default_rng([settings["seed"], epoch]).permutation(len(data)) for epoch in itertools.count())
    return (documents_epoch(data, order, vocabulary, *sizes) for order in orders)


def validation_loss(params, symbols, known):
    """The mean loss of a text, in rows of which each but the first reads WARM_UP characters for the state alone.

    Symbols that are not known count for nothing.
    """
    count = len(symbols) - 1
    rows = max(min(VALIDATION_ROWS, count // (4 * WARM_UP)), 1)
    losses = []
    for row in range(rows):
        start, stop = count * row // rows, count * (row + 1) // rows
        before = min(WARM_UP, start)
        inputs, targets = symbols[start - before : stop], symbols[start - before + 1 : stop + 1]
        logits, _ = reference.forward(params, inputs[:, None])
        log_probs = reference.log_softmax(logits[:, 0])
        found = -log_probs[np.arange(len(targets)), targets]
        losses += found[before:][np.isin(targets[before:], known)].tolist()
    return np.mean(losses)


def reference_training(data, **given):
    """The parameters, and the history as a dict, that train() is to give."""
    settings = DEFAULTS | given
    vocabulary = charrnn.Vocabulary("".join(sorted(set("".join(data)))), end=not isinstance(data, str))
    sizes = {name: settings[name] for name in ("cell", "hidden_size", "num_layers", "dtype", "seed")}
    params = {name: value.astype(np.float64) for name, value in CharRNN(vocabulary, **sizes).state_dict().items()}
    validation = None
    if settings["val_fraction"]:
        cut = int(len(data) * (1 - settings["val_fraction"]))
        data, validation = data[:cut], vocabulary.encode(data[cut:])
        known = vocabulary.encode(data)
    epochs = epochs_of(data, vocabulary, settings)
    first = next(epochs)
    total = max(round(settings["epochs"] * len(first)), 1)
    rates = [
        reference.learning_rate(step, total, settings["learning_rate"], settings["schedule"], settings["warmup"])
        for step in range(1, total + 1)
    ]
    rule = getattr(reference, settings["optimizer"])
    constants = {
        "adam": {"beta1": settings["beta1"], "beta2": settings["beta2"], "eps": 1e-8},
        "sgd": {"momentum": settings["momentum"]},
        "rmsprop": {"alpha": settings["beta2"], "eps": 1e-8},
        "adagrad": {"eps": 1e-10},
    }[settings["optimizer"]]
    updates = reference.training(
        params,
        itertools.chain(first, itertools.chain.from_iterable(epochs)),
        rates,
        reference.Optimizer(rule, settings["weight_decay"], **constants),
        max_norm=settings["clip_norm"] or math.inf,
        max_value=settings["clip_value"] or math.inf,
        dropout=settings["dropout"],
        recurrent_dropout=settings["recurrent_dropout"],
        seed=settings["seed"],
        end=vocabulary.end,
    )
    history = {"learning_rates": rates, "losses": [], "val_steps": [], "val_losses": []}
    looks = {math.ceil(total * k / 20 - 1e-9) for k in range(1, 21)}
    best, average = (math.inf, params), params
    for step, update in enumerate(updates, 1):
        share = 1 / max(settings["average"] * step, 1) if settings["average"] else 1.0
        average = reference.average_update(average, update.params, share)
        history["losses"].append(update.loss)
        if validation is not None and step in looks:
            # The average, and at the end the parameters as well.
            candidates = [average, update.params] if step == total else [average]
            looked_at = [(validation_loss(candidate, validation, known), candidate) for candidate in candidates]
            loss, params = min(looked_at, key=lambda pair: pair[0])
            history["val_steps"].append(step)
            history["val_losses"].append(loss)
            best = min(best, (loss, params), key=lambda pair: pair[0])
            if step - history["val_steps"][np.argmin(history["val_losses"])] >= settings["patience"] * total:
                history["learning_rates"] = rates[:step]
                break
    return average if validation is None else best[1], history


def differs(a, b):
    """By how much two trainings differ at most: parameters, losses and learning rates."""
    (params, history), (other_params, other_history) = a, b
    if params.keys() != other_params.keys():
        return math.inf
    pairs = [(params[name], other_params[name]) for name in params]
    pairs += [(history[name], other_history[name]) for name in history]
    if any(np.shape(x) != np.shape(y) for x, y in pairs):
        return math.inf
    return max(np.abs(np.subtract(x, y)).max(initial=0) for x, y in pairs)


def trained(data, **settings):
    model = train(data, num_threads=1, progress=False, **settings)
    names = ("learning_rates", "losses", "val_steps", "val_losses")
    return model.state_dict(), {name: getattr(model.history, name) for name in names}


# Every setting ----------------------------------------------------------------------------------------------------

#: For each setting one or more values that are not its default, with what it takes for them to matter.
SETTINGS = {
    "cell": [{"cell": "gru"}, {"cell": "lstm"}],
    "hidden_size": [{"hidden_size": 9}],
    "num_layers": [{"num_layers": 2}, {"num_layers": 2, "cell": "lstm", "dropout": 0.3}],
    "dropout": [{"dropout": 0.4}, {"dropout": 0.4, "seed": 2**63 + 12345}],
    "recurrent_dropout": [
        {"recurrent_dropout": 0.4},
        {"recurrent_dropout": 0.4, "cell": "gru", "dropout": 0.3, "num_layers": 2},
        {"recurrent_dropout": 0.4, "cell": "lstm", "seed": 2**63 + 12345},
    ],
    "optimizer": [{"optimizer": "sgd"}, {"optimizer": "rmsprop"}, {"optimizer": "adagrad"}],
    "learning_rate": [{"learning_rate": 0.05}],
    "schedule": [{"schedule": "linear"}, {"schedule": "constant"}],
    "warmup": [{"warmup": 0.0, "epochs": 10.0}, {"warmup": 0.5}, {"warmup": 1.0}],
    "clip_norm": [{"clip_norm": None}, {"clip_norm": 0.01}, {"clip_norm": 0.3, "optimizer": "sgd"}],
    "clip_value": [{"clip_value": 0.002}, {"clip_value": 0.002, "optimizer": "sgd"}],
    "weight_decay": [{"weight_decay": 0.3}, {"weight_decay": 0.3, "optimizer": "sgd"}],
    "average": [
        {"average": 0.3},
        {"average": 1.0, "val_fraction": 0.25},
        {"average": 0.2, "val_fraction": 0.25, "schedule": "constant"},
        {"average": 0.05},
    ],
    "momentum": [{"optimizer": "sgd", "momentum": 0.5}, {"optimizer": "sgd", "momentum": 0.0}],
    "beta1": [{"beta1": 0.5}],
    "beta2": [{"beta2": 0.8}, {"optimizer": "rmsprop", "beta2": 0.8}],
    "batch_size": [{"batch_size": 5}],
    "seq_length": [{"seq_length": 4}],
    "epochs": [{"epochs": 1.3}],
    "smoothing": [{"smoothing": 0.5}, {"smoothing": 1.0, "seed": 3}],
    "patience": [{"patience": 0.1, "val_fraction": 0.25, "learning_rate": 0.3}],
    "val_fraction": [{"val_fraction": 0.25}],
    "seed": [{"seed": 3}],
    "dtype": [{"dtype": "float32"}],
}
CASES = {
    " ".join(f"{name}={value}" for name, value in case.items()): (setting, case)
    for setting, cases in SETTINGS.items()
    for case in cases
}

#: Of float64; beside it what a setting changes is large.
ROUNDING, CHANGE = 1e-10, 1e-6


def test_every_setting_is_tried():
    reports = []
    train("hello world", callback=reports.append, progress=False)
    names = {field.name for field in dataclasses.fields(reports[-1].settings)}
    assert names - {"max_seconds"} == set(SETTINGS)


def test_training_with_the_defaults_is_the_reference():
    assert differs(trained(TEXT, **BASE), reference_training(TEXT, **BASE)) < ROUNDING


@pytest.mark.parametrize("case", CASES)
def test_every_setting_arrives_in_the_kernel(case):
    setting, changed = CASES[case]
    without = BASE | {name: value for name, value in changed.items() if name != setting}
    actual, expected = trained(TEXT, **BASE | changed), reference_training(TEXT, **BASE | changed)
    if setting == "dtype":
        assert actual[0]["head.bias"].dtype == np.float32
        assert ROUNDING < differs(actual, expected) < 1e-3
    else:
        assert differs(actual, expected) < ROUNDING
        assert differs(expected, reference_training(TEXT, **without)) > CHANGE, "the setting changes nothing"


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_documents_are_shuffled_anew_in_each_epoch_as_the_seed_says(cell):
    settings = BASE | dict(cell=cell, epochs=4.0, seed=5)
    actual = trained(DOCUMENTS, **settings)
    assert differs(actual, reference_training(DOCUMENTS, **settings)) < ROUNDING


def test_a_training_that_goes_on_from_a_model_begins_with_its_parameters():
    first = train(TEXT, progress=False, **BASE)
    before = {name: value.copy() for name, value in first.state_dict().items()}
    again = BASE | {"learning_rate": 0.0}
    second = train(TEXT, init_from=first, progress=False, **again)
    for name, value in second.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


# Validation -------------------------------------------------------------------------------------------------------


def test_rows_of_the_validation_part_first_read_what_stands_before_them():
    text = "".join(np.random.default_rng(0).choice(list("abcde "), 4000))
    settings = BASE | dict(val_fraction=0.75, epochs=0.5, learning_rate=0.1)
    actual, expected = trained(text, **settings), reference_training(text, **settings)
    assert len(expected[1]["val_losses"]) > 5
    assert differs(actual, expected) < ROUNDING


def test_at_the_end_the_last_parameters_are_validated_beside_their_average():
    """With a falling learning rate and a long average they are the better ones; with a constant one they are not."""
    for schedule, average, last_is_better in (("linear", 1.0, True), ("constant", 0.3, False)):
        settings = BASE | dict(val_fraction=0.25, epochs=10.0, schedule=schedule, average=average)
        parameters = []
        model = train(TEXT, callback=lambda r, p=parameters: p.append(state_of(r.model)), progress=False, **settings)
        assert model.history.val_losses[-1] == min(model.history.val_losses)
        last, returned = parameters[-1], state_of(model)
        assert all(np.array_equal(last[name], returned[name]) for name in last) == last_is_better


def state_of(model):
    return {name: value.copy() for name, value in model.state_dict().items()}


# Threads ----------------------------------------------------------------------------------------------------------


def test_training_and_validation_run_in_as_many_threads_as_are_asked_for(every_thread_works, threads_asked):
    train(TEXT * 3, num_threads=2, progress=False, **BASE | dict(val_fraction=0.3, epochs=1))
    assert threads_asked["Trainer"] == [2]
    assert len(threads_asked["Engine"]) > 5
    assert set(threads_asked["Engine"]) == {2}


def test_number_of_threads_of_the_environment_arrives(every_thread_works, threads_asked, monkeypatch):
    monkeypatch.setenv("CHARRNN_NUM_THREADS", "2")
    train(TEXT * 3, progress=False, **BASE | dict(val_fraction=0.3, epochs=1))
    assert set(threads_asked["Trainer"]) == set(threads_asked["Engine"]) == {2}


def test_steps_of_a_few_operations_run_in_one_thread(threads_asked):
    train(TEXT * 3, num_threads=2, progress=False, **BASE | dict(val_fraction=0.3, epochs=1))
    assert set(threads_asked["Trainer"]) == set(threads_asked["Engine"]) == {1}


# Time and reports -------------------------------------------------------------------------------------------------


@pytest.fixture
def timed_training(monkeypatch):
    """A training by a clock of its own, in which a validation takes so many seconds; the model, clock and reports."""

    def run(max_seconds, validation_seconds=0.0, **settings):
        # A step takes longer than LOOK_SECONDS, so that every call is one of a single step.
        clock, reports = inside.Clock(0.06), []
        validation_loss = charrnn.scoring.validation_loss

        def slow_validation_loss(*arguments):
            clock.now += validation_seconds
            return validation_loss(*arguments)

        inside.set_everywhere("validation_loss", slow_validation_loss, monkeypatch.setattr)
        monkeypatch.setattr(time, "perf_counter", clock)
        options = {**BASE, "epochs": None, **settings}
        model = train(TEXT, max_seconds=max_seconds, callback=reports.append, progress=False, **options)
        return model, clock, reports

    return run


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_learning_rate_of_a_timed_training_goes_by_the_clock(timed_training, schedule):
    _, _, reports = timed_training(100.0, schedule=schedule, warmup=0.25, learning_rate=0.01)
    assert len(reports) > 100
    for report in reports:
        done = report.seconds / 100
        expected = 0.01 * min(done / 0.25, 1) * reference.SCHEDULES[schedule](min(done, 1))
        assert report.learning_rate == pytest.approx(expected, abs=0.0003)


@pytest.mark.parametrize("average", [0.0, 0.3])
def test_time_is_kept_for_the_last_validation(timed_training, average):
    model, clock, _ = timed_training(60.0, validation_seconds=8.0, val_fraction=0.25, average=average)
    assert 45 < clock.now < 61
    assert model.history.val_steps[-1] == model.history.steps[-1]


@pytest.mark.parametrize("validation_seconds, validations", [(0.0, 20), (0.6, 4), (1.5, 2), (40.0, 1)])
def test_validations_take_a_twentieth_of_the_time(timed_training, validation_seconds, validations):
    model, _, _ = timed_training(60.0, validation_seconds=validation_seconds, val_fraction=0.25)
    # The first one shows how long one takes.
    assert validations <= len(model.history.val_steps) <= validations + 1


def test_a_report_counts_characters_steps_and_epochs():
    reports = []
    train(TEXT, callback=reports.append, progress=False, **BASE | dict(val_fraction=0.25))
    last, val_chars = reports[-1], len(TEXT) - int(len(TEXT) * 0.75)
    assert (last.num_chars, last.num_val_chars) == (len(TEXT), val_chars)
    assert last.step == 3 * math.ceil(math.ceil((len(TEXT) - val_chars - 1) / 3) / 7)
    assert last.epoch == 3
    assert last.done == 1
    assert last.validated
    assert not reports[0].validated
    train(DOCUMENTS, callback=reports.append, progress=False, **BASE)
    assert (reports[-1].num_chars, reports[-1].num_val_chars) == (sum(map(len, DOCUMENTS)), 0)


def test_speed_in_a_report_is_characters_by_the_clock(timed_training):
    _, _, reports = timed_training(5.0)
    steps = np.diff([report.step for report in reports])
    seconds = np.diff([report.seconds for report in reports])
    speeds = np.array([report.chars_per_second for report in reports[1:]])
    # The clock goes on between the steps of one call and those of the next as well.
    assert np.all(speeds >= steps * 3 * 7 / seconds)
    assert np.all(speeds < 10 * steps * 3 * 7 / seconds)


# Divergence -------------------------------------------------------------------------------------------------------


def diverging_after(step):
    """A callback that spoils the parameters, so that the next loss is not finite."""

    def callback(report):
        if report.step >= step:
            report.model.state_dict()["head.bias"][:] = np.nan

    return callback


def test_a_training_that_diverges_late_returns_what_it_had_learnt(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", inside.Clock(0.3))
    settings = BASE | dict(epochs=100)
    with pytest.raises(DivergenceError) as raised:
        train(TEXT, callback=diverging_after(900), progress=False, **settings)
    loss = raised.value.model.evaluate(TEXT).loss
    assert loss < 0.7 * CharRNN(raised.value.model.vocabulary, cell="rnn", hidden_size=6).evaluate(TEXT).loss


# Memory -----------------------------------------------------------------------------------------------------------


def resident(path):
    """Bytes of a file that are mapped into this process and in its memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    kilobytes = 0
    for line in lines:
        if line.endswith(str(path)):
            kilobytes += int(next(rest for rest in lines if rest.startswith("Rss:")).split()[1])
    return 1024 * kilobytes


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_was_read_of_a_mapped_file_is_given_back_after_each_look(tmp_path, monkeypatch):
    inside.set_everywhere("MMAP_BYTES", 1, monkeypatch.setattr)
    path = tmp_path / "text"
    path.write_bytes(b"ab" * (4 << 20))
    seen = []
    # So many readers, evenly placed, touch every page in their first step.
    sizes = dict(cell="rnn", hidden_size=1, batch_size=4096, seq_length=2, epochs=1e-4)
    train(path, val_fraction=0, callback=lambda report: seen.append(resident(path)), progress=False, **sizes)
    assert seen and max(seen) < 1 << 20
    corpus = charrnn.text.reading.read(path)
    assert int(corpus.codes[::512].sum()) > 0
    assert resident(path) > 4 << 20
    corpus.forget()
    assert resident(path) < 1 << 20


def test_short_documents_with_a_large_bound_on_their_length_take_little_memory():
    model = CharRNN(charrnn.Vocabulary("ab", end=True), hidden_size=4)
    model.state_dict()["head.bias"][:] = [0, 0, 5]
    tracemalloc.start()
    try:
        texts = model.sample_many(3000, 20_000, rng=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(texts) == 3000
    # All at once they would take 240 MB.
    assert peak < 20e6


# Checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="folders are not synchronised there")
def test_a_checkpoint_is_on_the_disk_before_it_replaces_the_last_one_and_so_is_its_name_after(tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def recorded_fsync(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def recorded_replace(*arguments):
        events.append("replace")
        replace(*arguments)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    model = train(TEXT, checkpoint=tmp_path / "checkpoint", progress=False, **BASE)
    assert events == ["file", "replace", "folder"]
    model.save(tmp_path / "model")
    assert events == ["file", "replace", "folder"] * 2


@pytest.mark.parametrize("seconds, looks_between", [(0.0, 1), (15.0, 2), (25.0, 3), (1e9, 1000)])
def test_checkpoints_come_as_often_as_is_said(tmp_path, monkeypatch, seconds, looks_between):
    # By a clock that each callback moves on by ten seconds, and each look at it by a little.
    clock = inside.Clock(0.2)
    monkeypatch.setattr(time, "perf_counter", clock)
    saved, reports = [], []
    replace = os.replace

    def recorded(*arguments):
        saved.append(len(reports))
        replace(*arguments)

    def callback(report):
        reports.append(report)
        clock.now += 10.0

    monkeypatch.setattr(os, "replace", recorded)
    options = BASE | dict(checkpoint=tmp_path / "checkpoint", checkpoint_seconds=seconds, callback=callback)
    train(TEXT, progress=False, **options)
    assert len(reports) > 20
    *within, last = saved
    assert last == len(reports), "there is none of the end"
    # The first look comes before the first callback: no time has passed.
    assert within == list(range(looks_between if seconds else 0, len(reports), looks_between))
