"""The command line: train, sample, evaluate, show, info, bench.

Results go to stdout, all else to stderr. What takes time to import is imported by the command that needs it, so
that help is there at once, and whatever goes wrong on the way goes wrong within `main`.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import inspect
import io
import itertools
import math
import os
import re
import shlex
import signal
import sys
import sysconfig
import textwrap
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from charrnn import __version__
from charrnn.errors import output_path
from charrnn.progress import Samples, duration, printable, thousands, write

if TYPE_CHECKING:
    from charrnn.history import History
    from charrnn.model import CharRNN
    from charrnn.train import Report

__all__ = ["main", "standard_library_text"]

# Exit codes
FAILED = 1
WRONG = 2
INTERRUPTED = 130

#: Characters of the text that `train` learns where it is given none.
STANDARD_TEXT_LENGTH = 1_000_000

EXAMPLES = """\
examples:
  charrnn train book.txt -o book.safetensors
  charrnn sample book.safetensors --prompt "It was" --length 500
  charrnn evaluate book.safetensors another.txt
"""

BY_SIZE = "(default: by the text's size)"

#: The arguments of `train` that are options, in groups, and what help says of them. Types and defaults are read off
#: the function; here stand the defaults for which it has None.
TRAIN_OPTIONS = {
    "the model": {
        "cell": f"the recurrent cell {BY_SIZE}",
        "hidden_size": f"units of a layer {BY_SIZE}",
        "num_layers": "layers (default: 1)",
        "dropout": f"probability that a unit is left out, between layers and before the output {BY_SIZE}",
        "dtype": "precision of all numbers (default: float32)",
        "init_from": "train this model further; cell, sizes and precision are its own",
    },
    "the optimisation": {
        "optimizer": "how a gradient becomes a step",
        "learning_rate": f"size of a step, at its highest {BY_SIZE}",
        "schedule": "how the learning rate falls over the run",
        "warmup": "share of the run over which it rises first",
        "clip_norm": "scale the gradient down to this norm where it is longer; none: never",
        "clip_value": "cut each element of the gradient off at plus and minus this (default: none)",
        "weight_decay": f"shrink the parameters by this times the learning rate in each step {BY_SIZE}",
        "momentum": "decay of the average step, of sgd",
        "beta1": "decay of the gradient's average, of adam",
        "beta2": "decay of its square's average, of adam and rmsprop",
        "batch_size": f"places of the text that are read side by side {BY_SIZE}",
        "seq_length": f"characters through which gradients flow back {BY_SIZE}",
        "seed": "of all that is random",
        "num_threads": "cores to use; the result does not depend on it (default: all)",
    },
    "its length (whichever ends first)": {
        "epochs": f"passes over the text {BY_SIZE}",
        "max_seconds": "seconds in all (default: no limit)",
    },
    "text and files": {
        "encoding": "of the text",
        "val_fraction": "share of the text, its end, that is not learned but measures progress (default: 0.1, less "
        "of a long text, none of a short one)",
        "checkpoint": "file for the state of the training (default: that of -o, with .checkpoint.safetensors)",
        "checkpoint_seconds": "seconds from one save of it to the next",
        "resume": "go on from the checkpoint, if there is one, with the text and the options that it had",
    },
}

SHOW_OPTIONS = {
    "length": "characters to show: the first ones",
    "units": "hidden units to show: those with the longest memory (default: all)",
    "encoding": "of the text",
}

BENCH_OPTIONS = {
    "num_threads": "cores to use, beside one alone (default: all)",
    "seconds": "seconds for each row and number of threads",
}

METAVARS = {
    "checkpoint": "PATH",
    "checkpoint_seconds": "S",
    "encoding": "NAME",
    "init_from": "MODEL",
    "max_seconds": "S",
    "seconds": "S",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    argv : sequence of str, optional
        By default that of the process.

    Returns
    -------
    int
        The exit code: 0; 1 where training diverged; 2 for a wrong option or input; 130 after Ctrl-C.

    Examples
    --------
    >>> main(["info", "nowhere.safetensors"])       # one line on stderr says what is wrong
    2
    """
    argv = sys.argv[1:] if argv is None else argv
    args = argparse.Namespace()
    try:
        try:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="backslashreplace", newline="\n")
            _parser(argv).parse_args(argv, args)
            code: int = args.run(args)
            return code
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        return 0
    except KeyboardInterrupt:
        write("interrupted")
        return INTERRUPTED
    except (ValueError, TypeError, OverflowError, OSError, MemoryError, ImportError) as error:
        write(f"charrnn: error: {_message(error, vars(args))}")
        return WRONG
    finally:
        _let_go_of_stdout()


def _let_go_of_stdout() -> None:
    """Python flushes stdout once more at its exit, and would complain of what cannot be written."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _message(error: BaseException, args: Mapping[str, Any]) -> str:
    """What is wrong, in one line; arguments have the names that they have on the command line."""
    message = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        message = f"{error.filename}: {error.strerror}"
    elif isinstance(error, MemoryError):
        message = f"not enough memory{message and ': '}{message}"
    else:
        names = {**{name: _option(name) for name in args}, "rng": "--seed", "data": "the text"}
        first = re.match(r"(\w+) (must|has) ", message)
        if first and first[1] in names:
            message = names[first[1]] + message[first.end(1) :]
        for name in args:
            if "_" in name:  # a word that is no other
                message = re.sub(rf"(?<![\w./'\"-]){name}(?![\w./'\"-])", names[name], message)
    return " ".join(message.splitlines())


# Options


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A command refuses what it does not know itself: its own options are what may have been meant."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        message = " ".join(message.splitlines())
        wrong = re.match(r"unrecognized arguments: (--[\w-]+)|.*invalid choice: '(.+?)' \(choose from (.+)\)", message)
        if wrong:
            known = re.findall(r"[\w-]+", wrong[3]) if wrong[3] else list(self._option_string_actions)
            for meant in difflib.get_close_matches(wrong[1] or wrong[2], known, 1):
                message += f"; did you mean {meant}?"
        self.exit(WRONG, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"max_help_position": 28, **options})


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="charrnn",
        description="Character-level recurrent language models: train them on text, sample and score text with them.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"charrnn {__version__}")
    parser.set_defaults(run=lambda args: _print_help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="charrnn")
    for name, (summary, declare, run) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        command.set_defaults(run=run)
        # The options are read off functions whose import takes time: only those that may be asked for.
        if name in argv:
            declare(command)
    return parser


def _print_help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0


def _add_options(group: Any, function: Callable[..., Any], helps: Mapping[str, str], **choices: Iterable[str]) -> None:
    """An option for each of these arguments of a function."""
    parameters = inspect.signature(function).parameters
    for name, text in helps.items():
        default, types = parameters[name].default, parameters[name].annotation.split(" | ")
        if "bool" in types:
            group.add_argument(_option(name), action="store_true", help=text)
            continue
        kind: Any = int if "int" in types else float if "float" in types else str
        if "(default: " not in text and default not in (None, ""):
            text += f" (default: {default:g})" if kind is float else f" (default: {default})"
        group.add_argument(
            _option(name),
            type=_number_or_none if "None" in types and default is not None else kind,
            default=default,
            choices=tuple(choices[name]) if name in choices else None,
            metavar=None if name in choices else METAVARS.get(name, {int: "N", float: "X"}.get(kind)),
            help=text,
        )


def _add_declared(group: Any, options: type) -> None:
    """An option for each field of such a dataclass."""
    from charrnn.options import declared

    for name, (default, option) in declared(options).items():
        group.add_argument(
            _option(name),
            type=option.kind,
            default=default,
            metavar=option.metavar,
            help=option.help if default is None else f"{option.help} (default: {default})",
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _number_or_none(value: str) -> float | None:
    return None if value == "none" else float(value)


_number_or_none.__name__ = "number"  # argparse says "invalid number value"


# Texts


def _read(file: str, encoding: str) -> str:
    """The text of a file, or of stdin for -."""
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except (LookupError, UnicodeError) as error:
        raise ValueError(f"{'stdin' if file == '-' else file}: {error}; give its encoding with --encoding") from None


def _data(files: Sequence[str], documents: bool, encoding: str) -> Any:
    """What the functions of the library take: a path where it can be one, for a large file is mapped."""
    if len(files) == 1 and files[0] != "-" and not documents:
        return Path(files[0])
    texts = [_read(file, encoding) for file in files] or [standard_library_text()]
    if not documents:
        return "".join(texts)
    lines = [line.removesuffix("\r") for text in texts for line in text.split("\n")]
    return [line for line in lines if line.strip()]


def standard_library_text() -> str:
    """The beginning of the source of Python's standard library: real text that every machine has.

    The top-level modules in the order of their names, 1 000 000 characters: the same for the same Python.

    Returns
    -------
    str

    Raises
    ------
    FileNotFoundError
        If this Python has no source.

    Examples
    --------
    >>> "import" in standard_library_text()
    True
    """
    folder = Path(sysconfig.get_path("stdlib"))
    modules, length = [], 0
    for path in sorted(folder.glob("*.py"), key=lambda path: path.name):
        with tokenize.open(path) as file:
            modules.append(file.read())
        length += len(modules[-1])
        if length >= STANDARD_TEXT_LENGTH:
            break
    if not modules:
        raise FileNotFoundError(f"this Python has no source of its standard library in {folder}; give a FILE")
    return "".join(modules)[:STANDARD_TEXT_LENGTH]


# train


def _declare_train(parser: argparse.ArgumentParser) -> None:
    from charrnn.model import CELLS, DTYPES
    from charrnn.train import train
    from charrnn.train.settings import OPTIMIZERS, SCHEDULES

    parser.usage = "charrnn train [FILE ...] [-o MODEL] [options]"
    parser.epilog = (
        "Ctrl-C ends the training; the model is then saved as it is.\n\n"
        "examples:\n"
        "  charrnn train book.txt --max-seconds 180\n"
        "  charrnn train names.txt --documents -o names.safetensors\n"
        "  charrnn train part1.txt part2.txt --hidden-size 1024 --dropout 0.2 --resume\n"
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="the text, several files one after the other, - for stdin (default: the source of Python's standard "
        f"library, the first {STANDARD_TEXT_LENGTH:,} characters)",
    )
    parser.add_argument(
        "-o", "--output", metavar="MODEL", default="model.safetensors", help="file for the model (default: %(default)s)"
    )
    parser.add_argument("--documents", action="store_true", help="each line is a document, independent of the others")
    parser.add_argument("--quiet", action="store_true", help="say nothing but what goes wrong")
    parser.add_argument(
        "--plot", metavar="PICTURE", help="draw the losses and the learning rate into this file (needs matplotlib)"
    )
    choices = {"cell": tuple(CELLS), "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "dtype": DTYPES}
    for title, helps in TRAIN_OPTIONS.items():
        _add_options(parser.add_argument_group(title), train, helps, **choices)


def _train(args: argparse.Namespace) -> int:
    from charrnn import plot
    from charrnn.train import DivergenceError, TrainingInterrupted, train

    say = (lambda text: None) if args.quiet else write
    output = Path(args.output)
    _check_output("output", output, args.files)
    if args.checkpoint is None:
        args.checkpoint = output.with_name(f"{output.stem}.checkpoint.safetensors")
    checkpoint = Path(args.checkpoint)
    _check_output("checkpoint", checkpoint, [args.output, *args.files])
    if args.plot is not None:
        _check_output("plot", Path(args.plot), [args.output, args.checkpoint, *args.files])
        plot.check_picture(args.plot)
    resumed = args.resume and checkpoint.exists()
    if args.resume and not resumed:
        say(f"nothing to resume: there is no {checkpoint}; training starts afresh")
    data = _data(args.files, args.documents, args.encoding)
    watch = _Watch(say, args, _describe(data, args), resumed)
    options = {name: getattr(args, name) for helps in TRAIN_OPTIONS.values() for name in helps}
    model: CharRNN | None
    try:
        with _warnings_as_lines():
            model = train(data, **options, progress=not args.quiet, callback=watch)
    except KeyboardInterrupt as interrupt:
        model = getattr(interrupt, "model", watch.model)
        if model is None or not _history(model).steps:
            raise
        _save(model, output, checkpoint)
        kept = isinstance(interrupt, TrainingInterrupted) and interrupt.checkpointed
        write(
            f"interrupted: the model so far is in {output}{'; the same command with --resume goes on' if kept else ''}"
        )
        return INTERRUPTED
    except DivergenceError as error:
        message = _message(error, vars(args))
        if _history(error.model).val_losses:
            _save(error.model, output, checkpoint)
            message += f"; the best model so far is in {output}"
        write(f"charrnn: error: {message}")
        return FAILED
    except (OSError, MemoryError) as error:
        # The checkpoint could not be saved; the model is a quarter of its size.
        if watch.model is None:
            raise
        _save(watch.model, output, checkpoint)
        write(f"charrnn: error: {_message(error, vars(args))}; the model so far is in {output}")
        return WRONG
    _save(model, output, checkpoint)
    if args.plot is not None and _history(model).steps:
        plot.learning_curves(_history(model), args.plot)
    if watch.model is None:
        say(f"{checkpoint} holds a training that is complete; with more --epochs it goes on")
    say(
        f"{output}: {_loss(model)}\nsample it with: charrnn sample {shlex.quote(str(output))}"
        f"{' --documents' if args.documents else ''}"
    )
    return 0


def _check_output(name: str, path: Path, others: Sequence[str | Path]) -> None:
    """Whether it can be written, before the hours that go into it, and is none of these other files."""
    output_path(name, path)
    if path.resolve() in [Path(other).resolve() for other in others]:
        raise ValueError(f"{name} must be a file of its own, got {path}")


def _describe(data: Any, args: argparse.Namespace) -> str:
    name = " + ".join("stdin" if file == "-" else file for file in args.files)
    name = name or f"Python's standard library in {sysconfig.get_path('stdlib')}"
    return f"{name}: {_count(len(data), 'document') + ', ' if args.documents else ''}"


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """On stderr, above the bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        warnings.showwarning = lambda message, *rest, **more: write(f"charrnn: warning: {message}")
        yield


class _Watch:
    """A callback that says what `train` decided and how long it takes; it keeps hold of the model, come what may."""

    #: After so many of training its speed is known.
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
            f"{self.text}{_count(report.num_chars, 'character')}, {_count(len(model.vocabulary), 'symbol')}; "
            f"{f'{s.val_fraction:.3g}' if s.val_fraction else 'none'} of it to validate",
            f"{_architecture(model)}, {model.num_parameters:,} parameters, {model.dtype.name}",
            f"{s.optimizer}, rate {s.learning_rate:.3g}, batches of {s.batch_size} x {s.seq_length} characters",
            f"{_count(threads, 'thread')}, {BUILD} kernels; ends after {' or '.join(ends)}, or with Ctrl-C",
        ]
        if self.resumed:
            lines.append(f"resumed from {args.checkpoint} at epoch {report.epoch:.2f}")
        return "\n".join(lines)

    def _seconds_left(self, report: Report) -> float:
        s = report.settings
        characters = (s.epochs - report.epoch) * report.num_chars * (1 - s.val_fraction)
        return min(characters / report.chars_per_second, s.max_seconds - report.seconds)


def _save(model: CharRNN, path: Path, checkpoint: Path) -> None:
    """Ctrl-C, impatiently repeated, waits until this is done."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        model.save(path)
    except (OSError, MemoryError) as error:
        kept = f"; the training is kept in {checkpoint}: make room and use --resume" if checkpoint.exists() else ""
        raise OSError(f"the model could not be saved: {_message(error, {})}{kept}") from None
    finally:
        signal.signal(signal.SIGINT, before)


def _history(model: CharRNN) -> History:
    """That of a model that has just been trained."""
    assert model.history is not None
    return model.history


def _loss(model: CharRNN) -> str:
    """The loss of a model that has just been trained: that of its best validation, which it was taken from."""
    history = _history(model)
    part, losses = ("validation", [min(history.val_losses)]) if history.val_losses else ("training", history.losses)
    return f"{part} loss {losses[-1]:.4f} nats, {losses[-1] / math.log(2):.4f} bits per character"


# sample


def _declare_sample(parser: argparse.ArgumentParser) -> None:
    from charrnn.sampling import SamplingOptions

    parser.epilog = (
        "examples:\n"
        '  charrnn sample book.safetensors --prompt "It was" --temperature 0.8\n'
        "  charrnn sample names.safetensors --documents -n 20\n"
    )
    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument("--prompt", metavar="TEXT", default="", help="what comes before (default: nothing)")
    _add_declared(parser, SamplingOptions)
    parser.add_argument("--seed", type=int, metavar="N", help="of what is drawn (default: another each time)")
    parser.add_argument("--documents", action="store_true", help="draw documents, one a line")
    parser.add_argument("-n", "--count", type=int, metavar="N", help="so many documents (default: 10)")


def _sample(args: argparse.Namespace) -> int:
    from charrnn.model import load
    from charrnn.options import declared
    from charrnn.sampling import SamplingOptions

    model = load(args.model)
    options = {"prompt": args.prompt, **{name: getattr(args, name) for name in declared(SamplingOptions)}}
    if args.documents or args.count is not None:
        _sample_documents(model, args, options)
        return 0
    characters = model.stream(**options, rng=args.seed)
    live = sys.stdout is not None and sys.stdout.isatty()
    try:
        print(args.prompt, end="", flush=live)
        for character in characters:
            print(character, end="", flush=live)
    finally:
        print()
    return 0


def _sample_documents(model: CharRNN, args: argparse.Namespace, options: dict[str, Any]) -> None:
    import numpy as np

    from charrnn.errors import integer

    _check_documents(model, args)
    count = 10 if args.count is None else integer("count", args.count, 0)
    rng = np.random.default_rng(None if args.seed is None else integer("seed", args.seed, 0))
    for document in model.sample_many(count, **options, rng=rng):
        print(args.prompt + document)


def _check_documents(model: CharRNN, args: argparse.Namespace) -> None:
    if model.vocabulary.end is None:
        raise ValueError(f"documents must come with a model of documents, got {args.model}, a model of a text")


# evaluate


def _declare_evaluate(parser: argparse.ArgumentParser) -> None:
    from charrnn.model import CharRNN

    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument("file", metavar="FILE", help="the text, - for stdin")
    _add_options(parser, CharRNN.evaluate, {"encoding": "of the text"})
    parser.add_argument("--documents", action="store_true", help="each line is a document, independent of the others")


def _evaluate(args: argparse.Namespace) -> int:
    from charrnn.model import load

    model = load(args.model)
    data = _data([args.file], args.documents, args.encoding)
    with _hint_at_documents(model):
        evaluation = model.evaluate(data, encoding=args.encoding)
    _print_table(
        {
            "nats per character": f"{evaluation.loss:.4f}",
            "bits per character": f"{evaluation.bits_per_char:.4f}",
            "perplexity": f"{evaluation.perplexity:.4f}",
            "characters": f"{evaluation.num_chars}",
        }
    )
    return 0


@contextlib.contextmanager
def _hint_at_documents(model: CharRNN) -> Iterator[None]:
    """To be found where documents were read as a text."""
    try:
        yield
    except ValueError as error:
        if model.vocabulary.end is None or not str(error).startswith((repr("\n"), repr("\r"))):
            raise
        raise ValueError(f"{error}; is each line a document? then give --documents") from None


# show


def _declare_show(parser: argparse.ArgumentParser) -> None:
    from charrnn.show import page

    parser.epilog = (
        "The page is one HTML file that needs no other and no network. It colours the text by the surprisal of each\n"
        "character or by the activation of a hidden unit, and shows the best guesses of the one pointed at.\n\n"
        "examples:\n"
        "  charrnn show book.safetensors book.txt\n"
        "  charrnn show names.safetensors names.txt --documents -o names.html\n"
        "  charrnn sample book.safetensors | charrnn show book.safetensors -\n"
    )
    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument("file", metavar="FILE", help="the text, - for stdin")
    parser.add_argument(
        "-o", "--output", metavar="PAGE", default="page.html", help="file for the page (default: %(default)s)"
    )
    parser.add_argument("--documents", action="store_true", help="each line is a document, independent of the others")
    _add_options(parser, page, SHOW_OPTIONS)


def _show(args: argparse.Namespace) -> int:
    from charrnn.model import load
    from charrnn.show import page

    output = Path(args.output)
    _check_output("output", output, [args.model, args.file])
    model = load(args.model)
    if args.documents:
        _check_documents(model, args)
    data = _data([args.file], args.documents, args.encoding)
    title = "stdin" if args.file == "-" else Path(args.file).name
    with _hint_at_documents(model):
        html = page(model, data, **{name: getattr(args, name) for name in SHOW_OPTIONS}, title=title, say=write)
    output.write_text(html, "ascii")
    write(f"{output}: {len(html) / 1e6:.1f} MB, to be opened in a browser")
    return 0


# info


def _declare_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model file")


def _info(args: argparse.Namespace) -> int:
    from charrnn.model import load

    model = load(args.model)
    end = "" if model.vocabulary.end is None else ", END among them"
    _print_table(
        {
            "file": f"{printable(args.model)}, {os.path.getsize(args.model):,} bytes",
            "model of": "a text" if model.vocabulary.end is None else "documents",
            "network": _architecture(model),
            "parameters": f"{model.num_parameters:,}",
            "dtype": model.dtype.name,
            "symbols": f"{len(model.vocabulary):,}{end}",
            "characters": _legible(model.vocabulary.characters),
        }
    )
    return 0


def _architecture(model: CharRNN) -> str:
    return f"{model.cell}, {_count(model.num_layers, 'layer')} of {_count(model.hidden_size, 'unit')}"


def _legible(characters: str, most: int = 300) -> str:
    """Characters in their order, neighbours in Unicode as ranges."""

    def place(indexed: tuple[int, str]) -> tuple[bool, int]:
        return indexed[1] == " ", ord(indexed[1]) - indexed[0]

    items = []
    for _, run in itertools.groupby(enumerate(characters), place):
        shown = [printable(character) for _, character in run]
        items += [f"{shown[0]}-{shown[-1]}"] if len(shown) > 3 else ["space" if item == " " else item for item in shown]
    if len(items) > most:
        items[most:] = ["…"]
    return textwrap.fill(" ".join(items), 90, break_long_words=False, break_on_hyphens=False)


def _print_table(rows: Mapping[str, str]) -> None:
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        print(f"{name:{width}}" + value.replace("\n", "\n" + " " * width))


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


# bench


def _declare_bench(parser: argparse.ArgumentParser) -> None:
    from charrnn.bench import bench

    _add_options(parser, bench, BENCH_OPTIONS)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _bench(args: argparse.Namespace) -> int:
    from charrnn.bench import as_json, bench, table

    result = bench(num_threads=args.num_threads, seconds=args.seconds, say=write)
    print(as_json(result) if args.json else table(result))
    return 0


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]] = {
    "train": ("train a model on text", _declare_train, _train),
    "sample": ("draw text from a model", _declare_sample, _sample),
    "evaluate": ("measure how well a model predicts a text", _declare_evaluate, _evaluate),
    "show": ("colour a text by how a model reads it, on a page for the browser", _declare_show, _show),
    "info": ("show what is in a model file", _declare_info, _info),
    "bench": ("measure the speed here, and its share of what this CPU can do", _declare_bench, _bench),
}
