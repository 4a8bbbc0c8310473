"""`charrnn sample --interactive`, in a pseudo-terminal."""

import os
import re
import select
import subprocess
import sys
import time

import numpy as np
import pytest

from charrnn import CharRNN, Vocabulary
from charrnn.cli.interactive import Session

pty = pytest.importorskip("pty")


@pytest.fixture(scope="module")
def chain() -> CharRNN:
    """After each letter of "abcd " the next one is nearly sure, and after the last END."""
    model = CharRNN(Vocabulary("abcd ", end=True), hidden_size=8, seed=0)
    state = model.state_dict()
    for array in state.values():
        array[:] = 0
    # The hidden unit i is on after symbol i; END, the sixth, leads to the first.
    state["rnn.weight_ih_l0"][:6, :6] = 20 * np.eye(6) - 10
    state["head.weight"][:, :6] = 1.5 * np.roll(np.eye(6), 1, axis=0)
    return model


class Terminal:
    """A command that runs in a terminal of its own."""

    def __init__(self, *command: str) -> None:
        self.fd, child = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "charrnn", *command],
            stdin=child,
            stdout=child,
            stderr=child,
            close_fds=True,
            env={**os.environ, "COLUMNS": "60", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        os.close(child)
        self.seen = ""

    def until(self, pattern: str) -> str:
        """Read until this is on the screen."""
        limit = time.monotonic() + 60
        while not re.search(pattern, self.seen):
            assert time.monotonic() < limit, f"{pattern!r} is not in {self.seen!r}"
            if select.select([self.fd], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.fd, 4096).decode()
                except OSError:  # the terminal is closed
                    break
        assert re.search(pattern, self.seen), self.seen
        seen, self.seen = self.seen, ""
        return seen

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())


def line(text: str) -> str:
    """The line that is being written, with what may follow below it."""
    return rf"\r\x1b\[J{text}\r\n\x1b\[2m"


def test_a_person_types_and_the_model_goes_on(chain, tmp_path):
    path = str(tmp_path / "chain.safetensors")
    chain.save(path)
    terminal = Terminal("sample", path, "--interactive", "--temperature", "0", "--prompt", "a")
    assert re.search(r"b 8\d%  \S+ \d+%  \S+ \d+%  \S+ \d+%  \S+ \d+%\x1b", terminal.until(line("a") + ".*A"))
    terminal.press("\t")
    terminal.until(line("ab") + "c 8")
    terminal.press("b")
    terminal.until(line("abb") + "c 8")
    terminal.press("\x7f\x7f")
    terminal.until(line("a") + "b 8")
    terminal.press("?")
    terminal.until(r"'\?' is not among the model's 5 characters")
    terminal.press("\r")
    seen = terminal.until(r"abcd \r\n" + line("") + "a 8")
    assert [re.search(line(text), seen) is not None for text in ("ab", "abc", "abcd", "abcd ")] == [True] * 4
    terminal.press("c\x1b[A")  # an arrow does nothing
    terminal.until(line("c") + "d 8")
    terminal.press("\x04")
    assert terminal.process.wait(60) == 0
    assert terminal.process.returncode == 0


def test_ctrl_c_interrupts_and_leaves_the_terminal_as_it_was(chain, tmp_path):
    import termios

    path = str(tmp_path / "chain.safetensors")
    chain.save(path)
    terminal = Terminal("sample", path, "--interactive")
    before = termios.tcgetattr(terminal.fd)
    terminal.until(line(""))
    terminal.press("\x03")
    assert terminal.process.wait(60) == 130
    assert termios.tcgetattr(terminal.fd) == before


def test_without_a_terminal_there_is_an_error(chain, tmp_path):
    path = str(tmp_path / "chain.safetensors")
    chain.save(path)
    run = subprocess.run(
        [sys.executable, "-m", "charrnn", "sample", path, "--interactive"],
        input="a",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert "--interactive must come with a terminal" in run.stderr


@pytest.mark.parametrize("end", [True, False])
def test_what_follows_is_what_next_probs_says(end, capsys):
    model = CharRNN(Vocabulary("ab\n", end=end), hidden_size=8, seed=1, dtype="float64")
    session = Session(model, {"length": 3}, np.random.default_rng(0))
    session.begin("")
    for key in ("", "a", "b", "\n", "\x7f", "b", "\x7f", "\x7f", "a", "\x15", "b", "a"):
        session.press(key) if key else None
        probs = np.exp(session.steps[-1][0][0])
        np.testing.assert_allclose(probs, list(model.next_probs(session.text).values()), atol=1e-12)
    assert session.text == "ba"
    assert capsys.readouterr().out
