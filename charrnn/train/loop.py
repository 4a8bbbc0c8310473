"""The loop of a training: steps, learning rates, validation, divergence, Ctrl-C.

The steps themselves (forward, BPTT, clipping, optimizer) run in `charrnn/kernels`, many to a call and without
Python; the loop here looks in every tenth of a second to report, to validate, to save and to answer Ctrl-C. It knows
nothing of how settings are chosen, nor of what a checkpoint's file looks like.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

import charrnn.train.schedule as schedule
from charrnn.errors import DivergenceError, TrainingInterrupted
from charrnn.history import History
from charrnn.scoring import validation_loss
from charrnn.system import threads_worth
from charrnn.text.batching import readers
from charrnn.text.splitting import joined, known_places
from charrnn.train.checkpoint import Checkpoint
from charrnn.train.fallback import DIVERGED_LOSS, Snapshots, how_diverged
from charrnn.train.origin import origin_of, update_origin
from charrnn.train.report import Report
from charrnn.train.settings import Settings
from charrnn.train.smoothing import Smoothing

if TYPE_CHECKING:
    from charrnn.kernels.kernels import Trainer
    from charrnn.model import CharRNN
    from charrnn.text import corpus

#: Seconds between two looks at the clock: what a call of the kernel takes.
LOOK_SECONDS = 0.1


class Run:
    """One training: its state, and what is done with it between two calls of the kernel."""

    def __init__(
        self,
        settings: Settings,
        model: CharRNN,
        training: corpus.Corpus,
        validation: corpus.Corpus | None,
        num_threads: int,
        began: float,
    ) -> None:
        self.settings = settings
        self.model = model
        self.training = training
        self.validation = validation
        self.num_threads = num_threads
        self.began = began
        self.num_val_chars = 0 if validation is None else validation.num_chars
        self.num_chars = training.num_chars + self.num_val_chars
        self.history = model.history = History(chars_per_step=settings.batch_size * settings.seq_length)
        self.history.origin = origin_of(self)
        self.initial = model._arena.copy()
        self.best: np.ndarray = model._arena.copy()
        self.best_val_loss = math.inf
        self.known = None if validation is None else known_places(training, validation)
        self.validation_seconds = 0.0
        self.complete = False
        # The parameters with which the training ends. They may be others than those that the trainer goes on with.
        self.handed_out: np.ndarray | None = None
        self.checkpoint: Checkpoint | None = None
        # Whether to begin anew with all of the text once it is known how long is best; until which share of the run,
        # if that has happened, and what the run before it has made.
        self.refits = False
        self.refit_until: float | None = None
        self.steps_before, self.epochs_before = 0, 0.0
        self._begin()

    def _begin(self) -> None:
        """Bring everything to where it is before the first step."""
        model, settings = self.model, self.settings
        # The newest call of the kernel: the step before it, its losses and learning rates, the time of its start.
        self.call: tuple[int, np.ndarray, np.ndarray, float] | None = None
        self.next_validation = 1.0
        self.snapshots = Snapshots(self.best, len(model.vocabulary), self.began)
        model._arena[:] = self.initial
        # Where vectors of them lay across cache lines, a step of 64 units took 21 us instead of 13.
        self.moments, self.squares = (model._kernels.aligned_zeros(model._arena.size) for _ in range(2))
        # A model of its own, whose parameters are the average of those of the other.
        self.averaged = None
        if settings.average > 0:
            self.averaged = type(model).from_state_dict(model.vocabulary, model.state_dict())
        self.average: np.ndarray | None = None if self.averaged is None else self.averaged._arena
        self.trainer: Trainer = model._kernels.Trainer(
            model._network,
            model._arena,
            settings.seq_length,
            settings.batch_size,
            moments=self.moments,
            squares=self.squares,
            average=self.average,
            **{name: getattr(settings, name) for name in Settings.STEP},
            eps=1e-10 if settings.optimizer == "adagrad" else 1e-8,
            end=-1 if model.vocabulary.end is None else model.vocabulary.end,
            num_threads=threads_worth(
                self.num_threads, 6 * model._arena.size * settings.batch_size * settings.seq_length
            ),
        )
        self.smoothing = Smoothing(self.training, settings.smoothing) if settings.smoothing > 0 else None
        self.read_epoch(0)
        self.steps_per_epoch = self.trainer.steps_left()
        self.total_steps = math.inf
        if not math.isinf(settings.epochs):
            self.total_steps = max(round(settings.epochs * self.steps_per_epoch), 1)
        self.last_step = self.total_steps
        if self.refit_until is not None:
            self.last_step = max(round(self.refit_until * self.total_steps), 1)

    def begin_anew(self, until: float, steps_before: int) -> None:
        """Train on all of the text from the first step on, up to this share of the run; `best` is kept."""
        assert self.validation is not None
        # Ctrl-C may come in between: while these are None nothing is recorded, and no checkpoint made of half a run.
        checkpoint, self.call, self.checkpoint = self.checkpoint, None, None
        self.refit_until = until
        self.steps_before, self.epochs_before = steps_before, steps_before / self.steps_per_epoch
        self.training, self.validation = joined(self.training, self.validation), None
        self._begin()
        self.checkpoint = checkpoint

    def read_epoch(self, epoch: int) -> None:
        """Let the readers begin an epoch; seed and epoch determine the order of documents."""
        stream = self.training
        # Give the memory of the last epoch's order back before the next order takes its own.
        self.trainer.read(stream.codes, stream.table, np.zeros(self.settings.batch_size, np.int64), 1)
        rng = np.random.default_rng([self.settings.seed, epoch])
        placed = readers(stream, self.settings.batch_size, rng)
        targets = None if self.smoothing is None else self.smoothing.targets(rng)
        self.trainer.read(
            stream.codes, stream.table, placed.starts, placed.length, placed.documents, placed.first, targets
        )

    def _epochs_differ(self) -> bool:
        return self.training.num_documents > 0 or self.smoothing is not None

    def keep_checkpoint(self, path: Path, seconds: float, resume: bool) -> None:
        """Save to `path` every `seconds`; with `resume`, go on from the file that is there."""
        self.checkpoint = Checkpoint(path, seconds, self)
        if resume and path.exists():
            self.checkpoint.restore(self)

    # The loop

    def train(self, observers: list[Callable[[Report], Any]]) -> None:
        """Train the model. Where Ctrl-C ends this, whoever called it calls `interrupted`."""
        self._loop(observers)
        if self.refits and self.validation is not None and self.history.val_steps:
            self._look_at_parameters()
            if self.checkpoint is not None:
                self.checkpoint.save(self)
            self.begin_anew(self._best_done(), self.trainer.step)
            self._loop(observers)
        self._look_at_parameters()
        self.complete = True
        update_origin(self)
        if self.checkpoint is not None:
            self.checkpoint.save(self)
        self._hand_out(self._outcome())

    def interrupted(self) -> NoReturn:
        """Raise TrainingInterrupted: Ctrl-C came, at whatever line, and the model is to be of use all the same.

        What a step or a validation changes is changed at once, or else again when the training is resumed; so the
        checkpoint that is saved here is one of a run that nobody interrupted.
        """
        checkpointed, cause = False, None
        try:
            self._record()
            if self.handed_out is None and self._how_diverged() is not None:
                self.handed_out = self.best
            if self.handed_out is None and self.checkpoint is not None and self.trainer.step > 0:
                checkpointed = self.checkpoint.save(self)
        except KeyboardInterrupt:
            pass  # an impatient second one does not lose the model
        except Exception as error:
            cause = error
        self._hand_out(self._outcome() if self.handed_out is None else self.handed_out)
        raise TrainingInterrupted(self.model, checkpointed) from cause

    def _outcome(self) -> np.ndarray:
        """The best parameters by the validations; where none says which are, the average of the parameters.

        Of a run that was to be anew with all of the text, but is not complete, they are those of the run before.
        """
        if self.complete and self.validation is not None or not self.complete and self.refit_until is not None:
            return self.best
        last: np.ndarray = self.model._arena
        return last if self.average is None else self.average

    def _hand_out(self, parameters: np.ndarray) -> None:
        # In this order, for Ctrl-C may come in between: from here on no checkpoint is made of what the model holds.
        self.handed_out = parameters
        self.model._arena[:] = parameters

    def _loop(self, observers: list[Callable[[Report], Any]]) -> None:
        self.next_validation = self._next_validation()
        rate, steps, done = 0.0, 1, self._done()
        if self.trainer.step > 0:
            # A resumed training may have been interrupted before a validation or in it.
            if self._validation_is_due(done):
                self._validate()
        elif done >= 1:
            self._warn_of_no_time()
            done = 0.0
        ended = self.trainer.step > 0 and self._ended(done)
        while not ended:
            start, step = self.seconds(), self.trainer.step
            steps = self._steps_of_a_call(steps, rate)
            losses, learning_rates = self._steps(steps, rate)
            rate = len(losses) / max(self.seconds() - start, 1e-9)
            done = self._done()
            validated = self._validation_is_due(done)
            if validated:
                self._validate()
                done = max(done, self._done())
            elif self.validation is None and self.refit_until is None:
                self.snapshots.look(step, float(losses[0]), self.model._arena, self.trainer.step)
            if self.checkpoint is not None and self.checkpoint.is_due():
                self._look_at_parameters()
                self.checkpoint.save(self)
            ended = self._ended(done)
            self.training.forget()
            report = Report(
                step=self.steps_before + self.trainer.step,
                epoch=self.epochs_before + self.trainer.step / self.steps_per_epoch,
                loss=float(losses.mean()),
                val_loss=self.history.val_losses[-1] if self.history.val_losses else None,
                validated=validated,
                learning_rate=float(learning_rates[-1]),
                chars_per_second=rate * self.history.chars_per_step,
                seconds=self.seconds(),
                done=self._share_of_all(1.0 if ended else done),
                model=self.model,
                settings=self.settings,
                num_chars=self.num_chars,
                num_val_chars=self.num_val_chars,
            )
            for observe in observers:
                observe(report)

    def _steps_of_a_call(self, steps: int, rate: float) -> int:
        """Return how many steps take LOOK_SECONDS, at most four times as many as in the last call.

        A call ends before the next validation, and with an epoch if the next one has another order.
        """
        step = self.trainer.step
        # The last chunk of an epoch may be much shorter than the others, and its rate promise too much.
        steps = int(min(max(rate * LOOK_SECONDS, 1), 4 * steps, self.last_step - step))
        if not math.isinf(self.total_steps):
            steps = min(steps, max(math.ceil(self.next_validation * self.total_steps) - step, 1))
        if self._epochs_differ():
            steps = min(steps, self.trainer.steps_left())
        return steps

    def _warn_of_no_time(self) -> None:
        message = (
            f"max_seconds, {self.settings.max_seconds:g}, was over before the first step, for to read the data took "
            f"{self.seconds():.2g} seconds: the model is trained by one step only"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=4)

    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def _ended(self, done: float) -> bool:
        """Whether the run is over, or not worth going on with: validation has long not been any better."""
        if done >= 1 or self.trainer.step >= self.last_step:
            return True
        if self.validation is None or not self.history.val_steps:
            return False
        newest = self._share_at(len(self.history.val_steps) - 1)
        return newest - self._best_done() >= self.settings.patience - 1e-9

    def _best_done(self) -> float:
        """The share of the run that was done at the best validation."""
        return self._share_at(int(np.argmin(self.history.val_losses)))

    def _share_at(self, validation: int) -> float:
        steps, seconds = self.history.val_steps[validation], self.history.val_times[validation]
        return max(steps / self.total_steps, seconds / self.settings.max_seconds)

    def _share_of_all(self, done: float) -> float:
        """The share of the training that is done, where this share of the run is: it may be the first of two."""
        if self.refit_until is not None:
            return (1 + min(self.trainer.step / self.last_step, 1)) / 2
        return min(done, 1) / 2 if self.refits and self.validation is not None else min(done, 1)

    def _done(self) -> float:
        """The share of the run that is done; time is kept for a last validation."""
        limit = self.settings.max_seconds
        by_time = self.seconds() / self._seconds_to_train() if not math.isinf(limit) else 0.0
        return max(self.trainer.step / self.total_steps, by_time)

    def _seconds_to_train(self) -> float:
        last_validation = self.validation_seconds * (1 if self.average is None else 2)
        return max(self.settings.max_seconds - last_validation, 1e-9)

    def _validation_is_due(self, done: float) -> bool:
        if self.validation is None or self.trainer.step in self.history.val_steps[-1:]:
            return False
        return done >= min(self.next_validation, 1)

    def _next_validation(self) -> float:
        """The share of the run at which to validate next; by the last validation, which a resumed run knows too."""
        if self.validation is None:
            return 1.0
        by_time = not math.isinf(self.settings.max_seconds)
        done = self._done() if by_time else schedule.steps_done(self.history, self.total_steps)
        return schedule.next_validation(done, self.refits, self.settings.max_seconds, self.validation_seconds)

    def _steps(self, steps: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
        """Make a number of steps; return their losses and learning rates."""
        step, start = self.trainer.step, self.seconds()
        by_time = None
        if not math.isinf(self.settings.max_seconds):
            by_time = (self.seconds() + np.arange(steps) / max(rate, 1)) / self._seconds_to_train()
        learning_rates = schedule.learning_rates(self.settings, step, steps, self.total_steps, by_time)
        shares = None
        if self.average is not None:
            shares = schedule.average_shares(self.settings.average, np.arange(step + 1, step + steps + 1))
        losses = np.empty(steps)
        self.call = step, losses, learning_rates, start
        made = self.trainer.train(learning_rates, losses, shares)
        self._record()
        if self._epochs_differ() and self.trainer.position == 0:
            self.read_epoch(self.trainer.passes)
        beyond = np.flatnonzero(losses[:made] > DIVERGED_LOSS)
        if len(beyond):
            self._diverge(step + int(beyond[0]) + 1, f"the loss became {losses[beyond[0]]:.4g}")
        if made < steps:
            loss, norm = self.trainer.last_loss, self.trainer.last_norm
            self._diverge(step + made + 1, f"the loss became {loss:.4g}, the gradient's norm {norm:.4g}")
        return losses, learning_rates

    def _record(self) -> None:
        """Bring the history to where the trainer is, as far as it is not there yet."""
        if self.call is not None:
            step, losses, learning_rates, start = self.call
            made = self.trainer.step - step
            self.history.add(self.steps_before + step, losses[:made], learning_rates[:made], start, self.seconds())
        update_origin(self)

    def _diverge(self, step: int, how: str) -> NoReturn:
        s = self.settings
        self._hand_out(self.best)
        raise DivergenceError(how, step, self.model, {"learning_rate": s.learning_rate, "clip_norm": s.clip_norm})

    def _validate(self) -> None:
        """Compute the loss of the validation part, and keep the parameters if it is the lowest so far."""
        if self.validation is None:
            return
        start = time.perf_counter()
        loss, parameters = self._validation(self.validation)
        if not loss <= DIVERGED_LOSS:
            self._diverge(self.trainer.step, f"the loss of the validation part became {loss:.4g}")
        # In this order, for Ctrl-C may come in between: a validation that is not in the history is made again.
        if loss < self.best_val_loss:
            self.best[:] = parameters
            self.best_val_loss = loss
        self.history.add_validation(self.trainer.step, loss, self.seconds())
        self.validation_seconds = time.perf_counter() - start
        self.next_validation = self._next_validation()

    def _validation(self, validation: corpus.Corpus) -> tuple[float, np.ndarray]:
        """The loss of the parameters, or of their average, and which of the two it is.

        The average is the better one wherever the learning rate has not come to its end; only then are both validated,
        for that takes twice as long.
        """
        if self.averaged is None:
            return validation_loss(self.model, validation, self.num_threads, self.known), self.model._arena
        loss = validation_loss(self.averaged, validation, self.num_threads, self.known)
        if self._done() >= 1:
            last_loss = validation_loss(self.model, validation, self.num_threads, self.known)
            if last_loss < loss:
                return last_loss, self.model._arena
        return loss, self.averaged._arena

    def _how_diverged(self) -> str | None:
        averages = [self.moments, self.squares] if self.average is None else [self.moments, self.squares, self.average]
        return how_diverged(self.model, self.training, averages, self.num_threads)

    def _look_at_parameters(self) -> None:
        """Raise DivergenceError instead of keeping parameters that are of no use."""
        how = self._how_diverged()
        if how is not None:
            self._diverge(self.trainer.step, how)
