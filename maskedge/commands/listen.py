"""``maskedge listen``: a subscriber for the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from maskedge.commands.options import config_options, load_config

if TYPE_CHECKING:
    from pathlib import Path

EPILOG = """\b
Examples:
  maskedge listen                                what config.yaml says of the broker
  maskedge listen --host broker.local --unique
  maskedge listen --json | jq .label
  maskedge listen --count 1 --timeout 60         wait for one violation, else exit 69

Shows what comes while it is connected. A password is read from mqtt.password_file or
$MASKEDGE_MQTT_PASSWORD, with --set mqtt.username=NAME.
"""


@click.command(name="listen", epilog=EPILOG)
@click.option("--host", help="Broker; overrides mqtt.host.")
@click.option("--port", type=click.IntRange(1, 65_535), help="Its port; overrides mqtt.port.")
@click.option("--device", help="Listen to this unit only; default: all under the prefix.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per violation.")
@click.option("--unique", is_flag=True, help="Drop repeated event ids.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many violations.")
@click.option("--timeout", type=click.FloatRange(min=0), help="End after so many seconds.")
@config_options
def command(
    host: str | None,
    port: int | None,
    device: str | None,
    as_json: bool,
    unique: bool,
    count: int | None,
    timeout: float | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
) -> int:
    """Print violations as they arrive."""
    given = {"mqtt.host": host, "mqtt.port": port}
    extra = tuple(f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None)
    config = load_config(config_path, None, (*overrides, *extra)).config

    from maskedge import logs
    from maskedge.listen import listen

    logs.set_up(-1)
    return listen(
        config.mqtt,
        device=device,
        as_json=as_json,
        unique=unique,
        count=count,
        timeout=timeout,
    )
