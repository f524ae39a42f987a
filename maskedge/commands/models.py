"""``maskedge models``: which networks are in force, and how others come into force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskedge.commands.console import mark
from maskedge.commands.options import Seconds, config_options, load_config
from maskedge.errors import EX_NOINPUT, EX_OK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maskedge.config import Config
    from maskedge.models.examine import Finding
    from maskedge.models.install import Done
    from maskedge.models.listing import Row

EPILOG = """\b
Examples:
  maskedge models list
  maskedge models verify new/mask_classifier.tflite
  sudo maskedge models install new/mask_classifier.tflite
  sudo maskedge models install detectors/           a folder: all sizes as one
  sudo maskedge models rollback

Networks lie in /etc/maskedge/models where the service is installed, else in the state folder;
$MASKEDGE_MODELS names another folder. docs/models.md tells more.
"""

_json = click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
_timeout = click.option(
    "--timeout",
    metavar="SECONDS",
    type=Seconds(min=0, min_open=True, max=86_400),
    help="Seconds that the start and each run of a network may take; default: 30.",
)
_files = click.Path(path_type=Path, readable=False)  # its examination tells what is wrong


@click.group(name="models", epilog=EPILOG)
def command() -> None:
    """List, verify, install and take back networks."""


@command.command(name="list")
@_json
@config_options
def list_(as_json: bool, config_path: Path | None, overrides: tuple[str, ...]) -> int:
    """Show shipped and installed networks, and which are in force."""
    from maskedge.models.listing import rows
    from maskedge.models.store import Store

    config = load_config(config_path, None, overrides).config
    store = Store()
    found = list(rows(store, config))
    if as_json:
        said = {
            "schema": "maskedge.models-list/1",
            "folder": str(store.folder),
            "networks": [row.as_json() for row in found],
        }
        click.echo(json.dumps(said, indent=2))
    else:
        _show_rows(found)
    return EX_NOINPUT if any(row.problem for row in found) else EX_OK


@command.command(short_help="Examine networks; without FILES, those in force.")
@click.argument("files", nargs=-1, type=_files)
@_json
@_timeout
@config_options
def verify(
    files: tuple[Path, ...],
    as_json: bool,
    timeout: float | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
) -> int:
    """Examine networks; without FILES, those in force.

    Looks at SHA-256, description, tensors and labels, runs golden pictures through each network in
    a process of its own, and checks the Edge TPU's rules. A folder stands for the networks in it.
    Exit code 0: fit to be installed, 66: not.
    """
    from maskedge.inference.trial import TIMEOUT
    from maskedge.models.install import examine_all
    from maskedge.models.parcel import gather, of_role
    from maskedge.models.store import ROLES, Store

    config = load_config(config_path, None, overrides).config
    folders = Store().folders()
    if files:
        items = gather(files, folders)
    else:
        items = [item for role in ROLES for item in of_role(folders, role)]
    findings = _Findings(as_json)
    for finding in examine_all(items, config, timeout or TIMEOUT):
        findings.tell(finding)
    findings.end()
    return EX_NOINPUT if findings.failed else EX_OK


@command.command(short_help="Examine FILES and put them in force.")
@click.argument("files", nargs=-1, required=True, type=_files)
@_json
@_timeout
@config_options
def install(
    files: tuple[Path, ...],
    as_json: bool,
    timeout: float | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
) -> int:
    """Verify FILES and put them in force; a running daemon takes them over.

    What is given replaces the networks of its role, the detectors or the classifier, as one: give
    all sizes of a detector together, or their folder. Beside NAME.tflite lies its description,
    NAME.json; NAME_edgetpu.tflite is taken along. A compiled form alone is added to its network.
    """
    from maskedge.errors import ModelError
    from maskedge.inference.trial import TIMEOUT
    from maskedge.models.install import install as put_in_force
    from maskedge.models.store import Store

    config = load_config(config_path, None, overrides).config
    findings = _Findings(as_json)
    try:
        done = put_in_force(files, config, Store(), findings.tell, timeout or TIMEOUT)
    except ModelError as error:
        findings.end(installed=False, refused=str(error))
        raise
    findings.end(installed=done.changed, **_told(done))
    if not as_json:
        _show_done(done, config, "installed" if done.changed else "in force already, nothing done")
    return EX_OK


@command.command(short_help="Put the networks in force that were before.")
@click.option("--shipped", is_flag=True, help="Go back to the networks of the program.")
@_json
def rollback(shipped: bool, as_json: bool) -> int:
    """Put the networks in force that were before the last change; again: take that back."""
    from maskedge.models.install import go_back
    from maskedge.models.store import Store

    done = go_back(Store(), shipped=shipped)
    if as_json:
        click.echo(json.dumps({"changed": done.changed, **_told(done)}, indent=2))
    else:
        _show_done(done, None, "gone back" if done.changed else "in force already, nothing done")
    return EX_OK


class _Findings:
    """Shows findings as they come, or gathers them for one JSON object."""

    def __init__(self, as_json: bool) -> None:
        self.failed = False
        self._as_json = as_json
        self._all: list[Finding] = []
        self._shown = ""

    def tell(self, finding: Finding) -> None:
        """One more."""
        self.failed = self.failed or finding.status == "fail"
        self._all.append(finding)
        if self._as_json:
            return
        if finding.network != self._shown:
            self._shown = finding.network
            click.echo(finding.network)
        click.echo(f"  {mark(finding.status)}  {finding.check:<11}  {finding.message}")

    def end(self, **more: Any) -> None:
        """That was all."""
        if self._as_json:
            said = {"fit": not self.failed, "findings": [f._asdict() for f in self._all], **more}
            click.echo(json.dumps(said, indent=2))


def _told(done: Done) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "current": asdict(done.state.current),
        "previous": None if done.state.previous is None else asdict(done.state.previous),
    }


def _show_done(done: Done, config: Config | None, what: str) -> None:
    from maskedge.models.store import ROLES

    click.echo(what)
    for role in ROLES:
        named = None
        if config is not None:
            named = config.detector.model if role == "detector" else config.classifier.model
        name = done.state.current.of(role) or "shipped"
        click.echo(f"  {role:<10}  {name if named is None else _named(role, named)}")
    if done.changed:
        click.echo(
            "A running daemon takes them over within a second or two (journalctl -u maskedge); "
            "its events then name them."
        )


def _named(role: str, path: Path) -> str:
    return f"{path}: the configuration names it ({role}.model), whatever is installed"


def _size(shape: dict[str, Any]) -> str:
    sizes = "x".join(str(n) for n in reversed(shape["shape"][1:3]))
    return f"{sizes} {shape['dtype']}"


def _origin(row: Row) -> str:
    if row.installed_at:
        return f"installed {row.installed_at[:10]}"
    return row.origin


COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("", lambda row: row.state),
    ("network", lambda row: row.name),
    ("SHA-256", lambda row: row.sha256[:12]),
    ("input", lambda row: " ".join(_size(shape) for shape in row.inputs)),
    ("made", lambda row: row.created or "-"),
    ("origin", _origin),
    ("Edge TPU", lambda row: "compiled" if row.edgetpu else "-"),
    ("figures", lambda row: row.problem or row.figures),
)


def _show_rows(found: Sequence[Row]) -> None:
    lines = [[title for title, _ in COLUMNS]]
    lines += [[show(row) for _, show in COLUMNS] for row in found]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())
