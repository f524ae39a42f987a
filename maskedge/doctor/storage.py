"""Folders that the daemon writes to, and files that nobody else should read."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from maskedge import paths
from maskedge.doctor.finding import Check, Finding, Place
from maskedge.doctor.system import installed, sealed
from maskedge.health.faults import OutboxUnwritable, ReviewUnwritable, SnapshotFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SPACE_LOW, SPACE_OUT = 200e6, 20e6
"""Free bytes: a crowded outbox takes about 150 MB; below 20 MB it's a matter of hours."""
SECRETS = ("mqtt-password", "web-token", "camera-password")
"""The unit's credentials."""
HAND_OVER = "as the service can't read it then, hand it over: docs/security.md#secrets"


class _Folder(Check):
    """A folder that must be writable, with space."""

    settings = True
    setting: str
    """What names another folder."""

    def _look(self, place: Place, folder: Path, named: Path | None) -> Iterator[Finding]:
        """See whether it can be written; ``named``: what the configuration says."""
        if named is not None and sealed(place, folder):
            yield self.fail(
                f"{folder}: closed to the service, which writes below /{paths.SERVICE_STATE} only",
                f"set {self.setting} to null or to a place below that; or allow it: "
                f"sudo systemctl edit maskedge, ReadWritePaths={folder}",
            )
            return
        existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        try:
            _write(folder, existing)
            free = shutil.disk_usage(existing).free
        except PermissionError as error:
            cure = (
                f"sudo maskedge doctor {self.name}" if os.geteuid() else "see who may write there"
            )
            yield self.fail(f"{folder}: can't be written by this user ({error.strerror})", cure)
        except OSError as error:
            yield self.fail(
                f"{folder}: can't be written ({error.strerror})",
                f"mount it writable, free space on it, or set {self.setting}",
            )
        else:
            yield from self._space(folder, free)

    def _space(self, folder: Path, free: int) -> Iterator[Finding]:
        said = f"{folder}: {free / 1e6:,.0f} MB free"
        cure = "free space: sudo journalctl --vacuum-size=50M; sudo apt-get clean"
        if free < SPACE_OUT:
            yield self.fail(said, cure)
        elif free < SPACE_LOW:
            yield self.warn(said, cure)
        else:
            yield self.ok(f"{said}, writable")


class Disk(_Folder):
    """Whether events can be stored."""

    name = "disk"
    fault = OutboxUnwritable
    setting = "outbox.path"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        path = place.config.outbox.path
        at_hand = paths.state_at_hand(place.environ, place.root)
        yield from self._look(place, at_hand if path is None else path.parent, path)


class Review(_Folder):
    """Whether uncertain faces can be kept, if they shall be."""

    name = "review"
    fault = ReviewUnwritable
    setting = "review.folder"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        if not place.config.review.enabled:
            yield self.ok("off: no picture is kept for labelling")
            return
        state = paths.state_at_hand(place.environ, place.root)
        folder = paths.review_folder(place.config, state)
        yield from self._look(place, folder, place.config.review.folder)


class Snapshots(_Folder):
    """Whether pictures of violations can be kept, if they shall be."""

    name = "snapshots"
    fault = SnapshotFailed
    setting = "snapshot.folder"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        snapshot = place.config.snapshot
        if snapshot.folder is not None:
            yield from self._look(place, snapshot.folder, snapshot.folder)
        elif snapshot.mqtt:
            yield self.ok("published, not kept here")
        else:
            yield self.ok("off: no picture of a violation is made")


class Secrets(Check):
    """Passwords, token and key: for their owner only."""

    name = "secrets"
    settings = True

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        config = place.config
        handed = [place.root / paths.CONFIGURATION / name for name in SECRETS]
        named = (config.mqtt.password_file, config.mqtt.tls.key_file, config.web.token_file)
        kept, good = 0, True
        for path in dict.fromkeys((*handed, *(path for path in named if path is not None))):
            try:
                mode = path.stat().st_mode
            except OSError:  # not there, or out of this user's reach: who needs it tells
                continue
            if not mode & 0o007:
                kept += 1
                continue
            good = False
            cure = f"sudo chmod 600 {path}"
            if path in named and installed(place):
                cure += f"; {HAND_OVER}"
            yield self.warn(f"{path} can be read by every user (mode {mode & 0o777:04o})", cure)
        if kept or good:
            yield self.ok(f"{kept} files, for their owner only" if kept else "no file to look at")


def _write(folder: Path, existing: Path) -> None:
    """Try to write, or where the folder isn't there yet, whether it could be made."""
    if existing == folder:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(65_536))
            probe.flush()
            os.fsync(probe.fileno())
    elif not existing.is_dir():
        raise NotADirectoryError(None, f"{existing} is no folder")
    elif not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(None, f"{existing} belongs to somebody else")
