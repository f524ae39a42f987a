"""Sections of what happens on the spot, broker or not: outputs and a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from maskedge.config.base import Section, ViolationLabel, beside_file

ALL: tuple[ViolationLabel, ...] = ("without_mask", "incorrect_mask")


def _argument(value: object) -> object:
    """YAML reads ``440`` as a number; a program gets text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Argument = Annotated[str, BeforeValidator(_argument)]


class GpioConfig(Section):
    """One output of a Pi's GPIO header."""

    pin: int | str = Field(description="BCM number, or gpiozero's name: BOARD11, J8:11")
    active_high: bool = Field(True, description="false: on while the pin is low")
    seconds: float | None = Field(
        None, gt=0.0, le=3600.0, description="on for so long; null: while a violation stands"
    )
    labels: tuple[ViolationLabel, ...] = Field(
        ALL, min_length=1, description="violations that switch it"
    )

    @field_validator("pin", mode="before")
    @classmethod
    def _pin(cls, value: object) -> object:
        name = isinstance(value, str) and value.strip()
        number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if name or number:
            return value
        raise ValueError(f"pin must be a BCM number such as 17, got {value!r}")


class CommandConfig(Section):
    """A program that is started for events."""

    run: tuple[Argument, ...] = Field((), description="program and arguments; empty: none")
    events: tuple[Literal["started", "ended"], ...] = Field(
        ("started",), min_length=1, description="which events start it"
    )
    labels: tuple[ViolationLabel, ...] = Field(ALL, min_length=1, description="of these violations")
    timeout: float = Field(10.0, gt=0.0, le=600.0, description="seconds until it is killed")
    at_once: int = Field(1, ge=1, le=8, description="most of them that run at the same time")

    @field_validator("run", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(  # noqa: TRY004 - what pydantic takes
                "expected a list, program and arguments; for a shell: [sh, -c, 'a | b']"
            )
        return value

    @field_validator("run")
    @classmethod
    def _program(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not value:
            return value
        if not value[0] or any("\0" in argument for argument in value):
            raise ValueError("the program must not be empty, and nothing may hold a NUL character")
        if "/" not in value[0]:  # looked up in PATH
            return value
        return (str(beside_file(Path(value[0]), info)), *value[1:])


class SignalsConfig(Section):
    """What is switched and started the moment a violation is decided."""

    gpio: tuple[GpioConfig, ...] = Field((), description="outputs of the GPIO header")
    command: CommandConfig = CommandConfig()

    @field_validator("gpio")
    @classmethod
    def _pins_differ(cls, value: tuple[GpioConfig, ...]) -> tuple[GpioConfig, ...]:
        pins = [output.pin for output in value]
        twice = [str(pin) for pin in dict.fromkeys(pins) if pins.count(pin) > 1]
        if twice:
            raise ValueError(f"pin {', '.join(twice)} is named twice; give each pin one output")
        return value
