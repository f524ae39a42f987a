"""Text for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Without control characters: what a stranger wrote mustn't steer the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
