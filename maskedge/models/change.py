"""Changes which networks are in force, so that a power cut at any moment loses neither."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskedge.errors import ModelError, StoreError
from maskedge.modelfile import ModelFile
from maskedge.models.store import ORIGIN, ROLES, SHIPPED, Choice, Role, State, Store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

STAGING = ".staging-"
MOST_DAMAGED = 9
"""Damaged sets of the same name that are passed over."""


@contextmanager
def changing(store: Store) -> Iterator[Change]:
    """Lock the store; one process at a time.

    Raises:
        StoreError: another process changes it, or the folder can't be written.
    """
    try:
        _make_folder(store.folder)
        _make_folder(store.sets)
        lock = os.open(store.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _explained(store, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        change = Change(store)
        try:
            yield change
        finally:
            change.forget_staged()
    except BlockingIOError as error:
        raise StoreError(
            f"{store.folder}: another command is changing it; try again after it"
        ) from error
    except OSError as error:
        raise _explained(store, error) from error
    finally:
        os.close(lock)


class Change:
    """What may be done while the store is locked; made by :func:`changing`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._damaged: ModelError | None = None
        try:
            self.state = store.state()
        except ModelError as error:  # what it named isn't known any more
            self.state, self._damaged = State(), error
        self.forget_staged()

    def spare(self, replaced: Collection[Role]) -> None:
        """Keep networks of which nobody knows whether they are in force.

        Args:
            replaced: roles that are given other networks, whatever they have.

        Raises:
            ModelError: the pointer is damaged, and it may have named sets of another role.
        """
        kept = [f for f in sorted(self._store.sets.iterdir()) if _role_of(f) not in replaced]
        if self._damaged is not None and kept:
            raise ModelError(
                f"{self._damaged}, or install with it what was in force, of "
                f"{', '.join(map(str, kept))}"
            )

    def stage(self, role: Role, files: Mapping[str, bytes]) -> Path:
        """Write files as a new set of which nobody knows yet.

        Args:
            role: whose networks they are.
            files: contents by name.
        """
        folder = Path(tempfile.mkdtemp(prefix=f"{STAGING}{role}-", dir=self._store.folder))
        folder.chmod(0o755)
        for name, content in files.items():
            _write(folder / name, content)
        return folder

    def commit(self, staged: Mapping[Role, Path], origin: Mapping[str, Any]) -> bool:
        """Put staged sets in force, each for its role; other roles keep theirs.

        Args:
            staged: folders of :meth:`stage`.
            origin: what :meth:`Store.origin` will tell.

        Returns:
            False: these very files are in force already.
        """
        choice = {role: self.state.current.of(role) for role in ROLES}
        for role, folder in staged.items():
            choice[role] = self._keep(role, folder, origin)
        return self._point(Choice(choice["detector"], choice["classifier"]))

    def go_back(self, *, shipped: bool = False) -> bool:
        """Put in force what was before, or what is shipped.

        Returns:
            False: it is in force already.

        Raises:
            StoreError: there is nothing to go back to.
            ModelError: what was before is damaged, or nobody knows what it was.
        """
        before = SHIPPED if shipped else self.state.previous
        if before is None and self._damaged is not None:
            raise self._damaged
        if before is None:
            raise StoreError("nothing was ever installed: the shipped networks are in force")
        for folder in set(self._store.folders(before)):
            for file in folder.glob("*.tflite"):
                ModelFile.load(file)
        return self._point(before)

    def _keep(self, role: Role, folder: Path, origin: Mapping[str, Any]) -> str:
        """Give a staged set its name, by its contents; returns the name."""
        contents = _contents(folder)
        digest = hashlib.sha256(json.dumps(sorted(contents.items())).encode()).hexdigest()[:12]
        for number in range(MOST_DAMAGED):
            name = f"{role}-{digest}" + (f"-{number}" if number else "")
            target = self._store.sets / name
            if not target.exists():
                _write(folder / ORIGIN, json.dumps(dict(origin), indent=2).encode())
                _sync(folder)
                folder.rename(target)
                _sync(self._store.sets)
                return name
            if _contents(target) == contents:
                return name
        raise StoreError(f"{self._store.sets}: too many damaged sets {role}-{digest}; remove them")

    def _point(self, choice: Choice) -> bool:
        """The one rename that puts a choice in force."""
        if choice == self.state.current and not self._damaged:
            return False
        self.state = State(choice, self.state.current)
        fresh = self._store.folder / f"{STAGING}pointer"
        _write(fresh, (json.dumps(self.state.as_json(), indent=2) + "\n").encode())
        fresh.rename(self._store.pointer)
        _sync(self._store.folder)
        self._forget_sets()
        return True

    def forget_staged(self) -> None:
        """Remove what isn't kept, also of a command that was killed."""
        for left in self._store.folder.glob(f"{STAGING}*"):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()

    def _forget_sets(self) -> None:
        """Remove sets that no rollback reaches any more."""
        choices = (self.state.current, self.state.previous or SHIPPED)
        reachable = {choice.of(role) for choice in choices for role in ROLES}
        for folder in self._store.sets.iterdir():
            if folder.name not in reachable:
                shutil.rmtree(folder)


def _role_of(folder: Path) -> str:
    """Of a set's name."""
    return folder.name.partition("-")[0]


def _contents(folder: Path) -> dict[str, str]:
    """SHA-256 of each file by name, but for the note of its origin."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.name != ORIGIN
    }


def _make_folder(folder: Path) -> None:
    """Make a folder that everybody may read, whatever the umask, and see it on the disk."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    _sync(folder.parent)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(store: Store, error: OSError) -> StoreError:
    cure = "see that it is writable and has space left"
    if isinstance(error, PermissionError):
        cure = "use sudo: sudo maskedge models …"
    return StoreError(f"{store.folder}: can't be changed ({error.strerror}); {cure}")
