"""Another Cython project cimports the kernels of an installed charrnn: tests/examples/cimport."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import charrnn
from charrnn import kernels

PROJECT = Path(__file__).parents[1] / "examples" / "cimport"
# The documented kernels, each against NumPy; the sizes are beside those of tiles and vectors.
CHECK = """
import dense, numpy as np
rng = np.random.default_rng(0)
for m, k, n in [(1, 1, 1), (5, 7, 9), (17, 31, 33), (6, 16, 32)]:
    x, w, b = (rng.normal(size=size).astype(np.float32) for size in [(m, k), (k, n), (n,)])
    np.testing.assert_allclose(dense.dense(x, w, b), np.tanh(x.astype(float) @ w + b), rtol=1e-5, atol=1e-5)
logits = rng.normal(size=(65, 48)).astype(np.float32)
wanted = np.exp(logits) / np.exp(logits).sum(0)
dense.softmax(logits)
np.testing.assert_allclose(logits, wanted, rtol=1e-5)
print("agrees")
"""


def test_another_project_builds_and_runs_with_installed_kernels(tmp_path):
    pytest.importorskip("Cython", reason="needs Cython, of the test extra")
    if not (shutil.which("cc") or shutil.which("cl")):
        pytest.skip("needs a C compiler")
    project = shutil.copytree(PROJECT, tmp_path / "project")
    # Compilers and Cython find it where this test has found it, be that installed or a checkout.
    path = {"PYTHONPATH": str(Path(charrnn.__file__).parents[1])}
    for command in (["setup.py", "build_ext", "--inplace"], ["-c", CHECK]):
        run = subprocess.run(
            [sys.executable, *command], cwd=project, env={**os.environ, **path}, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr + run.stdout
    assert run.stdout == "agrees\n"


@pytest.mark.parametrize(
    "name", ["simd.h", "simd.pxd", "activations.pxd", "softmax.pxd", "gemm.pxd", "pack.pxd", "product.pxd"]
)
def test_the_include_folder_has_what_the_c_compiler_and_cython_need(name):
    assert (Path(kernels.get_include()) / name).is_file()
