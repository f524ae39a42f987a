"""``maskedge doctor``: is everything there that the daemon needs, and what is to be done?"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from maskedge.commands.console import mark
from maskedge.commands.options import config_options, load_config, quiet_option, source_option
from maskedge.errors import EX_OK, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maskedge.config import Config
    from maskedge.doctor.finding import Finding

EX_FAULTY = 1
EPILOG = """\b
Examples:
  maskedge doctor
  sudo maskedge doctor                  also what only root may read
  maskedge doctor broker camera         these checks only
  maskedge doctor --source rtsp://cam/stream camera
  maskedge doctor --json | jq '.findings[] | select(.status != "ok")'

\b
Checks: configuration, python, packages, interpreter, pycoral, networks,
libcamera, camera, edgetpu, broker, web, gpio, command, clock, temperature,
disk, review, snapshots, secrets, unit.

It opens the camera and sends one message to the broker (<prefix>/<device>/doctor).
Exit codes: 0 nothing fails (warnings are no failure), 1 something does.
"""


def _checks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's signature
    """Their names, for the shell's completion."""
    from maskedge.doctor.checks import CHECKS
    from maskedge.doctor.runner import CONFIGURATION

    return [name for name in (CONFIGURATION, *CHECKS) if name.startswith(incomplete)]


@click.command(name="doctor", epilog=EPILOG)
@click.argument("names", nargs=-1, metavar="[CHECK]...", shell_complete=_checks)
@click.option("--json", "as_json", is_flag=True, help="The findings as one JSON object.")
@source_option
@config_options
@quiet_option("Only what is wrong.")
def command(
    names: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
    source: str | None,
    overrides: tuple[str, ...],
) -> int:
    """Look at everything that the daemon needs, and say what to do about what is wrong."""
    findings = []
    for finding in _findings(names, config_path, source, overrides):
        findings.append(finding)
        if not (as_json or (quiet and finding.status == "ok")):
            _show(finding)
    counts = Counter(one.status for one in findings)
    worst = next((status for status in ("fail", "warn") if counts[status]), "ok")
    if as_json:
        shown = {
            "schema": "maskedge.doctor/1",
            "status": worst,
            "findings": [asdict(finding) for finding in findings],
        }
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    elif not quiet:
        click.echo(
            f"\n{counts['ok']} in order, {counts['warn']} to look at, {counts['fail']} broken"
        )
    return EX_FAULTY if worst == "fail" else EX_OK


def _findings(
    names: tuple[str, ...],
    config_path: Path | None,
    source: str | None,
    overrides: tuple[str, ...],
) -> Iterator[Finding]:
    from maskedge.doctor.finding import Finding, Place
    from maskedge.doctor.runner import CONFIGURATION, chosen, examine

    chosen(names)
    config: Config | None = None
    try:
        from maskedge.config import Config as Defaults

        loaded = load_config(config_path, source, overrides)
        config = loaded.config
        where = str(loaded.path or "built-in defaults: there is no configuration file")
        yield Finding(CONFIGURATION, "ok", where)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield Finding(CONFIGURATION, "fail", line, "correct it, then: maskedge check")
    except ImportError as error:  # without pydantic or PyYAML nothing else can be looked at
        cure = "pip install --force-reinstall . in its folder"
        yield Finding("packages", "fail", str(error), cure)
        return
    checks = chosen(names, settings=config is not None)
    yield from examine(checks, Place(config or Defaults()))


def _show(finding: Finding) -> None:
    click.echo(f"{mark(finding.status)}  {finding.check:<13}  {finding.message}")
    if finding.status != "ok":
        more = f" ({finding.help})" if finding.help else ""
        click.echo(f"{'':<21}→ {finding.cure}{more}")
