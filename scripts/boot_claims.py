"""What the installed unit does under a real systemd and kernel, with a camera of that kernel."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arm_machine import HOST, PATIENCE, Arm
from debian_machine import CHECKOUT, PASSWORD, PROGRAM, Unit, check_out, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = """\
device: unit
inference: {{threads: 1}}
publish: {{interval: 5}}
mqtt: {{host: {host}, port: {port}, username: unit}}
"""  # the camera is the default: the first that captures
SLOW = "[Service]\nTimeoutStartSec=600\nTimeoutStopSec=120\nWatchdogSec={watchdog}\n"
"""An emulated start takes longer than the unit allows a Pi."""
PATIENT = "[Manager]\nDefaultTimeoutStartSec=900\nDefaultDeviceTimeoutSec=900\n"
"""The same for what else boots."""
CAMERA_FAULTS = {"camera_lost", "picture_black", "lens_covered"}
"""Not `picture_frozen`: but for a clock in its corner the picture of vivid stands still."""


class Booted(Unit):
    """The unit in the machine; its broker on this machine's loopback."""

    debian: Arm

    def __init__(self, debian: Arm, watchdog: int) -> None:
        super().__init__(debian)
        self.watchdog = watchdog

    def configure(self, more: str = "") -> None:
        """Write config.yaml."""
        text = CONFIG.format(host=HOST, port=self.port) + more
        self.debian.file("etc/maskedge/config.yaml").write_text(text)

    def heard(self, topic: str, form: str = "%r %p") -> str | None:
        """What a newcomer hears under ``maskedge/unit/TOPIC``, within a moment."""
        done = subprocess.run(
            ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.port), "-u", "unit", "-P", PASSWORD,
             "-t", f"maskedge/unit/{topic}", "-C", "1", "-W", "5", "-F", form],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.strip() or None

    def says(self, word: str) -> bool:
        """Whether the retained availability is this."""
        return self.heard("availability") == f"1 {word}"

    def health(self) -> dict[str, Any]:
        """The retained health; empty: none yet."""
        said = self.heard("health") or ""
        return json.loads(said.removeprefix("1 ")) if said.startswith("1 ") else {}

    def counts_on(self, earlier_boot: str = "") -> tuple[int, int]:
        """Frames counted in two healths of this boot, half a minute apart."""

        def frames() -> int:
            health = self.health()
            this_boot = health.get("boot_id", earlier_boot) != earlier_boot
            return int(health["counters"].get("frames", 0)) if this_boot else 0

        wait_for(frames, PATIENCE)
        first = frames()
        time.sleep(30)
        return first, frames()

    @contextmanager
    def broker(self) -> Iterator[None]:
        """A mosquitto that asks for a password."""
        path = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/bin")
        with tempfile.TemporaryDirectory() as folder:
            users, config = Path(folder, "users"), Path(folder, "broker.conf")
            users.touch()
            subprocess.run(["mosquitto_passwd", "-b", users, "unit", PASSWORD], check=True)
            config.write_text(
                f"listener {self.port} 127.0.0.1\nallow_anonymous false\n"
                f"password_file {users}\nuser root\n"
            )
            process = subprocess.Popen([str(path), "-c", config], stderr=subprocess.DEVNULL)
            try:
                yield
            finally:
                process.terminate()
                process.wait()


def boots(arm: Arm, claim: Callable[..., None], watchdog: int) -> None:
    """Install into the root as into an image, boot that, and watch the unit.

    Args:
        arm: the root.
        claim: told each claim.
        watchdog: its WatchdogSec=.
    """
    unit = Booted(arm, watchdog)
    check_out(arm.file(CHECKOUT))
    done = unit.install()
    claim(done.returncode == 0, "install.sh installs it into an image", done.stderr)
    enabled = unit.systemctl("is-enabled", "maskedge")
    claim(enabled == "enabled", "and enables the unit, for the first boot", enabled)
    write = ("install", "-m", "600", "/dev/stdin", "/etc/maskedge/mqtt-password")
    arm.run(*write, type_in=f"{PASSWORD}\n")  # docs/pi.md
    unit.configure()
    arm.file("etc/modules-load.d/camera.conf").write_text("vivid\n")
    slow = SLOW.format(watchdog=watchdog)
    for folder, text in {"maskedge.service.d": slow, "../system.conf.d": PATIENT}.items():
        arm.file(f"etc/systemd/system/{folder}").mkdir(exist_ok=True)
        arm.file(f"etc/systemd/system/{folder}/slow.conf").write_text(text)
    arm.write_disk()
    failed = 0

    def watched(holds: object, said: str, seen: str = "", measured: str = "") -> None:
        nonlocal failed
        failed += not holds
        claim(holds, said, seen, measured)

    try:
        with unit.broker():
            _first_boot(unit, watched)
            _ends(unit, watched)
            _power_cut(unit, watched)
    finally:
        arm.cut_power()
        arm.remove_disk()
    if failed:
        print(f"       the machine's console: {arm.console}", flush=True)


def _powered(unit: Booted, claim: Callable[..., None], what: str) -> None:
    """Boot, until the unit is active."""
    took = unit.debian.power_on()
    if took is None:
        claim(False, what, unit.debian.console.read_text(errors="replace"))
        raise RuntimeError("the machine doesn't boot")
    claim(True, what, measured=f"{took:.0f} s emulated")
    active = wait_for(unit.active, PATIENCE)
    began, ready = (
        int(unit.show(name) or 0) / 1e6
        for name in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    )
    said = "the unit starts by itself and reaches active (READY=1)"
    claim(active is not None, said, unit.log(), f"{ready - began:.0f} s emulated")


def _first_boot(unit: Booted, claim: Callable[..., None]) -> None:
    _powered(unit, claim, "the image boots")
    system = unit.debian.run("uname", "-mr").stdout.strip()
    version = unit.systemctl("--version").split("(")[0].strip()
    print(f"       Linux {system}, {version}", flush=True)
    online = wait_for(lambda: unit.says("online"), PATIENCE)
    claim(online is not None, "the broker has a retained `online`", unit.log())
    before, after = unit.counts_on()
    health = unit.health()
    counted = after > before > 0
    rate = f"{(after - before) / 30:.1f} a second emulated"
    claim(counted, "health arrives and counts the frames of the vivid camera", unit.log(), rate)
    camera, inference = health["camera"], health["inference"]
    seen = unit.debian.run("cat", "/sys/class/video4linux/video0/name").stdout.strip()
    claim("vivid" in seen and camera["state"] == "streaming", f"it streams {seen}", str(camera))
    faults = {fault["code"] for fault in health["faults"]}
    claim(not faults & CAMERA_FAULTS, "no fault of the camera stands", str(health["faults"]))
    looked = health["counters"].get("frames_looked", 0)
    claim(looked, f"the networks look at them, in {inference['backend']}", str(health))
    _is_fed(unit, claim)


def _is_fed(unit: Booted, claim: Callable[..., None]) -> None:
    """The watchdog of systemd gets its pings, interval by interval."""
    process, pings = unit.show("MainPID"), [unit.show("WatchdogTimestampMonotonic")]
    for _ in range(4):
        time.sleep(unit.watchdog)
        pings.append(unit.show("WatchdogTimestampMonotonic"))
    fed = len(set(pings)) == len(pings)
    same = unit.show("MainPID") == process and unit.show("NRestarts") == "0"
    said = f"the watchdog of {unit.show('WatchdogUSec')} is fed in four intervals, nothing restarts"
    claim(fed and same, said, f"{pings}\n{unit.log()}")


def _ends(unit: Booted, claim: Callable[..., None]) -> None:
    unit.systemctl("stop", "maskedge")
    result = unit.show("Result"), unit.show("ExecMainStatus"), unit.show("ActiveState")
    claim(result == ("success", "0", "inactive"), "systemctl stop ends it cleanly", str(result))
    claim(unit.says("stopped"), "and the broker has `stopped`", str(unit.heard("availability")))
    done = unit.debian.verify(PROGRAM)
    said = "all networks give their golden answers under this kernel"
    claim(done.returncode == 0, said, done.stdout + done.stderr)
    unit.systemctl("start", "maskedge")
    claim(unit.active() and wait_for(lambda: unit.says("online")), "started again: `online`")


def _power_cut(unit: Booted, claim: Callable[..., None]) -> None:
    boot = unit.health()["boot_id"]
    unit.debian.cut_power()
    gone = wait_for(lambda: unit.says("offline"), 120)
    claim(gone is not None, "power cut: the broker says `offline`", str(unit.heard("availability")))
    _powered(unit, claim, "it boots again")
    online = wait_for(lambda: unit.says("online"), PATIENCE)
    claim(online is not None, "the broker has `online` again", unit.log())
    before, after = unit.counts_on(boot)
    claim(after > before > 0, "and frames are counted", unit.log())
    aside = unit.debian.run("sh", "-c", "ls /var/lib/private/maskedge").stdout
    claim("outbox.db" in aside and "aside" not in aside, "the outbox is sound", aside)
