"""The section of pictures of violations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maskedge.config.base import FilePath, Section


class SnapshotConfig(Section):
    """Whether a picture of each violation is made, of whom, and where it goes."""

    mode: Literal["face", "blurred"] = Field(
        "face", description="the violator's face alone, or everybody else unrecognisable"
    )
    mqtt: bool = Field(False, description="publish it, at <prefix>/<device>/snapshot/<event_id>")
    folder: FilePath | None = Field(None, description="keep it there; null: nowhere")
    max_age: float = Field(7.0, gt=0.0, le=3650.0, description="days until it is deleted")
    max_megabytes: float = Field(
        100.0, ge=1.0, le=1e6, description="most that the folder holds; the oldest go first"
    )

    @property
    def wanted(self) -> bool:
        """Whether any picture is made at all."""
        return self.mqtt or self.folder is not None
