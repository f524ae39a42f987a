"""The daemon in Prometheus's terms: seconds and counts, few labels, each from a closed set.

Timings are observed as frames come; everything else is read off the daemon's last look when it is
scraped. docs/metrics.md describes every metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from maskedge import __version__
from maskedge.camera.status import CameraState
from maskedge.health.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric

    from maskedge.events import Violation
    from maskedge.pipeline import FrameResult
    from maskedge.web.hub import Hub, Overview

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds, seconds: from a fast desktop's single stages to a Pi that falls behind."""
STAGES = ("motion", "detect", "track", "quality", "classify", "decide")
VIOLATIONS = ("without_mask", "incorrect_mask")


class PageMetrics:
    """One registry; written by the daemon's loop, scraped by the web's thread."""

    def __init__(self, hub: Hub) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._frame = Histogram(
            "maskedge_frame_seconds",
            "Time of a frame through the whole pipeline, if the detector looked at it.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        stage = Histogram(
            "maskedge_stage_seconds",
            "Time of one stage of a frame that the detector looked at.",
            ["stage"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._stages = {name: stage.labels(name) for name in STAGES}
        started, ended = (
            Counter(
                f"maskedge_violations_{what}",
                f"Violations that have {what}.",
                ["label"],
                registry=self.registry,
            )
            for what in ("started", "ended")
        )
        self._violations = {
            "started": {label: started.labels(label) for label in VIOLATIONS},
            "ended": {label: ended.labels(label) for label in VIOLATIONS},
        }
        self.registry.register(_Last(hub))
        ProcessCollector(registry=self.registry)

    def frame(self, result: FrameResult, seconds: float) -> None:
        """Note a frame that crossed the pipeline in ``seconds``."""
        if not result.looked:
            return
        self._frame.observe(seconds)
        for name, spent in result.timings.items():
            if name in self._stages:
                self._stages[name].observe(spent)

    def told(self, events: Iterable[Violation]) -> None:
        """Note violations that started or ended."""
        for event in events:
            self._violations[event.type][event.label].inc()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """(body, content type) in the format that an ``Accept`` header asks for."""
        try:
            encoder, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # "version=x"
            encoder, content_type = choose_encoder("")
        return encoder(self.registry), content_type


class _Last(Collector):
    """The daemon's last look."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first look."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every figure of the last look."""
        overview, age = self._hub.overview, self._hub.look_age()
        if overview is not None:
            yield from _counters(overview)
            yield from _gauges(overview)
            yield from _drift(overview.health["inference"].get("drift"))
        if age is not None:
            text = "Time since the daemon's loop last reported; it does once a second."
            yield _gauge("maskedge_last_look_age_seconds", text, age)


def _counters(overview: Overview) -> Iterator[Metric]:
    counters, parts = overview.health["counters"], overview.parts
    rows = (
        ("frames", "Frames that crossed the pipeline.", counters.get("frames", 0)),
        ("frames_looked", "Of these, the detector looked at.", counters.get("frames_looked", 0)),
        ("faces", "Faces detected, each frame anew.", counters.get("faces", 0)),
        ("faces_classified", "Faces judged for masks.", counters.get("faces_classified", 0)),
        ("camera_frames", "Frames that the camera gave.", parts.camera.frames),
        ("camera_frames_dropped", "Replaced by a newer one, or left out.", parts.camera.dropped),
        ("camera_reopens", "Times that the camera was opened anew.", parts.camera.reopens),
        ("outbox_dropped_events", "Events lost to a bound or to damage.", parts.outbox.dropped),
        ("broker_connects", "Times that a broker welcomed us.", parts.broker.connects),
        ("events_sent", "Events handed to the broker, again or not.", parts.broker.sent),
        ("events_acknowledged", "Events that the broker took over.", parts.broker.acknowledged),
    )
    for name, text, value in rows:
        yield CounterMetricFamily(f"maskedge_{name}", text, value=value)
    results = (
        ("commands", "Runs of signals.command.", ("run", "failed", "skipped")),
        ("snapshots", "Pictures of violations.", ("made", "sent", "dropped")),
    )
    for name, text, known in results:
        family = CounterMetricFamily(f"maskedge_{name}", text, labels=("result",))
        for result in known:
            family.add_metric((result,), counters.get(f"{name}_{result}", 0))
        yield family


def _gauges(overview: Overview) -> Iterator[Metric]:
    state, health, parts = overview.state, overview.health, overview.parts
    yield InfoMetricFamily(
        "maskedge_build",
        "What runs.",
        value={
            "version": __version__,
            **{f"{role}_model": print_ for role, print_ in parts.models.items()},
            **{f"{role}_backend": backend for role, backend in parts.backend.items()},
        },
    )
    people: dict[str, Any] = dict(state["people"])
    yield _labelled("maskedge_people", "Persons in view.", "label", people)
    rate = state["compliance"]["rate"]
    if rate is not None:
        text = "Share of the persons of publish.compliance_window who wore a mask well."
        yield _gauge("maskedge_compliance_ratio", text, rate)
    yield _gauge(
        "maskedge_compliance_persons",
        "Persons that the compliance ratio counts.",
        state["compliance"]["persons"],
    )
    camera = {name.value: parts.camera.state is name for name in CameraState}
    yield _labelled("maskedge_camera_state", "1 for the state it is in.", "state", camera)
    raised = {fault["code"] for fault in health["faults"]}
    faults = {kind.code: kind.code in raised for kind in FAULTS}
    yield _labelled("maskedge_fault", "1 while the fault is there.", "code", faults)
    statuses = {name: health["status"] == name for name in ("ok", "degraded", "failed")}
    yield _labelled("maskedge_status", "1 for the one that holds.", "status", statuses)
    yield _gauge("maskedge_broker_connected", "1 while connected.", parts.broker.connected)
    yield _gauge("maskedge_outbox_pending_events", "Not yet at the broker.", parts.outbox.pending)
    yield _gauge("maskedge_clock_synced", "1 while NTP sets it.", health["clock_synced"])
    soc = health["soc"]
    if soc["temperature_c"] is not None:
        yield _gauge("maskedge_soc_temperature_celsius", "Of the SoC.", soc["temperature_c"])
    if soc["throttled"] is not None:
        text = "1 while the firmware limits the SoC for heat or power."
        yield _gauge("maskedge_soc_throttled", text, soc["throttled"])


def _drift(figures: dict[str, Any] | None) -> Iterator[Metric]:
    if figures is None:
        return
    states = {name: figures["state"] == name for name in ("off", "learning", "watching")}
    yield _labelled("maskedge_drift_state", "1 for the one that holds.", "state", states)
    yield CounterMetricFamily(
        "maskedge_drift_visits", "Visits that were counted for drift.", value=figures["visits"]
    )
    texts = {
        "psi": "Population stability index of the last day's visits beside a reference.",
        "limit": "From where on it counts as moved.",
        "moved": "1 while it has moved and lasts.",
    }
    for name, text in texts.items():
        family = GaugeMetricFamily(f"maskedge_drift_{name}", text, labels=["feature", "against"])
        for feature, references in figures["features"].items():
            for against, values in references.items():
                family.add_metric([feature, against], float(values[name]))
        yield family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _labelled(name: str, text: str, label: str, values: dict[str, Any]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family
