"""The examples in the docstrings and in the README run, and give what they say."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import charrnn
import charrnn.train

README = Path(__file__).parent.parent / "README.md"
# A module with an underscore is the whole command line, or a build that perhaps only another CPU runs.
MODULES = [name for _, name, _ in pkgutil.walk_packages(charrnn.__path__, "charrnn.") if "._" not in name]


@pytest.mark.parametrize("name", ["charrnn", *MODULES])
def test_docstring_examples_run(name, tmp_path):
    module = importlib.import_module(name)
    names = {"charrnn": charrnn, "path": tmp_path / "model.safetensors"}
    assert doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS).failed == 0


def test_readme_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(README), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
