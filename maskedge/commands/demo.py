"""``maskedge demo``: the whole program on one machine, nothing but the camera and the hall made up.

Real int8 networks, the real daemon, a real MQTT broker (amqtt, in this process, on a free loopback
port) and a real subscriber. It judges itself: the exit code is 0 only if exactly the expected
violations arrived.
"""

from __future__ import annotations

import tempfile
import threading
from typing import TYPE_CHECKING, Any

import click

from maskedge.errors import EX_OK, MaskedgeError, UsageError

if TYPE_CHECKING:
    from maskedge.config import Config
    from maskedge.scene import SceneCamera

EPILOG = """\b
Examples:
  maskedge demo
  maskedge demo --json        the events as JSON, the story on standard error
  maskedge demo --verbose     with the daemon's log

Needs the extra `demo` (amqtt, scikit-image): pip install 'maskedge[demo]'.
Exit codes: 0 exactly the expected violations came, 1 others did, 64 the extra is missing.
"""
EX_UNEXPECTED = 1
LAST_EVENTS = 10.0
"""Seconds that the last events may take to arrive after the scene is over."""


@click.command(name="demo", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print the events as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show the daemon's log.")
def command(as_json: bool, verbose: bool) -> int:
    """See the real thing work: scene, networks, broker, subscriber, in half a minute."""
    try:
        import amqtt  # noqa: F401
        import skimage  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{error.name} is missing: the demo needs pip install 'maskedge[demo]'"
        ) from error
    from maskedge import configfile, logs
    from maskedge.demo_broker import EmbeddedBroker

    logs.set_up(1 if verbose else -2)
    with tempfile.TemporaryDirectory(prefix="maskedge-demo-") as folder, EmbeddedBroker() as broker:
        loaded = configfile.load(
            None,
            [
                "device=demo",
                "name=hall",
                "mqtt.host=127.0.0.1",
                f"mqtt.port={broker.port}",
                'mqtt.version="3.1.1"',  # all that amqtt speaks
                f"outbox.path={folder}/outbox.db",
                "homeassistant.enabled=false",
            ],
        )
        click.echo(
            f"A person walks through a hall three times; an MQTT broker listens on "
            f"127.0.0.1:{broker.port}.\nWhat its subscriber gets:",
            err=as_json,
        )
        received = _play(loaded.config, loaded, as_json=as_json)
    return _sum_up(received, err=as_json)


def scene() -> SceneCamera:
    """The scene, drawn already: its camera opens at once, and a slow machine misses no frame."""
    from maskedge.scene import SceneCamera

    camera = SceneCamera(patient=True)
    camera.draw_ahead()
    return camera


def _play(config: Config, loaded: Any, *, as_json: bool) -> list[dict[str, Any]]:
    """Run the daemon on the scene and return every event that the subscriber got."""
    from maskedge.daemon import Daemon
    from maskedge.listen import Subscriber

    camera = scene()
    daemon = Daemon(loaded, make_camera=lambda _config: camera)
    received: list[dict[str, Any]] = []
    with Subscriber(config.mqtt, unique=True) as subscriber:
        listening = threading.Thread(
            target=_listen, args=(subscriber, received, as_json), name="subscriber", daemon=True
        )
        listening.start()
        daemon.run()
        listening.join(LAST_EVENTS)
        subscriber.stop()
        listening.join()
    return received


def _listen(subscriber: Any, received: list[dict[str, Any]], as_json: bool) -> None:
    """Print until the daemon says that it has stopped: by then every event has come."""
    import json

    from maskedge.listen import pretty

    for notice in subscriber.notices():
        if notice.event is not None:
            received.append(notice.event)
        if not as_json:
            click.echo(f"  {pretty(notice)}")
        elif notice.event is not None:
            click.echo(json.dumps(notice.event))
        if notice.availability == "stopped":
            return


def _sum_up(received: list[dict[str, Any]], *, err: bool) -> int:
    """Compare with what the scene deserves, and say so in one line."""
    started = [event for event in received if event["type"] == "started"]
    ended = {event["violation_id"] for event in received if event["type"] == "ended"}
    bare = [event for event in started if event["label"] == "without_mask"]
    incorrect = [event for event in started if event["label"] == "incorrect_mask"]
    all_ended = all(event["event_id"] in ended for event in started)
    good = len(bare) == 1 and len(incorrect) <= 1 and bare + incorrect == started and all_ended
    third = (
        f"told as incorrect_mask ({incorrect[0]['confidence']:.0%})"
        if incorrect
        else "left unsure, so no alert"
    )
    if not good:
        told = ", ".join(f"{event['label']} {event['type']}" for event in received) or "nothing"
        raise DemoError(
            "not what the scene deserves: expected one without_mask with its end, none for the "
            f"masked visit, at most one incorrect_mask; got {told}"
        )
    click.echo(
        "As it should be: bare-faced visit told once and ended; masked visit not told; "
        f"mask under the nose {third}.",
        err=err,
    )
    return EX_OK


class DemoError(MaskedgeError):
    """The demo's own check failed."""

    exit_code = EX_UNEXPECTED
