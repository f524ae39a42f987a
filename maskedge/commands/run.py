"""``maskedge run``: the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from maskedge.commands.options import (
    config_options,
    load_config,
    source_option,
    verbosity,
    verbosity_options,
)

if TYPE_CHECKING:
    from pathlib import Path

EPILOG = """\b
Examples:
  maskedge run                                  what config.yaml says
  maskedge run --source /dev/video0
  maskedge run --source entrance.mp4 --set mqtt.host=broker.local
  maskedge run --source rtsp://cam/stream --set verdict.min_face=40

A file as source is played at its own speed, then the program ends.
SIGTERM ends it cleanly, SIGHUP (or a change of the file) reloads the configuration.
"""


@click.command(name="run", epilog=EPILOG)
@source_option
@config_options
@verbosity_options()
def command(
    config_path: Path | None,
    source: str | None,
    overrides: tuple[str, ...],
    quiet: bool,
    verbose: bool,
) -> int:
    """Watch a camera and publish violations until told to stop."""
    from maskedge import logs
    from maskedge.daemon import Daemon

    logs.set_up(verbosity(quiet, verbose))
    loaded = load_config(config_path, source, overrides)
    return Daemon(loaded, lambda: load_config(loaded.path, source, overrides)).run()
