"""How many small faults in charrnn's Python code the tests see: `python tests/mutate.py --number 120 --seed 0`.

A mutant is the package with one fault in it: a comparison, an operator or a number is another one, a statement is
missing, a function returns None. A sample of them is drawn; for each, the tests that concern its file run on a copy of
the checkout, and one that fails kills it. What survives is printed: either the fault makes no difference, or a test is
missing. An hour for a hundred of them: run by hand, see `--help`.

`--save` writes the sample to a file, and `--replay` reads it: a mutant is known by its function and its line before
and after, so that it is found again where the code has moved to another file.
"""

import argparse
import ast
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[1]

COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is": "is not", "is not": "is"}
COMPARISONS |= {"in": "not in", "not in": "in"}
OPERATORS = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*", "<<": ">>", "|": "&", "&": "|", "**": "*"}
SYMBOLS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is"}
SYMBOLS |= {ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}
SYMBOLS |= {ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.LShift: "<<", ast.BitOr: "|", ast.BitAnd: "&"}
SYMBOLS |= {ast.Pow: "**", ast.And: "and", ast.Or: "or"}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "True": "False", "False": "True"}

#: For the files whose path has this in it, the files of tests that concern them, most telling first.
TESTS = {
    "train": ["wiring", "train", "checkpoint", "edges", "arguments"],
    "history": ["train", "checkpoint"],
    "corpus": ["corpus", "wiring"],
    "batching": ["corpus", "wiring"],
    "decoding": ["corpus", "inputs"],
    "unknown": ["unknown", "vocabulary"],
    "documents": ["documents", "corpus"],
    "vocabulary": ["vocabulary", "corpus"],
    "files": ["files", "wiring", "checkpoint"],
    "cli": ["main", "train_command", "sample_command", "score_command", "inputs", "watch"],
    "console": ["console", "main"],
    "progress": ["progress", "train"],
    "show": ["show"],
    "bench": ["bench"],
    "plot": ["plot"],
    "activations": ["activations"],
    "hidden": ["activations"],
    "": ["model", "arguments", "wiring", "docs"],
}
#: Of minutes, or of what no change of Python code is seen by.
SLOW = "not hundred_random_moments and not tiny_shakespeare and not stops_within_a_step and not every_option_learns"


class Mutant(NamedTuple):
    path: str
    function: str
    before: str
    after: str
    #: Which of the equal lines of the function it is.
    number: int = 0


def mutants_of(path, source):
    """All mutants of a file whose fault lies within one line."""
    lines = source.splitlines()
    found = []

    def visit(node, function):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            function = f"{function}.{node.name}".lstrip(".")
        for at, old, new in faults(node, lines):
            line, start = at
            if lines[line].encode()[start:].startswith(old.encode()):
                encoded = lines[line].encode()
                after = (encoded[:start] + new.encode() + encoded[start + len(old.encode()) :]).decode()
                found.append((line, function, lines[line], after))
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not skipped(child):
                    visit(child, function)

    visit(ast.parse(source), "")
    seen, mutants = {}, []
    for line, function, before, after in sorted(set(found)):
        number = seen.setdefault((function, before), [])
        if line not in number:
            number.append(line)
        mutants.append(Mutant(path, function, before, after, number.index(line)))
    return mutants


def skipped(node):
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    exports = isinstance(node, ast.Assign) and "__all__" in ast.dump(node.targets[0])
    return docstring or typing or exports or isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr))


def faults(node, lines):
    """((line, byte), text there, text instead) for the faults of this node itself."""
    place = (getattr(node, "lineno", 1) - 1, getattr(node, "col_offset", 0))
    one_line = getattr(node, "lineno", 0) == getattr(node, "end_lineno", 1)
    text = lines[place[0]].encode()[place[1] : node.end_col_offset].decode() if one_line else ""
    if isinstance(node, ast.Compare):
        for left, kind, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            yield from between(left, right, SYMBOLS[type(kind)], COMPARISONS[SYMBOLS[type(kind)]], lines)
    elif isinstance(node, ast.BinOp) and type(node.op) in SYMBOLS:
        yield from between(node.left, node.right, SYMBOLS[type(node.op)], OPERATORS[SYMBOLS[type(node.op)]], lines)
    elif isinstance(node, ast.BoolOp):
        symbol = SYMBOLS[type(node.op)]
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from between(left, right, symbol, "or" if symbol == "and" else "and", lines)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield place, "not ", ""
    elif isinstance(node, ast.Constant) and one_line and type(node.value) in (int, float, bool):
        yield place, text, NAMES[text] if isinstance(node.value, bool) else f"({text} + 1)"
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield place, node.id, NAMES[node.id]
    elif isinstance(node, ast.AugAssign) and type(node.op) in SYMBOLS:
        symbol = SYMBOLS[type(node.op)]
        yield from between(node.target, node.value, symbol + "=", OPERATORS[symbol] + "=", lines)
    elif isinstance(node, ast.Return) and node.value is not None and one_line:
        yield place, text, "return None"
    elif isinstance(node, (ast.Expr, ast.Raise)) and one_line:
        yield place, text, "pass"
    elif isinstance(node, ast.Assign) and one_line and not isinstance(node.targets[0], (ast.Name, ast.Tuple)):
        yield place, text, "pass"


def between(left, right, old, new, lines):
    """The operator between two operands, if it stands in one line with them."""
    if left.end_lineno == right.lineno:
        gap = lines[left.end_lineno - 1].encode()[left.end_col_offset : right.col_offset].decode()
        match = re.search(rf"(?<![\w<>=!*/]){re.escape(old)}(?![\w<>=*/])", gap)
        if match:
            yield (left.end_lineno - 1, left.end_col_offset + len(gap[: match.start()].encode())), old, new


def lines_of_functions(source):
    """(line, name of the innermost function or class) of every line."""
    owner = [""] * (len(source.splitlines()) + 1)

    def visit(node, function):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            function = f"{function}.{node.name}".lstrip(".")
        if hasattr(node, "lineno"):
            for line in range(node.lineno, node.end_lineno + 1):
                owner[line] = function
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(source), "")
    return owner[1:]


def find(mutant, sources):
    """(path, number of the line) of a mutant in these sources: in its file and function, or where its line now is."""
    places = []
    for path, source in sources.items():
        owners = lines_of_functions(source)
        equal = {}
        for i, line in enumerate(source.splitlines()):
            if line.strip() == mutant.before.strip():
                number = equal.setdefault(owners[i], [])
                number.append(i)
                same_name = owners[i].split(".")[-1].strip("_") == mutant.function.split(".")[-1].strip("_")
                places.append(((path == mutant.path) + 2 * same_name + (len(number) - 1 == mutant.number), path, i))
    places.sort(key=lambda place: -place[0])
    if not places or (len(places) > 1 and places[0][0] == places[1][0]):
        return None
    return places[0][1:]


def tests_for(path, folder):
    """The files of tests for a mutant in this file, of those that there are."""
    wanted = next(tests for part, tests in TESTS.items() if part in path)
    found = [path for name in wanted for path in (folder / "tests").rglob(f"test_{name}.py")]
    return [str(path.relative_to(folder)) for path in found]


def survives(folder, path, seconds):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", "-k", SLOW]
    try:
        run = subprocess.run(command + tests_for(path, folder), cwd=folder, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    if run.returncode not in (0, 1, 2, 3, 4):
        return False
    if run.returncode == 4:
        raise RuntimeError(run.stdout.decode()[-2000:])
    return run.returncode == 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", help="files of charrnn/ to put faults into; all of them by default")
    parser.add_argument("--number", type=int, default=120, help="of mutants (120)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, help="another one than that of this file")
    parser.add_argument("--seconds", type=float, default=600, help="after which tests count as failed (600)")
    parser.add_argument("--save", type=Path, help="where to write the sample to, with what became of each")
    parser.add_argument("--replay", type=Path, help="a sample that was saved")
    return parser.parse_args()


def main():
    given = arguments()
    files = sorted((given.checkout / "charrnn").rglob("*.py"))
    sources = {str(file.relative_to(given.checkout)): file.read_text() for file in files}
    if given.replay:
        sample = [Mutant(*entry["mutant"]) for entry in json.loads(given.replay.read_text())]
    else:
        chosen = given.paths or [path for path in sources if "kernels" not in path and "bench" not in path]
        mutants = [mutant for path in chosen for mutant in mutants_of(path, sources[path])]
        sample = random.Random(given.seed).sample(mutants, min(given.number, len(mutants)))
    results, started = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkout"
        shutil.copytree(given.checkout, folder, ignore=shutil.ignore_patterns(".git", "build", "__pycache__"))
        for mutant in sample:
            place = find(mutant, sources)
            if place is None:
                outcome = "gone"
            else:
                path, line = place
                lines = sources[path].splitlines()
                indent = lines[line][: len(lines[line]) - len(lines[line].lstrip())]
                lines[line] = indent + mutant.after.strip()
                (folder / path).write_text("\n".join(lines) + "\n")
                outcome = "survived" if survives(folder, path, given.seconds) else "killed"
                (folder / path).write_text(sources[path])
            results.append({"mutant": mutant, "outcome": outcome, "place": place})
            if outcome == "survived":
                print(f"{path}:{line + 1} {mutant.function}\n  - {mutant.before}\n  + {mutant.after}", flush=True)
            if given.save:
                given.save.write_text(json.dumps(results, indent=1))
    counts = {outcome: sum(r["outcome"] == outcome for r in results) for outcome in ("killed", "survived", "gone")}
    tried = counts["killed"] + counts["survived"]
    print(
        f"{counts['killed']} of {tried} killed, {100 * counts['killed'] / max(tried, 1):.0f} %; {counts['gone']} gone; "
        f"{time.perf_counter() - started:.0f} seconds"
    )


if __name__ == "__main__":
    main()
