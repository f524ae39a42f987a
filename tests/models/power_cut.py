"""Changes a store again and again, each time cut off at the next step: python power_cut.py ...

Each try works on a copy of the store in a process of its own that kills itself before its N-th step
that touches the disk. ``kept``: the disk has everything up to then, as after SIGKILL. ``lost``: it
has only what was synced, as after a power cut of the most forgetful disk: files that weren't synced
are empty, and names whose folder wasn't synced are as before.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from maskedge.models.change import changing
from maskedge.models.store import Store


class Disk:
    """Counts the steps of this process, and forgets what wasn't synced."""

    def __init__(self, cut_at: int, *, forgetful: bool):
        self.cut_at = cut_at
        self.forgetful = forgetful
        self.steps = 0
        self.unsynced: dict[int, int] = {}  # inode of a file: a descriptor of it
        self.undo: list[tuple[int, object]] = []  # inode of a folder: how its name goes
        for name in ("fsync", "rename", "mkdir", "unlink", "rmdir"):
            setattr(os, name, getattr(self, name)(getattr(os, name)))
        Path.open = self.open(Path.open)

    def step(self):
        self.steps += 1
        if self.steps == self.cut_at:
            self.cut()
            os.kill(os.getpid(), signal.SIGKILL)

    def cut(self):
        """Lose what isn't synced, if this is a disk that does."""
        if self.forgetful:
            for descriptor in self.unsynced.values():
                os.ftruncate(descriptor, 0)
            for _, action in reversed(self.undo):
                action()

    def made(self, path: Path):
        """A name that is gone after a cut, wherever its folder then is."""
        folder = os.open(path.parent, os.O_RDONLY)
        self.undo.append((os.fstat(folder).st_ino, lambda: gone(path.name, folder)))

    def open(self, real):
        def opened(path, mode="r", **more):
            if "w" not in mode:
                return real(path, mode, **more)
            self.step()
            if not path.exists():
                self.made(path)
            file = real(path, mode, **more)
            self.unsynced[os.fstat(file.fileno()).st_ino] = os.dup(file.fileno())
            return file

        return opened

    def fsync(self, real):
        def synced(descriptor):
            self.step()
            inode = os.fstat(descriptor).st_ino
            self.unsynced.pop(inode, None)
            self.undo = [entry for entry in self.undo if entry[0] != inode]
            real(descriptor)

        return synced

    def rename(self, real):
        def renamed(source, target):
            self.step()
            source, target = Path(source), Path(target)
            before = target.read_bytes() if target.is_file() else None

            def back():
                real(target, source)
                if before is not None:
                    target.write_bytes(before)

            real(source, target)
            self.undo.append((target.parent.stat().st_ino, back))

        return renamed

    def mkdir(self, real):
        def made(path, *args, **more):
            self.step()
            real(path, *args, **more)
            self.made(Path(path))

        return made

    def unlink(self, real):
        def unlinked(*args, **more):
            self.step()
            real(*args, **more)

        return unlinked

    rmdir = unlink


def gone(name: str, folder: int):
    path = Path(f"/proc/self/fd/{folder}", name)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def network(word: str) -> bytes:
    """What passes for a network's file where nobody runs it."""
    return b"\0\0\0\0TFL3" + 1000 * word.encode()


def card(content: bytes) -> bytes:
    """The JSON beside it."""
    said = {"schema": "maskedge.model/1", "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps(said).encode()


def install(store: Store, content: bytes):
    """Put a classifier of this content in force."""
    files = {"mask_classifier.tflite": content, "mask_classifier.json": card(content)}
    with changing(store) as change:
        change.commit({"classifier": change.stage("classifier", files)}, {"from": "a test"})


def go_back(store: Store):
    with changing(store) as change:
        change.go_back()


def main(folder: Path, what: str, mode: str) -> None:
    """Leave ``folder/cut-N`` for every N that cut the change off, and ``folder/whole``."""
    number = 0
    while True:
        number += 1
        target = folder / f"cut-{number}"
        if (folder / "store").exists():
            shutil.copytree(folder / "store", target)
        child = os.fork()
        if child == 0:
            disk = Disk(number, forgetful=mode == "lost")
            store = Store(target)
            go_back(store) if what == "go back" else install(store, network("new"))
            disk.cut()  # what was reported as done outlasts a cut right after it
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            target.rename(folder / "whole")
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
