"""The daemon: owns threads, signals, reload and shutdown, and wires the parts; no arithmetic.

Capture runs in the guard's thread, the pipeline in this one, writing and sending in threads of the
delivery; so detection waits neither for the network nor for the disk.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING

from maskedge import events, paths
from maskedge.camera.guard import CameraGuard
from maskedge.camera.sources import open_guard
from maskedge.camera.urls import shown
from maskedge.delivery.announcer import Announcer
from maskedge.delivery.credentials import Login
from maskedge.delivery.mqtt import Guest, Publisher
from maskedge.delivery.outbox import Outbox
from maskedge.errors import EX_OK, AcceleratorError, MaskedgeError
from maskedge.health.drift import Drift
from maskedge.health.metrics import Metrics
from maskedge.health.monitor import Monitor, Parts
from maskedge.health.watchdog import Notifier, Watchdog, watchdog_interval
from maskedge.inference.resilient import hurry
from maskedge.pipeline import Pipeline
from maskedge.requests import Requests
from maskedge.review.keeper import ReviewSet
from maskedge.signals.local import Signals
from maskedge.snapshots.maker import Snapshots
from maskedge.takeover import Successor, Takeover
from maskedge.teller import Teller
from maskedge.web.page import StatusPage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maskedge.camera.frame import Camera, Frame
    from maskedge.config import Config
    from maskedge.configfile import LoadedConfig
    from maskedge.people.verdict import Decision
    from maskedge.vision.system import Vision

log = logging.getLogger(__name__)

TURN = 0.25
"""Seconds that the loop waits for a frame before it looks after everything else."""
CURE_LIMIT = 300.0
"""Seconds for which a lost, reported camera keeps the watchdog fed; then systemd restarts us."""
FLUSH = 3.0
"""Seconds that a clean exit may take to hand the last events to the broker."""
STOP_WITHIN = 3.5
"""Seconds that a clean exit may take in all, though camera, broker and disk hang at once."""
LAST_PICTURE = 0.3
"""Of these, what a picture that is being made may take."""
LAST_WRITE = 0.5
"""Of these, what is kept for the disk."""


def _broker(config: Config, login: Login) -> tuple[object, ...]:
    """What asks for another connection when it changes."""
    # The login, too: it is cured or renewed in its files, and then a reload must take it.
    # The interval, for it is announced.
    return config.mqtt, login, config.device, config.homeassistant, config.publish.interval


def _status(config: Config) -> str:
    """What ``systemctl status`` shows to every user of the machine."""
    return f"STATUS=watching {shown(config.camera.source)}"


class Daemon:
    """One camera, watched until told to stop."""

    def __init__(
        self,
        loaded: LoadedConfig,
        reload: Callable[[], LoadedConfig] | None = None,
        make_camera: Callable[[Config], Camera] | None = None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            loaded: the configuration in force.
            reload: reads it again, raising ConfigError; None: it can't change.
            make_camera: another source than the configuration's, for the demo.
        """
        self._loaded = loaded
        self._config = loaded.config
        self._make_camera = make_camera
        self._takeover = Takeover(loaded, reload)
        self._requests = Requests(self._takeover.ask, hurry)
        self._config_error: str | None = None
        self._models_error: str | None = None
        self._base: float | None = None

    def stop(self) -> None:
        """Ask for a clean end; from any thread."""
        self._requests.end()

    def run(self) -> int:
        """Watch until stopped or the source ends; returns the exit code.

        Raises:
            MaskedgeError: it can't start, or the camera was lost for good.
        """
        config = self._config
        self._notifier = Notifier()
        self._watchdog = Watchdog(self._notifier, watchdog_interval(), CURE_LIMIT)
        with self._requests.listening(), closing(StatusPage(self._loaded)) as self._page:
            self._vision = self._open_vision(config)
            self._outbox = Outbox(paths.outbox_path(config), max_events=config.outbox.max_events)
            metrics = Metrics()
            self._local = Signals(config.signals, metrics.count)
            self._snapshots = Snapshots(config, metrics.count)
            self._publisher = self._open_publisher(config, Login.read(config.mqtt))
            self._drift = Drift(config, self._vision.files, paths.baseline_path(config))
            self._monitor = Monitor(config, self._publisher, time.monotonic(), self._drift, metrics)
            self._pipeline = self._open_pipeline(config)
            self._teller = Teller(self._open_builder(config), self._outbox)
            self._review = ReviewSet(config)
            self._guard = self._open_guard(config)
            self._notifier.send("READY=1", _status(config))
            try:
                self._watch_on()
            finally:
                self._notifier.send("STOPPING=1")
                self._shut_down()
                self._notifier.close()
        return EX_OK

    def _watch_on(self) -> None:
        while not self._requests.stopping:
            frame = self._guard.wait(TURN)
            now = time.monotonic()
            if frame is not None:
                if self._process(frame):
                    self._watchdog.worked(now)
                else:
                    self._watchdog.failed()
            elif self._guard.ended:
                log.info("the source has ended")
                return
            else:
                self._blind(now)
            parts = self._parts()
            if self._monitor.look(parts, now):
                self._page.looked(self._monitor, parts, now)
            self._look_for_changes(now)

    def _process(self, frame: Frame) -> bool:
        """Take a frame through the whole pipeline; False: it was lost on the way."""
        start = time.perf_counter()
        now = self._time(frame)
        try:
            result = self._pipeline.process(frame, now)
        except AcceleratorError as error:
            log.warning("a frame was lost: %s", error)
            return False
        if frame.path is None:  # a recording may well stand still or fade to black
            self._vision.watch_scene(frame, now)
        self._snapshots.take(frame, result.persons, self._tell(result.decisions))
        seconds = time.perf_counter() - start
        self._monitor.frame(result, seconds, now)
        self._page.frame(frame, result, seconds)
        self._review.frame(frame, result, now, self._vision.models)
        return True

    def _time(self, frame: Frame) -> float:
        """The frame's moment as monotonic seconds.

        A source has a steady time line of its own (a recording's begins at 0); it is anchored
        where its first frame arrived.
        """
        if self._base is None:
            self._base = time.monotonic() - frame.time
        return self._base + frame.time

    def _blind(self, now: float) -> None:
        """Without a frame: it is still waited for, or nobody can be seen, which is told."""
        lost_since = self._monitor.camera_reported_lost_since()
        if lost_since is None:
            if self._guard.waiting:
                self._watchdog.waiting(now)
            return
        self._watchdog.curing(now, lost_since)
        if now - lost_since > self._config.verdict.leave_after:
            self._unwatched(now)

    def _unwatched(self, now: float) -> None:
        """Nobody can be seen from now on: what was open ends, and nobody is told to be there."""
        self._tell(self._pipeline.flush(now))
        self._monitor.nobody(now)

    def _tell(self, decisions: Sequence[Decision]) -> Sequence[events.Violation]:
        """Events first enter the outbox, then they are signalled, counted and shown."""
        made = self._teller.tell(decisions)
        if made:
            self._local.told(made)
            self._monitor.told(decisions)
            self._page.told(made)
        return made

    def _parts(self) -> Parts:
        return Parts(
            camera=self._guard.status,
            broker=self._publisher.status(),
            outbox=self._outbox.status(),
            backend=self._vision.backends,
            models=self._vision.models._asdict(),
            accelerator_fault=self._vision.fault,
            scene=self._vision.scene,
            config_error=self._config_error,
            signals=self._local.status(),
            review_error=self._review.error,
            models_error=self._models_error,
            snapshot_error=self._snapshots.error(),
        )

    def _look_for_changes(self, now: float) -> None:
        """A changed configuration is taken over; a wrong one is refused, the old runs on."""
        try:
            seen = self._guard.status
            frame = (seen.width, seen.height) if seen.frames else None
            successor = self._takeover.look(now, self._config, self._vision.folders, frame)
            if successor is not None:
                self._take_over(successor)
        except MaskedgeError as error:
            self._config_error = f"the new configuration is refused: {error}"
            self._page.refused(str(error))

    def _take_over(self, successor: Successor) -> None:
        """Swap between two frames; before the same camera, persons and their violations stay.

        Raises:
            MaskedgeError: the status page refuses it; everything is as it was.
        """
        try:
            self._page.reconfigure(successor.loaded)
        except MaskedgeError:
            successor.discard()
            raise
        old, new = self._config, successor.loaded.config
        self._config, self._config_error = new, None
        self._models_error = successor.refused
        if successor.vision is not None:
            successor.vision.inherit(self._vision)
            self._vision.close()
            self._vision = successor.vision
            log.info("networks in force: detector %s, classifier %s", *self._vision.models)
        if (new.motion, new.tracker.ignore) != (old.motion, old.tracker.ignore):
            self._vision.new_gate(new)
        vision = self._vision
        self._pipeline.replace_vision(vision.detector, vision.classifier, vision.gate)
        self._pipeline.reconfigure(new)
        self._snapshots.reconfigure(new)
        if _broker(new, successor.login) != self._broker:
            self._publisher.close(FLUSH)
            self._publisher = self._open_publisher(new, successor.login)
        self._outbox.resize(new.outbox.max_events)
        if new.outbox.path != old.outbox.path:
            log.warning("another outbox.path is taken over only at the next start")
        if new.camera != old.camera:
            if (new.camera.source, new.camera.rotate) != (old.camera.source, old.camera.rotate):
                self._unwatched(time.monotonic())  # another picture altogether
                self._vision.new_scene()
            self._guard.close()
            self._base = None
            self._guard = self._open_guard(new)
            self._notifier.send(_status(new))
        self._teller.builder = self._open_builder(new)
        self._local.reconfigure(new.signals, self._teller.standing)
        self._drift.reconfigure(new, vision.files)
        self._monitor.reconfigure(new, self._publisher)
        self._review.reconfigure(new)
        if new != old or successor.vision is None:
            log.info("new configuration in force")

    def _open_vision(self, config: Config) -> Vision:
        """The one step of starting that may hang, in an Edge TPU."""
        with self._requests.interruptible():
            vision, self._models_error = self._takeover.first(config)
        return vision

    def _open_guard(self, config: Config) -> CameraGuard:
        make = self._make_camera
        guard = open_guard(config.camera) if make is None else CameraGuard(lambda: make(config))
        return guard.start()

    def _open_publisher(self, config: Config, login: Login) -> Publisher:
        announcer = Announcer(config, paths.outbox_path(config).with_name("homeassistant.json"))
        guests: list[Guest] = [announcer, self._snapshots.sender]
        publisher = Publisher(
            config.mqtt, config.topic_root, self._outbox, login=login, guests=guests
        )
        self._snapshots.sender.listener = publisher.wake
        publisher.start()
        self._broker = _broker(config, login)
        return publisher

    def _open_pipeline(self, config: Config) -> Pipeline:
        vision = self._vision
        return Pipeline(
            vision.detector,
            vision.classifier,
            vision.assess,
            vision.gate,
            config,
            timer=time.perf_counter,
        )

    def _open_builder(self, config: Config) -> events.EventBuilder:
        pictures = f"{config.topic_root}/snapshot" if config.snapshot.mqtt else None
        return events.EventBuilder(
            config.device, config.name, self._vision.models, snapshot_root=pictures
        )

    def _shut_down(self) -> None:
        now = time.monotonic()
        stop_by = now + STOP_WITHIN
        self._drift.save()
        self._takeover.close()
        self._guard.stop()  # it may hang: waited for when all is told
        self._review.close(0.0)  # it writes on beside the rest
        self._unwatched(now)
        self._monitor.look(self._parts(), now, force=True)
        self._snapshots.close(LAST_PICTURE)
        self._publisher.close(min(FLUSH, stop_by - LAST_WRITE - time.monotonic()))
        self._local.close(max(0.2, stop_by - LAST_WRITE - time.monotonic()))
        self._outbox.close(max(LAST_WRITE, stop_by - time.monotonic()))
        self._review.close(max(0.0, stop_by - time.monotonic()))
        self._drift.close(stop_by - time.monotonic())
        self._guard.close(max(0.2, stop_by - time.monotonic()))
        self._vision.close()
