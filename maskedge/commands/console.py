"""What several commands say alike: complaints, and how a finding is marked."""

from __future__ import annotations

import logging
import sys

import click

from maskedge.logs import emphasised
from maskedge.text import printable

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def mark(status: str) -> str:
    """``ok``, ``warn`` or ``fail`` in four columns."""
    return click.style(f"{status:<4}", _COLOURS[status], bold=True)


def complaint(text: str) -> str:
    """What is wrong, one line a thing, as standard error shows it best."""
    lines = [f"maskedge: {printable(line)}" for line in text.splitlines()]
    return emphasised("\n".join(lines), logging.ERROR, sys.stderr)


def complain(text: str) -> None:
    """Say on standard error what is wrong."""
    click.echo(complaint(text), err=True)
