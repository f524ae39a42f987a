"""Everything that a process tree opens, writes and sends, as the kernel saw it."""

from __future__ import annotations

import codecs
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CALLS = (
    "open,openat,openat2,creat,mknod,mknodat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
    "mkdir,mkdirat,listen,accept,accept4,bind,connect,execve,"
    "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,splice,copy_file_range"
)
WRITES = {
    "write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg",
    "sendfile", "splice", "copy_file_range",
}  # fmt: skip
LINE = re.compile(r"^\d+ +(?P<call>\w+)\((?P<rest>.*)", re.DOTALL)
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
TARGET = re.compile(r"^\d+<([^>]*(?:->[^>]*)?)>")


def command(trace: Path) -> list[str]:
    """What to put before a program; skips the test where tracing isn't possible."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed: see tests/apt-packages.txt")
    allowed = subprocess.run([program, "-f", "true"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip("this machine doesn't let a process be traced")
    full = ["-f", "--seccomp-bpf", "-qq", "-yy", "-x", "-s", "10000000", "-e", f"trace={CALLS}"]
    return [program, *full, "-o", str(trace)]


@dataclass
class Trace:
    """What was done.

    Attributes:
        opened: files opened for writing, made, renamed to or linked, and folders made.
        written: (what it is, bytes) of every write to a file, pipe or socket.
        listening: arguments of ``listen``.
        connected: addresses connected to.
        programs: what was executed.
    """

    opened: set[str] = field(default_factory=set)
    written: list[tuple[str, bytes]] = field(default_factory=list)
    listening: list[str] = field(default_factory=list)
    connected: set[str] = field(default_factory=set)
    programs: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Trace:
        """Parse strace's output."""
        trace = cls()
        for line in path.read_text(encoding="latin-1").splitlines():
            found = LINE.match(line)
            if found is not None:
                trace._note(found["call"], found["rest"])
        return trace

    def bytes_to(self, part: str) -> bytes:
        """All that was written to where ``part`` is in the name."""
        return b"".join(data for target, data in self.written if part in target)

    def _note(self, call: str, rest: str) -> None:
        strings = [_bytes(text) for text in STRING.findall(rest)]
        if call in WRITES:
            target = TARGET.match(rest)
            self.written.append((target[1] if target else rest[:40], b"".join(strings)))
        elif call == "connect":
            port = re.search(r"htons\((\d+)\)", rest)
            self.connected.add(port[1] if port else strings[0].decode() if strings else rest)
        elif call == "listen":
            self.listening.append(rest)
        elif call == "execve":
            self.programs.append(strings[0].decode())
        elif call.startswith("open"):
            if re.search(r"O_(WRONLY|RDWR|CREAT|TMPFILE)", rest) and "= -1" not in rest:
                self.opened.add(strings[0].decode())
        elif call not in {"bind", "accept", "accept4"} and strings and "= -1" not in rest:
            self.opened |= {text.decode() for text in strings}


def _bytes(text: str) -> bytes:
    return codecs.escape_decode(text.encode("latin-1"))[0]
