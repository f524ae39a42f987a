"""What the unit's limits on memory and tasks do to a service that works, and to one that grows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from debian_machine import STATE, Unit, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY, TASKS = 512 * 1024**2, 64
# Grows by some 100 MB a second while a file exists, in a thread of its own.
GROW = """\
import os, threading, time
def grow():
    held = []
    while True:
        time.sleep(0.1)
        if os.path.exists("/srv/grow"):
            held.append(b"x" * 10_000_000)
threading.Thread(target=grow, daemon=True).start()
"""
# Starts as many processes as it may.
MULTIPLY = f"""\
#!/usr/bin/python3
import pathlib, subprocess, time
started = []
for _ in range({2 * TASKS}):
    try:
        started.append(subprocess.Popen(["sleep", "60"]))
    except OSError:
        break
pathlib.Path("multiplied").write_text(str(len(started)))
time.sleep(60)
"""


def limits(unit: Unit, claim: Callable[..., None]) -> None:
    """Normal work keeps far below them; beyond them it is killed, mended, and nothing is lost."""
    memory, tasks = unit.group("memory", "max"), unit.group("pids", "max")
    if memory is None:
        claim(True, "LEFT OUT: this machine's control groups can't be handed to another systemd")
        return
    claim((memory, tasks) == (MEMORY, TASKS), "the kernel has both", f"{memory} {tasks}")
    claim(unit.violation(), "it works")
    memory, tasks = unit.group("memory", "peak"), unit.group("pids", "current")
    claim(memory < MEMORY, "memory at its highest, by its control group", measured=mb(memory))
    claim(tasks < TASKS / 2, "tasks", measured=f"{tasks} of {TASKS}")
    multiplies(unit, claim)
    grows(unit, claim)


def mb(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.0f} MB"


def multiplies(unit: Unit, claim: Callable[..., None]) -> None:
    """A command that starts processes without end is held, and holds up nothing."""
    process, mark = unit.show("MainPID"), unit.debian.file(f"{STATE}/multiplied")
    program = unit.debian.file("etc/maskedge/multiply")
    program.write_text(MULTIPLY)
    program.chmod(0o755)
    unit.configure("signals: {command: {run: [/etc/maskedge/multiply], timeout: 20}}\n")
    unit.systemctl("reload", "maskedge")
    claim(wait_for(mark.exists) is not None, "a command starts processes without end", unit.log())
    started = int(mark.read_text())
    used = unit.group("pids", "current")
    held = 0 < started < TASKS and used <= TASKS
    claim(held, "TasksMax holds it", f"{started} {used}", f"{started} processes")
    claim(unit.violation(), "a violation arrives while it lasts", unit.log())
    told = wait_for(lambda: "command_failed" in (unit.heard("health") or ""))
    claim(told is not None, "health has command_failed", unit.log())
    unit.configure()
    unit.systemctl("reload", "maskedge")
    ended = wait_for(lambda: (unit.group("pids", "current") or TASKS) < TASKS / 2)
    claim(ended is not None, "it is ended with all that it started", unit.log())
    claim(unit.show("MainPID") == process, "the process is the same", unit.log())
    mark.unlink()
    program.unlink()


def grows(unit: Unit, claim: Callable[..., None]) -> None:
    """A process that grows: the kernel kills it, systemd starts it again, all events arrive."""
    unit.put_in(GROW)
    claim(unit.violation(), "it works before it grows", unit.log())
    since, ears = len(unit.log()), unit.listen()
    claim(wait_for(ears.exists) is not None and unit.violation(), "it is listened to")
    switch = unit.debian.file("srv/grow")
    switch.touch()
    took = wait_for(lambda: "status=9/KILL" in unit.log()[since:])
    switch.unlink()
    claim(took is not None, "beyond MemoryMax it is killed", unit.log(), f"{took or 0:.1f} s")
    took = wait_for(lambda: unit.show("NRestarts") == "1" and unit.active())
    claim(took is not None, "and systemd starts it again", unit.log(), f"{took or 0:.1f} s")
    claim(unit.violation() and unit.violation(), "it works again", unit.log())
    unit.systemctl("stop", "maskedge")

    def numbers() -> list[int]:
        return [json.loads(line)["seq"] for line in ears.read_text().splitlines()]

    logged = unit.log()[since:].count(" started, person ")
    wait_for(lambda: len(numbers()) >= 2 * logged, 10)
    seen = sorted(set(numbers()))
    whole = seen == list(range(seen[0], seen[-1] + 1))
    lines = [json.loads(line) for line in ears.read_text().splitlines()]
    begun = {line["event_id"] for line in lines if line["type"] == "started"}
    lost = logged - len(begun)
    said = f"{logged} told in the journal, {len(begun)} received, numbers {seen}"
    claim(whole and lost <= 0, "no event is lost", said, f"{len(seen)} in order")
    unit.systemctl("stop", "ears")
    unit.take_out()
    unit.systemctl("start", "maskedge")
