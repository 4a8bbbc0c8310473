"""What every test relies on."""

import os
import re
import signal

import inside
import pytest


@pytest.fixture(autouse=True, scope="session")
def sigint_is_ctrl_c():
    """A shell starts what runs in its background with SIGINT ignored: there a test of Ctrl-C would wait for ever."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def every_thread_works(monkeypatch):
    """Small trainings, which would run in one thread, run in as many as the test asks for."""
    inside.give_every_thread_work(monkeypatch.setattr)


@pytest.fixture
def threads_asked(monkeypatch):
    """The numbers of threads of every Trainer and every Engine that the test makes."""
    return inside.record_threads(monkeypatch.setattr)


def pytest_sessionfinish(session):
    """Where CHARRNN_TEST_MAY_SKIP is set, a test that was skipped for a reason that it does not match fails the run."""
    allowed = os.environ.get("CHARRNN_TEST_MAY_SKIP")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if allowed is None or reporter is None:  # which workers of pytest-xdist lack
        return
    skipped = [report for report in reporter.stats.get("skipped", []) if not re.search(allowed, report.longrepr[2])]
    for report in skipped:
        reporter.write_line(f"\nskipped and should not be: {report.nodeid}: {report.longrepr[2]}", red=True)
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
