"""``maskedge listen``: a subscriber for the terminal."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from maskedge.commands.options import Seconds, config_options, load_config, quiet_option

if TYPE_CHECKING:
    from pathlib import Path

EPILOG = """\b
Examples:
  maskedge listen                                what config.yaml says of the broker
  sudo maskedge listen                           ... with the service's own password
  maskedge listen --host broker.local --unique
  maskedge listen --json | jq .label
  maskedge listen --count 1 --timeout 60         wait for one violation, else exit 69

Shows what comes while it is connected. A password is read from mqtt.password_file or
$MASKEDGE_MQTT_PASSWORD, with --set mqtt.username=NAME; for root, without --host, also from
/etc/maskedge/mqtt-password, as the service has it.
"""


def _unit(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    from maskedge.config.base import topic_level

    try:
        return None if value is None else topic_level(value, "a unit's name")
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(name="listen", epilog=EPILOG)
@click.option("--host", metavar="HOST", help="Broker; overrides mqtt.host.")
@click.option(
    "--port", metavar="PORT", type=click.IntRange(1, 65_535), help="Its port; overrides mqtt.port."
)
@click.option(
    "--device",
    metavar="NAME",
    callback=_unit,
    help="Listen to this unit only; default: all under the prefix.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per violation; nothing else."
)
@click.option("--unique", is_flag=True, help="Drop repeated event ids.")
@click.option(
    "--count", metavar="N", type=click.IntRange(min=1), help="End after so many violations."
)
@click.option(
    "--timeout", metavar="SECONDS", type=Seconds(min=0), help="End after so many seconds."
)
@config_options
@quiet_option("No word about lost connections.")
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
    quiet: bool,
) -> int:
    """Print violations, faults and who is there, as units tell it."""
    given = {"mqtt.host": host, "mqtt.port": port}
    extra = tuple(f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None)
    config = load_config(config_path, None, (*overrides, *extra)).config

    from maskedge import logs, paths
    from maskedge.delivery.credentials import CREDENTIAL
    from maskedge.listen import listen

    # Another broker than the configured one shall not get the service's password.
    environ = os.environ if host else paths.unit_environ(CREDENTIAL)
    logs.set_up(-2 if quiet else -1)
    return listen(
        config.mqtt,
        device=device,
        as_json=as_json,
        unique=unique,
        count=count,
        timeout=timeout,
        environ=environ,
    )
