"""What every test gets."""

import logging

import pytest


@pytest.fixture(autouse=True)
def untouched_logging() -> None:
    """A command run in this process before, by a test or a fixture, has set the log up."""
    logger = logging.getLogger("maskedge")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
