"""A real Home Assistant core, run by the Python that has it; commands on stdin, JSON on stdout.

PYTHON home_assistant_core.py FOLDER PORT     with FOLDER/configuration.yaml
< states | devices | validate JSON | exit
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

from homeassistant import bootstrap
from homeassistant.components.mqtt import binary_sensor, event, sensor
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from homeassistant.const import __version__
from homeassistant.helpers import device_registry, entity_registry
from homeassistant.runner import RuntimeConfig

# What automations and MQTT need; the frontend and its downloads aren't looked at here.
bootstrap.DEFAULT_INTEGRATIONS = {"automation", "network", "script"}
bootstrap.CRITICAL_INTEGRATIONS = set()

ENTRY = "01JGFJJZ008DNE3BKJ1DZQWQ35"
PLATFORMS = {"binary_sensor": binary_sensor, "event": event, "sensor": sensor}


class Complaints(logging.Handler):
    """Warnings and errors of the MQTT integration and of templates."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("homeassistant.components", "homeassistant.helpers")):
            self.lines.append(f"{record.name}: {record.getMessage()}")


def prepare(folder: Path, port: int) -> None:
    """What the user interface of 2025.1 would have written; later ones bring it up to date."""
    entry = {
        "created_at": "2025-01-01T00:00:00+00:00",
        "data": {"broker": "127.0.0.1", "port": port},
        "disabled_by": None,
        "discovery_keys": {},
        "domain": "mqtt",
        "entry_id": ENTRY,
        "minor_version": 1,
        "modified_at": "2025-01-01T00:00:00+00:00",
        "options": {},
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "source": "user",
        "title": "broker",
        "unique_id": None,
        "version": 1,
    }
    stored = {
        "version": 1,
        "minor_version": 4,
        "key": "core.config_entries",
        "data": {"entries": [entry]},
    }
    (folder / ".storage").mkdir(parents=True, exist_ok=True)
    (folder / ".storage/core.config_entries").write_text(json.dumps(stored))


def validate(payload: dict) -> dict:
    """By the schemas that discovery itself uses."""
    DEVICE_DISCOVERY_SCHEMA(payload)
    for component in payload["components"].values():
        settings = {k: v for k, v in component.items() if k != "platform"}
        PLATFORMS[component["platform"]].DISCOVERY_SCHEMA(settings)
    return {"valid": True}


async def answer(hass, complaints: Complaints, word: str, rest: str) -> object:
    if word == "states":
        await hass.async_block_till_done()
        return {
            "states": {
                s.entity_id: {"state": s.state, "attributes": dict(s.attributes)}
                for s in hass.states.async_all()
            },
            "complaints": complaints.lines,
        }
    if word == "devices":
        entities = entity_registry.async_get(hass).entities.values()
        devices = device_registry.async_entries_for_config_entry(
            device_registry.async_get(hass), ENTRY
        )
        return {
            "devices": [device.dict_repr for device in devices],
            "entities": {
                e.entity_id: {"unique_id": e.unique_id, "category": e.entity_category}
                for e in entities
            },
        }
    if word == "validate":
        return validate(json.loads(rest))
    raise ValueError(word)


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what, default=str) + "\n")
    sys.stdout.flush()


async def main(folder: Path, port: int) -> None:
    prepare(folder, port)
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    hass = await bootstrap.async_setup_hass(RuntimeConfig(config_dir=str(folder), skip_pip=True))
    await hass.async_start()
    lines = asyncio.StreamReader()
    await hass.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    say({"version": __version__})
    while line := (await lines.readline()).decode().strip():
        word, _, rest = line.partition(" ")
        if word == "exit":
            break
        try:
            said = await answer(hass, complaints, word, rest)
        except Exception as error:  # noqa: BLE001 - told to the test
            said = {"error": f"{type(error).__name__}: {error}"}
        say(said)
    await hass.async_stop(force=True)


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
