"""Reads the documents as a reader would: follows links, copies examples, types commands.

Every function returns what is wrong as sentences that begin with ``FILE:LINE``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import commandlines
import yaml
from markdown_it import MarkdownIt

from maskedge.config import Config
from maskedge.configfile import load
from maskedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
NAMED = re.compile(rf"(?<![\w./:-])(?:{commandlines.FOLDERS})/[\w./-]*[\w/](?:::\w+)?")
LABELS = ("name", "description", "labels", "groups", "scrape_configs")


@dataclass
class Document:
    """A Markdown file in tokens.

    Attributes:
        path: from the repository's root.
        fences: (line, language, text) of each block of code.
        codes: (line, text) of each piece of code inside a line.
        links: (line, target).
        anchors: what a ``#fragment`` may name: headings as GitHub writes them, and ``<a id>``.
    """

    path: Path
    text: str
    fences: list[tuple[int, str, str]] = field(default_factory=list)
    codes: list[tuple[int, str]] = field(default_factory=list)
    links: list[tuple[int, str]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Read the tokens."""
        tokens = MarkdownIt("commonmark").enable("table").parse(self.text)
        seen: Counter[str] = Counter()
        line = 0
        for number, token in enumerate(tokens):
            line = token.map[0] + 1 if token.map else line
            if token.type in {"fence", "code_block"}:
                self.fences.append((line, token.info.strip(), token.content))
            if token.type == "heading_open":
                name = slug("".join(t.content for t in tokens[number + 1].children or []))
                self.anchors.add(f"{name}-{seen[name]}" if seen[name] else name)
                seen[name] += 1
            self._inline(token, line)
        self.anchors |= set(re.findall(r"<a id=\"([^\"]+)\"", self.text))

    def _inline(self, token: Token, line: int) -> None:
        for child in token.children or []:
            if child.type == "code_inline":
                self.codes.append((line, child.content))
            target = child.attrGet("href") or child.attrGet("src")
            if target:
                self.links.append((line, str(target)))
            line += child.type in {"softbreak", "hardbreak"}

    def at(self, line: int, problem: str) -> str:
        """A problem, with its place."""
        return f"{self.path}:{line}: {problem}"


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading, and our site, too."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def document(path: Path) -> Document:
    """A file of the repository; ``path`` from its root."""
    return Document(path, (ROOT / path).read_text(encoding="utf-8"))


def broken_links(page: Document) -> Iterator[str]:
    """Relative links whose file or anchor isn't there."""
    for line, target in page.links:
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = (ROOT / page.path.parent / unquote(parts.path)).resolve() if parts.path else None
        if path is not None and not path.exists():
            yield page.at(line, f"{target}: no such file")
        elif parts.fragment:
            known = page if path is None else document(path.relative_to(ROOT))
            if parts.fragment not in known.anchors:
                yield page.at(line, f"{target}: no such heading")


def broken_names(page: Document) -> Iterator[str]:
    """Files and tests that are named, but don't exist."""
    for number, text in enumerate(page.text.splitlines(), 1):
        for found in NAMED.findall(re.sub(r"\]\([^)]*\)", "", text)):  # links are looked at above
            name, _, test = found.partition("::")
            path = ROOT / name
            if "/_" in name:  # in the wheel
                continue
            if not any(p.exists() for p in (path, path.with_name(f"{path.name}.py"))):
                yield page.at(number, f"{name}: no such file")
            elif test and f"def {test}(" not in path.read_text():
                yield page.at(number, f"{found}: no such test")


def broken_blocks(page: Document) -> Iterator[str]:
    """Examples that can't be used as they stand."""
    for line, language, text in page.fences:
        try:
            if language == "json":
                json.loads(text)
            elif language == "python":
                compile(text, "example", "exec")
            elif language == "yaml":
                yield from (page.at(line, p) for p in _broken_yaml(text))
        except (ValueError, SyntaxError, yaml.YAMLError) as error:
            yield page.at(line, f"{language}: {error}")


def _broken_yaml(text: str) -> Iterator[str]:
    """Not YAML at all, or meant for config.yaml and refused there."""
    data = yaml.load(text, Tagged)  # noqa: S506 - a SafeLoader
    if isinstance(data, dict) and set(data) & set(Config.model_fields) - set(LABELS):
        for key, value in data.items():
            try:
                load(None, [f"{key}={json.dumps(value)}"])
            except ConfigError as error:
                yield str(error)


class Tagged(yaml.SafeLoader):
    """Knows that Home Assistant has tags of its own."""


Tagged.add_multi_constructor("!", lambda _loader, _tag, node: str(node.value))


def broken_commands(page: Document) -> Iterator[str]:
    """Commands that the programs wouldn't understand."""
    for line, language, text in page.fences:
        if language in {"", "sh", "bash", "console"}:
            joined = text.replace("\\\n", " ")
            for command in joined.splitlines():
                yield from (page.at(line, p) for p in commandlines.broken(command))
    for line, text in page.codes:
        if re.match(r"(sudo |\S*/)?(maskedge|python|make|pip) [^<\s]", text):
            found = commandlines.broken(text)
            # In a sentence an option may be named without its value.
            yield from (page.at(line, p) for p in found if not p.endswith("requires an argument."))
