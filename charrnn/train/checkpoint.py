"""The checkpoint of a training: its whole state in a file, from which it goes on as if nothing had come between.

It knows what a run consists of, but not how a step is made or when it is time to save.
"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from charrnn import files
from charrnn.errors import ArgumentValueError, integer, number
from charrnn.history import History
from charrnn.text import corpus
from charrnn.train.settings import Settings

if TYPE_CHECKING:
    from charrnn.train.loop import Run


#: By what rule documents are read. A training that was begun by another one, before 0.2, cannot go on.
READING_OF_DOCUMENTS = b"a ring in equal parts"


class Checkpoint:
    """The file in which the state of a run is kept."""

    def __init__(self, path: Path, seconds: float, run: Run) -> None:
        self.path = path
        self.seconds = seconds
        self.saved = run.began
        self.fingerprint = _fingerprint(run.training, run.validation)
        files.remove_leftovers(path)

    def is_due(self) -> bool:
        """Whether the last save is as many seconds ago as lie between one and the next."""
        return time.perf_counter() - self.saved >= self.seconds

    def save(self, run: Run) -> bool:
        """Save the run; False, with a warning, where the disk refuses: hours of training are not to end by that."""
        record = {
            **files.describe(run.model),
            "kind": "checkpoint",
            "settings": {name: getattr(run.settings, name) for name in Settings.KEPT},
            "text": self.fingerprint,
            "step": run.trainer.step,
            "position": run.trainer.position,
            "passes": run.trainer.passes,
            "seconds": run.seconds(),
            "best_val_loss": None if math.isinf(run.best_val_loss) else run.best_val_loss,
            "refit_until": run.refit_until,
            "steps_before": run.steps_before,
            "history": dataclasses.asdict(run.history),
        }
        try:
            tensors = {
                f"{kind}.{name}": array for kind, arrays in _arrays(run).items() for name, array in arrays.items()
            }
            files.write(self.path, {**tensors, "state": run.trainer.get_state()}, record)
        except OSError as error:
            message = f"the checkpoint could not be saved, the training goes on without: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return False
        finally:
            self.saved = time.perf_counter()
        return True

    def restore(self, run: Run) -> None:
        """Bring the run, which has made no step yet, to where the file left off."""
        path = self.path
        tensors, record = files.read(path, kind="checkpoint")
        try:
            # The text first, for another one has other defaults, which would seem to be what is wrong; but not where
            # the same text may have been parted otherwise.
            settings = {**Settings.BEFORE, **record["settings"]}
            parted_alike = all(settings[name] == getattr(run.settings, name) for name in ("val_fraction", "seed"))
            if parted_alike and record["text"] != self.fingerprint:
                raise ArgumentValueError("data", f"must be the text that {path} was trained on, got another one")
            for name in Settings.KEPT:
                before, now = settings[name], getattr(run.settings, name)
                if before != now:
                    raise ArgumentValueError(
                        name, f"must be {before!r}, as in the training that {path} holds, got {now!r}"
                    )
        except (KeyError, TypeError) as error:
            raise files.damaged(path, error) from None
        try:
            if record.get("refit_until") is not None:
                run.begin_anew(
                    number("refit_until", record["refit_until"], 0, 1, above=True),
                    integer("steps_before", record["steps_before"], 1),
                )
            held = _check_arrays(tensors, run)
            run.read_epoch(integer("passes", record["passes"], 0))
            run.trainer.restore(
                integer("step", record["step"], 0, 2**62),
                integer("position", record["position"], 0),
                record["passes"],
                tensors["state"],
            )
            history = History.from_record(record["history"])
            best_val_loss = record["best_val_loss"]
            best_val_loss = math.inf if best_val_loss is None else number("best_val_loss", best_val_loss, 0)
            seconds = number("seconds", record["seconds"], 0)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise files.damaged(path, error) from None
        for kind, arrays in _arrays(run).items():
            # The average is a setting that may be another than before: one that begins here begins with the parameters.
            source = kind if kind in held else "parameters"
            for name, array in arrays.items():
                array[...] = tensors[f"{source}.{name}"]
        history.origin = run.history.origin
        run.history = run.model.history = history
        run.best_val_loss = best_val_loss
        run.began -= seconds


def _arrays(run: Run) -> dict[str, dict[str, np.ndarray]]:
    """Parameters, optimizer state, the best parameters so far and the average, if there is one, as they are named."""
    arenas = {"parameters": run.model._arena, "moments": run.moments, "squares": run.squares, "best": run.best}
    if run.average is not None:
        arenas["average"] = run.average
    return {kind: run.model._network.views(arena) for kind, arena in arenas.items()}


def _check_arrays(tensors: dict[str, np.ndarray], run: Run) -> set[str]:
    """The arenas that a file holds, all of whose arrays are there and in their shapes."""
    held = {"parameters", "moments", "squares", "best"}
    if any(name.startswith("average.") for name in tensors):
        held.add("average")
    shapes = {name: array.shape for name, array in run.model._network.views(None).items()}
    names = {"state", *(f"{kind}.{name}" for kind in held for name in shapes)}
    if tensors.keys() != names:
        raise ValueError(f"it lacks arrays or has others: {', '.join(sorted(tensors.keys() ^ names))}")
    for kind in held:
        for name, shape in shapes.items():
            if tensors[f"{kind}.{name}"].shape != shape:
                raise ValueError(f"{kind}.{name} must have shape {shape}, got {tensors[f'{kind}.{name}'].shape}")
    return held


def _fingerprint(*streams: corpus.Corpus | None) -> str:
    """Return a hash of the texts that are trained and validated on."""
    import hashlib  # here, for it imports OpenSSL

    digest = hashlib.blake2b(digest_size=16)
    for stream in streams:
        if stream is not None:
            identity = (stream.vocabulary.characters, stream.vocabulary.end, len(stream))
            digest.update(repr(identity).encode("utf-8", "backslashreplace"))
            if stream.num_documents:
                digest.update(READING_OF_DOCUMENTS)
            if stream.weights is not None:
                digest.update(stream.weights.data)
            # Indices, not codes: the same text has others where it is mapped.
            for start in range(0, len(stream), corpus.BLOCK):
                digest.update(stream.indices(start, start + corpus.BLOCK).data)
                stream.forget()
    return digest.hexdigest()
