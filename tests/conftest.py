"""What every test relies on."""

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
