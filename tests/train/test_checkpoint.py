"""Checkpoints: what is resumed ends with the bits of what never stopped, and nothing that happens loses a model."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from peak import ENVIRONMENT

import charrnn
from charrnn import files
from charrnn.train import History, Settings, TrainingInterrupted, train

SONG = "the quick brown fox jumps over the lazy dog; " * 60
WORDS = ["stone", "sand", "sea", "salt", "shell", "shore", "ship", "sail"]

#: Of the test with real kills; more of them by hand.
KILLS = int(os.environ.get("CHARRNN_TEST_KILLS", "100"))

posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system")


@pytest.fixture
def checkpoint(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def same_bits(a, b):
    return all(np.array_equal(a.state_dict()[name], b.state_dict()[name]) for name in a.state_dict())


def state(path):
    """All that a checkpoint holds, bits and history, but for the clock's part."""
    tensors, record = files.read(path, kind="checkpoint")
    history = {name: values for name, values in record["history"].items() if "times" not in name}
    numbers = {name: record[name] for name in ("step", "position", "passes", "best_val_loss", "settings", "text")}
    return {name: array.tobytes() for name, array in tensors.items()}, history, numbers


class Killed(BaseException):
    """In place of SIGKILL: nothing is saved on its way."""


def killed_after(step):
    def callback(report):
        if report.step >= step:
            raise Killed

    return callback


def stop_after(step):
    def callback(report):
        if report.step >= step:
            raise KeyboardInterrupt

    return callback


# Exact resume ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adagrad"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_400_steps_killed_and_resumed_are_1000_in_one_go(tmp_path, every_thread_works, cell, optimizer):
    steps_per_epoch = -(-int(len(SONG) * 0.9 - 1) // (3 * 11))
    options = dict(cell=cell, optimizer=optimizer, hidden_size=12, num_layers=2, dropout=0.2, batch_size=3)
    options |= dict(recurrent_dropout=0.1, average=0.2)
    options |= dict(seq_length=11, val_fraction=0.1, epochs=1000 / steps_per_epoch)
    once, twice = tmp_path / "once", tmp_path / "twice"
    expected = train(SONG, checkpoint=once, num_threads=1, **options)
    assert expected.history.steps[-1] == 1000
    for step, num_threads in ((400, 1), (500, 2)):
        options |= dict(checkpoint=twice, resume=True, num_threads=num_threads)
        with pytest.raises(Killed):
            train(SONG, checkpoint_seconds=0, callback=killed_after(step), **options)
        assert step <= files.read(twice, kind="checkpoint")[1]["step"] < 1000
    model = train(SONG, **{**options, "num_threads": 1})
    assert same_bits(model, expected)
    assert state(twice) == state(once)


@pytest.mark.parametrize("num_threads", [2, 3, 5])
def test_any_number_of_threads_may_go_on_with_what_another_one_began(tmp_path, every_thread_works, num_threads):
    options = dict(cell="lstm", hidden_size=12, dropout=0.2, batch_size=7, seq_length=10, val_fraction=0.1, epochs=2)
    once, twice = tmp_path / "once", tmp_path / "twice"
    expected = train(SONG, checkpoint=once, num_threads=1, **options)
    options |= dict(checkpoint=twice, resume=True)
    with pytest.raises(Killed):
        train(SONG, checkpoint_seconds=0, num_threads=num_threads, callback=killed_after(20), **options)
    assert same_bits(train(SONG, num_threads=num_threads + 1, **options), expected)
    assert state(twice) == state(once)


@pytest.mark.parametrize("data", [SONG, WORDS * 40], ids=["text", "documents"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"optimizer": "sgd"},
        {"num_layers": 2, "dropout": 0.2, "val_fraction": 0.2},
        {"dtype": "float64"},
        {"recurrent_dropout": 0.3, "average": 0.1},
        {"average": 1.0, "val_fraction": 0.2},
    ],
)
def test_training_interrupted_and_resumed_ends_with_the_same_bits(checkpoint, every_thread_works, data, arguments):
    options = dict(epochs=12, hidden_size=24, batch_size=3, seq_length=11, **arguments)
    expected = train(data, **options)
    for step in (1, 60):
        with pytest.raises(TrainingInterrupted) as raised:
            train(data, checkpoint=checkpoint, resume=True, callback=stop_after(step), **options)
        assert raised.value.checkpointed
    model = train(data, checkpoint=checkpoint, resume=True, num_threads=2, **options)
    assert same_bits(model, expected)
    for name in ("losses", "steps", "val_losses", "val_steps", "learning_rates"):
        assert getattr(model.history, name) == getattr(expected.history, name)


# A child trains with a checkpoint every few milliseconds and is killed at a random moment, time and again.
KILLER = """
import json, os, random, signal, sys, time, warnings
import inside
from charrnn import files
from charrnn.train import train

inside.give_every_thread_work()
folder, kills, documents = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
text = ["stone", "sand", "sea", "salt"] * 30 if documents else "the quick brown fox jumps over the lazy dog; " * 60
options = dict(cell="gru", hidden_size=8, dropout=0.2, batch_size=3, seq_length=11, val_fraction=0.1, progress=False)
options |= dict(checkpoint_seconds=0.002, epochs=float(sys.argv[4]))
start = time.perf_counter()
train(text, checkpoint=f"{folder}/undisturbed", num_threads=1, **options).save(f"{folder}/undisturbed.model")
seconds = time.perf_counter() - start
rng, killed, within = random.Random(0), 0, 0
path = f"{folder}/killed"
while True:
    child = os.fork()
    if child == 0:
        # One child runs in two threads, the next in one.
        train(text, checkpoint=path, resume=True, num_threads=1 + killed % 2, **options).save(f"{folder}/killed.model")
        os._exit(0)
    if killed == kills:
        break
    time.sleep(rng.random() * seconds / kills)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status), "it was too early at its end"
    killed += 1
    within += any(name.endswith(".part") for name in os.listdir(folder))
    if os.path.exists(path):
        files.read(path, kind="checkpoint")
assert os.waitpid(child, 0)[1] == 0
print(json.dumps({"killed": killed, "within": within, "left": os.listdir(folder)}))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("documents", [False, True], ids=["text", "documents"])
def test_killed_at_a_hundred_random_moments_it_ends_with_the_bits_of_an_undisturbed_run(tmp_path, documents):
    arguments = [tmp_path, KILLS // 2, json.dumps(documents), 10 * KILLS]
    command = [sys.executable, "-c", KILLER, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["killed"] == KILLS // 2
    # Of a few kills perhaps none does.
    assert result["within"] > 0 or KILLS < 100, "no kill met a checkpoint while it was written"
    assert sorted(result["left"]) == ["killed", "killed.model", "undisturbed", "undisturbed.model"]
    assert (tmp_path / "killed.model").read_bytes() == (tmp_path / "undisturbed.model").read_bytes()
    assert state(tmp_path / "killed") == state(tmp_path / "undisturbed")


def test_resume_of_a_finished_training_gives_its_model(checkpoint):
    model = train(SONG, epochs=3, val_fraction=0.2, checkpoint=checkpoint)
    assert same_bits(model, train(SONG, epochs=3, val_fraction=0.2, checkpoint=checkpoint, resume=True))


def test_resume_where_there_is_nothing_starts_afresh(checkpoint):
    model = train(SONG, epochs=1, checkpoint=checkpoint, resume=True)
    assert same_bits(model, train(SONG, epochs=1))


def test_without_resume_a_checkpoint_is_begun_anew(checkpoint):
    train(SONG, epochs=3, checkpoint=checkpoint)
    model = train(SONG, epochs=1, checkpoint=checkpoint)
    assert same_bits(model, train(SONG, epochs=1))


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.001},
        {"schedule": "linear"},
        {"clip_norm": None},
        {"weight_decay": 0.1},
        {"average": 0.1},
        {"num_threads": 2},
    ],
)
def test_resume_allows_more_epochs_and_another_optimisation(checkpoint, change):
    first = train(SONG, epochs=3, checkpoint=checkpoint)
    second = train(SONG, epochs=6, checkpoint=checkpoint, resume=True, **change)
    assert second.history.steps[-1] == 2 * first.history.steps[-1]


ANOTHER = {
    "cell": "lstm",
    "hidden_size": 25,
    "num_layers": 2,
    "dropout": 0.1,
    "recurrent_dropout": 0.1,
    "smoothing": 0.1,
    "optimizer": "sgd",
    "batch_size": 3,
    "seq_length": 7,
    "val_fraction": 0.2,
    "seed": 1,
    "dtype": "float64",
}


def test_what_a_resumed_training_keeps_is_tried_below():
    assert set(ANOTHER) == set(Settings.KEPT)


@pytest.mark.parametrize("name, value", ANOTHER.items())
def test_resume_with_another_setting_is_refused_by_name_and_touches_nothing(checkpoint, name, value):
    train(SONG, epochs=1, hidden_size=24, checkpoint=checkpoint)
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=rf"{name} must be .*, as in the training that .* holds, got {value!r}"):
        train(SONG, epochs=1, checkpoint=checkpoint, resume=True, **{"hidden_size": 24, name: value})
    assert checkpoint.read_bytes() == before


def test_an_average_that_begins_with_a_resumed_training_begins_with_its_parameters(checkpoint):
    options = dict(hidden_size=24, dropout=0, val_fraction=0, checkpoint=checkpoint)
    first = train(SONG, epochs=2, average=0, **options)
    # Nothing is learned at rate 0, so the average of what comes after is the parameters again, but for rounding.
    second = train(SONG, epochs=4, average=0.5, resume=True, learning_rate=0, weight_decay=0, **options)
    for name, value in second.state_dict().items():
        np.testing.assert_allclose(value, first.state_dict()[name], rtol=1e-5, atol=1e-7)


def test_an_average_that_ends_with_a_resumed_training_is_left(checkpoint):
    options = dict(hidden_size=24, dropout=0, val_fraction=0)
    expected = train(SONG, epochs=2, average=0, checkpoint=checkpoint, **options)
    train(SONG, epochs=2, average=1, checkpoint=checkpoint, **options)
    assert same_bits(train(SONG, epochs=2, average=0, checkpoint=checkpoint, resume=True, **options), expected)


def test_a_checkpoint_from_before_there_was_recurrent_dropout_goes_on(checkpoint):
    options = dict(hidden_size=24, checkpoint=checkpoint)
    expected = train(SONG, epochs=4, hidden_size=24, recurrent_dropout=0)
    with pytest.raises(TrainingInterrupted):
        train(SONG, epochs=4, callback=stop_after(1), recurrent_dropout=0, **options)
    tensors, record = files.read(checkpoint, kind="checkpoint")
    del record["settings"]["recurrent_dropout"]
    files.write(checkpoint, {name: np.array(tensor) for name, tensor in tensors.items()}, record)
    with pytest.raises(ValueError, match=r"recurrent_dropout must be 0\.0, as in the training that"):
        train(SONG, epochs=4, resume=True, recurrent_dropout=0.1, **options)
    assert same_bits(train(SONG, epochs=4, resume=True, recurrent_dropout=0, **options), expected)


def test_ctrl_c_hands_out_the_average_and_the_checkpoint_goes_on_from_the_parameters(checkpoint):
    options = dict(epochs=6, hidden_size=24, average=0.5)
    expected = train(SONG, **options)
    with pytest.raises(TrainingInterrupted) as raised:
        train(SONG, callback=stop_after(40), checkpoint=checkpoint, **options)
    tensors, _ = files.read(checkpoint, kind="checkpoint")
    for name, value in raised.value.model.state_dict().items():
        np.testing.assert_array_equal(value, tensors[f"average.{name}"])
        assert not np.array_equal(value, tensors[f"parameters.{name}"]) or not value.any()
    assert same_bits(train(SONG, checkpoint=checkpoint, resume=True, **options), expected)


@pytest.mark.parametrize("share", [0.1, 0.8, 1.1, 1.5])
def test_a_training_that_begins_anew_goes_on_in_either_of_its_runs(checkpoint, share, monkeypatch):
    monkeypatch.setattr(charrnn.train.loop, "LOOK_SECONDS", 1e-9)
    names = [f"{a}{b}{c}" for a in "ptk" for b in ("an", "e", "io") for c in ("lo", "ris", "m", "tta")]
    expected = train(names)
    first = expected.history.val_steps[-1]  # the steps of the first run
    second = expected.history.num_steps - first
    step = round(first * share if share < 1 else first + second * (share - 1))
    with pytest.raises(TrainingInterrupted) as raised:
        train(names, checkpoint=checkpoint, callback=stop_after(step))
    _, record = files.read(checkpoint, kind="checkpoint")
    assert (record["refit_until"] is not None) == (share > 1)
    if share > 1:  # what is handed out is the best of the first run, not what the second one has come to
        assert raised.value.model.evaluate(names).loss < 1.2 * expected.evaluate(names).loss
    resumed = train(names, checkpoint=checkpoint, resume=True)
    assert same_bits(resumed, expected)
    assert resumed.history.losses == expected.history.losses
    assert resumed.history.val_losses == expected.history.val_losses


@pytest.mark.parametrize("data", [SONG.replace("fox", "cow"), SONG[:-1], SONG.replace("q", "Q"), [SONG]])
def test_resume_with_another_text_is_refused(checkpoint, data):
    options = dict(epochs=1, hidden_size=24, batch_size=1, seq_length=50, val_fraction=0, checkpoint=checkpoint)
    train(SONG, **options)
    with pytest.raises(ValueError, match="data must be the text that .* was trained on, got another one"):
        train(data, resume=True, **options)


def test_the_same_text_may_come_from_elsewhere(tmp_path, checkpoint, monkeypatch):
    (tmp_path / "song.txt").write_text(SONG)
    train(SONG, epochs=1, checkpoint=checkpoint)
    monkeypatch.setattr(charrnn.text.decoding, "MMAP_BYTES", 1)
    for data in (SONG.encode(), tmp_path / "song.txt"):
        train(data, epochs=2, checkpoint=checkpoint, resume=True)


# Failures -------------------------------------------------------------------------------------------------------


def fail(monkeypatch, function):
    """From now on this function of the system fails, as on a full disk."""

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if function == "write":
        monkeypatch.setattr(files.struct, "pack", full)
    else:
        monkeypatch.setattr(files.os, function, full)


@pytest.mark.parametrize("function", ["write", "fsync", "replace"])
def test_full_disk_ends_no_training_and_leaves_the_last_checkpoint(checkpoint, monkeypatch, function):
    options = dict(hidden_size=16, epochs=20, val_fraction=0.1, checkpoint=checkpoint, checkpoint_seconds=0)
    good = []

    def callback(report):
        if report.done > 0.5 and not good:
            good.append(checkpoint.read_bytes())
            fail(monkeypatch, function)

    with pytest.warns(RuntimeWarning, match="the checkpoint could not be saved, .* No space left on device"):
        model = train(SONG, callback=callback, **options)
    assert same_bits(model, train(SONG, **{**options, "checkpoint": None}))
    assert checkpoint.read_bytes() == good[0]
    assert os.listdir(checkpoint.parent) == [checkpoint.name]
    monkeypatch.undo()
    assert same_bits(model, train(SONG, resume=True, **options))


def test_checkpoints_go_on_once_there_is_room_again(checkpoint, monkeypatch):
    def callback(report):
        monkeypatch.undo()
        if 0.3 < report.done < 0.6:
            fail(monkeypatch, "fsync")

    options = dict(epochs=20, val_fraction=0.1, checkpoint=checkpoint, checkpoint_seconds=0)
    with pytest.warns(RuntimeWarning):
        model = train(SONG, callback=callback, **options)
    assert files.read(checkpoint, kind="checkpoint")[1]["step"] == model.history.steps[-1]


def test_a_folder_that_vanishes_ends_no_training(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    options = dict(epochs=20, val_fraction=0.1, checkpoint_seconds=0)
    with pytest.warns(RuntimeWarning, match="the checkpoint could not be saved"):
        model = train(
            SONG, checkpoint=folder / "checkpoint", callback=lambda report: shutil.rmtree(folder, True), **options
        )
    assert same_bits(model, train(SONG, **options))


def test_ctrl_c_on_a_full_disk_keeps_the_model(checkpoint, monkeypatch):
    fail(monkeypatch, "fsync")
    with pytest.warns(RuntimeWarning), pytest.raises(TrainingInterrupted) as raised:
        train(SONG, checkpoint=checkpoint, callback=stop_after(3))
    assert not raised.value.checkpointed
    assert raised.value.model.sample("t", 3, rng=0)


def test_ctrl_c_again_while_a_checkpoint_is_written_keeps_the_model(checkpoint, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupted)
    with pytest.raises(TrainingInterrupted) as raised:
        train(SONG, checkpoint=checkpoint, callback=stop_after(3))
    assert not raised.value.checkpointed
    assert raised.value.model.sample("t", 3, rng=0)
    assert os.listdir(checkpoint.parent) == []


def test_divergence_leaves_the_last_checkpoint(checkpoint):
    train(SONG, epochs=2, checkpoint=checkpoint)
    before = checkpoint.read_bytes()
    with pytest.raises(charrnn.DivergenceError):
        train(SONG, epochs=20, learning_rate=1e6, schedule="constant", checkpoint=checkpoint, resume=True)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    "place, message",
    [
        ("nowhere/checkpoint", "checkpoint must be in a folder that exists, got"),
        (".", "checkpoint must be a file, got the folder"),
        ("", "checkpoint must be"),
    ],
)
def test_a_checkpoint_that_can_never_be_written_is_refused_at_once(tmp_path, monkeypatch, place, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        train(SONG, checkpoint=place)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused_at_once(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="checkpoint must be in a folder that you may write to"):
        train(SONG, checkpoint=tmp_path / "checkpoint")


def test_what_a_killed_process_left_is_removed_and_what_another_one_writes_is_not(checkpoint):
    left = checkpoint.with_name(f".{checkpoint.name}.0123456789abcdef.part")
    left.write_bytes(b"half of it")
    others = checkpoint.with_name(".another.safetensors.0123456789abcdef.part")
    others.write_bytes(b"of another")
    train(SONG, epochs=1, checkpoint=checkpoint)
    assert not left.exists()
    assert others.exists()
    with files._replacement(checkpoint) as file:
        file.write(b"not yet whole")
        file.flush()
        train(SONG, epochs=1, checkpoint=checkpoint)
        assert any(path.name.endswith(".part") and path != others for path in checkpoint.parent.iterdir())


# Damaged checkpoints --------------------------------------------------------------------------------------------


def rewrite(path, change):
    """A checkpoint in which something is another."""
    tensors, record = files.read(path, kind="checkpoint")
    change(tensors, record)
    del record["format_version"]
    files.write(path, tensors, record)


DAMAGE = {
    "position": lambda t, r: r.update(position=10**12),
    "negative position": lambda t, r: r.update(position=-1),
    "position between two": lambda t, r: r.update(position=1),
    "position as text": lambda t, r: r.update(position="0"),
    "step": lambda t, r: r.update(step=-1),
    "huge step": lambda t, r: r.update(step=2**63),
    "step that is none": lambda t, r: r.update(step=True),
    "passes": lambda t, r: r.update(passes=-1),
    "seconds": lambda t, r: r.update(seconds=-1),
    "best loss": lambda t, r: r.update(best_val_loss="low"),
    "no history": lambda t, r: r.pop("history"),
    "no settings": lambda t, r: r.pop("settings"),
    "settings that are none": lambda t, r: r.update(settings=3),
    "history that is none": lambda t, r: r.update(history=[]),
    "unknown history": lambda t, r: r["history"].update(more=1),
    "history of text": lambda t, r: r["history"].update(losses=["low"] * len(r["history"]["losses"])),
    "history of other lengths": lambda t, r: r["history"]["losses"].pop(),
    "stretch": lambda t, r: r["history"].update(stretch=0),
    "too much pending": lambda t, r: r["history"].update(pending_steps=r["history"]["stretch"]),
    "no parameter": lambda t, r: t.pop("parameters.head.bias"),
    "no state": lambda t, r: t.pop("state"),
    "shape that broadcasts": lambda t, r: t.update({"moments.head.weight": np.zeros((1, 1), np.float32)}),
    "state of another shape": lambda t, r: t.update(state=np.zeros((1, 1, 1), np.float32)),
    "unknown array": lambda t, r: t.update(more=np.zeros(3, np.float32)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_checkpoint_is_named_as_such_and_left_as_it_is(checkpoint, name):
    options = dict(epochs=1.5, hidden_size=24, checkpoint=checkpoint)
    train(SONG, **options)
    rewrite(checkpoint, DAMAGE[name])
    before = checkpoint.read_bytes()
    with pytest.raises(charrnn.ModelFileError, match="is damaged: "):
        train(SONG, resume=True, **options)
    assert checkpoint.read_bytes() == before


def test_checkpoint_is_no_model_and_a_model_no_checkpoint(tmp_path):
    model = train(SONG, epochs=1, checkpoint=tmp_path / "checkpoint")
    model.save(tmp_path / "model")
    with pytest.raises(charrnn.ModelFileError, match="must be a charrnn model, it is a 'checkpoint' file"):
        charrnn.load(tmp_path / "checkpoint")
    with pytest.raises(charrnn.ModelFileError, match="must be a charrnn checkpoint, it is a 'model' file"):
        train(SONG, epochs=1, checkpoint=tmp_path / "model", resume=True)


def test_history_comes_back_from_its_record():
    history = History(chars_per_step=50)
    history.add(0, np.linspace(4, 1, 5001), np.full(5001, 0.1), 0.0, 1.0)
    assert history.pending_steps == 1
    record = json.loads(json.dumps(history.__dict__))
    assert History.from_record(record) == history


def test_a_training_goes_on_with_its_own_weights_only(tmp_path):
    path, settings = tmp_path / "checkpoint", {"hidden_size": 4, "progress": False, "val_fraction": 0}
    train(["a", "b"], weights=[3, 1], checkpoint=path, epochs=2, **settings)
    for weights in ([1, 3], None):
        with pytest.raises(ValueError, match="^data must be the text that .*, got another one$"):
            train(["a", "b"], weights=weights, checkpoint=path, resume=True, epochs=3, **settings)
    resumed = train(["a", "b"], weights=[3, 1], checkpoint=path, resume=True, epochs=3, schedule="constant", **settings)
    assert resumed.history.steps[-1] == 3
