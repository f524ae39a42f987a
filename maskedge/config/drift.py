"""The section of drift: whether the networks still see what they are right for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maskedge.config.base import Seconds, Section

FeatureName = Literal[
    "confidence",
    "margin",
    "unsure",
    "label",
    "flips",
    "score",
    "size",
    "brightness",
    "sharpness",
    "warmth",
]


class DriftConfig(Section):
    """Whether what the networks see and say is still what it was."""

    enabled: bool = Field(True, description="compare visits with what is normal")
    threshold: float = Field(
        0.25, ge=0.05, le=5.0, description="population stability index that counts as moved"
    )
    min_visits: int = Field(100, ge=20, le=10_000, description="fewest visits compared")
    baseline_days: int = Field(7, ge=1, le=60, description="first days, from which it learns")
    spacing: Seconds = Field(30.0, description="at most one visit in so many seconds counts")
    ignore: tuple[FeatureName, ...] = Field((), description="features that raise no fault")
