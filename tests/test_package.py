"""What the package takes to be imported."""

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
