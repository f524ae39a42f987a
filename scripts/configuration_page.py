#!/usr/bin/env python3
"""Prints the configuration reference: what maskedge.config accepts, with config.yaml's own text.

The site's page `configuration` is made of this at each build, so it can't fall behind the code.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from maskedge.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

EXAMPLE = Path(__file__).parents[1] / "config.yaml"
HEAD = """\
# Configuration

Every setting that `config.yaml` may have; all of them may be left out. The file is looked for at
`--config`, `$MASKEDGE_CONFIG`, `/etc/maskedge/config.yaml`, `./config.yaml`; a relative path in it
is seen from its folder. An unknown key or a wrong value is told with file, line and the nearest
valid key; exit code 78. A change is taken over while the program runs; a wrong one is refused and
the old one runs on. Any setting may be given on the command line: `--set verdict.min_face=40`.
"""
KINDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true, false",
    "null": "`null`",
}


def page() -> str:
    """The whole reference as Markdown."""
    schema = Config.model_json_schema()
    parts = [HEAD, *_section(Config, "", schema, schema["$defs"]), _example("")]
    for name, inner in _sections(Config):
        parts += [f"\n## `{name}`\n\n{_sentence(inner)}\n"]
        parts += _section(inner, f"{name}.", schema["$defs"][inner.__name__], schema["$defs"])
        for sub, deeper in _sections(inner):
            parts += [f"\n### `{name}.{sub}`\n\n{_sentence(deeper)}\n"]
            own = schema["$defs"][deeper.__name__]
            parts += _section(deeper, f"{name}.{sub}.", own, schema["$defs"])
        parts.append(_example(name))
    return "\n".join(parts) + "\n"


def _sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield name, info.annotation


def _sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _section(
    model: type[BaseModel], prefix: str, schema: dict[str, Any], shared: dict[str, Any]
) -> Iterator[str]:
    """The table of one section's own keys."""
    inner = dict(_sections(model))
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    for name, info in model.model_fields.items():
        if name not in inner:
            allowed = _allowed(schema["properties"][name], shared)
            meaning = (info.description or "").replace("|", "\\|")
            yield f"| `{prefix}{name}` | {allowed} | {_default(info)} | {meaning} |"


def _default(info: FieldInfo) -> str:
    if info.default_factory is not None:
        return (info.default_factory.__doc__ or "").split("\n")[0].rstrip(".")
    value = info.default
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value, default=str)}`"


def _allowed(schema: dict[str, Any], shared: dict[str, Any]) -> str:
    """What a JSON Schema lets pass, in words."""
    if "$ref" in schema:
        schema = shared[schema["$ref"].rsplit("/", 1)[-1]]
    if "anyOf" in schema:
        return " or ".join(_allowed(choice, shared) for choice in schema["anyOf"])
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return ", ".join(f"`{value}`" for value in values)
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_allowed(schema['items'], shared)}"
    words = "path" if schema.get("format") == "path" else KINDS.get(kind, kind)
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    if "maxLength" in schema:
        limits.append(f"{schema['maxLength']} characters at most")
    return ", ".join([words, *limits])


def _example(section: str) -> str:
    """The section as it stands in config.yaml; an empty name: what stands before the sections."""
    text = EXAMPLE.read_text(encoding="utf-8")
    head, *blocks = re.split(r"\n(?=\w+:\n)", text)
    block = next((b for b in blocks if b.startswith(f"{section}:")), "") if section else head
    return f"\n```yaml\n{block.strip()}\n```\n" if block else ""


if __name__ == "__main__":
    print(page(), end="")
