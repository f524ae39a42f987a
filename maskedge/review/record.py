"""What is kept of one uncertain face besides its picture, and what a person may say of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from maskedge.events import Models
from maskedge.geometry import Box
from maskedge.vision.base import LABELS

FORMAT: Final = "maskedge.review/1"
NOT_A_FACE = "not_a_face"
ANSWERS = (*LABELS, NOT_A_FACE)
"""What a person may say that a crop shows; these are exported."""
SKIPPED = "skipped"
DELETED = "deleted"
"""To be removed; until the page is closed it can be undone."""
MARKS = (*ANSWERS, SKIPPED, DELETED)
NAME = re.compile(r"\d{8}T\d{6}_[0-9a-f]{8}-\d+_\d")

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Record(_Kept):
    """What is known of a kept face. Lengths are pixels of the kept picture unless said otherwise.

    Attributes:
        format: of this file.
        time: when it was seen.
        track: the person's track: unique, tells nothing beyond this folder.
        number: 1 or 2, as at most two faces of a track are kept.
        width: of the kept picture.
        height: of the kept picture.
        box: the face.
        others: further faces that were found in the picture.
        scores: the classifier's calibrated probabilities, in the order of ``LABELS``.
        decided: what was decided of the person then, or ``unsure``.
        doubt: see :func:`maskedge.review.candidates.doubt`.
        found: the detector's score.
        size: of the face, longer edge in pixels of the camera's picture.
        sharpness: see :func:`maskedge.vision.quality.sharpness`.
        inside: part of the face's box within the camera's picture.
        likeness: see :func:`maskedge.vision.likeness.picture_hash`, hexadecimal.
        model: what judged.
    """

    format: Literal["maskedge.review/1"] = FORMAT
    time: AwareDatetime
    track: str = Field(pattern=r"^[0-9a-f]{8}-\d+$")
    number: int = Field(ge=1, le=9)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    box: Box
    others: tuple[Box, ...] = ()
    scores: tuple[Probability, Probability, Probability]
    decided: str
    doubt: Probability
    found: float
    size: float
    sharpness: float
    inside: float
    likeness: str = Field(pattern=r"^[0-9a-f]{16}$")
    model: Models

    @property
    def name(self) -> str:
        """Of its files, without their endings."""
        return f"{self.time.astimezone(UTC):%Y%m%dT%H%M%S}_{self.track}_{self.number}"

    @property
    def guess(self) -> str:
        """The most probable label."""
        return LABELS[max(range(len(LABELS)), key=self.scores.__getitem__)]


class Mark(_Kept):
    """What a person said of a face: one of :data:`MARKS`, and when."""

    label: Literal[
        "with_mask", "without_mask", "incorrect_mask", "not_a_face", "skipped", "deleted"
    ]
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
