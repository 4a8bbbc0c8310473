"""`charrnn train`: its options, its files, resuming, Ctrl-C."""

from __future__ import annotations

import inspect
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import SMALL, TEXT, assert_one_line_error, limit_files, posix, run, start

import charrnn
from charrnn.cli import outputs
from charrnn.options import declared
from charrnn.train import train
from charrnn.train.settings import Settings, Surroundings


def test_every_argument_of_train_is_an_option() -> None:
    arguments = set(inspect.signature(train).parameters) - {"data", "progress", "callback", "weights"}
    options = {**declared(Settings), **declared(Surroundings)}
    assert options.keys() == arguments
    assert {name: default for name, (default, _) in options.items()}.items() <= train.__kwdefaults__.items()


def test_help_of_train_shows_every_option_with_its_default(tmp_path: Path) -> None:
    result = run("train", "--help", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    text = " ".join(result.stdout.split())
    for name in (*declared(Settings), *declared(Surroundings)):
        option = text.split(f" --{name.replace('_', '-')} ")[1].split(" --")[0]
        assert "(default: " in option or name in ("init_from", "resume", "extend_vocabulary"), name
    assert "--beta2 X decay of the average squared gradient (adam, rmsprop) (default: 0.99)" in text
    assert "--hidden-size N hidden units in each layer (default: by the text's size)" in text
    assert "1,000,000 characters" in text


def test_quiet_says_nothing(folder: Path, tmp_path: Path) -> None:
    result = run("train", folder / "fox.txt", *SMALL, "--quiet", "--resume", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_options_reach_the_training(folder: Path, tmp_path: Path) -> None:
    result = run(
        "train",
        folder / "fox.txt",
        "--hidden-size",
        8,
        "--num-layers",
        2,
        "--dtype",
        "float64",
        "--max-seconds",
        0.2,
        "--num-threads",
        1,
        "--optimizer",
        "sgd",
        "--clip-norm",
        "none",
        "--clip-value",
        5,
        "--val-fraction",
        0.5,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "rnn, 2 layers of 8 units" in result.stderr
    assert "1 thread, " in result.stderr
    assert "ends after 0.2 seconds" in result.stderr
    assert "validation loss" in result.stderr
    model = charrnn.load(tmp_path / "fox.safetensors")
    assert (model.num_layers, model.dtype) == (2, np.float64)


def test_init_from_keeps_the_sizes_of_the_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("hold the world")
    train("hold the world", hidden_size=5, epochs=1, progress=False).save(tmp_path / "small")
    result = run("train", "more.txt", "--init-from", "small", "--epochs", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert charrnn.load(tmp_path / "more.safetensors").hidden_size == 5
    result = run("train", "more.txt", "--init-from", "small", "--hidden-size", 6, "--force", cwd=tmp_path)
    assert_one_line_error(result, "--hidden-size", "--init-from")


def test_diverged_training_is_exit_code_1(folder: Path, tmp_path: Path) -> None:
    options = ["--optimizer", "sgd", "--learning-rate", "1e6", "--clip-norm", "none", "--epochs", 50]
    result = run("train", folder / "fox.txt", *options, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    error = result.stderr.splitlines()[-1]
    assert error.startswith("charrnn: error: training diverged at step ")
    assert "--learning-rate" in error
    assert not (tmp_path / "fox.safetensors").exists()


@posix
def test_a_model_that_cannot_be_saved_is_said_so_with_exit_code_2(folder: Path, tmp_path: Path) -> None:
    result = run("train", folder / "fox.txt", *SMALL, cwd=tmp_path, preexec_fn=limit_files(100))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("charrnn: error: the model could not be saved: ")
    assert "Traceback" not in result.stderr


@posix
def test_a_checkpoint_that_cannot_be_saved_does_not_lose_the_model(folder: Path, tmp_path: Path) -> None:
    result = run(
        "train", folder / "fox.txt", "--hidden-size", 32, "--epochs", 2, cwd=tmp_path, preexec_fn=limit_files(20_000)
    )
    assert result.returncode == 0
    assert "charrnn: warning: the checkpoint could not be saved, the training goes on without: " in result.stderr
    assert not (tmp_path / "fox.checkpoint.safetensors").exists()
    assert charrnn.load(tmp_path / "fox.safetensors").hidden_size == 32


def test_resume_with_nothing_to_resume_says_so_and_trains(folder: Path, tmp_path: Path) -> None:
    result = run("train", folder / "fox.txt", *SMALL, "--resume", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("nothing to resume: there is no fox.checkpoint.safetensors")
    assert (tmp_path / "fox.safetensors").exists()


def test_a_resumed_training_ends_as_one_in_one_go(folder: Path, tmp_path: Path) -> None:
    fox = ["train", folder / "fox.txt", "--hidden-size", 8, "--schedule", "constant", "--warmup", 0]
    twice = [*fox, "-o", "twice", "--checkpoint", "kept"]
    assert run(*fox, "--epochs", 4, "-o", "once", cwd=tmp_path).returncode == 0
    assert run(*twice, "--epochs", 2, cwd=tmp_path).returncode == 0
    result = run(*twice, "--epochs", 4, "--resume", cwd=tmp_path)
    assert result.returncode == 0
    assert "resumed from kept at epoch" in result.stderr
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()
    result = run(*twice, "--epochs", 4, "--resume", cwd=tmp_path)
    assert "complete" in result.stderr
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()


def test_every_model_name_has_a_checkpoint_of_its_own() -> None:
    names = ["lr0.01", "lr0.02", "v1.1", "v1.1.safetensors.bak", "a.safetensors", "b/a.safetensors", ".safetensors.x"]
    assert len({outputs.beside(Path(name), "checkpoint") for name in names}) == len(names)
    assert outputs.beside(Path("b/a.safetensors"), "checkpoint") == Path("b/a.checkpoint.safetensors")
    assert outputs.beside(Path("lr0.01"), "checkpoint") == Path("lr0.01.checkpoint.safetensors")


def test_a_training_goes_on_with_its_own_checkpoint_alone(folder: Path, tmp_path: Path) -> None:
    fox = ["train", folder / "fox.txt", *SMALL]
    assert run(*fox, "-o", "lr0.01", "--checkpoint", "lr0.01.checkpoint.safetensors", cwd=tmp_path).returncode == 0
    result = run(*fox, "-o", "lr0.02", "--learning-rate", 0.02, "--resume", cwd=tmp_path)
    assert result.returncode == 0
    assert "nothing to resume: there is no lr0.02.checkpoint.safetensors" in result.stderr


def test_a_complete_training_leaves_the_model_alone(folder: Path, tmp_path: Path) -> None:
    assert run("train", folder / "fox.txt", *SMALL, "--checkpoint-seconds", 0.001, cwd=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["fox.safetensors"]
    assert run("train", folder / "fox.txt", *SMALL, "--checkpoint", "kept", "--force", cwd=tmp_path).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"fox.safetensors", "kept"}


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_a_model_that_is_there_is_not_replaced_by_accident(folder: Path, tmp_path: Path, options: list[str]) -> None:
    assert run("train", folder / "fox.txt", *SMALL, "--seed", 1, cwd=tmp_path).returncode == 0
    before = (tmp_path / "fox.safetensors").read_bytes()
    result = run("train", folder / "fox.txt", *SMALL, *options, cwd=tmp_path)
    assert_one_line_error(result, "fox.safetensors is there already", "--force replaces it")
    assert (tmp_path / "fox.safetensors").read_bytes() == before
    assert run("train", folder / "fox.txt", *SMALL, *options, "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "fox.safetensors").read_bytes() != before


def test_a_training_that_was_begun_is_not_begun_anew_by_accident(folder: Path, tmp_path: Path) -> None:
    fox = ["train", folder / "fox.txt", "--hidden-size", 8, "-o", "m"]
    kept = ["--checkpoint", "m.checkpoint.safetensors"]
    assert run(*fox, "--epochs", 3, *kept, cwd=tmp_path).returncode == 0
    (tmp_path / "m").unlink()
    before = (tmp_path / "m.checkpoint.safetensors").read_bytes()
    result = run(*fox, "--epochs", 1, cwd=tmp_path)
    assert_one_line_error(result, "m.checkpoint.safetensors holds a training that was begun", "--resume", "--force")
    assert (tmp_path / "m.checkpoint.safetensors").read_bytes() == before
    assert run(*fox, "--epochs", 1, *kept, "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "m.checkpoint.safetensors").read_bytes() != before


def test_resume_without_the_text_says_so(folder: Path, tmp_path: Path) -> None:
    options = ["--hidden-size", 4, "-o", "m", "--checkpoint", "kept", "--cell", "gru"]
    assert run("train", folder / "fox.txt", *options, "--epochs", 1, cwd=tmp_path).returncode == 0
    result = run("train", *options, "--cell", "rnn", "--resume", cwd=tmp_path)
    assert_one_line_error(result, "no FILE was given, and so the text is Python's standard")


def test_the_default_name_of_a_model_follows_that_of_the_text() -> None:
    for files, name in {
        ("data/book.txt", "b.txt"): "book.safetensors",
        ("v1.1.txt.gz",): "v1.1.safetensors",
        ("-",): "model.safetensors",
        ("corpus",): "corpus.safetensors",
        ("other.safetensors",): "model.safetensors",
        (): "python.safetensors",
    }.items():
        assert outputs.default_output(files) == name


@posix
def test_ctrl_c_saves_the_model_so_far_with_exit_code_130(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text(TEXT * 200)
    process = start(
        "train",
        "long.txt",
        "--hidden-size",
        512,
        "--epochs",
        1000,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    while b"epoch " not in (line := process.stderr.readline()) or b"chars/s" not in line:
        assert line, "no progress was shown"
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    assert time.monotonic() - sent < 10
    assert (process.returncode, stdout) == (130, b"")
    assert stderr.decode().splitlines()[-1].startswith("interrupted: the model so far is in long.safetensors")
    assert charrnn.load(tmp_path / "long.safetensors").hidden_size == 512


def test_plot_draws_the_learning_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "song.txt").write_text("row, row, row your boat\n" * 20)
    result = run("train", "song.txt", *SMALL, "--plot", "curve.png", "--quiet", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    result = run("train", "song.txt", *SMALL, "--plot", "nowhere/curve.png", cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "plot must be in a folder that exists" in result.stderr
