"""What the JSON beside a network must say, so that it may be installed.

The daemon itself asks for less (:mod:`maskedge.modelfile`): a user's own network needs no JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from maskedge.vision.base import LABELS
from maskedge.vision.decode import OFFSET_ZERO, SIZE_ZERO

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Part(BaseModel):
    """Whatever else is told there is kept: figures, settings, sources."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Golden(_Part):
    """What the network said of the drawn pictures where it was made; see :mod:`.golden`."""

    pictures: str
    answers: list[list[Any]]


class _Card(_Part):
    schema_: Literal["maskedge.model/1"] = Field(alias="schema")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    network: str = Field(min_length=1)
    created: str | None = None
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    golden: Golden | None = None


class ClassifierInput(_Part):
    """One square face."""

    size: int = Field(ge=16, le=1024)
    padding: float = Field(0.2, ge=0.0, le=1.0)
    order: Literal["rgb"]


class Softmax(_Part):
    """Makes logits probabilities."""

    temperature: float = Field(1.0, ge=0.05, le=20.0)


class ClassifierCard(_Card):
    """A mask classifier's."""

    task: Literal["classifier"]
    labels: tuple[str, ...]
    input: ClassifierInput
    output: Literal["logits"]
    calibration: Softmax = Softmax()

    @field_validator("labels")
    @classmethod
    def _labels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if sorted(value) != sorted(LABELS):
            raise ValueError(f"must be {', '.join(LABELS)}, in the order of the network's scores")
        return value


class DetectorInput(_Part):
    """A whole frame, letterboxed."""

    width: int = Field(ge=32, le=4096)
    height: int = Field(ge=32, le=4096)
    order: Literal["rgb"]
    letterbox: Literal["top left"]


class DetectorOutput(_Part):
    """How its numbers become boxes: constants of the daemon's decoder."""

    offset_zero: float
    size_zero: float

    @field_validator("offset_zero", "size_zero")
    @classmethod
    def _known(cls, value: float, info: Any) -> float:
        needed = {"offset_zero": OFFSET_ZERO, "size_zero": SIZE_ZERO}[info.field_name]
        if value != needed:
            raise ValueError(f"the daemon decodes with {needed:g}")
        return value


class Logistic(_Part):
    """Makes a logit the probability of a face."""

    scale: float = Field(gt=0.0)
    offset: float = Field(allow_inf_nan=False)


class DetectorCard(_Card):
    """A face detector's."""

    task: Literal["detector"]
    input: DetectorInput
    strides: tuple[int, ...]
    output: DetectorOutput
    calibration: Logistic


Card = ClassifierCard | DetectorCard
_ADAPTER: TypeAdapter[Card] = TypeAdapter(Annotated[Card, Field(discriminator="task")])


def parse(card: Mapping[str, Any]) -> tuple[Card | None, list[str]]:
    """Read a network's JSON.

    Returns:
        The card, or None and what is wrong with it: a line for each mistake, ``key: what``.
    """
    try:
        return _ADAPTER.validate_python(card), []
    except ValidationError as error:
        return None, [_line(detail) for detail in error.errors(include_url=False)]


def _line(detail: Mapping[str, Any]) -> str:
    where = [str(part) for part in detail["loc"] if part not in {"classifier", "detector"}]
    message = str(detail["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    if detail["type"].startswith("union_tag"):
        return "task: must be classifier or detector"
    return f"{'.'.join(where)}: {message[0].lower()}{message[1:]}"
