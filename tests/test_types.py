"""The types that the package declares: the stub of the compiled module is what was compiled."""

import ast
import inspect
from pathlib import Path

import pytest

import charrnn
from charrnn import kernels

STUB = Path(charrnn.__file__).parent / "kernels" / "kernels.pyi"
TREE = ast.parse(STUB.read_text())
CLASSES = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}
FUNCTIONS = {node.name: node for node in TREE.body if isinstance(node, ast.FunctionDef)}
MODULE = kernels.module("float32")
SOURCE = "charrnn.kernels.kernels"  # what every build is translated from


def declared(function: ast.FunctionDef) -> list[tuple[str, str, object]]:
    """Name, kind and default of each parameter; ... where it has none."""
    parameters = function.args
    positional = [None] * (len(parameters.args) - len(parameters.defaults)) + parameters.defaults
    pairs = [(a, d, "positional") for a, d in zip(parameters.args, positional, strict=True)]
    pairs += [(a, d, "keyword") for a, d in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True)]
    return [(a.arg, kind, ... if d is None else ast.literal_eval(d)) for a, d, kind in pairs if a.arg != "self"]


def compiled(function: object) -> list[tuple[str, str, object]]:
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    kinds = ["keyword" if p.kind is p.KEYWORD_ONLY else "positional" for p in parameters]
    defaults = [... if p.default is p.empty else p.default for p in parameters]
    return list(zip([p.name for p in parameters], kinds, defaults, strict=True))


def methods(node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    functions = {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
    return {name: f for name, f in functions.items() if not f.decorator_list and name != "__init__"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_stub_has_the_parameters_of_each_compiled_function(name):
    assert declared(FUNCTIONS[name]) == compiled(getattr(MODULE, name))


@pytest.mark.parametrize("name", CLASSES)
def test_stub_has_the_methods_and_attributes_of_each_compiled_class(name):
    node, there = CLASSES[name], {key for key in vars(getattr(MODULE, name)) if not key.startswith("_")}
    fields = {f.target.id for f in node.body if isinstance(f, ast.AnnAssign)}
    assert fields | {f.name for f in node.body if isinstance(f, ast.FunctionDef) and f.name != "__init__"} == there
    for method, declaration in methods(node).items():
        assert declared(declaration) == compiled(getattr(getattr(MODULE, name), method)), method


def test_stub_has_every_function_and_class_that_python_code_uses():
    public = {name for name in vars(MODULE) if not name.startswith("_") and callable(getattr(MODULE, name))}
    helpers = {"CellStep"}  # of the functions beside it
    assert {*FUNCTIONS, *CLASSES} == {n for n in public if vars(MODULE)[n].__module__ == SOURCE} - helpers


def test_every_kernel_of_the_package_is_declared():
    defined = {"BUILD", "BUILDS", "Network", "fma_peak", "get_include", "module", "VECTOR_LENGTH", "slow_because"}
    assert set(kernels.__all__) - defined <= set(FUNCTIONS)


def test_the_package_says_that_it_is_typed():
    assert (STUB.parents[1] / "py.typed").is_file()
