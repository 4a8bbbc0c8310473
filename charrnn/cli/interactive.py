"""`charrnn sample --interactive`: the person types, the model goes on.

It knows keys and the terminal's codes; what may follow comes from the model, a step for each character.
"""

from __future__ import annotations

import codecs
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.console import printable
from charrnn.errors import ArgumentValueError
from charrnn.sampling import beginning_of
from charrnn.sampling.search import first_step, next_step

if TYPE_CHECKING:
    from charrnn.language import LanguageModel

HELP = "Enter: the model goes on · Tab: takes the best · Ctrl-J: a new line · Ctrl-U: begins anew · Ctrl-D: ends"
SHOWN = 5

ENTER, TAB, NEWLINE, ANEW, INTERRUPT, END = "\r", "\t", "\n", "\x15", "\x03", "\x04"
BACKSPACES = ("\x7f", "\b")


def interact(model: LanguageModel, prompt: str, options: Mapping[str, Any], rng: np.random.Generator) -> None:
    """Read keys until Ctrl-D."""
    session = Session(model, options, rng)
    session.begin(prompt)
    print(HELP, end="\r\n")
    with raw_keys() as keys:
        session.draw()
        for key in keys:
            if key == END:
                break
            if key == INTERRUPT:
                raise KeyboardInterrupt
            session.press(key)
    session.leave()


class Session:
    """The text that is being written, with what the model says after each of its characters."""

    def __init__(self, model: LanguageModel, options: Mapping[str, Any], rng: np.random.Generator) -> None:
        self.model, self.options, self.rng = model, options, rng
        self.text = ""
        self.said = ""
        #: What follows a beginning of the text, and the state: of the empty one, and after each character.
        self.steps: list[tuple[np.ndarray, list[np.ndarray]]] = []

    def begin(self, prompt: str) -> None:
        if self.model.vocabulary.end is not None or not prompt:
            self.steps = [first_step(self.model, beginning_of(self.model, ""))]
            self.text = ""
        else:  # without END what is typed first is read from a zero state, as any prompt is
            self.steps = [first_step(self.model, beginning_of(self.model, prompt[0]))]
            self.text, prompt = prompt[0], prompt[1:]
        for character in prompt:
            self.add(character)

    def press(self, key: str) -> None:
        """Do what a key asks for, and show it."""
        self.said = ""
        if key == ENTER:
            self.go_on()
        elif key == TAB:
            self.take_best()
        elif key == ANEW:
            self.leave()
            self.begin("")
        elif key in BACKSPACES:
            if len(self.steps) > 1:
                self.steps.pop()
                self.text = self.text[:-1]
        elif key in self.model.vocabulary:
            self.add(key)
        elif not key.startswith("\x1b"):
            self.said = f"{key!r} is not among the model's {len(self.model.vocabulary.characters)} characters"
        self.draw()

    def add(self, character: str) -> None:
        if not self.text and self.model.vocabulary.end is None:
            self.steps = [first_step(self.model, beginning_of(self.model, character))]
        else:
            symbol = self.model.vocabulary.encode(character, "the prompt").astype(np.int32)
            self.steps.append(next_step(self.model, symbol, self.steps[-1][1]))
        self.text += character

    def take_best(self) -> None:
        best = int(self.steps[-1][0][0].argmax())
        if best == self.model.vocabulary.end:
            self.end_document()
        else:
            self.add(self.model.vocabulary.characters[best])

    def go_on(self) -> None:
        """Let the model draw, and show each character as it comes."""
        for character in self.model.stream(self.text, **self.options, rng=self.rng):
            self.add(character)
            self.draw()
        if self.model.vocabulary.end is not None:
            self.end_document()

    def end_document(self) -> None:
        self.leave()
        self.begin("")

    def best(self) -> str:
        """The most probable next characters, with their probabilities."""
        log_probs = self.steps[-1][0][0]
        names = [*map(shown, self.model.vocabulary.characters), "END"]
        best = np.argsort(-log_probs, kind="stable")[:SHOWN]
        return "  ".join(f"{names[i]} {np.exp(log_probs[i]):.0%}" for i in best.tolist())

    def draw(self) -> None:
        """The line that is being written, and below it what may follow."""
        width = max(shutil.get_terminal_size().columns - 1, 10)
        line = printable(self.text.rpartition("\n")[2])[-width + 1 :]
        below = (self.said or self.best())[:width]
        right = f"\x1b[{len(line)}C" if line else ""
        write(f"\r\x1b[J{line}\r\n\x1b[2m{below}\x1b[0m\x1b[A\r{right}")

    def leave(self) -> None:
        """Let the line stand, and go to the next one."""
        write(f"\r\x1b[J{printable(self.text.rpartition(chr(10))[2])}\r\n")


def shown(character: str) -> str:
    return "␣" if character == " " else printable(character)


def write(text: str) -> None:
    print(text, end="", flush=True)


@contextmanager
def raw_keys() -> Iterator[Iterator[str]]:
    """The keys of the terminal, each as soon as it is pressed; an escape sequence is one key."""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()):
        raise ArgumentValueError("interactive", "must come with a terminal to type in, got none")
    if sys.platform == "win32":
        import msvcrt

        os.system("")  # from now on the console knows escape sequences
        yield iter(msvcrt.getwch, None)
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield _keys(fd)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _keys(fd: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    while block := os.read(fd, 1024):
        text = decoder.decode(block)
        if text.startswith("\x1b"):
            yield text
        else:
            yield from text
