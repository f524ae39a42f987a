"""Runs the checks, each within its deadline; none can hang or crash the command."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from maskedge.doctor.checks import CHECKS
from maskedge.doctor.finding import Check, Finding, Place
from maskedge.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


CONFIGURATION = "configuration"
"""Looked at before all checks, by the command itself."""


def chosen(names: Sequence[str], *, settings: bool = True) -> list[Check]:
    """The checks of these names (none: all), in their usual order.

    Args:
        names: what a person typed.
        settings: False: there is no valid configuration, leave those out that need one.

    Raises:
        UsageError: there is no check of that name.
    """
    known = (CONFIGURATION, *CHECKS)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no check is called {unknown[0]!r}; there are {', '.join(known)}")
    kinds = [kind for name, kind in CHECKS.items() if not names or name in names]
    return [kind() for kind in kinds if settings or not kind.settings]


def examine(checks: Iterable[Check], place: Place) -> Iterator[Finding]:
    """Run checks one after the other; their findings as they come."""
    for check in checks:
        yield from (_in_child if check.child else _in_thread)(check, place)


def findings_of(check: Check, place: Place) -> list[Finding]:
    """What it finds here; that it fails itself is a finding, too."""
    findings: list[Finding] = []
    try:
        findings.extend(check.run(place))
    except Exception as error:  # noqa: BLE001 - told as a finding
        why = f"can't be checked ({type(error).__name__}: {error})"
        findings.append(check.fail(why, check.crash))
    return findings


def _late(check: Check, limit: float) -> Finding:
    return check.fail(f"no answer within {limit:g} s", check.crash)


def _in_thread(check: Check, place: Place) -> list[Finding]:
    answer: queue.Queue[list[Finding]] = queue.Queue()
    limit = check.limit(place)
    threading.Thread(
        target=lambda: answer.put(findings_of(check, place)), name=check.name, daemon=True
    ).start()
    try:
        return answer.get(timeout=limit)
    except queue.Empty:
        return [_late(check, limit)]


def _in_child(check: Check, place: Place) -> list[Finding]:
    limit = check.limit(place)
    asked = {"config": place.config.model_dump(mode="json"), "root": str(place.root)}
    child = subprocess.Popen(
        [sys.executable, "-m", "maskedge.doctor", check.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=dict(place.environ_with(check.credential)),
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(json.dumps(asked), timeout=limit)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # it may hang in the kernel, beyond any signal
            child.communicate(timeout=2)
        return [_late(check, limit)]
    try:
        return [Finding(**finding) for finding in json.loads(said.rpartition("\n")[2])]
    except ValueError:
        code = child.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return [check.fail(f"the check's process crashed ({how})", check.crash)]
