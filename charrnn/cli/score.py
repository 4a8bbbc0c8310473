"""`charrnn score`: a score for each line of files or of stdin, as the lines come, in constant memory."""

from __future__ import annotations

import argparse
import codecs
import io
import json
import math
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from charrnn.cli.inputs import add_cut_arguments, cut_of
from charrnn.text.decoding import codec_name
from charrnn.text.documents import Cut, Documents

if TYPE_CHECKING:
    from charrnn.model import CharRNN

#: Bytes that are read at once, blocks that are read ahead, and lines that are scored at once.
BLOCK = 1 << 16
BLOCKS_AHEAD = 16
LINES_AT_ONCE = 1 << 14
CHARACTERS_AT_ONCE = 1 << 19


def declare(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write `score<TAB>line` for each line, as the lines come. The score is the log-probability of the whole line "
        "in nats, -inf for one with characters that the model does not know."
    )
    parser.epilog = (
        "examples:\n"
        "  charrnn score names.safetensors candidates.txt | sort -rn | head\n"
        "  tail -f app.log | charrnn score log.safetensors --per-char --below -3\n"
        "  charrnn score passwords.safetensors --guesses < list.txt\n"
    )
    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument("files", nargs="*", metavar="FILE", help="the texts, one a line, - for stdin (default: stdin)")
    parser.add_argument("--bits", action="store_true", help="scores in bits instead of nats")
    parser.add_argument("--per-char", action="store_true", help="divide each score by the number of characters")
    parser.add_argument(
        "--guesses",
        action="store_true",
        help="in place of the score, the expected number of texts that are more probable, by which it is a password's "
        "strength",
    )
    parser.add_argument("--above", type=float, metavar="X", help="write only lines with a number above X")
    parser.add_argument("--below", type=float, metavar="X", help="write only lines with a number below X")
    parser.add_argument("--json", action="store_true", help="write a JSON object a line")
    parser.add_argument(
        "--samples", type=int, default=10_000, metavar="N", help="texts drawn for --guesses (default: 10000)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="random seed of --guesses (default: another each time)")
    add_cut_arguments(parser, "as the model's own were, otherwise each line is one")
    parser.add_argument("--encoding", metavar="NAME", default="utf-8", help="encoding of the texts (default: utf-8)")
    parser.add_argument("--num-threads", type=int, metavar="N", help="cores to use (default: all)")


def run(args: argparse.Namespace) -> int:
    from charrnn.model import load
    from charrnn.scoring.ranking import Ranking

    model = load(args.model)
    ranking = Ranking(model, args.samples, args.seed) if args.guesses else None
    number_name = "guesses" if args.guesses else "score"
    for lines in _batches(_texts(args, cut_of(args, model))):
        written = []
        for line, number in zip(lines, _numbers(model, lines, args, ranking), strict=True):
            if (args.above is None or number > args.above) and (args.below is None or number < args.below):
                written.append(_json(line, number_name, number) if args.json else f"{number:.4f}\t{line}")
        if written:
            print("\n".join(written), flush=True)
    return 0


def _texts(args: argparse.Namespace, cut: Cut | None) -> Iterator[str | None]:
    """The texts, each as it comes: lines, also blank ones; or the records or rows that are asked for."""
    files = args.files or ["-"]
    if cut is None or cut == Cut():
        return _lines(files, args.encoding)
    return (item.text for item in Documents(files, cut, args.encoding, None).items())


def _numbers(model: CharRNN, lines: list[str], args: argparse.Namespace, ranking: Any) -> list[float]:
    from charrnn.scoring.ranking import score

    scores = score(model, lines, args.per_char and ranking is None, "impossible", args.num_threads)
    if ranking is not None:
        scores, _ = ranking.guess_number(scores)
    elif args.bits:
        scores /= math.log(2)
    numbers: list[float] = scores.tolist()
    return numbers


def _json(line: str, name: str, number: float) -> str:
    """JSON has no infinity: it is null."""
    return json.dumps({name: number if math.isfinite(number) else None, "text": line}, ensure_ascii=False)


def _batches(lines: Iterable[str | None]) -> Iterator[list[str]]:
    """Lists of lines: as many as are scored well at once, or what there is when the input pauses, which is a None."""
    batch: list[str] = []
    size = 0
    for line in lines:
        if line is not None:
            batch.append(line)
            size += len(line)
        if batch and (line is None or len(batch) == LINES_AT_ONCE or size >= CHARACTERS_AT_ONCE):
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _lines(files: Iterable[str], encoding: str) -> Iterator[str | None]:
    """The lines of these files without their ends, LF, CRLF or CR; None wherever the next one has yet to come."""
    codec = codec_name(encoding)
    for file in files:
        name = "stdin" if file == "-" else file
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(codec)(), translate=True)
        with open(0 if file == "-" else file, "rb", buffering=0, closefd=file != "-") as opened:
            rest = ""
            for block in _read_ahead(opened):
                if block is None:
                    yield None
                    continue
                try:
                    text = decoder.decode(block, final=not block)
                except UnicodeError as error:
                    raise ValueError(f"{name}: {error}; give its encoding with --encoding") from None
                *lines, rest = (rest + text).split("\n")
                yield from lines
            if rest:
                yield rest


def _read_ahead(file: io.RawIOBase) -> Iterator[bytes | None]:
    """Blocks of an unbuffered file as they come, the last one empty; None before one that has to be waited for.

    Unbuffered, for a thread that waits for stdin's buffer would keep Python from ending.
    """
    blocks: queue.Queue[bytes | BaseException] = queue.Queue(BLOCKS_AHEAD)

    def fill() -> None:
        try:
            while block := file.read(BLOCK):
                blocks.put(block)
            blocks.put(b"")
        except BaseException as error:
            blocks.put(error)

    threading.Thread(target=fill, daemon=True).start()
    while True:
        try:
            block = blocks.get_nowait()
        except queue.Empty:
            yield None
            block = blocks.get()
        if isinstance(block, BaseException):
            raise block
        yield block
        if not block:
            return
