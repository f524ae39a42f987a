"""What all sections share: frozen models, numbers with limits, paths, topic levels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from maskedge.box import Box

MQTT_RESERVED = "+#/$" + "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
"""What a topic level of ours must not hold: wildcards, separator, the broker's own tree (MQTT 5.0,
section 4.7), and control characters, at which a broker hangs up (1.5.4)."""


def beside_file(value: Path, info: ValidationInfo) -> Path:
    """A relative path means: seen from the folder of the configuration file."""
    if "\0" in str(value):
        raise ValueError("a path must not hold a NUL character")
    base = (info.context or {}).get("folder")
    if base is None:
        return value
    try:
        return Path(base) / value.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{value}: there is no such user; give the whole path") from error


FilePath = Annotated[Path, AfterValidator(beside_file)]
ViolationLabel = Literal["without_mask", "incorrect_mask"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0, le=86_400.0)]
PositiveSeconds = Annotated[float, Field(gt=0.0, le=86_400.0)]


def area(value: object) -> Box:
    """An area of the picture: left, top, right and bottom edge, shares of its width and height."""
    edges = value if isinstance(value, (list, tuple)) else ()
    known = [float(e) for e in edges if isinstance(e, (int, float)) and not isinstance(e, bool)]
    if len(known) == len(edges) == len(Box._fields):
        box = Box(*known)
        if 0 <= box.x1 < box.x2 <= 1 and 0 <= box.y1 < box.y2 <= 1:
            return box
    raise ValueError(
        "an area is [left, top, right, bottom], shares of the picture from 0 to 1: divide pixels "
        "by its width and height"
    )


Area = Annotated[Box, PlainValidator(area), PlainSerializer(list, return_type=list[float])]


class Section(BaseModel):
    """Common rules: unknown keys are errors, values can't change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """YAML reads ``on`` as true; as a threshold that would be 1, and nobody would be found."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
            raise ValueError(f"expected a number, got {value} (so YAML reads on, off, yes and no)")
        return value


def topic_level(value: str, what: str) -> str:
    """``value``, if it can be one level of a topic; ``what`` names it in the error."""
    if not value:
        raise ValueError(f"{what} must not be empty")
    bad = sorted({c for c in value if c in MQTT_RESERVED})
    if bad:
        shown = " ".join(repr(c) for c in bad)
        raise ValueError(f"{what} must not contain {shown}: MQTT reserves it in topics")
    return value


def topic_levels(value: str, what: str) -> str:
    """The same for several levels with ``/`` between."""
    for level in value.split("/"):
        topic_level(level, what)
    return value
