"""train(): what it learns, that a seed fixes every bit, validation, checkpoints, interruption, divergence, errors."""

import collections
import dataclasses
import math
import os
import signal
import threading
import time
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

import charrnn
import charrnn.train
from charrnn.train import DivergenceError, History, TrainingInterrupted, defaults, train
from charrnn.train.schedule import average_shares

SONG = "the quick brown fox jumps over the lazy dog; " * 60
TINY_SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare.txt"
WORDS = ["stone", "sand", "sea", "salt", "shell", "shore", "ship", "sail"]


def same_bits(a, b):
    return all(np.array_equal(a.state_dict()[name], b.state_dict()[name]) for name in a.state_dict())


# Learning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{"hidden_size": 64, "epochs": 100}, {}])
def test_hello_world_is_learnt_with_every_seed(arguments):
    for seed in range(20):
        model = train("hello world", seed=seed, **arguments)
        assert model.sample("h", 10, temperature=0) == "ello world"
        assert model.evaluate("hello world").loss <= 0.025


@pytest.mark.parametrize(
    "optimizer, learning_rate", [("sgd", 0.3), ("rmsprop", 0.01), ("adagrad", 0.1), ("adam", 0.01)]
)
def test_every_optimizer_learns(optimizer, learning_rate):
    model = train("hello world", optimizer=optimizer, learning_rate=learning_rate, epochs=200)
    assert model.evaluate("hello world").loss < 0.05


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_layers": 2},
        {"dtype": "float64"},
        {"clip_norm": None, "clip_value": 0.1},
        {"schedule": "linear"},
        {"schedule": "constant"},
        {"weight_decay": 0.01},
        {"batch_size": 5, "seq_length": 1},
        {"num_layers": 2, "dropout": 0.1},
        {"cell": "gru"},
        {"cell": "lstm"},
        {"cell": "lstm", "num_layers": 2, "dropout": 0.1},
    ],
)
def test_every_option_learns(arguments):
    assert train(SONG, epochs=30, hidden_size=32, **arguments).evaluate(SONG).loss < 0.5


def test_documents_are_learnt_each_by_itself():
    model = train(WORDS, hidden_size=48)
    drawn = model.sample_many(200, rng=0)
    assert set(WORDS) <= set(drawn)
    assert sum(word in WORDS for word in drawn) > 150


def test_bytes_a_path_and_a_str_train_the_same_model(tmp_path):
    (tmp_path / "song.txt").write_text(SONG)
    models = [train(data, epochs=2) for data in (SONG, SONG.encode(), tmp_path / "song.txt")]
    assert same_bits(models[0], models[1])
    assert same_bits(models[0], models[2])


@pytest.mark.skipif(not TINY_SHAKESPEARE.exists(), reason="tiny Shakespeare is not here")
def test_tiny_shakespeare_is_learnt_beyond_its_letter_pairs():
    model = train(TINY_SHAKESPEARE, hidden_size=128, epochs=1)
    text = TINY_SHAKESPEARE.read_text()
    assert model.evaluate(text[int(len(text) * 0.9) :]).loss < 2.1  # of pairs: 2.45


def test_init_from_goes_on_where_the_model_was(tmp_path):
    first = train(SONG, epochs=10, hidden_size=32)
    first.save(tmp_path / "first.safetensors")
    before = first.log_prob(SONG[:50])
    for init_from in (first, tmp_path / "first.safetensors"):
        second = train(SONG[:500], init_from=init_from, epochs=1, learning_rate=1e-5)
        assert second.hidden_size == 32
        assert abs(second.evaluate(SONG).loss - first.evaluate(SONG).loss) < 0.01
    assert first.log_prob(SONG[:50]).tolist() == before.tolist()


# Determinism ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [SONG, WORDS * 20], ids=["text", "documents"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"num_layers": 2, "dropout": 0.3},
        {"optimizer": "sgd", "dtype": "float64"},
        {"cell": "gru", "dropout": 0.2},
        {"cell": "lstm", "dropout": 0.2},
    ],
)
def test_seed_fixes_every_bit_for_any_number_of_threads(every_thread_works, data, arguments):
    models = [train(data, seed=3, num_threads=n, epochs=3, batch_size=7, **arguments) for n in (1, 1, 2, 3, 8)]
    for model in models[1:]:
        assert same_bits(models[0], model)
        assert model.history.losses == models[0].history.losses
        assert model.history.val_losses == models[0].history.val_losses
    assert not same_bits(models[0], train(data, seed=4, epochs=3, batch_size=7, **arguments))


def test_two_trainings_side_by_side_do_not_meet(every_thread_works):
    alone = [train(SONG, seed=seed, epochs=5, num_threads=2) for seed in (0, 1)]
    together = [None, None]

    def work(seed):
        together[seed] = train(SONG, seed=seed, epochs=5, num_threads=2)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same_bits(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_training_works_after_a_fork(every_thread_works):
    expected = train(SONG, epochs=1, num_threads=2)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if same_bits(expected, train(SONG, epochs=1, num_threads=2)) else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_validation_does_not_disturb_the_training():
    text = SONG * 4
    cut = int(len(text) * 0.9)
    reports = []
    with_validation = train(text, val_fraction=0.1, epochs=3, callback=reports.append)
    # The rule goes by all of the text, the validation part included.
    given = {**dataclasses.asdict(reports[-1].settings), "clip_value": None, "max_seconds": None, "val_fraction": 0}
    without = train(text[:cut], **given)
    assert with_validation.history.losses == without.history.losses


# Validation and history -----------------------------------------------------------------------------------------


def test_validation_is_the_last_part_of_the_text():
    text = SONG + "zebra " * 100
    model = train(text, val_fraction=600 / len(text), epochs=1)
    assert model.history.val_losses[-1] > 1.5 * model.history.losses[-1]


def test_validation_loss_is_nearly_that_of_evaluate():
    text = SONG * 8
    model = train(text, hidden_size=32, epochs=2, val_fraction=0.3)
    exact = model.evaluate(text[int(len(text) * 0.7) :]).loss
    assert min(model.history.val_losses) == pytest.approx(exact, abs=0.01)


def test_the_model_of_the_best_validation_is_returned():
    model = train("ab" * 300 + "ba" * 20 + "aabb" * 30, val_fraction=0.2, epochs=60, learning_rate=0.05)
    text = "ab" * 300 + "ba" * 20 + "aabb" * 30
    validation = text[int(len(text) * 0.8) :]
    losses = model.history.val_losses
    assert min(losses) < losses[-1]
    assert model.evaluate(validation).loss == pytest.approx(min(losses), abs=1e-5)


def test_history_covers_every_step_and_stays_short():
    model = train(SONG, epochs=100, seq_length=5, batch_size=10)
    history = model.history
    assert len(history.steps) < History.POINTS
    assert len(history.steps) == len(history.losses) == len(history.times) == len(history.learning_rates)
    assert np.all(np.diff(history.steps) == history.stretch)
    assert np.all(np.diff(history.times) >= 0)
    assert len(history.steps) > 500
    assert history.chars_per_step == 50


def test_schedule_warms_up_and_goes_to_zero():
    rates = np.array(train(SONG, epochs=20, learning_rate=0.01, warmup=0.1, patience=1).history.learning_rates)
    assert rates[0] < 0.1 * rates.max()
    assert rates.max() == pytest.approx(0.01, rel=0.1)
    assert rates[-1] < 0.01 * rates.max()
    assert np.argmax(rates) == pytest.approx(0.1 * len(rates), abs=2)


def test_callback_is_told_and_can_use_the_model():
    reports = []

    def callback(report):
        assert report.model.sample("t", 3, rng=0)
        reports.append(report)

    train(SONG * 5, hidden_size=32, epochs=20, patience=1, callback=callback)
    assert reports[-1].done == 1
    assert reports[-1].epoch == pytest.approx(20)
    assert [report.step for report in reports] == sorted({report.step for report in reports})
    assert all(report.chars_per_second > 0 and report.loss > 0 for report in reports)
    assert any(report.validated for report in reports)


def test_max_seconds_ends_the_training_and_the_schedule():
    start = time.perf_counter()
    model = train(SONG, max_seconds=1.0, epochs=1_000_000)
    assert 0.5 < time.perf_counter() - start < 10
    assert model.history.learning_rates[-1] < 0.3 * max(model.history.learning_rates)


def test_learning_rate_by_the_clock_does_not_jump_where_an_epoch_ends(monkeypatch):
    # By a clock that goes by characters, a step takes most of the time between two looks at it; the last chunk of an
    # epoch, a single character, takes far less and promises many steps.
    clock = types.SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    make_steps = charrnn.train.loop.Run._steps

    def steps(run, *arguments):
        made = make_steps(run, *arguments)
        clock.now = (run.trainer.passes * (len(SONG) - 1) + run.trainer.position) * 2e-3
        return made

    monkeypatch.setattr(charrnn.train.loop.Run, "_steps", steps)
    monkeypatch.setattr(charrnn.train, "time", clock)
    monkeypatch.setattr(charrnn.train.loop, "time", clock)
    seq_length = 38
    assert (len(SONG) - 1) % seq_length == 1
    model = train(
        SONG,
        max_seconds=20.0,
        epochs=1e9,
        batch_size=1,
        seq_length=seq_length,
        hidden_size=8,
        patience=1,
        val_fraction=0,
        progress=False,
    )
    rates = np.array(model.history.learning_rates)
    falling = rates[rates.argmax() :]
    assert len(falling) > 200
    assert np.abs(np.diff(falling)).max() < 0.05 * rates.max()


# Interruption and divergence ------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
@pytest.mark.parametrize("num_layers", [1, 2])
def test_ctrl_c_stops_within_a_step_and_leaves_the_model_usable(monkeypatch, num_layers):
    # One step is some 10^12 operations, many seconds.
    text = "abcdefghij" * 30_000
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    steps = charrnn.train.loop.Run._steps
    monkeypatch.setattr(charrnn.train.loop.Run, "_steps", lambda *arguments: timer.start() or steps(*arguments))
    with pytest.raises(KeyboardInterrupt) as raised:
        train(
            text,
            cell="rnn",
            hidden_size=2048,
            num_layers=num_layers,
            batch_size=400,
            seq_length=100,
            val_fraction=0,
            progress=False,
        )
    assert isinstance(raised.value, TrainingInterrupted)
    assert raised.value.model.history.steps == []
    assert math.isfinite(raised.value.model.evaluate("abcabc").loss)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_divergence_says_where_and_keeps_the_last_good_model(optimizer):
    message = r"training diverged at step \d+: the loss became .* smaller learning_rate"
    with pytest.raises(DivergenceError, match=message) as raised:
        train(SONG, learning_rate=1e6, optimizer=optimizer, schedule="constant", epochs=20)
    assert raised.value.step >= 1
    assert raised.value.model.evaluate(SONG).loss < 5


# Arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, arguments, error, message",
    [
        ("", {}, ValueError, "data has no characters"),
        ("a", {}, ValueError, "text has 1 character; training needs at least 2"),
        (3, {}, TypeError, "data must be str, bytes, a path or an iterable of str, got int"),
        (["a", 3], {}, TypeError, "document 1 of data must be str or bytes, got int"),
        (SONG, {"cell": "elman"}, ValueError, "cell must be 'rnn' or 'gru' or 'lstm', got 'elman'"),
        (SONG, {"hidden_size": 0}, ValueError, "hidden_size must be at least 1, got 0"),
        (SONG, {"hidden_size": 3.5}, TypeError, "hidden_size must be an integer, got 3.5"),
        (SONG, {"num_layers": True}, TypeError, "num_layers must be an integer, got True"),
        (SONG, {"dropout": 1}, ValueError, "dropout must be at least 0 and less than 1, got 1"),
        (
            SONG,
            {"optimizer": "adamw"},
            ValueError,
            "optimizer must be 'adam' or 'sgd' or 'rmsprop' or 'adagrad', got 'adamw'",
        ),
        (SONG, {"learning_rate": -1}, ValueError, "learning_rate must be at least 0, got -1"),
        (SONG, {"learning_rate": math.inf}, ValueError, "learning_rate must be at least 0, got inf"),
        (SONG, {"learning_rate": "fast"}, TypeError, "learning_rate must be a number, got 'fast'"),
        (SONG, {"schedule": "step"}, ValueError, "schedule must be 'cosine' or 'linear' or 'constant', got 'step'"),
        (SONG, {"clip_norm": 0}, ValueError, "clip_norm must be greater than 0, got 0"),
        (
            SONG,
            {"batch_size": 10_000},
            ValueError,
            "batch_size must be at most 2281, the characters to predict in the text, got 10000",
        ),
        (SONG, {"epochs": math.nan}, ValueError, "epochs must be greater than 0, got nan"),
        (SONG, {"max_seconds": 0}, ValueError, "max_seconds must be greater than 0, got 0"),
        (SONG, {"val_fraction": 1}, ValueError, "val_fraction must be at least 0 and less than 1, got 1"),
        (SONG, {"seed": -1}, ValueError, "seed must be from 0 to 18446744073709551615, got -1"),
        (SONG, {"dtype": "float16"}, ValueError, "dtype must be 'float32' or 'float64', got 'float16'"),
        (SONG, {"num_threads": 0}, ValueError, "num_threads must be from 1 to 1024, got 0"),
        (SONG, {"resume": True}, ValueError, "resume must come with checkpoint, the file to resume from"),
        (SONG, {"callback": 3}, TypeError, "callback must be callable, got 3"),
        (SONG, {"init_from": 3}, TypeError, "init_from must be a CharRNN or the path of one, got int"),
    ],
)
def test_train_refuses(data, arguments, error, message):
    with pytest.raises(error) as raised:
        train(data, **arguments)
    assert str(raised.value) == message


def test_init_from_refuses_other_sizes_and_unknown_characters():
    model = train("hello world", hidden_size=8, epochs=1)
    with pytest.raises(ValueError, match="hidden_size must be 8, as of the model in init_from, got 9"):
        train("hello world", init_from=model, hidden_size=9)
    with pytest.raises(ValueError, match="'x' at position 3 of data is not among the model's 8 characters"):
        train("helx", init_from=model)
    with pytest.raises(ValueError, match="data must be a single text"):
        train(["hello", "world"], init_from=model)


def test_number_of_threads_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("CHARRNN_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="CHARRNN_NUM_THREADS must be a whole number from 1 to 1024, got 'many'"):
        train("hello world")
    monkeypatch.setenv("CHARRNN_NUM_THREADS", "3")
    monkeypatch.setattr(charrnn.system, "available_cpus", lambda: 8)
    assert charrnn.system.num_threads_or_default(None) == 3
    assert charrnn.system.num_threads_or_default(2) == 2


def test_rule_of_defaults_is_one_of_size_alone():
    for num_chars in (1, 2, 10, 1999, 10_000, 1_000_000, 10**9):
        rule = defaults(num_chars)
        assert 1 <= rule["batch_size"] <= num_chars
        assert 1 <= rule["seq_length"] <= num_chars
        assert rule["epochs"] >= 1
        assert {*train.__kwdefaults__, "rate"} >= rule.keys()


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_tanh_rnn_keeps_to_the_rule_but_for_dropout(cell):
    text, reports = SONG * 4, []
    train(text, cell=cell, hidden_size=8, epochs=0.01, val_fraction=0, callback=reports.append)
    settings, rule = reports[-1].settings, defaults(len(text))
    assert rule["dropout"] > 0 and rule["weight_decay"] > 0
    assert settings.weight_decay == rule["weight_decay"]
    assert settings.dropout == (0 if cell == "rnn" else rule["dropout"])


def test_settings_name_arguments_of_train():
    names = {field.name for field in dataclasses.fields(charrnn.train.Settings)}
    assert names <= train.__kwdefaults__.keys()


def test_new_characters_get_rows_of_their_own_and_the_others_keep_theirs():
    for data, further in ((SONG, SONG + "ß!"), (WORDS, [*WORDS, "ß!"])):
        base = train(data, hidden_size=6, epochs=2, progress=False)
        with pytest.raises(ValueError, match="'ß' at .* is not among the model's"):
            train(further, init_from=base, progress=False)
        model = train(further, init_from=base, extend_vocabulary=True, learning_rate=0.0, epochs=1, progress=False)
        known, vocabulary = base.vocabulary, model.vocabulary
        assert vocabulary.characters == known.characters + "!ß"
        assert (vocabulary.end is None) == (known.end is None)
        places = [vocabulary.characters.index(c) for c in known.characters]
        places += [] if known.end is None else [vocabulary.end]
        before, after = base.state_dict(), model.state_dict()
        for name, value in before.items():
            rows = after[name]
            if name == "rnn.weight_ih_l0":
                rows = rows[:, places]
            elif name.startswith("head"):
                rows = rows[places]
            np.testing.assert_array_equal(rows, value)
        longer = train(further, init_from=base, extend_vocabulary=True, epochs=40, progress=False)
        assert longer.evaluate(further).loss < model.evaluate(further).loss
        assert longer.next_probs("s")["ß"] > 0


def test_characters_may_be_reserved_from_the_start():
    model = train(WORDS, vocabulary="ßs", hidden_size=4, epochs=1, progress=False)
    assert "ß" in model.vocabulary
    assert train([*WORDS, "ß"], init_from=model, epochs=1, progress=False).vocabulary == model.vocabulary
    for arguments, message in (
        ({"extend_vocabulary": True}, "extend_vocabulary must come with init_from"),
        ({"init_from": model, "vocabulary": "x"}, "vocabulary must come with extend_vocabulary"),
    ):
        with pytest.raises(ValueError, match=message):
            train(WORDS, progress=False, **arguments)
    with pytest.raises(TypeError, match="^vocabulary must be a str of characters, got int$"):
        train(WORDS, progress=False, vocabulary=3)


def test_a_document_of_weight_w_is_w_documents():
    settings = dict(hidden_size=6, epochs=200, batch_size=1, progress=False)
    weighted, copied = train(["a", "b"], weights=[3, 1], **settings), train(["a", "a", "a", "b"], **settings)
    assert weighted.history.steps == copied.history.steps
    for model in weighted, copied:
        assert model.next_probs()["a"] == pytest.approx(0.75, abs=0.03)


def test_short_lines_without_documents_are_a_hint():
    rng = np.random.default_rng(0)
    names = "\n".join("".join(rng.choice(list("abcdefgh"), 6)) for _ in range(1500))
    settings = dict(hidden_size=4, epochs=0.01, progress=False)
    with pytest.warns(UserWarning, match="the text has 1,499 short lines and no blank one: if each is a document"):
        train(names, **settings)
    with pytest.warns(UserWarning, match="the text has no line ends but CR"):
        train(names.replace("\n", "\r"), **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(names.replace("a\n", "a\n\n"), **settings)
        train(names.split("\n"), **settings)
        train(SONG * 50, **settings)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.05])
def test_average_is_over_the_share_of_the_steps_that_is_asked_for(share):
    """Where p[t] = t, the average of all steps lies t / 2 behind; of a share s of them, about s t / (1 + s)."""
    steps = np.arange(1, 20_001)
    shares, average = average_shares(share, steps), 0.0
    for step, part in zip(steps.tolist(), shares.tolist(), strict=True):
        average += part * (step - average)
        if step % 1000 == 0:
            assert step - average == pytest.approx(share * step / (1 + share), rel=0.05, abs=4), step
    assert shares.min() >= 0
    assert shares.max() == 1
    assert np.count_nonzero(shares[10_000:]) == 10_000 // 8
    in_calls = [average_shares(share, call) for call in np.split(steps, [1, 10, 1000, 1003])]
    np.testing.assert_array_equal(np.concatenate(in_calls), shares)


@pytest.mark.parametrize("hidden_size", [16, 64, 300])
def test_what_the_optimizer_goes_over_begins_on_a_cache_line(monkeypatch, hidden_size):
    runs = []
    monkeypatch.setattr(charrnn.train.loop.Run, "_loop", lambda run, observers: runs.append(run))
    train(SONG, hidden_size=hidden_size, average=0.1)
    (run,) = runs
    for array in (run.model._arena, run.moments, run.squares, run.average):
        assert array.ctypes.data % 64 == 0


# The rule, and when a training ends ------------------------------------------------------------------------------


def a_language(seed):
    """Words of syllables, in which much is to be learned and no two lists of words are alike."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(12) / 2, size=5)

    def word():
        parts, vowel = [], rng.integers(5)
        for _ in range(rng.integers(1, 5)):
            parts.append("ptkbdgmnlrsv"[rng.choice(12, p=weights[vowel])])
            vowel = (vowel + rng.choice(3, p=[0.6, 0.3, 0.1])) % 5
            parts.append("aeiou"[vowel])
        return "".join(parts) + ("n" if rng.random() < 0.3 else "")

    return list(dict.fromkeys(word() for _ in range(4000)))


def n_gram_loss(documents, held_out, order=3):
    """Of the interpolated n-gram of Witten and Bell."""
    counts = collections.defaultdict(collections.Counter)
    for document in documents:
        symbols = "^" * (order - 1) + document + "$"
        for i in range(order - 1, len(symbols)):
            for length in range(order):
                counts[symbols[i - length : i]][symbols[i]] += 1
    total, count = 0.0, 0
    for document in held_out:
        symbols = "^" * (order - 1) + document + "$"
        for i in range(order - 1, len(symbols)):
            p = 1 / (len(counts[""]))
            for length in range(order):
                found = counts.get(symbols[i - length : i])
                if found is None:
                    break
                p = (found[symbols[i]] + len(found) * p) / (sum(found.values()) + len(found))
            total, count = total - math.log(p), count + 1
    return total / count


@pytest.mark.parametrize("count", [50, 300, 1500])
def test_lists_of_every_size_are_learned_better_than_by_n_grams(count):
    words = a_language(0)
    held_out = words[-1000:]
    losses = [train(words[:count], seed=seed).evaluate(held_out).loss for seed in (0, 1)]
    n_gram = min(n_gram_loss(words[:count], held_out, order) for order in (2, 3, 4, 5))
    assert np.mean(losses) < (1.0 if count == 50 else 0.97) * n_gram


def test_the_loss_falls_with_every_doubling_of_the_text():
    alphabet = " aeioubdgklmnprstv"
    text = alphabet + " ".join(np.random.default_rng(2).choice(a_language(1)[:400], 6000))
    losses = [train(text[:size]).evaluate(text[-10_000:]).loss for size in (1000, 2000, 4000, 8000)]
    assert losses == sorted(losses, reverse=True)


def test_what_is_too_short_to_hold_anything_out_is_learned_by_heart():
    for data in (SONG[:45], "hello world", WORDS, ["ann", "bob"]):
        model = train(data)
        assert not model.history.val_losses
        assert model.evaluate(data).loss < 0.7


def test_a_training_ends_when_validation_is_no_better_for_so_long():
    text = "".join(np.random.default_rng(0).choice(list("abcd"), 30_000))  # nothing is to be learned but by heart
    reports = []
    settings = dict(epochs=40, hidden_size=48, dropout=0, recurrent_dropout=0, smoothing=0, batch_size=16)
    model = train(text, patience=0.2, callback=reports.append, **settings)
    steps, losses = model.history.val_steps, model.history.val_losses
    total = 40 * steps[0] / 2  # the first of 20 validations is after two epochs
    assert steps[-1] - steps[int(np.argmin(losses))] == pytest.approx(0.2 * total, abs=2)
    assert model.history.steps[-1] == steps[-1] < total
    assert reports[-1].done == 1 and all(report.done < 1 for report in reports[:-1])
    assert len(train(text, patience=1, **settings).history.val_losses) == 20


def test_a_short_text_is_trained_on_anew_with_what_was_held_out():
    words = a_language(3)[:200]
    reports = []
    model = train(words, callback=reports.append)
    history = model.history
    assert np.all(np.diff(history.steps) > 0) and np.all(np.diff(history.times) >= 0)
    assert history.steps[-1] > history.val_steps[-1]
    assert [report.step for report in reports] == sorted({report.step for report in reports})
    done = [report.done for report in reports]
    assert done == sorted(done) and done.count(1.0) == 1
    # What was held out is known now: better than to those that were never asked to generalise from all of it.
    for own in ({"val_fraction": 0.2}, {"epochs": 20}, {"max_seconds": 100}):
        left = train(words, **own).history
        assert left.steps[-1] == left.val_steps[-1]


def test_a_model_is_trained_further_at_a_sixth_of_the_rate():
    reports = []
    first = train(SONG, epochs=1, hidden_size=64, callback=reports.append)
    train(SONG, epochs=1, init_from=first, callback=reports.append)
    assert reports[-1].settings.learning_rate == pytest.approx(charrnn.train.default_learning_rate(64, "gru") / 6)


def test_characters_that_only_the_held_out_part_has_do_not_count():
    text = SONG + "zebra " + "ЩЪЫ" * 100 + SONG[:100]
    model = train(text, val_fraction=406 / len(text), epochs=1, patience=1)
    assert model.history.val_losses[-1] < 3.5
