"""Makes the picture of a violation from the frame that it was decided on, in a thread of its own.

The thread looks for faces itself, on the CPU, with a lower threshold and more pixels than the
watch does: there a missed face costs nothing, here it would show a bystander. When that look
fails there is no picture.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2

from maskedge.annotate import to_bgr
from maskedge.clock import Ages
from maskedge.errors import MaskedgeError
from maskedge.modelfile import models_dir
from maskedge.snapshots.conceal import SURE, Seen, bystanders, conceal, cut_out
from maskedge.snapshots.folder import SnapshotFolder, name
from maskedge.snapshots.sender import SnapshotSender
from maskedge.vision.faces import open_detector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.config import Config, DetectorConfig, InferenceConfig
    from maskedge.events import Violation
    from maskedge.pipeline import PersonView
    from maskedge.vision.faces import OpenDetector

log = logging.getLogger(__name__)

THRESHOLD = 0.02
"""Score from which something may be a face, when somebody is to be hidden: at 0.02 one labelled
face in 590 is missed, at 0.1 one in 60, at 0.5 one in 19 (benchmarks/concealment.py)."""
MOST_FACES = 256
WAITING = 4
"""Frames that wait to become pictures; beyond, new ones are left out."""
SWEEP = 600.0
"""Seconds between two looks for pictures in the folder that are too old."""
LONG_SIDE = 1280
"""Pixels of a picture's longer side, at most."""
MAX_BYTES = 120_000
"""Of a picture: below what hosted brokers take (AWS IoT: 128 KiB)."""
_QUALITIES = (85, 70, 55, 40)


@dataclass(frozen=True, slots=True)
class _Job:
    """A violation, the frame that it was decided on, and who else was followed there."""

    event: Violation
    frame: Frame
    persons: tuple[Seen, ...]


class Snapshots:
    """The daemon's side: nothing at all while no pictures are asked for.

    Args:
        config: whole, as faces are looked for by its detector.
        count: told ``snapshots_made`` and others as they happen.

    Attributes:
        sender: the publisher's guest.
    """

    def __init__(self, config: Config, count: Callable[[str], None]) -> None:
        self.sender = SnapshotSender(count)
        self._count = count
        self._config = config
        self._ages = Ages()
        self._maker = self._open()

    def take(self, frame: Frame, persons: Iterable[PersonView], told: Sequence[Violation]) -> None:
        """Picture the violations that ``frame`` decided; never waits.

        Args:
            frame: the one that was decided on.
            persons: everybody followed in it.
            told: what was decided; what ended gives no picture.
        """
        started = [event for event in told if event.type == "started"]
        if self._maker is None or not started:
            return
        followed = tuple(persons)
        for event in started:
            others = tuple(Seen(p.box, SURE) for p in followed if p.track_id != event.track_id)
            self._maker.put(_Job(event, frame, others))

    def error(self) -> str | None:
        """Why pictures can't be made, kept or sent, and the cure."""
        own = None if self._maker is None else self._maker.error
        return "; ".join(filter(None, (own, self.sender.error))) or None

    def reconfigure(self, config: Config) -> None:
        """Take another configuration."""
        old, self._config = self._config, config
        if _asked(config) == _asked(old):
            return
        left = () if self._maker is None else self._maker.leave()
        if not config.snapshot.mqtt:
            self.sender.clear()
        self._maker = self._open(left)

    def close(self, timeout: float) -> None:
        """Finish what was begun, this long, seconds, at most."""
        if self._maker is not None:
            self._maker.close(timeout)

    def _open(self, jobs: Iterable[_Job] = ()) -> _Maker | None:
        if not self._config.snapshot.wanted:
            return None
        return _Maker(self._config, self._count, self.sender, self._ages, jobs)


class Search:
    """Finds whoever might be recognised: at two sizes, as the larger one misses faces close by.

    Args:
        detector: the watch's; a network of the user's own is taken as it is.
        inference: of which only the CPU is used.

    Raises:
        ModelError: a file is missing, damaged or of another kind of network.
        AcceleratorError: no interpreter works here.
    """

    def __init__(self, detector: DetectorConfig, inference: InferenceConfig) -> None:
        cpu = inference.model_copy(update={"accelerator": "cpu", "threads": 1})
        self._detectors: list[OpenDetector] = []
        for side in (640, 320) if detector.model is None else (640,):
            closer = {"threshold": THRESHOLD, "input": side, "max_faces": MOST_FACES}
            asked = detector.model_copy(update=closer)
            self._detectors.append(open_detector(asked, cpu, models_dir()))

    def look(self, frame: Frame) -> list[Seen]:
        """Everything that may be a face; the same face may be there twice."""
        return [
            Seen(face.box, face.score)
            for detector in self._detectors
            for face in detector.detect(frame)
        ]

    def close(self) -> None:
        """Free the networks."""
        for detector in self._detectors:
            detector.close()


class _Maker:
    """Looks for faces, hides them, encodes, keeps and sends."""

    def __init__(
        self,
        config: Config,
        count: Callable[[str], None],
        sender: SnapshotSender,
        ages: Ages,
        jobs: Iterable[_Job],
    ) -> None:
        self.error: str | None = None
        self._config = config
        self._count = count
        self._sender = sender
        asked = config.snapshot
        self._folder = (
            None
            if asked.folder is None
            else SnapshotFolder(asked.folder, asked.max_age, asked.max_megabytes, ages)
        )
        self._news = threading.Condition()
        self._jobs = deque(jobs)
        self._begun: _Job | None = None
        self._closing = False
        self._search: Search | None = None
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    def put(self, job: _Job) -> None:
        with self._news:
            if len(self._jobs) >= WAITING:
                self._count("snapshots_dropped")
                return
            self._jobs.append(job)
            self._news.notify()

    def close(self, timeout: float) -> None:
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(timeout)

    def leave(self) -> tuple[_Job, ...]:
        """End without waiting; whatever isn't sent or written yet is handed back."""
        with self._news:
            left = (self._begun, *self._jobs)
            self._begun = None
            self._jobs.clear()
            self._closing = True
            self._news.notify()
        return tuple(job for job in left if job is not None)

    def _run(self) -> None:
        sweep_at = time.monotonic()
        while True:
            if self._folder is not None and time.monotonic() >= sweep_at:
                sweep_at = time.monotonic() + SWEEP
                self._guarded(self._folder.sweep)
            with self._news:
                self._begun = None
                self._news.wait_for(
                    lambda: self._jobs or self._closing,
                    None if self._folder is None else max(0.0, sweep_at - time.monotonic()),
                )
                if self._closing and not self._jobs:
                    break
                self._begun = job = self._jobs.popleft() if self._jobs else None
            if job is not None and not self._guarded(partial(self._picture, job)):
                self._count("snapshots_dropped")
        if self._search is not None:
            self._search.close()

    def _guarded(self, work: Callable[[], object]) -> bool:
        """Do it; what goes wrong becomes :attr:`error`, not the thread's end."""
        try:
            work()
        except (MaskedgeError, OSError) as error:
            self.error = _explain(error)
        except Exception as error:
            log.exception("a picture could not be made")
            self.error = f"a picture could not be made: {error!r}; see the log"
        else:
            return True
        return False

    def _picture(self, job: _Job) -> None:
        jpeg = self._make(job)
        event = job.event
        with self._news:
            if self._begun is None:  # handed back meanwhile
                return
            self._begun = None
            if self._config.snapshot.mqtt and event.snapshot is not None:
                self._sender.put(event.snapshot, jpeg)
        if self._folder is not None:
            decided_at = event.as_dict()["decided_at"]
            self._folder.keep(name(decided_at, event.label, event.event_id), jpeg)
        self.error = None
        self._count("snapshots_made")

    def _make(self, job: _Job) -> bytes:
        if self._search is None:
            self._search = Search(self._config.detector, self._config.inference)
        frame = job.frame
        violator = job.event.box.scaled(frame.width, frame.height)
        others = bystanders(violator, (*self._search.look(frame), *job.persons))
        picture = conceal(to_bgr(frame), violator, others)
        if self._config.snapshot.mode == "face":
            picture = cut_out(picture, violator)
        return encode(picture)


def encode(picture: NDArray[np.uint8]) -> bytes:
    """As JPEG without any metadata, at most :data:`MAX_BYTES`.

    Args:
        picture: uint8 (height, width, 3), B, G, R.

    Raises:
        OSError: OpenCV can't.
    """
    longest = LONG_SIDE
    while True:
        scale = min(1.0, longest / max(picture.shape[:2]))
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for quality in _QUALITIES:
            done, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if not done:
                raise OSError("the picture can't be encoded")
            if jpeg.size <= MAX_BYTES:
                return jpeg.tobytes()
        longest //= 2


def _asked(config: Config) -> tuple[object, ...]:
    """What asks for another maker when it changes."""
    return config.snapshot, config.detector, config.inference


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'snapshot.folder'}: {error.strerror}; mend disk or permissions"
    return str(error)
