"""``python -m convert compile``: check a network against the Edge TPU's rules and compile it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from convert.output import writable
from maskedge.inference.edgetpu import compiled_path
from maskedge.inference.flatbuffer import load
from maskedge.inference.preflight import Violation, check, first_on_cpu, preflight

__all__ = ["Compilation", "Violation", "command", "compile_network", "parse_log", "preflight"]

COMPILER = "edgetpu_compiler"
INSTALL = "https://coral.ai/docs/edgetpu/compiler/"
TIMEOUT = 600.0
MAPPED = "Mapped to Edge TPU"
ROW = re.compile(r"^(\S+) {2,}(\d+) {2,}(\S.*?)\s*$", re.MULTILINE)
TOTAL = re.compile(r"^Total number of operations:\s*(\d+)", re.MULTILINE)
ON_TPU = re.compile(r"^Number of operations that will run on Edge TPU:\s*(\d+)", re.MULTILINE)
ON_CPU = re.compile(r"^Number of operations that will run on CPU:\s*(\d+)", re.MULTILINE)
OFF_CHIP = re.compile(r"^Off-chip memory used for streaming[^:]*:\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Compilation:
    """What the compiler said.

    Attributes:
        mapped: operations on the Edge TPU.
        total: all operations.
        unmapped: kind, number and reason of those on the CPU.
        off_chip: parameters that don't fit the chip, as the compiler words it.
        error: what went wrong; empty when it compiled.
    """

    mapped: int = 0
    total: int = 0
    unmapped: tuple[tuple[str, int, str], ...] = ()
    off_chip: str = ""
    error: str = ""

    @property
    def complete(self) -> bool:
        """Whether every operation runs on the Edge TPU."""
        return not self.error and self.mapped == self.total > 0


@dataclass
class Outcome:
    """One network's way through this step."""

    model: Path
    violations: list[Violation]
    operations: int
    mappable: int
    command: list[str]
    compilation: Compilation | None = None
    compiled: Path | None = None

    @property
    def sound(self) -> bool:
        """Whether it keeps the rules."""
        return not any(v.fatal for v in self.violations)

    @property
    def passed(self) -> bool:
        """Whether all of it runs on the Edge TPU, by the best word there is."""
        return self.sound and (self.compilation is None or self.compilation.complete)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "model": str(self.model),
            "passed": self.passed,
            "operations": self.operations,
            "violations": [asdict(v) for v in self.violations],
            "compiler": asdict(self.compilation) if self.compilation else None,
            "compiled": str(self.compiled) if self.compiled else None,
            "command": shlex.join(self.command),
        }


def parse_log(text: str) -> Compilation:
    """Read what ``edgetpu_compiler -s`` prints (versions 14 to 16).

    The table of operations is what counts; the sums above it, which older versions leave out when
    everything is mapped, must agree with it.
    """
    rows = [(kind, int(count), status) for kind, count, status in ROW.findall(text)]
    total = sum(count for _, count, _ in rows)
    unmapped = tuple(row for row in rows if row[2] != MAPPED)
    mapped = total - sum(count for _, count, _ in unmapped)
    off_chip = _first(OFF_CHIP, text) or ""
    error = ""
    if not rows:
        error = "the compiler's log shows no operations"
    for pattern, counted in ((TOTAL, total), (ON_TPU, mapped), (ON_CPU, total - mapped)):
        said = _first(pattern, text)
        if not error and said is not None and int(said) != counted:
            error = f"the compiler's log contradicts itself: {said} operations against {counted}"
    return Compilation(mapped, total, unmapped, off_chip, error)


def compile_network(model: Path, out: Path, compiler: str = COMPILER) -> Compilation:
    """Run the compiler.

    Args:
        model: an int8 ``.tflite`` file.
        out: folder for ``NAME_edgetpu.tflite``.
        compiler: its name or path.

    Returns:
        What it said; on any failure with ``error`` set.
    """
    arguments = _command(model, out, compiler)
    try:
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Compilation(error=f"the compiler didn't finish within {TIMEOUT:g} s")
    except OSError as error:
        return Compilation(error=f"{compiler} can't be run: {error.strerror}")
    if done.returncode:
        lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines()]
        last = next((line for line in reversed(lines) if line), "it said nothing")
        return Compilation(error=f"the compiler failed with status {done.returncode}: {last}")
    result = parse_log(done.stdout)
    if not result.error and not _compiled(model, out).is_file():
        return Compilation(error=f"the compiler wrote no {_compiled(model, out).name}")
    return result


def process(model: Path, out: Path | None, compiler: str) -> Outcome:
    """Check one network, and compile it if it is sound and the compiler is there."""
    graph = load(model)
    violations = check(graph)
    folder = out or model.parent
    outcome = Outcome(
        model,
        violations,
        operations=len(graph.operations),
        mappable=first_on_cpu(graph, violations),
        command=_command(model, folder, compiler),
    )
    if outcome.sound and shutil.which(compiler):
        writable(folder)
        outcome.compilation = compile_network(model, folder, compiler)
        if outcome.compilation.complete:
            outcome.compiled = _compiled(model, folder)
    return outcome


@click.command(name="compile")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder; default: beside the network.")
@click.option("--compiler", default=COMPILER, show_default=True, help="Google's compiler.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
def command(models: tuple[Path, ...], out: Path | None, compiler: str, as_json: bool) -> int:
    """Check networks against the Edge TPU's rules, and compile them where the compiler is.

    Status 0 only if every operation of every network runs on the Edge TPU: by the compiler's word
    where it is installed, else by the rules.
    """
    outcomes = [process(model, out, compiler) for model in models]
    if as_json:
        click.echo(json.dumps([outcome.as_json() for outcome in outcomes], indent=2))
    else:
        for outcome in outcomes:
            _show(outcome, compiler)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _show(outcome: Outcome, compiler: str) -> None:
    click.echo(f"{outcome.model}: {outcome.operations} operations")
    for violation in outcome.violations:
        click.echo(f"  {'breaks a rule' if violation.fatal else 'note'}: {violation}")
    if not outcome.sound:
        click.echo(
            f"  pre-flight: failed; the compiler would map the first {outcome.mappable} of "
            f"{outcome.operations} operations at most"
        )
        return
    click.echo("  pre-flight: passed, all operations should be mapped to the Edge TPU")
    result = outcome.compilation
    if result is None:
        click.echo(f"  {compiler} isn't installed (x86-64 only, {INSTALL}); there, run")
        click.echo(f"    {shlex.join(outcome.command)}")
    elif result.error:
        click.echo(f"  compiler: {result.error}")
    else:
        click.echo(f"  compiler: {result.mapped} of {result.total} operations mapped")
        for kind, count, reason in result.unmapped:
            click.echo(f"    {kind} x {count} on the CPU: {reason}")
        if outcome.compiled:
            click.echo(f"  wrote {outcome.compiled}")


def _command(model: Path, out: Path, compiler: str) -> list[str]:
    return [compiler, "-s", "-o", str(out), str(model)]


def _compiled(model: Path, out: Path) -> Path:
    return out / compiled_path(model).name


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match.group(1) if match else None
