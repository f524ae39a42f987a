"""``maskedge check``: is the configuration valid, are the networks whole, and what would run?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from maskedge.commands.options import (
    config_options,
    load_config,
    quiet_option,
    source_option,
)
from maskedge.errors import EX_OK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maskedge.box import Box
    from maskedge.config import Config, SignalsConfig, SnapshotConfig, WebConfig
    from maskedge.configfile import LoadedConfig
    from maskedge.vision.faces import OpenDetector

GRID = 100
"""Points in a row and in a column by which areas are measured."""
EPILOG = """\b
Examples:
  maskedge check
  maskedge check --config /etc/maskedge/config.yaml
  maskedge check --set verdict.min_face=40 --json
  maskedge check --quiet && sudo systemctl reload maskedge

Opens no camera and connects to no broker. Exit codes: 0 all is well,
78 the configuration is wrong (every mistake is listed), 66 a network's file is.
"""


@click.command(name="check", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="The findings as one JSON object.")
@source_option
@config_options
@quiet_option("Say nothing if all is well.")
def command(
    as_json: bool,
    config_path: Path | None,
    source: str | None,
    overrides: tuple[str, ...],
    quiet: bool,
) -> int:
    """Validate configuration and networks, and say what would run."""
    loaded = load_config(config_path, source, overrides)
    findings = _findings(loaded)
    if quiet:
        return EX_OK
    if as_json:
        click.echo(json.dumps(findings, indent=2))
    else:
        width = max(map(len, findings))
        for key, value in findings.items():
            click.echo(f"{key:<{width}}  {value}")
    return EX_OK


def _findings(loaded: LoadedConfig) -> dict[str, Any]:
    from maskedge import paths
    from maskedge.camera.sources import describe_source
    from maskedge.delivery import credentials
    from maskedge.models.store import Store
    from maskedge.vision.faces import View, open_detector
    from maskedge.vision.masks import open_classifier

    config = loaded.config
    folders = Store().folders()
    view = View.of(config)
    detector = open_detector(config.detector, config.inference, folders.detector, view)
    classifier = open_classifier(config.classifier, config.inference, folders.classifier)
    user = config.mqtt.username or "anonymous"
    secret = "with a password" if credentials.password(config.mqtt) else "without a password"
    credentials.tls_context(config.mqtt.tls)
    scheme = "mqtts" if config.mqtt.tls.enabled else "mqtt"
    return {
        "configuration": str(loaded.path or "built-in defaults"),
        "camera": describe_source(config.camera),
        "detector": f"{config.detector.kind}, {detector.model.path.name}, "
        f"SHA-256 {detector.model.fingerprint}, on {detector.backend}",
        "detector input": _input(detector, config),
        "ignored": _ignored(config.tracker.ignore),
        "classifier": f"{classifier.model.path.name}, "
        f"SHA-256 {classifier.model.fingerprint}, on {classifier.backend}",
        "broker": f"{scheme}://{config.mqtt.host}:{config.mqtt.effective_port}, "
        f"MQTT {config.mqtt.version}, {user} {secret}",
        "topics": f"{config.topic_root}/…",
        "outbox": str(paths.outbox_path(config)),
        "signals": _signals(config.signals),
        "pictures": _pictures(config.snapshot),
        "status page": _page(config.web),
        "review set": _review(config),
    }


def _input(detector: OpenDetector, config: Config) -> str:
    """What the network will see of the frames that the camera is asked for."""
    from maskedge.vision.builtin import BuiltinDetector
    from maskedge.vision.inputs import LEAST_FACE, View

    if not isinstance(detector, BuiltinDetector):
        return str(config.detector.input)
    view, (size,) = View.of(config), detector.sizes
    face = view.min_face * min(size.width / view.width, size.height / view.height)
    text = f"{size} if frames are {view.width}x{view.height}: a face of {view.min_face} pixels "
    text += f"(verdict.min_face) keeps {face:.0f}"
    if face < LEAST_FACE:
        text += f" and is often missed; {LEAST_FACE:.0f} would do"
        if config.detector.input != "auto":
            text += " (detector.input: auto)"
    return text


def _ignored(areas: Sequence[Box]) -> str:
    """How much of the picture nobody looks at; by a grid, as areas may overlap."""
    if not areas:
        return "nothing of the picture"
    steps = [(step + 0.5) / GRID for step in range(GRID)]
    share = sum(any(area.holds(x, y) for area in areas) for x in steps for y in steps) / GRID**2
    return f"{len(areas)} area{'s' * (len(areas) > 1)}, {share:.0%} of the picture (tracker.ignore)"


def _signals(signals: SignalsConfig) -> str:
    from maskedge.signals.command import missing

    said = [f"pin {output.pin}" for output in signals.gpio]
    if signals.command.run:
        program = signals.command.run[0]
        said.append(
            missing(signals.command) or f"{program} for {', '.join(signals.command.events)}"
        )
    return "; ".join(said) or "none"


def _pictures(snapshot: SnapshotConfig) -> str:
    where = ["over MQTT"] if snapshot.mqtt else []
    where += [] if snapshot.folder is None else [f"in {snapshot.folder}"]
    shown = "the face" if snapshot.mode == "face" else "the picture, others hidden,"
    return f"{shown} of each violation {' and '.join(where)}" if where else "none"


def _page(web: WebConfig) -> str:
    if not web.enabled:
        return "off"
    from maskedge.web.page import check

    asked = "without a token" if check(web) is None else "with a token"
    return f"{web.url}, {asked}"


def _review(config: Config) -> str:
    if not config.review.enabled:
        return "off: no picture is kept"
    from maskedge import paths

    limits = f"{config.review.max_megabytes} MB, {config.review.max_age:g} days"
    return f"{paths.review_folder(config)}, at most {limits}"
