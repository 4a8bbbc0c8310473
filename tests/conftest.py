"""What every test relies on."""

import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def sigint_is_ctrl_c():
    """A shell starts what runs in its background with SIGINT ignored: there a test of Ctrl-C would wait for ever."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
