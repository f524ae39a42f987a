"""Whether two pictures show nearly the same, by 64 bits each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def picture_hash(pixels: NDArray[Any]) -> int:
    """64-bit difference hash (Krawetz): equal or near for the same picture shrunk or re-encoded.

    Args:
        pixels: uint8 (height, width, 3), BGR.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int(np.packbits(bits).view(">u8")[0])
