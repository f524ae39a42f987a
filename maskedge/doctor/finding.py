"""What a check is, what it looks at, and what it finds."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from maskedge import paths
from maskedge.health.faults import HELP_ROOT, Fault, Situation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maskedge.config import Config

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: the check's name.
        status: ``ok``; ``warn``: it runs, but look at this; ``fail``: it can't do its work.
        message: what was seen.
        cure: what to do; empty only when all is well.
        help: where docs/faults.md tells more, empty where no fault of the daemon matches.
    """

    check: str
    status: Status
    message: str
    cure: str = ""
    help: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the checks look; tests give them another.

    Attributes:
        config: the configuration in force.
        root: the file system's root: ``sys``, ``dev``, ``run``, ``proc`` and the rest lie under it.
        environ: this process's environment.
    """

    config: Config
    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def environ_with(self, credential: str | None) -> Mapping[str, str]:
        """The environment as the unit has it, with this credential."""
        return paths.unit_environ(credential, self.environ, self.root)


class Check:
    """One thing to look at; a subclass a thing.

    Attributes:
        name: how a person asks for it.
        deadline: seconds that it may take.
        child: runs in a process of its own, as foreign native code may hang or crash there.
        settings: looks at what the configuration says, and so needs a valid one.
        fault: what the daemon would report.
        stops: faults that the daemon gets over, but that somebody who sets it up must mend.
        crash: what to do when the process of its own crashes or doesn't end.
        credential: what the unit is handed for it.
    """

    name: ClassVar[str]
    deadline: ClassVar[float] = 10.0
    child: ClassVar[bool] = False
    settings: ClassVar[bool] = False
    fault: ClassVar[type[Fault] | None] = None
    stops: ClassVar[frozenset[type[Fault]]] = frozenset()
    crash: ClassVar[str] = "run it again; if it stays so, report it with this line"
    credential: ClassVar[str | None] = None

    def run(self, place: Place) -> Iterable[Finding]:
        """Look. May raise, hang or crash: that becomes a finding, too."""
        raise NotImplementedError

    def limit(self, place: Place) -> float:  # noqa: ARG002 - for those whose limit depends on it
        """Seconds that it may take here."""
        return self.deadline

    def ok(self, message: str) -> Finding:
        """All is well."""
        return Finding(self.name, "ok", message)

    def warn(self, message: str, cure: str, fault: type[Fault] | None = None) -> Finding:
        """It runs, but."""
        return self._bad("warn", message, cure, fault)

    def fail(self, message: str, cure: str, fault: type[Fault] | None = None) -> Finding:
        """It can't do its work."""
        return self._bad("fail", message, cure, fault)

    def judge(self, fault: type[Fault], otherwise: str = "", **situation: Any) -> Finding:
        """What the daemon's own fault says of a situation; ``otherwise``: when it says nothing."""
        sentence = fault().check(Situation(**situation))
        if sentence is None:
            return self.ok(otherwise)
        status: Status = "fail" if fault.failed or fault in self.stops else "warn"
        return self._bad(status, *split(sentence), fault)

    def _bad(self, status: Status, message: str, cure: str, fault: type[Fault] | None) -> Finding:
        fault = fault or self.fault
        anchor = "" if fault is None else f"{HELP_ROOT}#{fault.code}"
        return Finding(self.name, status, message, cure, anchor)


def split(sentence: str) -> tuple[str, str]:
    """Our errors say what is wrong and then how to cure it, in one sentence: these two."""
    for mark in ("; ", ". ", ": "):
        message, found, cure = sentence.rpartition(mark)
        if found:
            return message, cure
    return sentence, "see the help"
