"""What docs/signals.md and docs/privacy.md promise of the service in its sandbox."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from debian_machine import PASSWORD, STATE, Unit, wait_for

from maskedge.signals.gpio import INSTALL

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE = """\
#!/usr/bin/python3
import json, mmap, os, pathlib, socket, subprocess, sys

def tries(work, *args):
    try:
        work(*args)
    except Exception as error:
        return repr(error)

def write(folder):
    pathlib.Path(folder, "probe").write_text("x")

def call(*command):
    subprocess.run(command, check=True, capture_output=True)

event = json.load(sys.stdin)
pathlib.Path("probe.json").write_text(json.dumps({
    "event": event,
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "state": tries(write, "."),
    "run": tries(write, "/run/maskedge"),
    "tmp": tries(write, "/tmp"),
    "etc": tries(write, "/etc/maskedge"),
    "home": tries(os.listdir, "/home/pi"),
    "network": tries(socket.create_connection, ("127.0.0.1", int(sys.argv[1]))),
    "programs": tries(call, "sh", "-c", "ls | wc -l"),
    "root": tries(call, "/usr/bin/mount", "-t", "tmpfs", "none", "/tmp"),
    "privileges": "NoNewPrivs:\\t1" in pathlib.Path("/proc/self/status").read_text(),
    "code": tries(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
    "sound": tries(open, "/dev/snd/seq"),
    "secret": tries(open, "/run/credentials/maskedge.service/mqtt-password"),
}))
"""
# Raspberry Pi OS has both packages, Debian only one; PyPI has wheels for some versions of Python.
LIBRARIES = """\
apt-get install -y -qq --no-install-recommends python3-gpiozero python3-lgpio ||
/opt/maskedge/venv/bin/python -m pip install --quiet gpiozero lgpio
"""
CAN = ("state", "run", "tmp", "network", "programs", "secret")
CANNOT = ("etc", "home", "root", "code", "sound")


def on_the_spot(unit: Unit, claim: Callable[..., None]) -> None:
    """A command, an output and pictures, in the real unit."""
    state = unit.debian.file(STATE)
    program = unit.debian.file("etc/maskedge/probe")
    program.write_text(PROBE)
    program.chmod(0o755)
    had = unit.debian.run("sh", "-c", LIBRARIES, check=False).returncode == 0
    unit.configure(
        f"signals: {{gpio: [{{pin: 17}}], command: {{run: [/etc/maskedge/probe, {unit.port}]}}}}\n"
        "snapshot: {folder: /var/lib/maskedge/snapshots, mqtt: true}\n"
    )
    unit.systemctl("restart", "maskedge")
    told = wait_for((state / "probe.json").exists)
    claim(told is not None, "the command is started for a violation", unit.log())
    probe = json.loads((state / "probe.json").read_text())
    claim(probe["event"]["type"] == "started", "it gets the event")
    claim(probe["folder"].endswith("/maskedge"), "in the state folder", probe["folder"])
    given = probe["environment"]
    claim(given["MASKEDGE_LABEL"] == "without_mask", "and the label in its environment")
    hidden = PASSWORD not in str(given) and "CREDENTIALS_DIRECTORY" not in given
    claim(hidden, "but no secret of ours", str(given))
    can = {name: probe[name] for name in CAN if probe[name] is not None}
    claim(not can, "it can write, call and start what docs/signals.md says", str(can))
    cannot = [name for name in CANNOT if probe[name] is None]
    claim(not cannot and probe["privileges"], "and can't do the rest", str(cannot))

    said: dict[str, str] = {}

    def listen() -> bool:
        health = json.loads(unit.heard("health") or "{}")
        said.update({fault["code"]: fault["message"] for fault in health.get("faults", [])})
        return "gpio_failed" in said

    wait_for(listen)
    pin = said.get("gpio_failed", "")
    if had:
        claim(
            "Pi revision" in pin, "gpiozero and lgpio load; without a header a fault says so", pin
        )
    else:
        claim(True, "LEFT OUT: lgpio can't be had for this Debian's Python; a Pi has it")
        claim(INSTALL in pin, "without gpiozero and lgpio a fault says how to get them", pin)
    claim("command_failed" not in said, "the command is no fault", str(said))

    pictures = state / "snapshots"
    kept = wait_for(lambda: pictures.exists() and list(pictures.glob("*.jpg")))
    claim(kept is not None, "a picture is kept in the folder", unit.log())
    modes = {oct(path.stat().st_mode & 0o777) for path in (pictures, *pictures.iterdir())}
    claim(modes == {"0o700", "0o600"}, "0700, and the picture 0600", str(modes))
    topic = unit.heard("snapshot/+", "%t %x") or ""
    claim(re.match(r"\S+/snapshot/\S+ ffd8ff", topic), "and another arrives over MQTT", topic)

    limits = unit.debian.run("cat", f"/proc/{unit.show('MainPID')}/limits").stdout
    claim(re.search(r"Max core file size +0 +0", limits), "no core dump is allowed", limits)
    claim(unit.show("MemorySwapMax") == "0", "nor swap", unit.show("MemorySwapMax"))
    unit.configure()
    unit.systemctl("restart", "maskedge")
    (state / "probe.json").unlink()  # of the process that has ended
    told = unit.violation()
    claim(
        told and not (state / "probe.json").exists(),
        "unset, a violation starts nothing",
        unit.log(),
    )
