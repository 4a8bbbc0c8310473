"""How a training shows on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.train import Report


class Progress:
    """Shows reports, from the second second of a training on."""

    def __init__(self, show: bool, epochs: float) -> None:
        self.show = show
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
            left = report.seconds * (1 / max(report.done, 1e-9) - 1)
            print(f"{report.done:4.0%}  {self._describe(report)}  {left:.0f} s left", file=sys.stderr, flush=True)

    def _update_bar(self, report: Report) -> None:
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=1.0, file=sys.stderr, bar_format="{percentage:3.0f}%|{bar}| {desc}  {remaining} left",
                            initial=0, dynamic_ncols=True)
            self.bar.start_t -= report.seconds
        self.bar.set_description_str(self._describe(report), refresh=False)
        self.bar.update(report.done - self.bar.n)

    def write(self, text: str) -> None:
        """Lines above the bar."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def _describe(self, report: Report) -> str:
        epochs = "" if math.isinf(self.epochs) else f"/{self.epochs:.3g}"
        validation = "" if report.val_loss is None else f"  val {report.val_loss:.3f}"
        return (
            f"epoch {report.epoch:.2f}{epochs}  loss {report.loss:.3f} nats, {report.loss / math.log(2):.3f} bits"
            f"{validation}  {_thousands(report.chars_per_second)} chars/s"
        )


def _thousands(x: float) -> str:
    return f"{x / 1e6:.2f}M" if x >= 1e6 else f"{x / 1e3:.0f}k" if x >= 1e4 else f"{x:.0f}"
