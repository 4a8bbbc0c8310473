"""What `charrnn train` prints while it trains: the settings, an estimate of the time, samples of the model."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from charrnn.cli.outputs import architecture
from charrnn.console import count, duration, printable, thousands, write

if TYPE_CHECKING:
    from charrnn.model import CharRNN
    from charrnn.train import Report


class Watch:
    """A callback that prints the settings and an estimate of the time; it keeps the model in case of an error."""

    #: Seconds of training after which its speed is known.
    ESTIMATE_SECONDS = 0.5

    def __init__(self, say: Callable[[str], None], args: argparse.Namespace, text: str, resumed: bool) -> None:
        self.say = say
        self.args = args
        self.text = text
        self.resumed = resumed
        self.samples = Samples()
        self.model: CharRNN | None = None
        self.estimate_at = math.inf

    def __call__(self, report: Report) -> None:
        if self.model is None:
            self.model = report.model
            self.say(self._decisions(report))
            if not math.isinf(report.settings.epochs):
                self.estimate_at = report.seconds + self.ESTIMATE_SECONDS
        elif report.seconds >= self.estimate_at:
            self.estimate_at = math.inf
            if (seconds := self._seconds_left(report)) > 2:
                self.say(f"about {duration(seconds)} more, at {thousands(report.chars_per_second)} characters a second")
        if not self.args.quiet:
            self.samples(report)

    def _decisions(self, report: Report) -> str:
        from charrnn.kernels import BUILD
        from charrnn.system import num_threads_or_default

        model, args, s = report.model, self.args, report.settings
        ends = [] if math.isinf(s.epochs) else [f"{s.epochs:.3g} epoch{'' if s.epochs == 1 else 's'}"]
        ends += [] if math.isinf(s.max_seconds) else [f"{s.max_seconds:g} seconds"]
        threads = num_threads_or_default(args.num_threads)
        lines = [
            f"{self.text}: {self._documents(report)}{count(report.num_chars, 'character')}, "
            f"{count(len(model.vocabulary), 'symbol')}; "
            f"{f'{report.num_val_chars / report.num_chars:.2g}' if report.num_val_chars else 'none'} of it to validate",
            f"{architecture(model)}, {model.num_parameters:,} parameters, {model.dtype.name}",
            f"{s.optimizer}, rate {s.learning_rate:.3g}, batches of {s.batch_size} x {s.seq_length} characters",
            f"{count(threads, 'thread')}, {BUILD} kernels; ends after {' or '.join(ends)}, or with Ctrl-C",
        ]
        if self.resumed:
            lines.append(f"resumed from {args.checkpoint} at epoch {report.epoch:.2f}")
        return "\n".join(lines)

    @staticmethod
    def _documents(report: Report) -> str:
        history = report.model.history
        number = history.origin.num_documents if history is not None and history.origin is not None else 0
        return f"{count(number, 'document')}, " if number else ""

    def _seconds_left(self, report: Report) -> float:
        s = report.settings
        characters = (s.epochs - report.epoch) * (report.num_chars - report.num_val_chars)
        return min(characters / report.chars_per_second, s.max_seconds - report.seconds)


class Samples:
    """A callback that prints a sample of the model every SECONDS; if there are validations, after one of them."""

    SECONDS = 10.0
    LENGTH = 200
    LINES = 5
    # Training and Ctrl-C wait for the sample, so that a large model draws less than LENGTH.
    MAX_SECONDS = 0.3

    def __init__(self) -> None:
        self.last: float | None = None

    def __call__(self, report: Report) -> None:
        if self.last is None:
            self.last = report.seconds
        between = report.val_loss is not None and not report.validated
        if between or report.done == 1 or report.seconds < self.last + self.SECONDS:
            return
        self.last = report.seconds
        loss = f"loss {report.loss:.3f}" if report.val_loss is None else f"val {report.val_loss:.3f}"
        write(f"epoch {report.epoch:.2f}, {loss} nats, a sample:\n{self.drawn(report.model, seed=report.step)}")

    def drawn(self, model: CharRNN, seed: int) -> str:
        """Draw a sample and indent it."""
        return "\n".join(f"  | {line}" for line in self._draw(model, seed))

    def _draw(self, model: CharRNN, seed: int) -> list[str]:
        """Draw some lines, or some documents, in printable characters."""
        start = time.perf_counter()
        # Documents are whole however long they are, and are cut here.
        length = self.LENGTH if model.vocabulary.end is None else None
        lines: list[str] = []
        while len(lines) < self.LINES and time.perf_counter() - start < self.MAX_SECONDS:
            characters = []
            for character in model.stream("", length, rng=seed + len(lines)):
                characters.append(character)
                if len(characters) == self.LENGTH or time.perf_counter() - start > self.MAX_SECONDS:
                    break
            text = "".join(characters).replace("\r\n", "\n")
            if model.vocabulary.end is None:
                lines += text.strip("\n").split("\n")
                break
            lines.append(text)
        return [printable(line) for line in lines[: self.LINES]]
