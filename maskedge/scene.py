"""A made scene for the demo, the tests and the benchmarks: one real face, three visits.

The person is scikit-image's public-domain portrait (NASA's Eileen Collins), cut out and walked
through a drawn hall: bare-faced, with a drawn mask, and with the mask under the nose. Everything
is drawn at run time; no picture is shipped.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.errors import CameraError, EndOfStream, UsageError
from maskedge.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


# Places on the 512x512 portrait, pixels (x, y); read off the picture.
FACE = Box(178, 63, 268, 188)
_HAIR = ((225, 95), (82, 92))
_JAW = ((181, 122), (186, 150), (197, 172), (209, 186), (219, 190), (230, 187), (243, 174))
_JAW_RIGHT = ((256, 152), (263, 124))
_BRIDGE = ((243, 112), (221, 104), (200, 112))
_UNDER_NOSE = ((255, 142), (240, 137), (220, 135), (202, 137), (187, 142))
_EARS = ((177, 112), (268, 115))


class Wearing(StrEnum):
    """How the person of the scene wears the mask."""

    BARE = "bare"
    MASKED = "masked"
    NOSE_OUT = "nose_out"


def portrait() -> NDArray[np.uint8]:
    """The public-domain portrait, uint8 (512, 512, 3), RGB.

    Raises:
        UsageError: scikit-image isn't installed.
    """
    try:
        from skimage import data  # noqa: PLC0415 - of the extra `demo` only
    except ImportError as error:
        raise UsageError(
            "the scene needs scikit-image's portrait: pip install 'maskedge[demo]'"
        ) from error
    picture: NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call]
    return picture


@cache
def _silhouette() -> NDArray[np.float32]:
    """Opacity of the person in the portrait, float32 (512, 512, 1) in 0..1 (GrabCut)."""
    picture = portrait()
    trimap = np.full(picture.shape[:2], cv2.GC_BGD, np.uint8)
    body = np.array([[185, 190], [260, 190], [330, 230], [362, 300], [366, 512]])
    body = np.vstack([body, [[15, 512], [30, 280], [120, 235]]])
    cv2.ellipse(trimap, (222, 110), (75, 108), 0, 0, 360, cv2.GC_PR_FGD, -1)
    cv2.fillPoly(trimap, [body.astype(np.int32)], cv2.GC_PR_FGD)
    cv2.ellipse(trimap, (208, 222), (102, 76), 0, 0, 360, cv2.GC_PR_FGD, -1)  # the collar ring
    sure = np.array([[190, 215], [255, 215], [310, 260], [370, 511], [60, 511], [90, 290]])
    cv2.ellipse(trimap, (222, 125), (45, 70), 0, 0, 360, cv2.GC_FGD, -1)
    cv2.ellipse(trimap, (390, 438), (105, 84), 0, 0, 360, cv2.GC_FGD, -1)
    cv2.fillPoly(trimap, [sure.astype(np.int32)], cv2.GC_FGD)
    cv2.setRNGSeed(1)
    model = np.zeros((1, 65))
    whole = (0, 0, *picture.shape[1::-1])
    cv2.grabCut(picture, trimap, whole, model, model.copy(), 3, cv2.GC_INIT_WITH_MASK)
    opaque = ((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)).astype(np.float32)
    soft: NDArray[np.float32] = cv2.GaussianBlur(opaque, (7, 7), 0)[..., None].astype(np.float32)
    return soft


def wear(wearing: Wearing) -> NDArray[np.uint8]:
    """The portrait with a drawn surgical mask worn as asked, uint8 (512, 512, 3), RGB."""
    picture = portrait().copy()
    if wearing is Wearing.BARE:
        return picture
    top = _BRIDGE if wearing is Wearing.MASKED else _UNDER_NOSE
    outline = np.array([*_JAW, *_JAW_RIGHT, *top], np.float32)
    cover = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(cover, [(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    cloth = np.empty_like(picture)
    rows = np.arange(512, dtype=np.float32)
    pleats = 1 - 0.10 * (np.sin(rows * math.tau / 17) > 0.8)  # noqa: PLR2004 - a fold each 17 px
    cloth[:] = (np.array([150, 200, 222]) * pleats[:, None])[:, None, :]
    # The cloth takes the face's own light, so that it isn't a flat sticker.
    light = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 12) / 190.0
    shaded = np.clip(cloth * np.clip(light, 0.55, 1.15)[..., None], 0, 255)
    for ear, near, far in zip(
        _EARS, (_JAW[0], _JAW_RIGHT[-1]), (_JAW[2], _JAW_RIGHT[0]), strict=True
    ):
        for end in (near, far):
            cv2.line(picture, ear, end, (225, 232, 235), 1, cv2.LINE_AA)
    alpha = cv2.GaussianBlur(cover, (3, 3), 0)[..., None] / 255.0
    mixed: NDArray[np.uint8] = (picture * (1 - alpha) + shaded * alpha).astype(np.uint8)
    return mixed


@cache
def hall(width: int, height: int) -> NDArray[np.uint8]:
    """A drawn entrance hall, uint8 (height, width, 3), RGB, with fixed sensor-like grain."""
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    picture = np.array([196, 200, 204]) * (1 - 0.25 * rows) + np.zeros((1, width, 1))
    picture = np.ascontiguousarray(picture, np.float32)
    floor = int(height * 0.80)
    picture[floor:] = (120, 112, 104)
    for x in range(0, width, max(1, width // 4)):
        cv2.line(picture, (x, 0), (x, floor), (168, 172, 176), max(1, width // 320))
    door = (int(width * 0.38), int(height * 0.15)), (int(width * 0.62), floor)
    cv2.rectangle(picture, *door, (150, 164, 178), -1)
    cv2.rectangle(picture, *door, (104, 112, 120), max(2, width // 200))
    grain = np.random.default_rng(7).normal(0, 3, picture.shape)
    shaded: NDArray[np.uint8] = np.clip(picture + grain, 0, 255).astype(np.uint8)
    return shaded


@dataclass(frozen=True, slots=True)
class Visit:
    """One person's walk through the picture.

    Attributes:
        wearing: how.
        seconds: from entering on the left to leaving on the right.
        face: height of the face in pixels.
    """

    wearing: Wearing
    seconds: float = 4.0
    face: float = 110.0


VISITS = (Visit(Wearing.BARE), Visit(Wearing.MASKED), Visit(Wearing.NOSE_OUT))


def draw(background: NDArray[np.uint8], visit: Visit, progress: float) -> NDArray[np.uint8]:
    """Place the person of a visit into a picture.

    Args:
        background: uint8 (height, width, 3), RGB; not changed.
        visit: who.
        progress: 0 just outside on the left … 1 just outside on the right.

    Returns:
        A new picture of the same shape.
    """
    height, width = background.shape[:2]
    scale = visit.face / FACE.height
    side = 512 * scale
    x = -side + progress * (width + side)
    y = height - side + 0.012 * height * math.sin(progress * 40)  # the bob of a walk
    matrix = np.array([[scale, 0, x], [0, scale, y]], np.float32)
    person, opacity = _person(visit.wearing)
    size = (width, height)
    moved = cv2.warpAffine(person, matrix, size, flags=cv2.INTER_AREA)
    alpha = cv2.warpAffine(opacity, matrix, size, flags=cv2.INTER_LINEAR)[..., None]
    mixed: NDArray[np.uint8] = (background * (1 - alpha) + moved * alpha).astype(np.uint8)
    return mixed


@cache
def _person(wearing: Wearing) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return wear(wearing), _silhouette()


class SceneCamera:
    """A camera that shows one visit after the other, with a pause before, between and after.

    It behaves like a live camera: frames come at ``fps`` of real time (or as fast as they are
    read, with ``realtime=False``), and the stream ends after the last visit. With ``patient`` each
    frame comes at its time or later and waits until it's taken, as a recording's does: a machine
    that is too slow for real time sees all of the scene.
    """

    name = "scene"

    def __init__(  # noqa: PLR0913 - a scene has that many knobs
        self,
        visits: Sequence[Visit] = VISITS,
        *,
        fps: float = 10.0,
        pause: float = 4.0,
        size: tuple[int, int] = (640, 480),
        realtime: bool = True,
        patient: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.live = realtime and not patient
        self._visits = visits
        self._period = 1 / fps
        self._pause = pause
        self._size = size
        self._realtime = realtime
        self._clock = clock
        self._sleep = sleep
        self._start: float | None = None
        self._number = 0

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end."""
        return self._pause + sum(visit.seconds + self._pause for visit in self._visits)

    def draw_ahead(self) -> None:
        """Draw what can be drawn beforehand: cutting out the person takes a slow machine long."""
        for visit in self._visits:
            _person(visit.wearing)
        hall(*self._size)

    def open(self) -> None:
        """Draw what isn't drawn yet; the scene begins."""
        self.draw_ahead()
        self._start = self._clock()
        self._number = 0

    def read(self) -> Frame:
        """Return the next frame, at its time."""
        if self._start is None:
            raise CameraError("scene: not open")
        at = self._number * self._period
        if at > self.duration + self._period / 1000:
            raise EndOfStream("scene: over")
        if self._realtime:
            self._sleep(max(0.0, self._start + at - self._clock()))
        moment = self._start + at if self._realtime else at
        frame = Frame(self._picture(at), ChannelOrder.RGB, moment, self._number)
        self._number += 1
        return frame

    def close(self) -> None:
        """Nothing to let go of."""
        self._start = None

    def _picture(self, at: float) -> NDArray[np.uint8]:
        background = hall(*self._size)
        begin = self._pause
        for visit in self._visits:
            if begin <= at < begin + visit.seconds:
                return draw(background, visit, (at - begin) / visit.seconds)
            begin += visit.seconds + self._pause
        return background
