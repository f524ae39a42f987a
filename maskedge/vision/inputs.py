"""Which of the shipped input sizes a frame goes through: as small as its smallest face allows.

The same network is shipped for several inputs (docs/decisions/0023). A larger one sees smaller
faces and costs in proportion to its pixels; one of the frame's own shape wastes none on padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from maskedge.vision.letterbox import place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskedge.config import Config

LEAST_FACE = 18.0
"""Pixels that the smallest judged face should keep in the input. Of faces of 18 to 24 pixels the
detector finds two of three in a single frame, of 14 to 18 one of three (the held-out pictures of
models/MODEL_CARD.md at score 0.5 and overlap 0.3)."""


class Size(NamedTuple):
    """Of a network's input, pixels."""

    width: int
    height: int

    @property
    def long(self) -> int:
        """Its longer side: what ``detector.input`` names."""
        return max(self)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def stem(self) -> str:
        """The name of its file, without the suffix."""
        return f"face_detector_{self}"


SHIPPED = tuple(
    Size(*size)
    for size in (
        (320, 320), (320, 256), (320, 192), (480, 384), (480, 288), (640, 512), (640, 384),
    )
)  # fmt: skip
"""For each longer side: any shape of frame, 4:3, 16:9."""


def shipped(choice: Literal["auto"] | int) -> tuple[Size, ...]:
    """What ``detector.input`` lets choose from; the first takes any shape of frame."""
    return tuple(size for size in SHIPPED if choice in {"auto", size.long})


SIDES = tuple(sorted({size.long for size in SHIPPED}))


class View(NamedTuple):
    """What a camera is expected to show.

    Attributes:
        width: of its frames, pixels; those that come may be of any other size.
        height: the same.
        min_face: smallest face that is to be judged, pixels.
    """

    width: int = 640
    height: int = 480
    min_face: int = 48

    @classmethod
    def of(cls, config: Config, frame: tuple[int, int] | None = None) -> View:
        """As a configuration says.

        Args:
            config: what is asked for.
            frame: width and height of the frames that come, if any has: many a camera gives others
                than it was asked for.
        """
        size = config.camera.width, config.camera.height
        width, height = size[::-1] if config.camera.rotate in {90, 270} else size
        return cls(*(frame or (width, height)), config.verdict.min_face)


def side_for(frame: tuple[int, int], min_face: float, sides: Iterable[int]) -> int:
    """The least longer side in which a face of ``min_face`` keeps enough pixels, or the largest.

    Args:
        frame: its height and width.
        min_face: of the smallest face that is to be found, pixels of the frame.
        sides: to choose from.
    """
    ordered = sorted(sides)
    enough = (s for s in ordered if s / max(frame) * min_face >= LEAST_FACE)
    return next(enough, ordered[-1])


def best_size(frame: tuple[int, int], sizes: Iterable[Size]) -> Size:
    """The smallest input that shows a frame as large as any of them would.

    Args:
        frame: its height and width.
        sizes: to choose from.
    """
    widths = {size: place(frame, (size.height, size.width)).width for size in sizes}
    widest = max(widths.values())
    return min(
        (size for size, width in widths.items() if width == widest),
        key=lambda size: size.width * size.height,
    )
