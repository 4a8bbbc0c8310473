"""The examples in the docstrings and in the README run, and give what they say."""

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import charrnn
import charrnn.kernels
import charrnn.train

README = Path(__file__).parent.parent / "README.md"
# A module with an underscore is the whole command line, or a build that perhaps only another CPU runs.
MODULES = [name for _, name, _ in pkgutil.walk_packages(charrnn.__path__, "charrnn.") if "._" not in name]


@pytest.mark.parametrize("name", ["charrnn", *MODULES])
def test_docstring_examples_run(name, tmp_path):
    module = importlib.import_module(name)
    names = {"charrnn": charrnn, "kernels": charrnn.kernels, "np": np, "path": tmp_path / "model.safetensors"}
    assert doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS).failed == 0


def public():
    """What may be called by those who use the package: the public functions and classes, and the methods of those that
    the package itself names."""
    for module in map(importlib.import_module, ["charrnn", *MODULES]):
        for name in getattr(module, "__all__", []):
            thing = getattr(module, name)
            if callable(thing):
                yield f"{module.__name__}.{name}", thing
            if module is charrnn and inspect.isclass(thing):
                for method in sorted(set(dir(thing)) - set(dir(Exception))):
                    if not method.startswith("_") and inspect.isroutine(getattr(thing, method)):
                        yield f"charrnn.{name}.{method}", getattr(thing, method)


@pytest.mark.parametrize(("name", "thing"), list(public()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_public_name_has_an_example(name, thing):
    assert ">>>" in (inspect.getdoc(thing) or ""), f"{name} has no example"


def test_the_readmes_command_makes_a_reference_of_the_public_names(tmp_path):
    pytest.importorskip("pdoc", reason="needs pdoc, of the docs extra")
    (modules,) = re.findall(r"pdoc --docformat numpy -o api ([\w.\s]+)`", README.read_text("utf-8"))
    command = [sys.executable, "-m", "pdoc", "--docformat", "numpy", "-o", tmp_path, *modules.split()]
    environment = {**os.environ, "PYTHONPATH": str(Path(charrnn.__file__).parents[1])}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")  # warnings would be there
    for module in map(importlib.import_module, modules.split()):
        content = (tmp_path / f"{module.__name__.replace('.', '/')}.html").read_text("utf-8")
        assert all(f'id="{name}"' in content for name in module.__all__)


def test_readme_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(README), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
