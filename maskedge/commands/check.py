"""``maskedge check``: is the configuration valid, are the networks whole, and what would run?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from maskedge.commands.options import config_options, load_config, source_option
from maskedge.errors import EX_OK

if TYPE_CHECKING:
    from pathlib import Path

    from maskedge.config import WebConfig
    from maskedge.configfile import LoadedConfig

EPILOG = """\b
Examples:
  maskedge check
  maskedge check --config /etc/maskedge/config.yaml
  maskedge check --set verdict.min_face=40 --json

Opens no camera and connects to no broker. Exit codes: 0 all is well,
78 the configuration is wrong (every mistake is listed), 66 a network's file is.
"""


@click.command(name="check", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="The findings as one JSON object.")
@source_option
@config_options
def command(
    as_json: bool, config_path: Path | None, source: str | None, overrides: tuple[str, ...]
) -> int:
    """Validate configuration and networks, and say what would run."""
    loaded = load_config(config_path, source, overrides)
    findings = _findings(loaded)
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
    from maskedge.modelfile import models_dir
    from maskedge.vision.faces import open_detector
    from maskedge.vision.masks import open_classifier

    config = loaded.config
    detector = open_detector(config.detector, config.inference, models_dir())
    classifier = open_classifier(config.classifier, config.inference, models_dir())
    user = config.mqtt.username or "anonymous"
    secret = "with a password" if credentials.password(config.mqtt) else "without a password"
    credentials.tls_context(config.mqtt.tls)
    scheme = "mqtts" if config.mqtt.tls.enabled else "mqtt"
    return {
        "configuration": str(loaded.path or "built-in defaults"),
        "camera": describe_source(config.camera),
        "detector": f"{config.detector.kind}, {detector.model.path.name}, "
        f"SHA-256 {detector.model.fingerprint}, on {detector.backend}",
        "classifier": f"{classifier.model.path.name}, "
        f"SHA-256 {classifier.model.fingerprint}, on {classifier.backend}",
        "broker": f"{scheme}://{config.mqtt.host}:{config.mqtt.effective_port}, "
        f"MQTT {config.mqtt.version}, {user} {secret}",
        "topics": f"{config.topic_root}/…",
        "outbox": str(paths.outbox_path(config)),
        "status page": _page(config.web),
    }


def _page(web: WebConfig) -> str:
    if not web.enabled:
        return "off"
    from maskedge.web.page import check

    asked = "without a token" if check(web) is None else "with a token"
    host = f"[{web.host}]" if ":" in web.host else web.host
    return f"http://{host}:{web.port}/, {asked}"
