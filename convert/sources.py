"""Which collections a network learnt from: how many of their pictures, under which licences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PARTS = ("train", "held_out", "val", "test")
REST = "others: not stated"


class Origin(NamedTuple):
    """Where a picture is from.

    Attributes:
        source: its collection.
        part: what it is used for, one of :data:`PARTS`.
        licence: under which it may be used; empty where nobody said.
        picture: its file.
    """

    source: str
    part: str
    licence: str
    picture: Path


def counted(origins: Iterable[Origin]) -> dict[str, dict[str, Any]]:
    """By collection ``licence``, and the number of pictures by part; each picture counts once."""
    licences: dict[str, set[str]] = {}
    parts: dict[str, dict[str, set[Path]]] = {}
    for source, part, licence, picture in origins:
        licences.setdefault(source, set()).add(licence or REST)
        parts.setdefault(source, {}).setdefault(part, set()).add(picture)
    return {
        source: {
            "licence": "; ".join(sorted(licences[source])) if licences[source] != {REST} else "",
            **{part: len(parts[source][part]) for part in PARTS if part in parts[source]},
        }
        for source in sorted(parts)
    }


def learnt_from(training: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a network's JSON says under ``training``, as :func:`counted` has it.

    Older ones name only the collections (``sources``), or count the pictures that were trained on
    (``pictures``).
    """
    if "data" in training:
        return dict(training["data"])
    if "pictures" in training:
        return {name: {"train": count} for name, count in training["pictures"].items()}
    return {name: {} for name in training.get("sources", ())}
