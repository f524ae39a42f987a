"""What mkdocs does besides: brings in the documents that lie outside docs/, and keeps nav honest.

README, changelog, model card and convert/README stay where people look for them in a repository;
on the site they are pages like the others, and links between all of them lead where they should.
In place of config.yaml stands the configuration reference, made from the schema at each build, as
the commands' page is from their help.
What a page links to besides (a JSON Schema, say) is copied to ``repository/``.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))
import commands_page
import configuration_page

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "model-card.md": "models/MODEL_CARD.md",
    "convert.md": "convert/README.md",
    "configuration.md": "config.yaml",
}
"""Pages by their place in the site, and where their text lies in the repository."""
MADE = {"configuration.md": configuration_page.page, "commands.md": commands_page.page}
"""Pages that are made at each build."""
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|//)[^)\s#]+(?=[)#])")
"""The path of a relative link."""
COPIES = "repository"


def on_config(config: MkDocsConfig) -> None:
    """Leave out what isn't written yet; add what nobody has put into nav."""
    docs = Path(config.docs_dir)
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    there |= {*OUTSIDE, *MADE}
    config.nav = _existing(config.nav, there)
    decisions = sorted(name for name in there if name.startswith("decisions/"))
    named = set(re.findall(r"'([^']+\.md)'", repr(config.nav)))
    if forgotten := sorted(there - named - set(decisions)):
        config.nav.append({"More": forgotten})
    project = next(entry["Project"] for entry in config.nav if "Project" in entry)
    project[-1] = {"Decisions": sorted(decisions, key=lambda name: not name.endswith("README.md"))}


def _existing(nav: Any, there: set[str]) -> Any:  # a tree of lists, one-entry dicts, names
    if isinstance(nav, str):
        return nav if nav in there else None
    if isinstance(nav, dict):
        kept = {title: _existing(inner, there) for title, inner in nav.items()}
        return {title: inner for title, inner in kept.items() if inner} or None
    return [inner for inner in (_existing(inner, there) for inner in nav) if inner]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents from outside and what any document links to."""
    texts = {
        place: (ROOT / source).read_text(encoding="utf-8") for place, source in OUTSIDE.items()
    }
    for place, text in (texts | {place: make() for place, make in MADE.items()}).items():
        files.append(File.generated(config, place, content=text))
    targets = {
        _target(page.src_uri, path)
        for page in files.documentation_pages()
        for path in re.findall(LINK, page.content_string)
    }
    for target in sorted(targets):
        path, place = ROOT / target, _place(target)
        if not place.startswith(COPIES):
            continue
        if path.is_dir():
            names = sorted(inner.name for inner in path.iterdir() if inner.is_file())
            text = "\n".join([f"# {target}", "", *(f"- [{name}]({name})" for name in names)])
            files.append(File.generated(config, place, content=text))
            targets |= {f"{target}/{name}" for name in names}
    for target in sorted(targets):
        path, place = ROOT / target, _place(target)
        if place.startswith(COPIES) and path.is_file():
            files.append(File.generated(config, place, content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links as they work in the repository become links as they work on the site."""
    here = posixpath.dirname(page.file.src_uri)

    def site_link(found: re.Match[str]) -> str:
        if page.file.src_uri.startswith(COPIES):
            return found[0]
        return posixpath.relpath(_place(_target(page.file.src_uri, found[0])), here)

    blocks = re.split(r"(^```.*?^```)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(b if b.startswith("```") else LINK.sub(site_link, b) for b in blocks)


def _place(target: str) -> str:
    """Where on the site a file or folder of the repository is."""
    if place := next((p for p, source in OUTSIDE.items() if source == target), None):
        return place
    inside, folder = target.startswith("docs/"), (ROOT / target).is_dir()
    if inside:
        return target.removeprefix("docs/") + ("/README.md" if folder else "")
    return f"{COPIES}/{target}" + ("/index.md" if folder else "")


def _target(page: str, link: str) -> str:
    """What a page's link means, from the repository's root."""
    source = OUTSIDE.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
