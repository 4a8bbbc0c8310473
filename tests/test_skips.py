"""A run that is to be complete fails where a test was skipped for want of something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_that_runs():
    pass

def test_that_lacks_something():
    pytest.skip("needs a unicorn")
"""


def run(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_two.py").write_text(TESTS)
    here = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", *options, str(folder)]
    outside = {name: value for name, value in os.environ.items() if name != "CHARRNN_TEST_MAY_SKIP"}
    path = os.pathsep.join([str(here), str(here.parent)])
    environment = {**outside, "PYTHONPATH": path, "PYTEST_ADDOPTS": "", **environment}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_a_skip_is_no_failure_by_default(tmp_path):
    assert run(tmp_path).returncode == 0


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_skip_for_another_reason_than_those_allowed_fails_the_run_and_is_told(tmp_path, options):
    found = run(tmp_path, *options, CHARRNN_TEST_MAY_SKIP="dragon")
    assert found.returncode == 1
    assert "test_that_lacks_something: Skipped: needs a unicorn" in found.stdout
    assert "test_that_runs" not in found.stdout


def test_a_skip_for_an_allowed_reason_is_no_failure(tmp_path):
    assert run(tmp_path, CHARRNN_TEST_MAY_SKIP="dragon|unicorn").returncode == 0
