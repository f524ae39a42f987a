"""What every test gets."""

import contextlib
import logging
import os
import signal
import threading
import time

import pytest
from hypothesis import settings

# A busy machine pauses anywhere; the same commit is tried with the same examples everywhere.
# With others: pytest --hypothesis-profile=default
settings.register_profile("maskedge", deadline=None, derandomize=True)
settings.load_profile("maskedge")


def pytest_configure() -> None:
    """Ctrl-C works in what the tests start, also where a shell's ``&`` had it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def untouched_logging() -> None:
    """A command run in this process before, by a test or a fixture, has set the log up."""
    logger = logging.getLogger("maskedge")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture
def closed(tmp_path):
    """A folder that we may not look into, not even as root."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o700)


@pytest.fixture
def no_threads(monkeypatch):
    """``with no_threads():`` the system gives none, as at the limit of a unit's tasks."""

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    @contextlib.contextmanager
    def refusing():
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            yield

    return refusing


@pytest.fixture
def header():
    """gpiozero's own fake of a Pi's header."""
    from gpiozero import Device  # noqa: PLC0415 - few tests need it
    from gpiozero.pins.mock import MockFactory  # noqa: PLC0415

    Device.pin_factory = factory = MockFactory()
    yield factory
    factory.reset()
    Device.pin_factory = None


@pytest.fixture
def report(record_property):
    """Note a figure for docs/faults.md: in the JUnit file, and for whoever runs with ``-s``."""

    def note(what, figure, unit="s"):
        record_property(what, round(figure, 2))
        print(f"measured: {what}: {figure:.1f} {unit}")  # noqa: T201

    return note


@pytest.fixture
def timed(report):
    """``with timed("what"):`` notes how long it took."""

    @contextlib.contextmanager
    def measure(what):
        begin = time.monotonic()
        yield
        report(what, time.monotonic() - begin)

    return measure
