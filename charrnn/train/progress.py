"""How a training shows on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
from typing import TYPE_CHECKING, Any

from charrnn.console import STDERR_ERRORS, duration, is_terminal, thousands, write

if TYPE_CHECKING:
    from charrnn.train.report import Report


class Progress:
    """Shows reports on stderr once a training has taken a second."""

    def __init__(self, show: bool, epochs: float) -> None:
        self.show = show and sys.stderr is not None
        self.epochs = epochs
        self.bar: Any = None
        self.next_line = 1.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            with contextlib.suppress(*STDERR_ERRORS):
                self.bar.close()

    def update(self, report: Report) -> None:
        if not self.show or report.seconds < 1:
            return
        if is_terminal():
            with contextlib.suppress(*STDERR_ERRORS):
                self._update_bar(report)
        elif report.seconds >= self.next_line or report.done == 1:
            self.next_line = report.seconds * 1.2
            write(f"{report.done:4.0%}  {self._describe(report)}")

    def _update_bar(self, report: Report) -> None:
        if self.bar is None:
            from tqdm import tqdm

            # Without the delay tqdm would show the bar before it has a description.
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


def _left(report: Report) -> str:
    return duration(report.seconds * (1 / max(report.done, 1e-9) - 1))
