"""``maskedge purge``: remove the pictures that are kept on this machine."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskedge.commands.options import config_options, load_config
from maskedge.errors import EX_OK, ReviewError, UsageError

if TYPE_CHECKING:
    from maskedge.config import Config, SnapshotConfig

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
EPILOG = """\b
Examples:
  maskedge purge                     what is older than the configuration allows
  maskedge purge --older-than 7d
  sudo maskedge purge --all --yes    everything, labels too, without a question
  maskedge purge --all --dry-run     only say what would be removed
  maskedge purge --json

Covers the uncertain faces (review) and the pictures of violations in
snapshot.folder. The daemon removes both by itself, by age and size; this is
for doing it now. It may run while the daemon and `maskedge review` do. What
was exported or downloaded, or left this machine over MQTT, it can't reach.
"""


def _age(_ctx: click.Context, _param: click.Parameter, value: str | None) -> timedelta | None:
    """A time such as ``90m``, ``12h``, ``7d``, ``2w``."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,5}(?:\.\d+)?)\s*([mhdw])", value.strip().lower())
    if found is None:
        raise click.BadParameter(f"{value!r}: expected a time such as 90m, 12h, 7d or 2w")
    return timedelta(**{UNITS[found[2]]: float(found[1])})


@click.command(name="purge", epilog=EPILOG)
@click.option("--older-than", metavar="AGE", callback=_age, help="Such as 90m, 12h, 7d, 2w.")
@click.option("--all", "everything", is_flag=True, help="Whatever its age, labels too.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@click.option("-n", "--dry-run", is_flag=True, help="Remove nothing; say what would be.")
@click.option(
    "--folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Only the uncertain faces in this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="What was removed, as one JSON object.")
@config_options
def command(
    older_than: timedelta | None,
    everything: bool,
    yes: bool,
    dry_run: bool,
    folder: Path | None,
    as_json: bool,
    config_path: Path | None,
    overrides: tuple[str, ...],
) -> int:
    """Remove pictures that are kept here: uncertain faces, and those of violations."""
    if everything and older_than is not None:
        raise UsageError("--all or --older-than, not both")
    config = load_config(config_path, None, overrides).config
    age = timedelta(0) if everything else older_than

    def purge(*, really: bool) -> dict[str, Purged]:
        faces = _faces(config, folder, age, really=really)
        if folder is not None or config.snapshot.folder is None:
            return {"review": faces}
        return {"review": faces, "snapshots": _snapshots(config.snapshot, age, really=really)}

    if age is not None and not (yes or dry_run):
        _ask(purge(really=False))
    done = purge(really=not dry_run)
    if as_json:
        told = {name: asdict(purged) for name, purged in done.items()}
        click.echo(json.dumps({"dry_run": dry_run, **told}))
    else:
        what = "would be removed" if dry_run else "removed"
        for purged in done.values():
            click.echo(f"{purged} {what} from {purged.folder}; {purged.left} left")
    return EX_OK


@dataclass(frozen=True, slots=True)
class Purged:
    """What was removed, or would be, from one folder; ``labelled`` only where faces can be."""

    folder: str
    removed: int
    bytes: int
    left: int
    labelled: int | None = None

    def __str__(self) -> str:
        if not self.removed:
            return "no picture"
        pictures = "1 picture" if self.removed == 1 else f"{self.removed} pictures"
        labelled = f"{self.labelled} labelled, " if self.labelled else ""
        return f"{pictures} ({labelled}{self.bytes / 1e6:.1f} MB)"


def _faces(config: Config, folder: Path | None, age: timedelta | None, *, really: bool) -> Purged:
    """The review set; ``age`` 0: whatever there is, None: what the configuration says."""
    from maskedge import paths
    from maskedge.clock import Ages
    from maskedge.review.folder import LEFTOVER, ReviewFolder, expired

    kept = ReviewFolder(folder or paths.review_folder(config, paths.state_at_hand()))
    limit = timedelta(days=config.review.max_age) if age is None else age
    old = expired(Ages(), limit)
    items = kept.items()
    gone = [item for item in items if age == timedelta(0) or old(item)]
    if really:
        names = {item.name for item in gone}
        kept.purge(lambda item: item.name in names)
        spared = 0 if age == timedelta(0) else LEFTOVER  # the daemon may be at it
        kept.sweep(time.time(), deleted=spared, halves=spared)
    return Purged(
        str(kept.path),
        len(gone),
        sum(item.bytes for item in gone),
        len(items) - len(gone),
        sum(item.labelled for item in gone),
    )


def _snapshots(config: SnapshotConfig, age: timedelta | None, *, really: bool) -> Purged:
    """The pictures of violations, the same."""
    from maskedge.snapshots.folder import SnapshotFolder

    assert config.folder is not None  # noqa: S101 - the caller asks only then
    kept = SnapshotFolder(config.folder, config.max_age, config.max_megabytes)
    limit = timedelta(days=config.max_age) if age is None else age
    try:
        purged = kept.purge(limit.total_seconds(), really=really)
    except OSError as error:
        raise ReviewError(f"{config.folder}: {error.strerror}; as root it can be: sudo") from error
    return Purged(str(config.folder), purged.files, purged.bytes, purged.left)


def _ask(planned: dict[str, Purged]) -> None:
    """Go on only when a person says so."""
    found = [f"{purged} from {purged.folder}" for purged in planned.values() if purged.removed]
    if not found:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked: give --yes, or --dry-run to see")
    click.confirm(f"Remove {' and '.join(found)}?", abort=True, err=True)
