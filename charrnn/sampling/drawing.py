"""From the symbols that rows draw side by side to texts, in the order in which they were begun.

It knows samplers, symbols and what ends a text; it knows nothing of models, and of what is asked of a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from charrnn.automaton import Automaton
    from charrnn.kernels.kernels import Sampler
    from charrnn.text.vocabulary import Vocabulary

#: Symbols that are drawn in one call of the kernel: so many that its cost does not matter, and so few that a text that
#: is over need not wait for long.
SYMBOLS = 4096

# What a sampler says of a text: it is over, or it was too long and is drawn anew.
OVER, ANEW = 1, 2


class Drawing:
    """Texts that are being drawn.

    Parameters
    ----------
    sampler : Sampler
        To which `begin` has said what to draw.
    rows : int
        Of the sampler.
    vocabulary : Vocabulary
    stops : sequence of str
        What a text may have at its end that ended it.
    bit_generator : numpy.random.BitGenerator

    Attributes
    ----------
    num_texts : int
        Texts that were drawn so far, those that were too long included.
    """

    def __init__(
        self, sampler: Sampler, rows: int, vocabulary: Vocabulary, stops: Sequence[str], bit_generator: Any
    ) -> None:
        self.sampler, self.rows, self.vocabulary = sampler, rows, vocabulary
        self.stops = sorted(stops, key=len, reverse=True)
        self.num_texts = 0
        self._bit_generator = bit_generator  # whose memory the interface points to
        self._interface = bit_generator.ctypes
        self._next_double = _address(self._interface.next_double)

    def draw(self, symbols: np.ndarray, over: np.ndarray) -> int:
        """Fill the steps of these arrays (T, B), or so many as remain, and say how many: see `Sampler.draw`."""
        with self._bit_generator.lock:
            return self.sampler.draw(self._next_double, self._interface.state_address, symbols, over)

    def text(self, length: int | None) -> str:
        """The only text of one row, which is not drawn anew and has at most so many characters."""
        steps = SYMBOLS if length is None else min(max(length, 1), SYMBOLS)
        symbols, over = np.empty((steps, 1), np.int32), np.empty((steps, 1), np.uint8)
        parts: list[str] = []
        while num_steps := self.draw(symbols, over):
            drawn = symbols[:num_steps, 0]
            if drawn[-1] in (-1, self.vocabulary.end):
                drawn = drawn[:-1]
            parts.append(self.vocabulary.decode(drawn))
            if over[num_steps - 1, 0]:
                break
        return self.without_stop("".join(parts))

    def texts(self, max_tries: int) -> Iterator[str]:
        """The texts, in the order in which they were begun; at most so many are drawn, too long ones included."""
        parts: list[list[str]] = [[] for _ in range(self.rows)]  # of the text that each row draws
        index, begun, given = list(range(self.rows)), self.rows, 0
        finished: dict[int, str] = {}
        symbols = np.empty((max(SYMBOLS // self.rows, 1), self.rows), np.int32)
        over = np.empty(symbols.shape, np.uint8)
        while num_steps := self.draw(symbols, over):
            for row, piece, said in self.pieces(symbols[:num_steps], over[:num_steps]):
                parts[row].append(piece)
                if not said:
                    continue
                if said == OVER:
                    finished[index[row]] = self.without_stop("".join(parts[row]))
                    index[row], begun = begun, begun + 1
                parts[row] = []
                self.num_texts += said == ANEW
                while given in finished and self.num_texts < max_tries:
                    self.num_texts += 1
                    yield finished.pop(given)
                    given += 1
                if self.num_texts >= max_tries:
                    return

    def pieces(self, symbols: np.ndarray, over: np.ndarray) -> Iterator[tuple[int, str, int]]:
        """(row, characters of a text, what is said of it), step after step; those that go on are the last."""
        num_steps, rows = symbols.shape
        columns = symbols.T.ravel()
        drawn = columns >= 0
        counts = np.cumsum(drawn, dtype=np.int32)
        kept = columns[drawn]
        if self.vocabulary.end is not None:
            kept[kept == self.vocabulary.end] = 0
        text = self.vocabulary.decode(kept)
        bounds = [0, *counts[num_steps - 1 :: num_steps].tolist()]
        starts = bounds[:-1]
        times, places = np.nonzero(over)
        stops = counts[places * num_steps + times]
        without_end = stops - (symbols[times, places] == self.vocabulary.end)
        for row, stop, last, said in zip(
            places.tolist(), stops.tolist(), without_end.tolist(), over[times, places].tolist(), strict=True
        ):
            yield row, text[starts[row] : last], said
            starts[row] = stop
        for row in range(rows):
            if starts[row] < bounds[row + 1]:
                yield row, text[starts[row] : bounds[row + 1]], 0

    def without_stop(self, text: str) -> str:
        """A text that is over, without what ended it."""
        return text[: len(text) - next((len(stop) for stop in self.stops if text.endswith(stop)), 0)]

    def characters(self, automaton: Automaton | None) -> Iterator[str]:
        """The characters of one text, each as soon as it is no part of a stop; the automaton is the sampler's."""
        symbols, over = np.empty((1, 1), np.int32), np.empty((1, 1), np.uint8)
        state, held = 0, ""
        while self.draw(symbols, over):
            symbol = int(symbols[0, 0])
            if symbol not in (-1, self.vocabulary.end):
                held += self.vocabulary.characters[symbol]
                if automaton is not None:
                    state = int(automaton.next[state, automaton.classes[symbol]])
            ready = len(held)
            if automaton is not None:
                ready -= int(automaton.stops[state] if over[0, 0] else automaton.pending[state])
            yield from held[:ready]
            held = held[ready:]


def _address(function: Any) -> int:
    import ctypes

    return ctypes.cast(function, ctypes.c_void_p).value or 0
