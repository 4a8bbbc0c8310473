"""A regular expression as a deterministic automaton over the characters of a vocabulary.

It knows characters, states and what leads where; it knows nothing of models and of drawing.

The expression is read by the standard library's own parser, and whether a character belongs to a literal, a class or a
category, in upper or lower case, is asked of `re` itself: so that the automaton and `re.fullmatch` cannot disagree on
either. (interegular and greenery were tried: to them "\\d", "\\w" and a letter's case are ASCII's; "^", "$", "\\b"
are unknown or wrong.)

The parsed expression becomes a program of a few instructions (Thompson, 1968), whose sets of places are the states of
the automaton. A lookahead is a place that must come true beside another: a thread of the program carries with it what
is still to be shown of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from charrnn.automaton import Automaton, TooManyStates, explored
from charrnn.errors import ArgumentTypeError, ArgumentValueError

try:
    from re import _compiler, _parser  # type: ignore[attr-defined]
    from re import _constants as ops  # type: ignore[attr-defined]
except ImportError:  # Python 3.10
    import sre_compile as _compiler
    import sre_constants as ops
    import sre_parse as _parser

# Instructions: what each does with the threads that stand on it. MATCH is the end of the expression; DONE that of a
# lookahead, where any character may follow.
CHAR, SPLIT, BEHIND, BOUNDARY, LOOK, AT_END, MATCH, DONE = range(8)

MAX_INSTRUCTIONS = 250_000

#: What stands before the first character.
START = -1
#: A set that has no character.
NOTHING = -1
#: Where a lookahead is that has been shown.
DONE_PLACE = 0

_LEAVES = {ops.LITERAL, ops.NOT_LITERAL, ops.IN, ops.ANY}
_UNSUPPORTED = {
    "GROUPREF": "a backreference",
    "GROUPREF_EXISTS": "a condition on a group",
    "GROUPREF_IGNORE": "a backreference",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repetition",
}


class Thread(NamedTuple):
    """A place in the program, and the lookaheads that are still open: (whether negated, threads of it)."""

    place: int
    open: frozenset[tuple[bool, frozenset[Any]]]


_NOTHING_OPEN: frozenset[tuple[bool, frozenset[Any]]] = frozenset()


def pattern_automaton(pattern: str | bytes | re.Pattern[Any], characters: str) -> Automaton:
    """The automaton of all texts of these characters that `re.fullmatch(pattern, text)` matches.

    Parameters
    ----------
    pattern : str, bytes or re.Pattern
        With the syntax and the meaning of Python's `re`, but for backreferences, lookbehind, conditions, atomic groups
        and possessive repetitions, for which no such automaton exists or is built. Bytes are read as Latin-1.
    characters : str
        The alphabet; its order is that of the automaton's symbols.

    Raises
    ------
    ValueError
        It is no regular expression, is not supported, matches no text of these characters, or needs too many states.

    Examples
    --------
    >>> automaton = pattern_automaton("[ab]+c?", "abc")
    >>> [automaton.accepts(symbols) for symbols in ([], [0, 1, 0], [0, 1, 2], [2, 0])]
    [False, True, True, False]
    """
    parsed = _parse(pattern)
    program = _Program(characters, parsed.state.flags, pattern)
    program.add_all(parsed, parsed.state.flags)
    program.add(MATCH)
    return program.automaton()


def _parse(pattern: Any) -> Any:
    flags, source = 0, pattern
    if isinstance(pattern, re.Pattern):
        flags, source = pattern.flags & ~(re.DEBUG | re.LOCALE), pattern.pattern
    if isinstance(source, (bytes, bytearray)):
        flags, source = flags | re.ASCII, source.decode("latin-1")
    if not isinstance(source, str):
        raise ArgumentTypeError("pattern", f"must be a regular expression, a str, got {type(pattern).__name__}")
    try:
        re.compile(source, flags)  # refuses more than the parser does
        return _parser.parse(source, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ArgumentValueError("pattern", f"must be a regular expression, got {pattern!r}: {error}") from None


class _Program:
    """Instructions, and the sets of characters that they ask for."""

    def __init__(self, characters: str, flags: int, pattern: Any) -> None:
        self.characters = characters
        self.pattern = pattern
        self.instructions: list[tuple[Any, ...]] = []
        self.sets: list[np.ndarray] = []  # which characters (V) each set has
        self.set_of: dict[tuple[str, int], int] = {}
        self.newline = self.set_for([(ops.LITERAL, 10)], 0)
        self.contextual = False  # whether anything asks what stands before or after a place
        self.behind: set[int] = set()  # sets to which what stands before a place may belong
        self.add(DONE)
        self.first = len(self.instructions)

    # From what the parser gives to instructions

    def add(self, *instruction: Any) -> int:
        if len(self.instructions) == MAX_INSTRUCTIONS:
            raise self.error(f"have at most {MAX_INSTRUCTIONS:,} parts when its repetitions are written out")
        self.instructions.append(instruction)
        return len(self.instructions) - 1

    def error(self, rule: str) -> ArgumentValueError:
        return ArgumentValueError("pattern", f"must {rule}, got {self.pattern!r}")

    def add_all(self, items: Iterable[Any], flags: int) -> None:
        for op, argument in items:
            self.add_item(op, argument, flags)

    def add_item(self, op: Any, argument: Any, flags: int) -> None:
        if op in _LEAVES:
            self.add(CHAR, self.set_for([(op, argument)], flags))
        elif op is ops.BRANCH:
            self.add_branches(argument[1], flags)
        elif op is ops.SUBPATTERN:
            _, added, removed, items = argument
            self.add_all(items, _with_flags(flags, added, removed))
        elif op in (ops.MAX_REPEAT, ops.MIN_REPEAT):  # which of the two does not matter where all must match
            low, high, repeated = argument
            self.add_repetition(low, high, repeated, flags)
        elif op is ops.AT:
            self.add_place(argument, flags)
        elif op in (ops.ASSERT, ops.ASSERT_NOT):
            if argument[0] < 0:
                raise self.error("have no lookbehind")
            self.add_lookahead(op is ops.ASSERT_NOT, argument[1], flags)
        elif op is ops.FAILURE:
            self.add(SPLIT, ())
        else:
            raise self.error(f"not have {_UNSUPPORTED.get(str(op), str(op).lower())}")

    def add_branches(self, branches: list[Any], flags: int) -> None:
        split = self.add(SPLIT, ())
        starts, jumps = [], []
        for branch in branches:
            starts.append(len(self.instructions))
            self.add_all(branch, flags)
            jumps.append(self.add(SPLIT, ()))
        self.instructions[split] = (SPLIT, tuple(starts))
        for jump in jumps:
            self.instructions[jump] = (SPLIT, (len(self.instructions),))

    def add_repetition(self, low: int, high: Any, items: Any, flags: int) -> None:
        before = len(self.instructions)
        self.add_all(items, flags)
        if len(self.instructions) == before:  # nothing, however many times
            return
        del self.instructions[before:]
        for _ in range(low):
            self.add_all(items, flags)
        if high is ops.MAXREPEAT:
            split = self.add(SPLIT, ())
            self.add_all(items, flags)
            self.add(SPLIT, (split,))
            self.instructions[split] = (SPLIT, (split + 1, len(self.instructions)))
            return
        splits = []
        for _ in range(high - low):
            splits.append(self.add(SPLIT, ()))
            self.add_all(items, flags)
        for split in splits:
            self.instructions[split] = (SPLIT, (split + 1, len(self.instructions)))

    def add_place(self, place: Any, flags: int) -> None:
        """A condition on what stands before and after."""
        self.contextual = True
        if place in (ops.AT_BEGINNING, ops.AT_BEGINNING_STRING):
            line = place is ops.AT_BEGINNING and flags & re.MULTILINE
            self.behind.add(self.newline if line else NOTHING)
            self.add(BEHIND, self.newline if line else NOTHING)
        elif place in (ops.AT_BOUNDARY, ops.AT_NON_BOUNDARY):
            word = self.set_for([(ops.IN, [(ops.CATEGORY, ops.CATEGORY_WORD)])], flags & ~re.IGNORECASE)
            self.behind.add(word)
            self.add(BOUNDARY, word, place is ops.AT_NON_BOUNDARY)
        elif place is ops.AT_END and flags & re.MULTILINE:
            self.add(AT_END, self.newline)
        elif place is ops.AT_END:  # before a newline that ends the text too
            look = self.add(LOOK)
            split = self.add(SPLIT, ())
            self.add(CHAR, self.newline)
            self.add(AT_END, NOTHING)
            self.add(SPLIT, (DONE_PLACE,))
            self.instructions[split] = (SPLIT, (split + 1, split + 2))
            self.instructions[look] = (LOOK, False, split, len(self.instructions))
        elif place is ops.AT_END_STRING:
            self.add(AT_END, NOTHING)
        else:
            raise self.error(f"not have {str(place).lower()}")

    def add_lookahead(self, negated: bool, items: Any, flags: int) -> None:
        self.contextual = True
        look = self.add(LOOK)
        self.add_all(items, flags)
        self.add(SPLIT, (DONE_PLACE,))
        self.instructions[look] = (LOOK, negated, look + 1, len(self.instructions))

    def set_for(self, item: list[Any], flags: int) -> int:
        """The number of the set of characters that `re` says this item matches."""
        flags &= re.IGNORECASE | re.ASCII | re.UNICODE | re.DOTALL
        key = repr(item), flags
        if key not in self.set_of:
            state = _parser.State()
            state.flags = flags
            leaf = _compiler.compile(_parser.SubPattern(state, item), flags)
            members = np.zeros(len(self.characters), bool)
            members[[match.start() for match in leaf.finditer(self.characters)]] = True
            self.set_of[key] = len(self.sets)
            self.sets.append(members)
        return self.set_of[key]

    # From instructions to the automaton

    def automaton(self) -> Automaton:
        signatures: dict[bytes, int] = {}
        columns = np.array(self.sets).T
        classes = [signatures.setdefault(column.tobytes(), len(signatures)) for column in columns]
        #: Which sets each class of characters belongs to, and which classes each set has.
        self.members = columns[[classes.index(c) for c in range(len(signatures))]]
        self.classes_of = [np.flatnonzero(column).tolist() for column in self.members.T]
        initial = START, frozenset({Thread(self.first, _NOTHING_OPEN)})
        try:
            found = explored(classes, initial, self.successors, lambda state: (self.accepts(*state), 0, 0))
        except TooManyStates as error:
            raise self.error(f"need at most {error} states") from None
        if found is None:
            raise self.error(f"match some text of the model's {len(self.characters)} characters")
        return found

    def successors(self, state: tuple[int, frozenset[Thread]]) -> Iterator[tuple[int, tuple[int, frozenset[Thread]]]]:
        """The classes that may come after a class `before`, and the states that they lead to."""
        before, threads = state
        if self.contextual:
            for c in range(len(self.members)):
                if after := self.step(before, c, threads):
                    yield c, (self.seen_as(c), after)
            return
        places: dict[int, set[Thread]] = {}
        for place, _ in self.expand(before, None, threads):
            if self.instructions[place][0] == CHAR:
                for c in self.classes_of[self.instructions[place][1]]:
                    places.setdefault(c, set()).add(Thread(place + 1, _NOTHING_OPEN))
        for c, found in places.items():
            yield c, (START, frozenset(found))

    def seen_as(self, c: int) -> int:
        """The first class that looks the same from behind, where that is asked for."""
        if not self.behind:
            return START
        seen = self.members[:, sorted(self.behind - {NOTHING})]
        return int((seen == seen[c]).all(1).argmax())

    def step(self, before: int, c: int, threads: frozenset[Thread]) -> frozenset[Thread]:
        """The threads after a character of class c."""
        after = set()
        for place, pending in self.expand(before, c, threads):
            operation = self.instructions[place]
            if operation[0] == MATCH or (operation[0] == CHAR and not self.members[c, operation[1]]):
                continue
            still_open = set()
            for negated, inner in pending:
                stepped = self.step(before, c, inner)
                shown = Thread(DONE_PLACE, _NOTHING_OPEN) in stepped
                if (shown or not stepped) and shown == negated:
                    break
                if stepped and not shown:
                    still_open.add((negated, stepped))
            else:
                next_place = place if operation[0] == DONE else place + 1
                after.add(Thread(next_place, frozenset(still_open)))
        # A thread that has nothing to show stands for those at its place that have.
        return frozenset(t for t in after if not t.open or Thread(t.place, _NOTHING_OPEN) not in after)

    def accepts(self, before: int, threads: frozenset[Thread]) -> bool:
        """Whether the text may end here."""
        return any(
            self.instructions[place][0] in (MATCH, DONE)
            and all(self.accepts(before, inner) != negated for negated, inner in pending)
            for place, pending in self.expand(before, None, threads, at_end=True)
        )

    def expand(
        self, before: int, c: int | None, threads: Iterable[Thread], *, at_end: bool = False
    ) -> Iterable[Thread]:
        """The threads on CHAR, MATCH and DONE that these lead to between a character `before` and one of class c."""
        seen = set(threads)
        waiting = list(seen)
        for thread in waiting:
            operation = self.instructions[thread.place]
            targets: tuple[int, ...] = ()
            pending = thread.open
            if operation[0] == SPLIT:
                targets = operation[1]
            elif operation[0] == LOOK:
                _, negated, start, after = operation
                pending = pending | {(negated, frozenset({Thread(start, _NOTHING_OPEN)}))}
                targets = (after,)
            elif operation[0] in (BEHIND, BOUNDARY, AT_END):
                targets = (thread.place + 1,) if self.holds(operation, before, c, at_end) else ()
            else:
                yield thread
            for target in targets:
                new = Thread(target, pending)
                if new not in seen:
                    seen.add(new)
                    waiting.append(new)

    def holds(self, condition: tuple[Any, ...], before: int, c: int | None, at_end: bool) -> bool:
        """Whether a condition on the characters before and after is true."""
        kind, number, *rest = condition
        had = before != START and number != NOTHING and bool(self.members[before, number])
        has = c is not None and number != NOTHING and bool(self.members[c, number])
        if kind == BEHIND:
            return before == START or had
        if kind == AT_END:
            return at_end or has
        if rest[0]:  # not at a boundary; whether that is true of the empty text depends on Python's version
            return had == has and (before != START or not at_end or bool(re.fullmatch(r"\B", "")))
        return had != has


def _with_flags(flags: int, added: int, removed: int) -> int:
    """The flags inside of a group that has its own, as `re` combines them."""
    if added & (re.ASCII | re.UNICODE):
        flags &= ~(re.ASCII | re.UNICODE)
    return (flags | added) & ~removed
