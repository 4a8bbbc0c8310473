"""`charrnn train`: train a model on text."""

from __future__ import annotations

import argparse
import math
import shlex
import signal
import sysconfig
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.inputs import STANDARD_TEXT_LENGTH, add_cut_arguments, cut_of, data_of, name_of
from charrnn.cli.options import FAILED, INTERRUPTED, WRONG, add_declared
from charrnn.cli.outputs import beside, check_nothing_is_lost, check_output, default_output, message_of
from charrnn.cli.watch import Watch
from charrnn.console import warnings_as_lines, write
from charrnn.options import declared

if TYPE_CHECKING:
    from charrnn.errors import DivergenceError
    from charrnn.history import History
    from charrnn.model import CharRNN


def declare(parser: argparse.ArgumentParser) -> None:
    from charrnn.train.settings import Settings, Surroundings

    parser.usage = "charrnn train [FILE ...] [-o MODEL] [options]"
    parser.epilog = (
        "Ctrl-C ends the training; the model is then saved as it is.\n\n"
        "examples:\n"
        "  charrnn train book.txt --max-seconds 180\n"
        "  charrnn train names.txt --documents -o names.safetensors\n"
        "  charrnn train part1.txt part2.txt --hidden-size 1024 --dropout 0.2 --resume\n"
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="the text, several files one after the other, - for stdin (default: the source of Python's standard "
        f"library, the first {STANDARD_TEXT_LENGTH:,} characters)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="MODEL",
        help="file for the model (default: the name of the text, with .safetensors in place of its ending)",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a model, and begin a training anew whose checkpoint is there"
    )
    add_cut_arguments(parser, "the files are one text")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument(
        "--plot", metavar="PICTURE", help="draw the losses and the learning rate into this file (needs matplotlib)"
    )
    add_declared(parser, Settings, Surroundings)


def run(args: argparse.Namespace) -> int:
    from charrnn import plot
    from charrnn.train import DivergenceError, train
    from charrnn.train.settings import Settings, Surroundings

    say = (lambda text: None) if args.quiet else write
    files = _files(args, say)
    data = data_of(args.files, cut_of(args), args.encoding)
    name = name_of(args.files) or f"Python's standard library in {sysconfig.get_path('stdlib')}"
    watch = Watch(say, args, name, files.resumed)
    options = {name: getattr(args, name) for name in (*declared(Settings), *declared(Surroundings))}
    try:
        with warnings_as_lines():
            model = train(data, **options, progress=not args.quiet, callback=watch)
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt, watch, files)
    except ValueError as error:
        if files.resumed and not args.files:
            raise ValueError(
                f"{message_of(error, vars(args))}; no FILE was given, and so the text is Python's standard library"
            ) from None
        raise
    except DivergenceError as error:
        return _diverged(error, args, files)
    except (OSError, MemoryError) as error:
        # There was no room for the checkpoint, but perhaps there is for the model, which is a quarter of its size.
        if watch.model is None:
            raise
        _save(watch.model, files)
        write(f"charrnn: error: {message_of(error, vars(args))}; the model so far is in {files.output}")
        return WRONG
    _save(model, files)
    if args.plot is not None and _history(model).steps:
        plot.learning_curves(_history(model), args.plot)
    if watch.model is None:
        say(f"{files.checkpoint} holds a training that is complete; with more --epochs it goes on")
    elif not files.keeps_checkpoint:
        files.checkpoint.unlink(missing_ok=True)
    if not args.quiet:
        write(f"{files.output}: {_loss(model)}, a sample:\n{watch.samples.drawn(model, seed=0)}")
        write(f"sample it with: charrnn sample {shlex.quote(str(files.output))}")
    return 0


@dataclass(frozen=True)
class _Files:
    """What a training writes: its model and its checkpoint.

    Attributes
    ----------
    keeps_checkpoint : bool
        Whether the checkpoint stays when the training is complete.
    resumed : bool
        Whether the checkpoint is there and the training goes on from it.
    """

    output: Path
    checkpoint: Path
    keeps_checkpoint: bool
    resumed: bool


def _files(args: argparse.Namespace, say: Callable[[str], None]) -> _Files:
    """The files that are asked for, or belong to the text's name, checked before anything is read."""
    from charrnn import plot

    output = Path(args.output or default_output(args.files))
    check_output("output" if args.output else "the model's file", output, args.files)
    keeps_checkpoint = args.checkpoint is not None
    checkpoint = Path(args.checkpoint or beside(output, "checkpoint"))
    args.output, args.checkpoint = str(output), str(checkpoint)
    check_output("checkpoint" if keeps_checkpoint else "the checkpoint", checkpoint, [args.output, *args.files])
    if args.plot is not None:
        check_output("plot", Path(args.plot), [args.output, args.checkpoint, *args.files])
        plot.check_picture(args.plot)
    resumed = args.resume and checkpoint.exists()
    if not resumed and not args.force:
        check_nothing_is_lost(output, checkpoint, args.resume)
    if args.resume and not resumed:
        say(f"nothing to resume: there is no {checkpoint}; training starts afresh")
    return _Files(output, checkpoint, keeps_checkpoint, resumed)


def _interrupted(interrupt: KeyboardInterrupt, watch: Watch, files: _Files) -> int:
    """Save the model as it is after Ctrl-C, if there is one."""
    model = getattr(interrupt, "model", watch.model)
    if model is None or not _history(model).steps:
        raise interrupt
    _save(model, files)
    goes_on = "; the same command with --resume goes on" if getattr(interrupt, "checkpointed", False) else ""
    write(f"interrupted: the model so far is in {files.output}{goes_on}")
    return INTERRUPTED


def _diverged(error: DivergenceError, args: argparse.Namespace, files: _Files) -> int:
    """Save the best model before the divergence, if a validation has found one."""
    message = message_of(error, vars(args))
    if _history(error.model).val_losses:
        _save(error.model, files)
        message += f"; the best model so far is in {files.output}"
    write(f"charrnn: error: {message}")
    return FAILED


def _save(model: CharRNN, files: _Files) -> None:
    """Save the model; Ctrl-C, impatiently repeated, waits until this is done."""
    # Only the main thread may set handlers, and only it is interrupted by Ctrl-C.
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        model.save(files.output)
    except (OSError, MemoryError) as error:
        there = files.checkpoint.exists()
        kept = f"; the training is kept in {files.checkpoint}: make room and use --resume" if there else ""
        raise OSError(f"the model could not be saved: {message_of(error, {})}{kept}") from None
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)


def _history(model: CharRNN) -> History:
    """Return the history of a model that has just been trained."""
    assert model.history is not None
    return model.history


def _loss(model: CharRNN) -> str:
    """Say the loss of a model that has just been trained: of its best validation, from which it was taken."""
    history = _history(model)
    part, losses = ("validation", [min(history.val_losses)]) if history.val_losses else ("training", history.losses)
    return f"{part} loss {losses[-1]:.4f} nats, {losses[-1] / math.log(2):.4f} bits per character"
