"""The daemon: owns threads, signals, reload and shutdown, and wires the parts; no arithmetic.

Capture runs in the guard's thread, the pipeline in this one, writing and sending in threads of the
delivery; so detection waits neither for the network nor for the disk.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from maskedge import events, paths
from maskedge.camera.guard import CameraGuard
from maskedge.camera.sources import open_guard
from maskedge.delivery import credentials
from maskedge.delivery.announcer import Announcer
from maskedge.delivery.mqtt import Publisher
from maskedge.delivery.outbox import Outbox
from maskedge.errors import EX_OK, AcceleratorError, MaskedgeError
from maskedge.health.monitor import Monitor, Parts
from maskedge.health.watchdog import Notifier, Watchdog, watchdog_interval
from maskedge.pipeline import Pipeline
from maskedge.reload import FileWatch
from maskedge.vision.system import Vision
from maskedge.web.page import StatusPage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from maskedge.camera.frame import Camera, Frame
    from maskedge.config import Config
    from maskedge.configfile import LoadedConfig
    from maskedge.people.verdict import Decision

log = logging.getLogger(__name__)

TURN = 0.25
"""Seconds that the loop waits for a frame before it looks after everything else."""
CURE_LIMIT = 300.0
"""Seconds for which a lost, reported camera keeps the watchdog fed; then systemd restarts us."""
FLUSH = 3.0
"""Seconds that a clean exit may take to hand the last events to the broker."""
STOP_WITHIN = 3.5
"""Seconds that a clean exit may take in all, though camera, broker and disk hang at once."""
LAST_WRITE = 0.5
"""Of these, what is kept for the disk."""


def _networks(config: Config) -> tuple[object, ...]:
    """What asks for other networks when it changes."""
    return config.detector, config.classifier.model, config.inference


def _broker(config: Config) -> tuple[object, ...]:
    """What asks for another connection when it changes."""
    # The password, too: it is cured in its file, and then a reload must take it.
    return config.mqtt, credentials.password(config.mqtt), config.device, config.homeassistant


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
        self._reload = reload
        self._make_camera = make_camera
        self._watch = FileWatch(loaded.path if reload else None)
        self._stopping = threading.Event()
        self._reload_asked = threading.Event()
        self._config_error: str | None = None
        self._violations: dict[int, events.Violation] = {}
        self._base: float | None = None
        self._interruptible = False

    def stop(self) -> None:
        """Ask for a clean end; from any thread."""
        self._stopping.set()

    def run(self) -> int:
        """Watch until stopped or the source ends; returns the exit code.

        Raises:
            MaskedgeError: it can't start, or the camera was lost for good.
        """
        config = self._config
        notifier = Notifier()
        self._watchdog = Watchdog(notifier, watchdog_interval(), CURE_LIMIT)
        with self._signals(), closing(StatusPage(self._loaded)) as self._page:
            self._vision = self._open_vision(config)
            self._outbox = Outbox(paths.outbox_path(config), max_events=config.outbox.max_events)
            self._publisher = self._open_publisher(config)
            self._monitor = Monitor(config, self._publisher, time.monotonic())
            self._pipeline = self._open_pipeline(config)
            self._builder = self._open_builder(config)
            self._guard = self._open_guard(config)
            notifier.send("READY=1", f"STATUS=watching {config.camera.source}")
            try:
                self._watch_on()
            finally:
                notifier.send("STOPPING=1")
                self._shut_down()
                notifier.close()
        return EX_OK

    def _watch_on(self) -> None:
        while not self._stopping.is_set():
            frame = self._guard.wait(TURN)
            now = time.monotonic()
            if frame is not None:
                if self._process(frame):
                    self._watchdog.worked(now)
            elif self._guard.ended:
                log.info("the source has ended")
                return
            else:
                self._curing(now)
            parts = self._parts()
            if self._monitor.look(parts, now):
                self._page.looked(self._monitor, parts, now)
            if self._reload_asked.is_set() or self._watch.changed(now):
                self._reload_asked.clear()
                self._take_over()

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
        self._tell(result.decisions)
        seconds = time.perf_counter() - start
        self._monitor.frame(result, seconds, now)
        self._page.frame(frame, result, seconds)
        return True

    def _time(self, frame: Frame) -> float:
        """The frame's moment as monotonic seconds.

        A source has a steady time line of its own (a recording's begins at 0); it is anchored
        where its first frame arrived.
        """
        if self._base is None:
            self._base = time.monotonic() - frame.time
        return self._base + frame.time

    def _curing(self, now: float) -> None:
        """Without a frame: nobody can be seen, and systemd hears of work only while it's told."""
        lost_since = self._monitor.camera_reported_lost_since()
        if lost_since is None:
            return
        self._watchdog.curing(now, lost_since)
        if now - lost_since > self._config.verdict.leave_after:
            self._tell(self._pipeline.flush(now))

    def _tell(self, decisions: Sequence[Decision]) -> None:
        """Decisions become events, and events enter the outbox before anything else happens."""
        made = []
        for decision in decisions:
            if decision.type == "started":
                event = self._builder.started(
                    label=decision.label,
                    confidence=decision.confidence,
                    votes=events.Votes(decision.frames, decision.agree),
                    track_id=decision.track_id,
                    box=decision.box,
                    first_seen=decision.first_seen,
                    decided_at=decision.decided_at,
                )
                self._violations[decision.key] = event
            else:
                started = self._violations.pop(decision.key)
                ended_at = decision.ended_at or decision.decided_at
                event = self._builder.ended(started, ended_at, decision.box)
            log.info("%s %s, person %d", event.label, event.type, event.track_id)
            made.append(event)
        if made:
            self._outbox.submit(*made)
            self._monitor.told(decisions)
            self._page.told(made)

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
        )

    def _take_over(self) -> None:
        """Swap the configuration between two frames; a wrong one is refused, the old runs on."""
        if self._reload is None:
            return
        old = self._config
        try:
            loaded = self._reload()
            new = loaded.config
            _broker(new)
            credentials.tls_context(new.mqtt.tls)
            vision = self._vision if _networks(new) == _networks(old) else Vision.open(new)
            self._reconfigure_page(loaded, vision)
        except MaskedgeError as error:
            self._config_error = f"the new configuration is refused: {error}"
            self._page.refused(str(error))
            return
        self._config, self._config_error = new, None
        if new.motion != old.motion:
            vision.new_gate(new.motion)
        if vision is not self._vision:
            self._vision.close()
            self._vision = vision
        self._pipeline.replace_vision(vision.detector, vision.classifier, vision.gate)
        self._pipeline.reconfigure(new)
        if _broker(new) != self._broker:
            self._publisher.close(FLUSH)
            self._publisher = self._open_publisher(new)
        if new.camera != old.camera:
            self._guard.close()
            self._base = None
            self._guard = self._open_guard(new)
        self._builder = self._open_builder(new)
        self._monitor.reconfigure(new, self._publisher)
        log.info("new configuration in force")

    def _reconfigure_page(self, loaded: LoadedConfig, vision: Vision) -> None:
        """The last step that may refuse: then new networks aren't wanted either."""
        try:
            self._page.reconfigure(loaded)
        except MaskedgeError:
            if vision is not self._vision:
                vision.close()
            raise

    def _open_vision(self, config: Config) -> Vision:
        """The one step of starting that may hang, in an Edge TPU: SIGTERM ends it at once."""
        self._interruptible = True
        try:
            return Vision.open(config)
        finally:
            self._interruptible = False

    def _open_guard(self, config: Config) -> CameraGuard:
        make = self._make_camera
        guard = open_guard(config.camera) if make is None else CameraGuard(lambda: make(config))
        return guard.start()

    def _open_publisher(self, config: Config) -> Publisher:
        self._broker = _broker(config)
        guest = Announcer(config, paths.outbox_path(config).with_name("homeassistant.json"))
        publisher = Publisher(config.mqtt, config.topic_root, self._outbox, guest=guest)
        publisher.start()
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
        return events.EventBuilder(config.device, config.name, self._vision.models)

    def _shut_down(self) -> None:
        now = time.monotonic()
        stop_by = now + STOP_WITHIN
        self._guard.close()
        self._tell(self._pipeline.flush(now))
        self._monitor.look(self._parts(), now, force=True)
        self._publisher.close(min(FLUSH, stop_by - LAST_WRITE - time.monotonic()))
        self._outbox.close(max(LAST_WRITE, stop_by - time.monotonic()))
        self._vision.close()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end cleanly, SIGHUP reloads; only where signals can be taken."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, _frame: FrameType | None) -> None:
            (self._reload_asked if number == signal.SIGHUP else self._stopping).set()
            if self._interruptible and number != signal.SIGHUP:
                raise SystemExit(EX_OK)

        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
