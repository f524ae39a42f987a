"""What docs/faults.md says of each fault, for the page to show where the fault is."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TypedDict

_HEADING = re.compile(r"^### (?P<title>.+): `(?P<code>[a-z_]+)`$", re.MULTILINE)


class FaultHelp(TypedDict):
    """One section of the document."""

    title: str
    text: str
    """Plain text, one line for each paragraph."""


def _document() -> Path:
    """docs/faults.md: inside an installed package, or of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_docs/faults.md"
    return installed if installed.is_file() else package.parent / "docs/faults.md"


@cache
def fault_help() -> dict[str, FaultHelp]:
    """Help by fault code; empty where the document is missing."""
    try:
        text = _document().read_text(encoding="utf-8")
    except OSError:
        return {}
    parts = _HEADING.split(text)[1:]
    return {
        code: {"title": title, "text": _plain(body)}
        for title, code, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def _plain(markdown: str) -> str:
    """Without marks, links or the headings that follow, one line for each paragraph."""
    text = re.split(r"^#+ ", markdown, maxsplit=1, flags=re.MULTILINE)[0]
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"[*`]", "", text)
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
