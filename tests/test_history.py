"""What a model remembers of how it came to be."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn import CharRNN
from charrnn.history import History
from charrnn.text.documents import Cut
from charrnn.train import train

SONG = "ten green bottles hanging on the wall\n" * 40
SHORT: dict[str, Any] = {"hidden_size": 4, "epochs": 2, "progress": False}


def test_a_model_file_remembers_its_text_its_settings_and_its_losses(tmp_path: Path) -> None:
    path = tmp_path / "song.txt"
    path.write_text(SONG, "utf-8")
    model = train(path, val_fraction=0.25, seed=3, batch_size=2, **SHORT)
    model.save(tmp_path / "model")
    history = charrnn.load(tmp_path / "model").history
    assert history is not None and model.history is not None
    origin = history.origin
    assert origin is not None and origin == model.history.origin
    assert (origin.version, origin.text) == (charrnn.__version__, "song.txt")
    assert (origin.num_chars, origin.num_val_chars, origin.num_documents) == (len(SONG), len(SONG) // 4, 0)
    assert origin.settings["seed"] == 3 and origin.settings["hidden_size"] == 4
    assert origin.settings["max_seconds"] is None
    assert (origin.epochs, origin.seconds) == (2, None)
    assert origin.val_loss == min(model.history.val_losses)
    assert history.val_losses == pytest.approx(model.history.val_losses, rel=1e-5)
    assert history.losses == pytest.approx(model.history.losses, rel=1e-5)
    assert (history.steps, history.val_steps) == (model.history.steps, model.history.val_steps)
    assert charrnn.load(tmp_path / "model").cut is None


def test_equal_trainings_write_equal_bytes(tmp_path: Path) -> None:
    for name in "first", "second":
        train(SONG, val_fraction=0.1, **SHORT).save(tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_a_training_that_is_resumed_writes_the_bytes_of_one_that_never_stopped(tmp_path: Path) -> None:
    train(SONG, **SHORT).save(tmp_path / "first")
    checkpoint = tmp_path / "checkpoint"
    train(SONG, checkpoint=checkpoint, **SHORT)
    for _ in range(2):
        train(SONG, checkpoint=checkpoint, resume=True, **SHORT).save(tmp_path / "second")
        assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_seconds_are_remembered_where_they_were_given(tmp_path: Path) -> None:
    model = train(SONG, hidden_size=4, max_seconds=0.3, progress=False)
    assert model.history is not None and model.history.origin is not None
    assert model.history.origin.seconds is not None and 0 < model.history.origin.seconds < 5


def test_a_long_history_takes_few_points(tmp_path: Path) -> None:
    model = train(SONG, hidden_size=4, epochs=100, seq_length=4, batch_size=1, progress=False)
    model.save(tmp_path / "model")
    again = charrnn.load(tmp_path / "model").history
    assert again is not None and model.history is not None
    assert len(model.history.steps) > 1000
    assert 100 < len(again.steps) <= History.FEW_POINTS
    assert again.losses[-1] == pytest.approx(model.history.losses[-1], abs=0.1)
    assert (tmp_path / "model").stat().st_size < 40_000


def test_a_model_knows_how_its_documents_were_cut(tmp_path: Path) -> None:
    path = tmp_path / "tunes.abc.gz"
    path.write_bytes(gzip.compress(b"X:1\nabc\n\nX:2\ndef\n"))
    model = train(charrnn.documents(path, separator="\n\n"), **SHORT)
    model.save(tmp_path / "model")
    for again in model, charrnn.load(tmp_path / "model"):
        assert again.cut == Cut(separator="\n\n")
        assert again.history is not None and again.history.origin is not None
        assert (again.history.origin.text, again.history.origin.num_documents) == ("tunes.abc.gz", 2)
    assert train(["a", "b"], **SHORT).cut == Cut() == CharRNN(charrnn.Vocabulary("ab", end=True)).cut


def rewritten(path: Path, change: Any) -> None:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    record = json.loads(header["__metadata__"]["charrnn"])
    change(record)
    header["__metadata__"]["charrnn"] = json.dumps(record)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda history: history.update(losses=3),
        lambda history: history.update(losses=[1.0]),
        lambda history: history.update(more=1),
        lambda history: history.update(origin=3),
        lambda history: history["origin"].update(text=3),
        lambda history: history["origin"].update(num_chars=-1),
        lambda history: history["origin"].update(cut={"column": []}),
        lambda history: history["origin"].update(cut={"more": 1}),
        lambda history: history["origin"].update(settings=[]),
        lambda history: history["origin"].update(val_loss="low"),
        lambda history: history["origin"].update(more=1),
        lambda history: history["origin"].pop("version"),
    ],
)
def test_a_damaged_memory_is_named_as_such(change: Any, tmp_path: Path) -> None:
    path = tmp_path / "model"
    train(["a", "b"], **SHORT).save(path)
    rewritten(path, lambda record: change(record["history"]))
    with pytest.raises(charrnn.ModelFileError, match="model is damaged: "):
        charrnn.load(path)


def test_a_file_without_a_memory_loads(tmp_path: Path) -> None:
    path = tmp_path / "model"
    train(["a", "b"], **SHORT).save(path)
    rewritten(path, lambda record: record.pop("history"))
    model = charrnn.load(path)
    assert model.history is None and model.cut == Cut()
