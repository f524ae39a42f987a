"""Home Assistant shows this unit by itself: what MQTT device discovery says of it.

One retained message describes the device and its entities, which read the topics that are there
anyway. :mod:`maskedge.delivery.announcer` sends it.

Source of the form: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
(Home Assistant 2024.11 and later).
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING, Any

from maskedge import __version__

if TYPE_CHECKING:
    from maskedge.config import Config

PROBLEMS = {
    "camera": ("camera_lost", "picture_black", "lens_covered", "picture_frozen"),
    "inference": ("accelerator_lost", "falling_behind"),
    "delivery": ("broker_lost", "outbox_unwritable", "outbox_set_aside", "outbox_overflow"),
}
"""Fault codes that each problem sensor stands for; a fourth one, ``system``, has all others."""

# Delivery is at least once: an event that came before, or with those before it, says nothing new.
_EVENT = """\
{% set last = this.attributes %}\
{% set seen = last.event_id is defined and (value_json.event_id == last.event_id or \
(value_json.boot_id == last.boot_id and value_json.seq is number and last.seq is number \
and value_json.seq < last.seq and value_json.event_id < last.event_id)) %}\
{{ '{}' if seen else dict(value_json, event_type=value_json.type) | to_json }}"""


def object_id(config: Config) -> str:
    """This unit's name in Home Assistant's topics and unique ids: ``[a-zA-Z0-9_-]`` only.

    What had to be replaced is told apart by a hash, so that no two units share one.
    """
    clean = re.sub(r"[^a-zA-Z0-9_-]", "_", config.device)
    if clean == config.device and config.mqtt.prefix == "maskedge":
        return f"maskedge_{clean}"
    return f"maskedge_{clean}_{hashlib.sha256(config.topic_root.encode()).hexdigest()[:8]}"


def topic(config: Config) -> str:
    """Where the announcement is retained."""
    return f"{config.homeassistant.prefix}/device/{object_id(config)}/config"


def discovery(config: Config) -> dict[str, Any]:
    """The announcement: one device with its entities."""
    name, root = object_id(config), config.topic_root
    # A broker that dies together with the unit goes on saying `online`: no will is ever published.
    expiry = math.ceil(3 * config.publish.interval) + 30
    components = {**_events(), **_figures(), **_problems()}
    for key, component in components.items():
        component["unique_id"] = f"{name}_{key}"
        for role in ("state_topic", "json_attributes_topic"):
            if role in component:
                component[role] = f"{root}/{component[role]}"
        if component["platform"] != "event":
            component["expire_after"] = expiry
    return {
        "device": {
            "identifiers": [name],
            "name": f"maskedge {config.device}",
            "manufacturer": "maskedge",
            "model": "Face-mask monitor",
            "sw_version": __version__,
        },
        "origin": {"name": "maskedge", "sw_version": __version__},
        "availability": [
            {
                "topic": f"{root}/availability",
                # `stopped` is neither of the two words that Home Assistant would understand.
                "value_template": "{{ 'online' if value == 'online' else 'offline' }}",
            }
        ],
        "qos": 1,
        "components": components,
    }


def _events() -> dict[str, dict[str, Any]]:
    return {
        "violation": {
            "platform": "event",
            "name": "Violation",
            "icon": "mdi:face-mask-outline",
            "state_topic": "violation",
            "event_types": ["started", "ended"],
            "value_template": _EVENT,
        }
    }


def _sensor(name: str, source: str, template: str, icon: str | None, **more: Any) -> dict[str, Any]:
    sensor = {
        "platform": "sensor",
        "name": name,
        "state_topic": source,
        "value_template": template,
        "state_class": "measurement",
        **({} if icon is None else {"icon": icon}),
        **more,
    }
    return {key: value for key, value in sensor.items() if value is not None}


def _figures() -> dict[str, dict[str, Any]]:
    diagnostic = {"entity_category": "diagnostic"}
    people = {
        label: _sensor(
            label.replace("_", " ").capitalize(),
            "state",
            f"{{{{ value_json.people.{label} }}}}",
            icon,
            unit_of_measurement="people",
        )
        for label, icon in (
            ("with_mask", "mdi:face-mask"),
            ("without_mask", "mdi:face-man"),
            ("incorrect_mask", "mdi:face-mask-outline"),
            ("unsure", "mdi:account-question"),
        )
    }
    return {
        **people,
        "compliance": _sensor(
            "Compliance",
            "state",
            "{% set rate = value_json.compliance.rate %}"
            "{{ none if rate is none else (rate * 100) | round(1) }}",
            "mdi:percent",
            unit_of_measurement="%",
        ),
        "violations": _sensor(
            "Violations",
            "health",
            "{{ value_json.counters.violations_started | default(0) }}",
            "mdi:counter",
            state_class="total_increasing",
        ),
        "status": _sensor(
            "Status",
            "health",
            "{{ value_json.status }}",
            "mdi:heart-pulse",
            state_class=None,
            device_class="enum",
            options=["ok", "degraded", "failed"],
            **diagnostic,
        ),
        "temperature": _sensor(
            "Temperature",
            "health",
            "{{ value_json.soc.temperature_c }}",
            None,
            device_class="temperature",
            unit_of_measurement="°C",
            **diagnostic,
        ),
        "inference": _sensor(
            "Inference time",
            "health",
            "{{ value_json.inference.p50_ms }}",
            "mdi:timer-outline",
            device_class="duration",
            unit_of_measurement="ms",
            **diagnostic,
        ),
        "outbox": _sensor(
            "Outbox",
            "health",
            "{{ value_json.outbox.pending }}",
            "mdi:tray-full",
            unit_of_measurement="events",
            **diagnostic,
        ),
    }


def _problems() -> dict[str, dict[str, Any]]:
    told = [code for codes in PROBLEMS.values() for code in codes]
    filters = {name: f"selectattr('code', 'in', {[*codes]})" for name, codes in PROBLEMS.items()}
    filters["system"] = f"rejectattr('code', 'in', {told})"
    return {
        f"{name}_problem": {
            "platform": "binary_sensor",
            "name": name.capitalize(),
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": "health",
            "value_template": "{{ 'ON' if value_json.faults | " + which + " | list else 'OFF' }}",
            "json_attributes_topic": "health",
            "json_attributes_template": "{{ {'faults': value_json.faults | "
            + which
            + " | list} | to_json }}",
        }
        for name, which in filters.items()
    }
