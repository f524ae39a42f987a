"""What people noted of pictures beyond the labels: a CSV of file and tag, and figures by tag.

Also the sets that say only "covered" or not: there a figure is how often each label is called.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.importers import PICTURES
from convert.judging import read_frame
from convert.metrics import summary
from maskedge.errors import InputError
from maskedge.geometry import Box
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from convert.judging import Judged
    from maskedge.vision.base import MaskClassifier

MARGIN = 0.1
"""Of a tight crop, on each side of the face; as training takes it."""

Tags = dict[str, set[str]]
"""Names of files by tag."""


def read_tags(path: Path) -> Tags:
    """Read ``file,tag`` lines; a file may have several.

    Raises:
        InputError: it can't be read, or a line isn't that.
    """
    tags: Tags = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, row in enumerate(csv.reader(lines), 1):
                if not row or row == ["file", "tag"]:
                    continue
                if len(row) != 2 or not all(cell.strip() for cell in row):  # noqa: PLR2004
                    raise InputError(f"{path}:{number}: not 'file,tag'")
                tags.setdefault(row[1].strip(), set()).add(row[0].strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't read the tags: {error}") from error
    return tags


def by_tag(seen: Judged, tags: Tags) -> dict[str, Any]:
    """Figures of the classifier on the faces of tagged pictures."""
    truth, scores = seen.arrays()
    names = np.array([face.path.name for face in seen.faces])
    members = {tag: np.isin(names, sorted(files)) for tag, files in sorted(tags.items())}
    return {tag: summary(truth[c], scores[c]) for tag, c in members.items() if c.any()}


def judge_crops(folder: Path, classifier: MaskClassifier, tags: Mapping[str, set[str]]) -> Any:
    """How often each label is called on tight crops, by their folder and by tag.

    Args:
        folder: holds a folder per kind, as ``covered/`` and ``not_covered/``.
        classifier: to be judged.
        tags: see :func:`read_tags`.

    Returns:
        ``{"covered": {"faces", "called": {label: share}}, ..., "by_tag": {...}}``.

    Raises:
        InputError: there is no crop, or one can't be read.
    """
    called: dict[str, dict[str, int]] = {}
    for path in sorted(p for p in folder.glob("*/*") if p.suffix.lower() in PICTURES):
        frame = read_frame(path)
        side = max(frame.width, frame.height) * (1 - 2 * MARGIN)
        x, y = (frame.width - side) / 2, (frame.height - side) / 2
        scores = classifier.classify(frame, [Box(x, y, x + side, y + side)])
        called.setdefault(path.parent.name, {})[path.name] = int(scores[0].argmax())
    if not called:
        raise InputError(
            f"{folder}: holds no crops; it needs folders of pictures, e.g. not_covered/"
        )
    every = [row for members in called.values() for row in members.items()]
    found: dict[str, Any] = {kind: _shares(list(m.values())) for kind, m in called.items()}
    tagged = {
        tag: [label for name, label in every if name in files]
        for tag, files in sorted(tags.items())
    }
    return {**found, "by_tag": {tag: _shares(rows) for tag, rows in tagged.items() if rows}}


def _shares(called: list[int]) -> dict[str, Any]:
    counts = np.bincount(called, minlength=len(LABELS))
    shares = {
        label: round(int(n) / len(called), 4) for label, n in zip(LABELS, counts, strict=True)
    }
    return {"faces": len(called), "called": shares}
