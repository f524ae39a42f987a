"""The log in a real journal: systemd-journald in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

JOURNALD = Path("/lib/systemd/systemd-journald")
MACHINE = "0123456789abcdef0123456789abcdef"
SCRIPT = f"""
set -e
mount -t tmpfs none /run
echo {MACHINE} > /run/machine-id
[ -s /etc/machine-id ] || mount --bind /run/machine-id /etc/machine-id
mkdir -p /run/systemd/journal /run/log/journal/$(cat /etc/machine-id)
{JOURNALD} 2>/dev/null & journald=$!
trap 'kill $journald' EXIT
for _ in $(seq 100); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.1; done
"$@" || true
journalctl -D /run/log/journal --sync 2>/dev/null || sleep 1
journalctl -D /run/log/journal -t maskedge -o json --no-pager
"""
# What systemd does for a unit: sd_journal_stream_fd(3), and the variable of systemd.exec(5).
UNIT = """
import os, socket, sys
stream = socket.socket(socket.AF_UNIX)
stream.connect("/run/systemd/journal/stdout")
stream.sendall(b"maskedge\\n\\n6\\n1\\n0\\n0\\n0\\n")
found = os.fstat(stream.fileno())
os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
os.dup2(stream.fileno(), 2)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def journal(*command):
    """What the journal has of a command: (priority, message) each."""
    if os.geteuid() != 0 or not JOURNALD.exists() or shutil.which("journalctl") is None:
        pytest.skip("needs root and systemd-journald")
    allowed = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True)
    if allowed.returncode != 0:
        pytest.skip("no mount namespaces here")
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "bash", "-c", SCRIPT, "bash",
         sys.executable, "-c", UNIT, *command],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    return [(int(entry["PRIORITY"]), entry["MESSAGE"]) for entry in entries]


def test_what_goes_wrong_has_its_priority():
    entries = journal("-m", "maskedge", "run", "--config", "/none.yaml")
    assert entries == [
        (3, "maskedge: /none.yaml: can't read the configuration: No such file or directory")
    ]


def test_warnings_and_crashes_have_theirs():
    talk = "import logging; from maskedge import logs; logs.set_up(0)\n"
    talk += "logging.getLogger('maskedge.daemon').info('at work')\n"
    talk += "logging.getLogger('maskedge.daemon').warning('camera lost')\n1 / 0"
    entries = journal("-c", talk)
    assert entries[:3] == [
        (6, "maskedge.daemon: at work"),
        (4, "maskedge.daemon: camera lost"),
        (2, "maskedge: it crashed"),
    ]
    assert entries[-1] == (2, "ZeroDivisionError: division by zero")
    assert {priority for priority, _ in entries[3:]} == {2}
