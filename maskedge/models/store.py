"""Where installed networks lie, and which of them are in force.

::

    FOLDER/in-force.json                     the pointer: sets in force, and those before
    FOLDER/sets/classifier-3f2a90c1d4e5/     mask_classifier.tflite, its .json, origin.json
    FOLDER/sets/detector-91c07ab2fe33/       face_detector_320x320.tflite …

A set is whole and on the disk before the pointer names it, and the pointer changes by one rename:
a power cut leaves the old networks in force or the new ones, never neither. A role for which the
pointer names no set has the shipped networks, also after an upgrade of the program. This module
reads; :mod:`maskedge.models.change` writes.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from maskedge import modelfile, paths
from maskedge.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Role = Literal["detector", "classifier"]
ROLES: tuple[Role, ...] = ("detector", "classifier")
SCHEMA = "maskedge.models/1"
POINTER = "in-force.json"
ORIGIN = "origin.json"
SET_NAME = re.compile(r"(detector|classifier)-[0-9a-f]{12}(-\d+)?")


class Folders(NamedTuple):
    """Where each role's networks lie."""

    detector: Path
    classifier: Path


@dataclass(frozen=True, slots=True)
class Choice:
    """A set for each role; None: the shipped networks."""

    detector: str | None = None
    classifier: str | None = None

    def of(self, role: Role) -> str | None:
        """The role's set."""
        return self.detector if role == "detector" else self.classifier

    @classmethod
    def parse(cls, value: Any) -> Choice:
        """From the pointer's JSON; raises ValueError."""
        if not isinstance(value, dict) or set(value) != set(ROLES):
            raise ValueError("each choice names a detector and a classifier")
        for role, name in value.items():
            good = name is None or (isinstance(name, str) and SET_NAME.fullmatch(name))
            if not good or (name and not name.startswith(role)):
                raise ValueError(f"{name!r} is no set for a {role}")
        return cls(**value)


SHIPPED = Choice()


@dataclass(frozen=True, slots=True)
class State:
    """What the pointer says.

    Attributes:
        current: in force.
        previous: in force before; None: there was nothing but the shipped networks.
    """

    current: Choice = SHIPPED
    previous: Choice | None = None

    @classmethod
    def parse(cls, value: Any) -> State:
        """From the pointer's JSON; raises ValueError."""
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise ValueError(f"its schema isn't {SCHEMA}")
        return cls(Choice.parse(value.get("current")), Choice.parse(value.get("previous")))

    def as_json(self) -> dict[str, Any]:
        """What :meth:`parse` reads."""
        previous = asdict(self.previous or SHIPPED)
        return {"schema": SCHEMA, "current": asdict(self.current), "previous": previous}


class Store:
    """One folder of installed networks.

    Attributes:
        folder: all of it.
        pointer: the file that changes when other networks come into force.
        sets: the sets' folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Use a folder, which needn't exist.

        Args:
            folder: None: the one of this machine, :func:`maskedge.paths.models_store`.
        """
        self.folder = folder or paths.models_store()
        self.pointer = self.folder / POINTER
        self.sets = self.folder / "sets"

    def state(self) -> State:
        """Read the pointer.

        Raises:
            ModelError: it can't be read or is damaged.
        """
        try:
            return State.parse(json.loads(self.pointer.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return State()
        except OSError as error:
            raise ModelError(
                f"{self.pointer}: can't be read ({error.strerror}): sudo maskedge doctor networks"
            ) from error
        except ValueError as error:
            raise ModelError(
                f"{self.pointer}: damaged ({error}); maskedge models rollback --shipped"
            ) from error

    def folders(self, choice: Choice | None = None) -> Folders:
        """Where the networks of a choice lie.

        Args:
            choice: None: the one in force.

        Raises:
            ModelError: the pointer is damaged, or a set isn't there.
        """
        choice = choice or self.state().current
        return Folders(*(self._folder(choice.of(role)) for role in ROLES))

    def fallbacks(self) -> Iterator[Folders]:
        """What to try at a start, best first: in force, those before, the shipped ones."""
        tried = set()
        try:
            state = self.state()
        except ModelError:
            state = State()
        for choice in (state.current, state.previous, SHIPPED):
            if choice is not None and choice not in tried:
                tried.add(choice)
                try:
                    yield self.folders(choice)
                except ModelError:
                    continue

    def origin(self, name: str) -> dict[str, Any]:
        """When and from what a set was installed; empty if nobody knows."""
        try:
            said = json.loads((self.sets / name / ORIGIN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    def _folder(self, name: str | None) -> Path:
        if name is None:
            return modelfile.models_dir()
        folder = self.sets / name
        if not folder.is_dir():
            raise ModelError(f"{folder}: the networks in force aren't there; install them again")
        return folder
