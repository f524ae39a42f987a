"""Which pictures of a set belong together, and the part that each group falls to."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convert.classifier.data import join_groups, near_groups, stable_share
from convert.likeness import MIRRORED
from maskedge.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convert.coco import Picture

DERIVED = re.compile(r"^(.+)_(?:jpe?g|png|bmp|webp)\.rf\.[0-9a-f]+\.")
"""How Roboflow names the copies that it derives of one picture: turned, mirrored, brightened."""


def groups_of(
    pictures: Sequence[Picture],
    hashes: Sequence[tuple[int, int]],
    group_by: re.Pattern[str] | None = None,
) -> list[str]:
    """The name of each picture's group.

    It is what ``group_by`` finds, or the set's own name, or that of Roboflow's original, or else
    the first picture's file.

    Args:
        pictures: of a set.
        hashes: of each as it is and mirrored (:func:`convert.likeness.both_ways`).
        group_by: see :func:`convert.dataset.check`.

    Raises:
        UsageError: no picture matches ``group_by``.
    """
    paths = [picture.path for picture in pictures]
    asked = _named(group_by, paths) if group_by else [""] * len(paths)
    if group_by and paths and not any(asked):
        raise UsageError(
            f"--group-by {group_by.pattern}: matches neither name nor folder of any picture, "
            f"e.g. {paths[0]}"
        )
    kinds = asked, [picture.group for picture in pictures], _named(DERIVED, paths)
    near = _near(hashes)
    for names in kinds:
        near = join_groups(near, names)
    said = dict[int, str]()
    for names in kinds:
        for group, name in zip(near.tolist(), names, strict=True):
            if name:
                said.setdefault(group, name)
    times = Counter(path.name for path in paths)
    files = [
        path.name if times[path.name] == 1 else below
        for path, below in zip(paths, _below(paths), strict=True)
    ]
    return [said.get(group, files[group]) for group in near.tolist()]


def _near(hashes: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Groups of pictures that are near each other, or the mirror image of one another."""
    plain, mirrored = np.array(hashes, np.uint64).reshape(-1, 2).T
    each = [str(i) for i in range(len(hashes))]
    turned = near_groups(np.concatenate([plain, mirrored]), MIRRORED)
    turned = join_groups(turned, each * 2)[: len(hashes)]
    return join_groups(near_groups(plain), [str(i) for i in turned])


def _named(pattern: re.Pattern[str], paths: Sequence[Path]) -> list[str]:
    """What the first group of a pattern, or all of it, finds in each name, or else in its folders.

    Folders are those below the one that all pictures are in.
    """
    found = [
        pattern.search(path.name) or pattern.search(below)
        for path, below in zip(paths, _below(paths), strict=True)
    ]
    return [(m.group(1) if pattern.groups else m.group()) if m else "" for m in found]


def _below(paths: Sequence[Path]) -> list[str]:
    """Paths from the folder on that all of them are in."""
    above = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
    return [path.relative_to(above).as_posix() for path in paths]


def split(groups: Sequence[str], val: float, test: float, seed: int) -> list[str]:
    """The part of each picture, by its group's name and the seed alone.

    So a group that has a name of its own keeps its part when pictures are added to the set later,
    as long as they don't join it to another. One that is called after its first picture moves to
    another part when one that comes before it is added.
    """
    parts = []
    for group in groups:
        share = stable_share(f"{seed}:{group}")
        parts.append("test" if share < test else "val" if share < test + val else "train")
    return parts
