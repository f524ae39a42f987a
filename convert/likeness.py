"""Which pictures show nearly what others show: nobody is examined on what was learnt by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from tqdm import tqdm

from convert.coco import read_coco, read_pixels
from maskedge.vision.likeness import picture_hash

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from convert.coco import Picture

NEAR = 6
"""Most bits between the hashes of near-duplicates."""
MIRRORED = 4
"""Most bits between a picture and another's mirror image that are taken for one: fewer than between
near-duplicates, for portraits of two people are near each other's mirror image more easily."""


def both_ways(pixels: NDArray[Any]) -> tuple[int, int]:
    """Hashes of a picture and of its mirror image.

    Args:
        pixels: uint8 (height, width, 3), BGR.
    """
    return picture_hash(pixels), picture_hash(pixels[:, ::-1])


def alike(pictures: Sequence[Picture], others: Sequence[Picture]) -> list[bool]:
    """Whether each picture is a near-duplicate of one of the others, mirrored or not.

    Raises:
        InputError: one can't be read.
    """
    shown = tqdm([*pictures, *others], desc="near-duplicates", unit="picture", dynamic_ncols=True)
    hashes = [both_ways(cv2.cvtColor(read_pixels(p), cv2.COLOR_RGB2BGR)) for p in shown]
    table = np.array(hashes, np.uint64).reshape(-1, 2)
    own, (plain, mirrored) = table[: len(pictures), 0], table[len(pictures) :].T
    return [
        bool(
            (np.bitwise_count(plain ^ one) <= NEAR).any()
            or (np.bitwise_count(mirrored ^ one) <= MIRRORED).any()
        )
        for one in own
    ]


def unlike(pictures: Sequence[Picture], trained: Path) -> list[Picture]:
    """The pictures that look like none of those that a network was trained on.

    Args:
        pictures: to choose from.
        trained: COCO file, its pictures in the folder beside it that has its name.

    Raises:
        InputError: the file or a picture can't be read.
    """
    known = alike(pictures, read_coco(trained, trained.with_suffix("")))
    return [picture for picture, seen in zip(pictures, known, strict=True) if not seen]
