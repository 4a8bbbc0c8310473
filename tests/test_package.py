"""What the package takes to be imported."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import charrnn


def test_import_takes_nothing_but_the_standard_library_and_what_numpy_imports_itself():
    code = (
        "import sys, numpy; before = set(sys.modules); import charrnn.train; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names; "
        "print(*[name for name in new if 'cython' not in name])  # what compiled modules share\n"
        "print(*{'hashlib', 'random', 'shutil'} & (set(sys.modules) - before))  # each takes milliseconds"
    )
    path = str(Path(charrnn.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert run.stdout == "charrnn\n\n", run.stderr


def python(code):
    path = str(Path(charrnn.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_import_charrnn_is_enough_and_imports_nothing_before_it_is_used():
    assert python(
        "import sys, charrnn; print(*sorted(m for m in sys.modules if m.startswith(('charrnn', 'numpy'))))"
    ) == ("charrnn\n")
    uses = "charrnn.train.train.__name__, charrnn.show.page.__name__, charrnn.plot.learning_curves.__name__"
    assert python(f"import charrnn; print({uses}, charrnn.kernels.softmax.__name__)") == (
        "train page learning_curves softmax\n"
    )


@pytest.mark.parametrize("first", ["import charrnn.train", "from charrnn.train import train", "import charrnn"])
def test_charrnn_train_is_the_module_however_it_was_imported(first):
    code = f"{first}; import charrnn; print(charrnn.train.train.__module__, charrnn.train.__name__)"
    assert python(code) == "charrnn.train charrnn.train\n"


@pytest.mark.parametrize("used", ["pass", "charrnn.train", "import charrnn.cli", "charrnn.load"])
def test_dir_lists_what_is_public_and_nothing_else(used):
    code = f"import charrnn\nexec({used!r})\nprint(*dir(charrnn))"
    modules = ["kernels", "plot", "show", "sklearn", "train"]
    assert python(code).split() == sorted(["__version__", *modules, *charrnn.__all__])


def test_every_public_name_is_there_and_no_other_is():
    for name in dir(charrnn):
        assert getattr(charrnn, name) is not None
    with pytest.raises(AttributeError, match="module 'charrnn' has no attribute 'modle'"):
        _ = charrnn.modle


def imports_at_run_time(tree):
    """The modules that a module imports, whenever it does: what is for type checkers alone is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                yield from imports_at_run_time(other)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "charrnn":
            for alias in node.names:
                yield from (node.module, f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from imports_at_run_time(node)


def test_no_module_imports_one_that_imports_it_by_whatever_way():
    folder = Path(charrnn.__file__).parent
    files = {path: ".".join(path.relative_to(folder.parent).with_suffix("").parts) for path in folder.rglob("*.py")}
    names = {path: name.removesuffix(".__init__") for path, name in files.items()}
    imports = {name: imports_at_run_time(ast.parse(path.read_text("utf-8"))) for path, name in names.items()}
    # The package itself imports nothing before it is used, and has a circle in it by that.
    graph = {
        name: {other for other in found if other in imports} - {name, "charrnn"} for name, found in imports.items()
    }
    del graph["charrnn"]
    circles = []
    for name in graph:
        seen, todo = set(), list(graph[name])
        while todo:
            other = todo.pop()
            if other not in seen:
                seen.add(other)
                todo += graph[other]
        if name in seen:
            circles.append(name)
    assert circles == []
