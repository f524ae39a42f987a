"""A real Debian in a folder, booted or not: what scripts/test-install and prove-arm64 drive."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from maskedge.errors import EndOfStream
from maskedge.scene import SceneCamera, Visit, Wearing

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parents[1]
PACKAGES = "systemd-sysv,dbus,udev,python3,ca-certificates,mosquitto,mosquitto-clients"
CHECKOUT = "home/pi/maskedge"
PROGRAM = "/opt/maskedge/venv/bin/maskedge"
PASSWORD = "rosebud"  # noqa: S105 - of the broker that lives for this test
STATE = "var/lib/private/maskedge"
# Passed on so that apt and pip inside find the network as they do outside.
NETWORK = ("proxy", "pip_", "ssl_cert", "ca_bundle")
CONFIG = """\
device: unit
camera: {{source: /srv/visit.avi, loop: true}}
verdict: {{leave_after: 1, cooldown: 0}}
publish: {{interval: 1}}
mqtt: {{host: 127.0.0.1, port: {port}, username: unit}}
"""
DROP_IN = "etc/systemd/system/maskedge.service.d/put-in.conf"
VERSION_1 = {
    "memory.max": "memory.limit_in_bytes",
    "memory.current": "memory.usage_in_bytes",
    "memory.peak": "memory.max_usage_in_bytes",
}
"""What control groups of version 1 call it."""
Done = subprocess.CompletedProcess[str]


class Claims:
    """Prints one line for each and counts those that don't hold."""

    def __init__(self) -> None:
        self.failed = 0

    def __call__(self, holds: object, claim: str, seen: str = "", measured: str = "") -> None:
        """Print ``claim``, what was ``measured``, and, if it doesn't hold, what was ``seen``."""
        self.failed += not holds
        print(f"  {'ok  ' if holds else 'FAIL'} {claim}{measured and f': {measured}'}", flush=True)
        if seen and not holds:
            print("       | " + "\n       | ".join(seen[-1500:].splitlines()), flush=True)


class Debian:
    """One root file system, and the machine that runs in it."""

    def __init__(
        self,
        suite: str,
        work: Path,
        arch: str | None = None,
        packages: str = PACKAGES,
        settings: dict[str, str] | None = None,
    ) -> None:
        """Name it; nothing is made yet.

        Args:
            suite: Debian's name for it.
            work: the folder in which it lies.
            arch: its architecture; None: this machine's.
            packages: besides the least that Debian needs.
            settings: files by path, there before the packages are set up.
        """
        self.root = work / suite / "root"
        self._suite = suite
        self._arch = [f"--arch={arch}"] if arch else []
        self._packages = packages
        self._settings = settings or {}
        self._base = work / suite / "base"
        self._machine: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._groups: set[Path] | None = None

    def make(self) -> None:
        """A fresh one, from a base that is made once."""
        if not self._base.exists():
            self._base.parent.mkdir(parents=True, exist_ok=True)
            half = self._base.with_suffix(".making")
            shutil.rmtree(half, ignore_errors=True)
            print(f"  making a Debian {self._suite}: some minutes, once", flush=True)
            self._bootstrap(half)
            half.rename(self._base)
        shutil.rmtree(self.root, ignore_errors=True)
        subprocess.run(["cp", "-aT", "--reflink=auto", self._base, self.root], check=True)
        for path in [
            *(p for p in Path("/etc/apt/apt.conf.d").glob("*") if "Acquire::" in p.read_text()),
            Path("/etc/pip.conf"),
            Path("/etc/ssl/certs/ca-certificates.crt"),
        ]:
            if path.is_file():
                shutil.copyfile(path, self.root / str(path).lstrip("/"))
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        shutil.rmtree(self.root / "var/lib/apt/lists")  # as on an image that was just written
        if "mosquitto" in self._packages:
            (self.root / "etc/systemd/system/mosquitto.service").symlink_to("/dev/null")

    def _bootstrap(self, target: Path) -> None:
        """Unpack all packages, put the settings there, set the packages up."""
        with (target.parent / "debootstrap.log").open("w") as log:
            subprocess.run(
                ["debootstrap", "--foreign", "--variant=minbase", f"--include={self._packages}",
                 *self._arch, self._suite, target, *mirror()],
                stdout=log, stderr=log, check=True,
            )  # fmt: skip
            for path, text in self._settings.items():
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                (target / path).write_text(text)
            shorten_lists(target)
            command = ["chroot", target, "/debootstrap/debootstrap", "--second-stage"]
            subprocess.run(command, stdout=log, stderr=log, check=True)

    def boot(self) -> bool:
        """Start its systemd; False: this machine can't."""
        self._machine = subprocess.Popen(
            ["systemd-nspawn", "-q", "-D", self.root, "--boot", "--register=no", "--keep-unit",
             "--resolv-conf=copy-host", "--link-journal=no"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        children = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children")
        for _ in range(100):
            time.sleep(0.3)
            if self._machine.poll() is not None:
                return False
            leaders = children.read_text().split()
            if not leaders:
                continue
            self._leader = int(leaders[-1])
            state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
            if state in {"running", "degraded"}:
                self._hand_in_groups()
                return True
        return False

    def _hand_in_groups(self) -> None:
        """Let its systemd set limits; of version 2, its control groups are its own already."""
        before = {group for root in _groups() for group in _below(root)}
        remount = "for c in memory pids; do mount -o remount,rw,bind /sys/fs/cgroup/$c; done"
        if _groups() and not self.run("sh", "-c", f"{remount} 2>&1", check=False).returncode:
            self._groups = before
            self.run("systemctl", "daemon-reexec")

    def run(self, *command: str, check: bool = True, type_in: str = "", **environ: str) -> Done:
        """Run a command inside, as root."""
        kept = {k: v for k, v in os.environ.items() if any(n in k.lower() for n in NETWORK)}
        inside = (
            ["nsenter", "-a", "-r", "-w", "-t", str(self._leader)]
            if self._leader
            else ["chroot", str(self.root)]
        )
        done = subprocess.run(
            [*inside, *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **kept, **environ},
            input=type_in, capture_output=True, text=True, check=False, timeout=3600,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def file(self, path: str) -> Path:
        """A path of it, seen from here."""
        return self.root / path.lstrip("/")

    def shut_down(self) -> None:
        """Power it off."""
        if self._machine is not None and self._machine.poll() is None:
            self._machine.send_signal(signal.SIGTERM)
            try:
                self._machine.wait(30)
            except subprocess.TimeoutExpired:
                self._machine.kill()
                self._machine.wait()
        self._leader = 0
        if self._groups is not None:
            made = [group for root in _groups() for group in _below(root)]
            for group in sorted(set(made) - self._groups, reverse=True):
                with suppress(OSError):  # still in use, by another
                    group.rmdir()


class Unit:
    """The service, its broker, and what both say.

    Attributes:
        port: the broker's, on loopback.
    """

    def __init__(self, debian: Debian) -> None:
        self.debian = debian
        self.port = free_port()

    def install(self, *args: str) -> Done:
        """Run install.sh as a careful root does, whose files nobody else may read."""
        script = f"umask 077; exec /{CHECKOUT}/systemd/install.sh {' '.join(args)}"
        return self.debian.run("sh", "-c", script, check=False)

    def set_up(self) -> None:
        """Recording, broker with a password, configuration."""
        record(self.debian.file("srv/visit.avi"))
        self.debian.file("srv/broker.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file /srv/users\n"
        )
        self.debian.run("mosquitto_passwd", "-b", "-c", "/srv/users", "unit", PASSWORD)
        self.debian.run("chmod", "644", "/srv/users")
        self.debian.file("etc/systemd/system/broker.service").write_text(
            "[Service]\nExecStart=/usr/sbin/mosquitto -c /srv/broker.conf\n"
        )
        write = ("install", "-m", "600", "/dev/stdin", "/etc/maskedge/mqtt-password")
        self.debian.run(*write, type_in=f"{PASSWORD}\n")  # docs/pi.md
        self.configure()

    def configure(self, more: str = "") -> None:
        """Write config.yaml."""
        text = CONFIG.format(port=self.port) + more
        self.debian.file("etc/maskedge/config.yaml").write_text(text)

    def systemctl(self, *args: str) -> str:
        """Its output, whatever its exit code."""
        return self.debian.run("systemctl", *args, check=False).stdout.strip()

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.systemctl("show", "-P", name, "maskedge")

    def active(self) -> bool:
        """Whether systemd says so, having heard that it is ready."""
        return self.systemctl("is-active", "maskedge") == "active"

    def log(self) -> str:
        """What the journal has of it."""
        return self.debian.run("journalctl", "--no-pager", "-u", "maskedge").stdout

    def put_in(self, code: str) -> None:
        """Start the service anew with ``code`` in its program, by a drop-in."""
        package = self.debian.file("srv/put-in")
        package.mkdir(exist_ok=True)
        (package / "sitecustomize.py").write_text(code)
        drop_in = self.debian.file(DROP_IN)
        drop_in.parent.mkdir()
        drop_in.write_text("[Service]\nEnvironment=PYTHONPATH=/srv/put-in\n")
        self.systemctl("daemon-reload")
        self.systemctl("restart", "maskedge")

    def take_out(self) -> None:
        """What was put in, from the next start on."""
        shutil.rmtree(self.debian.file(DROP_IN).parent)
        self.systemctl("daemon-reload")

    def group(self, controller: str, what: str) -> int | None:
        """What the kernel has as ``current``, ``peak`` or ``max`` of its `memory` or `pids`."""
        group, name = "system.slice/maskedge.service", f"{controller}.{what}"
        for path in (f"{group}/{name}", f"{controller}/{group}/{VERSION_1.get(name, name)}"):
            done = self.debian.run("cat", f"/sys/fs/cgroup/{path}", check=False)
            if done.stdout.strip().isdigit():
                return int(done.stdout)
        return None

    def listen(self) -> Path:
        """Write down each event from now on, one a line, until the unit `ears` is stopped."""
        self.debian.run(
            "systemd-run", "--unit=ears", "--collect", "--property=StandardOutput=file:/srv/ears",
            "mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.port), "-u", "unit", "-P", PASSWORD,
            "-t", "maskedge/unit/violation", "-q", "1",
        )  # fmt: skip
        return self.debian.file("srv/ears")

    def heard(self, topic: str, form: str = "%p") -> str | None:
        """The next message under ``maskedge/unit/TOPIC``, retained or new, as ``form`` says."""
        done = self.debian.run(
            "mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.port), "-u", "unit", "-P", PASSWORD,
            "-t", f"maskedge/unit/{topic}", "-C", "1", "-W", "60", "-F", form, check=False,
        )  # fmt: skip
        return done.stdout.strip() or None

    def violation(self) -> str | None:
        """The id of the next violation that `maskedge listen` prints; None: none in a minute."""
        command = (PROGRAM, "listen", "--json", "--count", "1", "--timeout", "60")
        done = self.debian.run(*command, check=False)
        return json.loads(done.stdout)["event_id"] if done.returncode == 0 else None

    def waiting(self) -> list[str]:
        """Ids of the events in the outbox, read from a copy."""
        copy = self.debian.root.with_name("outbox")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.debian.file(STATE), copy)
        with closing(sqlite3.connect(copy / "outbox.db")) as database:
            return [row[0] for row in database.execute("SELECT event_id FROM events ORDER BY seq")]


def free_port() -> int:
    """One of loopback's."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


def wait_for(condition: Callable[[], object], seconds: float = 60) -> float | None:
    """Seconds until it held; None: it didn't."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if condition():
            return time.monotonic() - start
        time.sleep(0.2)
    return None


def _groups() -> list[Path]:
    """Our control groups of version 1, where another systemd's limits are made."""
    lines = Path("/proc/self/cgroup").read_text().split()
    groups = [line.split(":", 2)[1:] for line in lines]
    found = [
        Path(f"/sys/fs/cgroup/{name}{path}") for name, path in groups if name in {"memory", "pids"}
    ]
    return [path for path in found if path.is_dir()]


def _below(root: Path) -> list[Path]:
    return [Path(folder) for folder, _, _ in os.walk(root)][1:]


def mirror() -> list[str]:
    """Where this machine takes its Debian packages from; empty: debootstrap knows a place."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[2] for line in said.splitlines() if line.startswith("Debian Debian ")][:1]


def shorten_lists(target: Path) -> None:
    """Keep of the package lists what was fetched.

    debootstrap's second stage reads all of them once for each layer of dependencies; emulated,
    that takes minutes each time.
    """
    fetched = {line.split()[0] for line in (target / "debootstrap/debpaths").open() if line.strip()}
    for path in target.glob("var/lib/apt/lists/*_Packages"):
        described = path.read_text().split("\n\n")
        names = (text.partition("\n")[0].removeprefix("Package: ") for text in described)
        kept = [text for text, name in zip(described, names, strict=True) if name in fetched]
        path.write_text("\n\n".join(kept) + "\n\n")


def record(path: Path) -> None:
    """One bare-faced person walks through, as a video."""
    scene = SceneCamera([Visit(Wearing.BARE)], fps=10, pause=3.5, realtime=False)
    scene.open()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    try:
        while True:
            writer.write(scene.read().pixels[..., ::-1])
    except EndOfStream:
        writer.release()


def check_out(target: Path) -> None:
    """Copy what git would, owned by an ordinary user."""
    command = ["git", "-C", HERE, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (HERE / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / name, target / name)
    subprocess.run(["chown", "-R", "1000:1000", target], check=True)


def files(folder: Path, *but: str) -> dict[str, tuple[int, int, int]]:
    """Mode, owner and size of each file below; names in ``but`` are left out."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink() or (path.is_file() and not any(part in but for part in path.parts)):
            status = path.lstat()
            found[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, status.st_size)
    return found
