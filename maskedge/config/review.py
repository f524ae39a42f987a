"""The section of the uncertain faces that a person may label."""

from __future__ import annotations

from pydantic import Field

from maskedge.config.base import FilePath, Section


class ReviewConfig(Section):
    """Uncertain faces kept on this machine."""

    enabled: bool = Field(False, description="keep them; false: none is written")
    folder: FilePath | None = Field(None, description="unset: review in the state folder")
    max_megabytes: int = Field(100, ge=1, le=100_000, description="most that they take up")
    max_age: float = Field(30.0, gt=0.0, le=3650.0, description="days until each is removed")
