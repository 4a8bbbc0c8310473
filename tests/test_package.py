"""What the package takes to be imported."""

import os
import subprocess
import sys
from pathlib import Path

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
