"""An arm64 Debian, entered by chroot or booted as a machine of its own, both emulated by QEMU."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import socket
import subprocess
import time
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

from debian_machine import Debian, Done, wait_for

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = (
    "systemd-sysv,dbus,udev,python3,python3-venv,ca-certificates,"
    "linux-image-arm64,initramfs-tools,qemu-guest-agent"
)
# Emulated, an initramfs of all modules takes half an hour to make.
MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
INITRAMFS = {
    "etc/initramfs-tools/conf.d/emulated": "MODULES=list\n",
    "usr/share/initramfs-tools/modules.d/emulated": "".join(f"{name}\n" for name in MODULES),
}
# QEMU 7.2 computes wrong with its "max"; LiteRT can't parse the cpuinfo of the machine around.
PROCESSOR = "cortex-a72"
CPUINFO = "".join(
    f"processor\t: {core}\nBogoMIPS\t: 108.00\n"
    "Features\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
    "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
    for core in range(4)
)  # a Raspberry Pi 4 Model B
LENT = ("proc", "sys", "dev")
HOST = "10.0.2.2"
"""This machine's loopback, as QEMU's user network shows it to the guest."""
NETWORK = "[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
EXAMINATION = "300"
"""Seconds for the start and each run of a network that is examined."""
PATIENCE = 1200
"""Seconds for an emulated boot, or an emulated command, on a busy machine."""


class Arm(Debian):
    """An arm64 root, entered by chroot; its programs run under qemu-user.

    After :meth:`power_on` it is a machine with a kernel of its own, and :meth:`run` runs there.

    Attributes:
        console: what the machine's console said, all boots.
    """

    def __init__(self, suite: str, work: Path) -> None:
        super().__init__(suite, work, arch="arm64", packages=PACKAGES, settings=INITRAMFS)
        self.console = work / suite / "console.log"
        self._disk = work / suite / "disk.img"
        self._agent: Agent | None = None

    def make(self) -> None:
        """Make it, and lend it what it needs."""
        super().make()
        self.lend()

    def lend(self) -> None:
        """Lend it /proc, /sys, /dev, a Pi's cpuinfo and this machine's way into the network."""
        (self.root / "etc/cpuinfo").write_text(CPUINFO)
        for name in LENT:
            subprocess.run(["mount", "--rbind", f"/{name}", self.root / name], check=True)
        subprocess.run(
            ["mount", "--bind", self.root / "etc/cpuinfo", self.root / "proc/cpuinfo"], check=True
        )
        for name in ("resolv.conf", "hosts"):
            shutil.copyfile(f"/etc/{name}", self.root / "etc" / name)

    def run(self, *command: str, check: bool = True, type_in: str = "", **environ: str) -> Done:
        """Run a command inside, as root: in the machine if it is on, else in the root."""
        if self._agent is None:
            environ = {"QEMU_CPU": PROCESSOR, **environ}
            return super().run(*command, check=check, type_in=type_in, **environ)
        settings = [f"{name}={value}" for name, value in environ.items()]
        done = self._agent.run("env", *settings, *command, type_in=type_in)
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def maskedge(self, *arguments: str, venv: str = "/opt/venv") -> Done:
        """Run the program."""
        return self.run(f"{venv}/bin/maskedge", *arguments, check=False)

    def verify(self, program: str) -> Done:
        """Examine all networks; an emulated processor may take longer than a Pi for a run."""
        return self.run(program, "models", "verify", "--timeout", EXAMINATION, check=False)

    def write_disk(self) -> None:
        """Take back what was lent, and put the root on a disk that boots into it."""
        (self.root / "etc/systemd/network/wired.network").write_text(NETWORK)
        self.run("systemctl", "enable", "systemd-networkd")
        self.run("systemd-machine-id-setup")  # or the first boot asks questions on the console
        for name in LENT:
            subprocess.run(["umount", "--recursive", self.root / name], check=True)
        self._disk.unlink(missing_ok=True)
        self.console.unlink(missing_ok=True)
        command = ["mkfs.ext4", "-q", "-d", self.root, self._disk, "4G"]
        subprocess.run(command, check=True, capture_output=True)

    def power_on(self) -> float | None:
        """Boot; seconds until systemd has started everything, None: it never had."""
        start = time.monotonic()
        path = self.console.with_name("agent")
        path.unlink(missing_ok=True)
        self._machine = subprocess.Popen(
            ["qemu-system-aarch64", "-M", "virt", "-cpu", PROCESSOR, "-smp", "2", "-m", "2G",
             "-display", "none", "-monitor", "none", "-no-reboot",
             "-kernel", self.root / "vmlinuz", "-initrd", self.root / "initrd.img",
             "-append", "root=/dev/vda rw console=ttyAMA0 panic=-1",
             "-chardev", f"file,id=console,path={self.console},append=on",
             "-serial", "chardev:console",
             "-drive", f"file={self._disk},format=raw,if=none,id=disk",
             "-device", "virtio-blk-pci,drive=disk,romfile=",
             "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
             "-chardev", f"socket,id=agent,path={path},server=on,wait=off",
             "-device", "virtio-serial-pci,romfile=",
             "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        agent = Agent(path)
        if wait_for(lambda: self._machine.poll() is not None or agent.answers(), PATIENCE) is None:
            return None
        if self._machine.poll() is not None:
            return None
        self._agent = agent
        self.run("systemctl", "is-system-running", "--wait", check=False)
        return time.monotonic() - start

    def cut_power(self) -> None:
        """End it as a power cut does: what it hadn't written to the disk is lost."""
        if self._machine is not None:
            self._machine.kill()
            self._machine.wait()
        self._agent = self._machine = None

    def remove_disk(self) -> None:
        """Free its space; the console's log stays."""
        self._disk.unlink(missing_ok=True)


class Agent:
    """QEMU's guest agent: runs commands in the machine, over a port of its own.

    The protocol is one JSON object a line (docs/interop/qemu-ga in QEMU's manual).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = itertools.count(1)

    def answers(self) -> bool:
        """Whether it runs yet."""
        try:
            self._ask("guest-ping", patience=30)
        except (OSError, RuntimeError):
            return False
        return True

    def run(self, program: str, *arguments: str, type_in: str = "") -> Done:
        """Run a command to its end."""
        typed = base64.b64encode(type_in.encode()).decode()
        what = {"path": program, "arg": arguments, "input-data": typed, "capture-output": True}
        pid = self._ask("guest-exec", **what)["pid"]
        start = time.monotonic()
        while time.monotonic() - start < PATIENCE:
            said = self._ask("guest-exec-status", pid=pid)
            if said["exited"]:
                out, err = (
                    base64.b64decode(said.get(name, "")).decode(errors="replace")
                    for name in ("out-data", "err-data")
                )
                command = [program, *arguments]
                return subprocess.CompletedProcess(command, said.get("exitcode", 255), out, err)
            time.sleep(0.5)
        raise RuntimeError(f"{program} {arguments}: not done after {PATIENCE} s")

    def _ask(self, command: str, patience: float = 120, **arguments: object) -> Any:
        """One question, on a connection of its own: an earlier one's late answer is skipped."""
        number = next(self._numbers)
        with closing(socket.socket(socket.AF_UNIX)) as port:
            port.settimeout(patience)
            port.connect(str(self._path))
            sync = {"execute": "guest-sync", "arguments": {"id": number}}
            port.sendall(json.dumps(sync).encode() + b"\n")
            with port.makefile("rb") as lines:
                while self._line(lines).get("return") != number:
                    pass
                question = {"execute": command, "arguments": arguments}
                port.sendall(json.dumps(question).encode() + b"\n")
                answer = self._line(lines)
        if "return" not in answer:
            raise RuntimeError(f"{command}: {answer}")
        return answer["return"]

    @staticmethod
    def _line(lines: IO[bytes]) -> dict[str, Any]:
        if not (line := lines.readline()):
            raise ConnectionError("the machine has ended")
        return json.loads(line)
