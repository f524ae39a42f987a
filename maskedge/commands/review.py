"""``maskedge review``: label the uncertain faces that the daemon has kept."""

from __future__ import annotations

import json
import os
import queue
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskedge.commands.options import config_options, load_config
from maskedge.errors import EX_OK, InputError, ReviewError, UsageError, WebError

if TYPE_CHECKING:
    from maskedge.review.folder import ReviewFolder

EPILOG = """\b
Examples:
  maskedge review                          open the page in this machine's browser
  sudo maskedge review --no-browser        on a Pi: prints a link; at your desk run
    ssh -L 8621:127.0.0.1:8621 pi@entrance-pi     and open the link there
  maskedge review --export labelled        write what is labelled, as a COCO set
  python -m convert dataset labelled --out data/mine

\b
Faces are kept only where the configuration says `review: {enabled: true}`.
The page listens at 127.0.0.1 only; each link lets one browser in, once.
Keys: 1 or w with mask, 2 or b without, 3 or i worn wrongly, 4 or n not a
face, s skip, d delete, u undo. Every label is on the disk at once: end with
Ctrl-C, go on another day.

It needs the extra `web`. Removing faces: maskedge purge.
Exit codes: 66 there are no faces, or none is labelled; 69 the folder can't be
read, or the port is taken.
"""


@click.command(name="review", epilog=EPILOG)
@click.option(
    "--folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The kept faces; default: review.folder, else in the service's state folder.",
)
@click.option(
    "--export",
    "out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the labelled faces as a COCO set to a new folder, and end.",
)
@click.option(
    "--port",
    default=8621,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="TCP port at 127.0.0.1; 0: any that is free.",
)
@click.option("--no-browser", is_flag=True, help="Only print the link.")
@click.option("--json", "as_json", is_flag=True, help="With --export: the counts as JSON.")
@config_options
def command(
    folder: Path | None,
    out: Path | None,
    port: int,
    no_browser: bool,
    as_json: bool,
    config_path: Path | None,
    overrides: tuple[str, ...],
) -> int:
    """Label uncertain faces, in the browser and by keyboard, for the next training."""
    if as_json and out is None:
        raise UsageError("--json goes with --export")
    if folder is None:
        from maskedge import paths

        config = load_config(config_path, None, overrides).config
        folder = paths.review_folder(config, paths.state_at_hand())

    from maskedge.review.folder import ReviewFolder

    kept = ReviewFolder(folder)
    if out is not None:
        return _export(kept, out, as_json)
    total = len(kept.items())
    if not total and kept.unread is not None:
        raise ReviewError(kept.unread)
    if not total:
        raise InputError(
            f"{folder}: no faces are kept there; set review.enabled: true and wait for uncertain "
            "ones, or give --folder"
        )
    _serve(kept, port, total, browser=not no_browser)
    return EX_OK


def _export(kept: ReviewFolder, out: Path, as_json: bool) -> int:
    from maskedge.review import export

    written = export.write(kept, out)
    numbers = export.counts(written)
    if as_json:
        click.echo(json.dumps({"folder": str(out), "faces": len(written), "labels": numbers}))
    else:
        told = ", ".join(f"{number} {label}" for label, number in sorted(numbers.items()))
        click.echo(f"{len(written)} faces to {out}: {told}")
        click.echo(f"Next: python -m convert dataset {out} --out data/mine")
    return EX_OK


def _serve(kept: ReviewFolder, port: int, total: int, *, browser: bool) -> None:
    """Show the page until told to stop; then what was deleted is really removed."""
    try:
        from maskedge.web.review import ReviewPage
    except ImportError as error:
        raise WebError(f"{error.name} is missing: pip install 'maskedge[web]'") from error

    ended = queue.SimpleQueue[None]()  # no Event: a second signal would wait for its lock for ever

    def used() -> None:
        click.echo(f"Opened. A link for another browser: {page.link()}")

    page = ReviewPage(kept, port, used)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.put(None))
    try:
        link = page.link()
        click.echo(f"{total} faces in {kept.path}. Ctrl-C ends; what is labelled stays labelled.")
        click.echo(f"Open {link}")
        if browser and _has_screen():
            import webbrowser

            webbrowser.open(link)
        ended.get()
    finally:
        page.close()
        kept.sweep(time.time(), deleted=0)
        items = kept.items()
        labelled = sum(item.labelled for item in items)
        click.echo(f"\n{labelled} of {len(items)} faces are labelled.")


def _has_screen() -> bool:
    """Whether a browser could show something; root's would refuse to start."""
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(shown) and os.geteuid() != 0
