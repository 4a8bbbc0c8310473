"""How a training shows on stderr: a bar on a terminal, a line now and then elsewhere, and samples of its model."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.model import CharRNN
    from charrnn.train import Report


class Progress:
    """Shows reports, from the second second of a training on."""

    def __init__(self, show: bool, epochs: float) -> None:
        self.show = show and sys.stderr is not None
        self.epochs = epochs
        self.bar: Any = None
        self.next_line = 1.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, report: Report) -> None:
        if not self.show or report.seconds < 1:
            return
        if sys.stderr.isatty():
            self._update_bar(report)
        elif report.seconds >= self.next_line or report.done == 1:
            self.next_line = report.seconds * 1.2
            write(f"{report.done:4.0%}  {self._describe(report)}")

    def _update_bar(self, report: Report) -> None:
        if self.bar is None:
            from tqdm import tqdm

            # The delay keeps it from showing before it has a description.
            self.bar = tqdm(
                total=1.0,
                file=sys.stderr,
                bar_format="{percentage:3.0f}%|{bar}| {desc}",
                dynamic_ncols=True,
                delay=1e-9,
            )
        import shutil  # here, for it imports all of the compressors

        self.bar.set_description_str(self._describe(report, shutil.get_terminal_size().columns), refresh=False)
        self.bar.update(report.done - self.bar.n)

    def _describe(self, report: Report, columns: int = 100) -> str:
        epochs = "" if math.isinf(self.epochs) else f"/{self.epochs:.3g}"
        validation = "" if report.val_loss is None or columns < 100 else f", val {report.val_loss:.3f}"
        return (
            f"epoch {report.epoch:.2f}{epochs}, {report.loss:.3f} nats, {report.loss / math.log(2):.3f} bits"
            f"{validation}, {thousands(report.chars_per_second)} chars/s, {_left(report)} left"
        )


class Samples:
    """A callback that writes what the model has learned so far: every SECONDS, after a validation if there are any."""

    SECONDS = 10.0
    LENGTH = 200
    LINES = 5
    # A large model draws less than LENGTH: the training waits for it, and Ctrl-C too.
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
        lines = self._draw(report.model, seed=report.step)
        write("\n".join([f"epoch {report.epoch:.2f}, {loss} nats, a sample:", *(f"  | {line}" for line in lines)]))

    def _draw(self, model: CharRNN, seed: int) -> list[str]:
        """Some lines, or some documents, in printable characters."""
        start = time.perf_counter()
        lines: list[str] = []
        while len(lines) < self.LINES and time.perf_counter() - start < self.MAX_SECONDS:
            characters = []
            for character in model.stream("", self.LENGTH, rng=seed + len(lines)):
                characters.append(character)
                if time.perf_counter() - start > self.MAX_SECONDS:
                    break
            text = "".join(characters).replace("\r\n", "\n")
            if model.vocabulary.end is None:
                lines += text.strip("\n").split("\n")
                break
            lines.append(text)
        return [printable(line) for line in lines[: self.LINES]]


def write(text: str) -> None:
    """Lines on stderr, above the bar where there is one; a stderr that is gone must not end a training."""
    if sys.stderr is None:
        return
    tqdm = sys.modules.get("tqdm")
    try:
        if tqdm is None:
            print(text, file=sys.stderr, flush=True)
        else:
            tqdm.tqdm.write(text, file=sys.stderr)
    except OSError:
        pass


def printable(text: str) -> str:
    """The text with escapes in place of what would not show, or would command the terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _left(report: Report) -> str:
    return duration(report.seconds * (1 / max(report.done, 1e-9) - 1))


def duration(seconds: float) -> str:
    """As 2:05, or 1:02:05."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def thousands(x: float) -> str:
    """As 123, 41k or 1.23M."""
    return f"{x / 1e6:.2f}M" if x >= 1e6 else f"{x / 1e3:.0f}k" if x >= 1e4 else f"{x:.0f}"
