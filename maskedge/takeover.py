"""Notices that configuration or networks were changed, and prepares them beside the old.

Opening networks takes a Pi longer than a person may go unseen. So a thread reads, checks and opens,
the daemon watches on meanwhile, and takes the result over between two frames.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskedge.camera.sources import describe_source, try_recording
from maskedge.delivery.credentials import Login
from maskedge.errors import MaskedgeError, ModelError, ResourceError
from maskedge.models.store import Store
from maskedge.reload import FileWatch
from maskedge.vision.inputs import View, shipped, side_for
from maskedge.vision.system import Vision

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.config import Config
    from maskedge.configfile import LoadedConfig
    from maskedge.models.store import Folders


@dataclass(frozen=True, slots=True)
class Successor:
    """What is to be taken over.

    Attributes:
        loaded: a valid configuration.
        login: what its broker is shown, read already: the files may be gone when it is taken over.
        vision: open networks; None: those in use serve on.
        refused: why the networks that were installed aren't among them; None: they are.
    """

    loaded: LoadedConfig
    login: Login
    vision: Vision | None
    refused: str | None

    def discard(self) -> None:
        """It isn't taken over after all."""
        if self.vision is not None:
            self.vision.close()


class Takeover:
    """One preparation at a time; what changes meanwhile is prepared after it."""

    def __init__(self, loaded: LoadedConfig, load: Callable[[], LoadedConfig] | None) -> None:
        """Watch from how the files are now.

        Args:
            loaded: the configuration in force.
            load: reads it again, raising ConfigError; None: it can't change.
        """
        self._load = load
        self._store = Store()
        self._watches = [FileWatch(path) for path in (loaded.path, self._store.pointer) if load]
        self._asked = False  # no Event: a signal's handler would wait for its lock for ever
        self._answers: queue.SimpleQueue[Successor | Exception] = queue.SimpleQueue()
        self._busy = False
        self._closed = False

    def ask(self) -> None:
        """Read it again though no file was changed; from any thread or signal handler."""
        self._asked = True

    def first(self, config: Config) -> tuple[Vision, str | None]:
        """The networks to start with: those in force, else those before, else the shipped ones.

        Returns:
            Open networks, and why they aren't the ones in force; None: they are.

        Raises:
            MaskedgeError: none can be opened.
        """
        errors: list[MaskedgeError] = []
        try:
            self._store.folders()
        except ModelError as error:
            errors.append(error)
        for folders in self._store.fallbacks():
            try:
                return Vision.open(config, folders), str(errors[0]) if errors else None
            except MaskedgeError as error:
                errors.append(error)
        raise errors[0]

    def look(
        self, now: float, config: Config, folders: Folders, frame: tuple[int, int] | None = None
    ) -> Successor | None:
        """What is ready to be taken over; never waits.

        Args:
            now: monotonic seconds.
            config: the one in force.
            folders: where the networks in use lie.
            frame: width and height of the last frame: what it needs is open before it is taken
                over. None: there was none.

        Raises:
            MaskedgeError: a change was looked at and is refused.
        """
        if self._busy:
            try:
                answer = self._answers.get_nowait()
            except queue.Empty:
                return None
            self._busy = False
            if isinstance(answer, Exception):
                raise answer
            return answer
        changed = [watch.changed(now) for watch in self._watches]
        load = self._load
        if load is not None and (any(changed) or self._asked):
            self._asked = False
            self._begin(lambda: _successor(load(), config, self._store, folders, frame))
        return None

    def _begin(self, prepare: Callable[[], Successor]) -> None:
        work = threading.Thread(target=self._prepare, args=(prepare,), name="takeover", daemon=True)
        try:
            work.start()
        except RuntimeError as error:  # TasksMax= is reached
            self._asked = True
            raise ResourceError(f"{error}; tried again until one can be started") from error
        self._busy = True

    def close(self) -> None:
        """Drop what is being prepared, also when it is ready only later."""
        self._closed = True
        self._drain()

    def _prepare(self, prepare: Callable[[], Successor]) -> None:
        try:
            self._answers.put(prepare())
        except Exception as error:  # noqa: BLE001 - raised again where the daemon looks
            self._answers.put(error)
        if self._closed:
            self._drain()

    def _drain(self) -> None:
        try:
            answer = self._answers.get_nowait()
        except queue.Empty:
            return
        if isinstance(answer, Successor):
            answer.discard()


def _successor(
    loaded: LoadedConfig,
    old: Config,
    store: Store,
    in_use: Folders,
    frame: tuple[int, int] | None,
) -> Successor:
    """Everything that may refuse the new configuration, but for the status page.

    Networks that were installed and don't open refuse only themselves: then those in use serve on.
    """
    new = loaded.config
    login = Login.read(new.mqtt)
    if new.camera != old.camera:
        describe_source(new.camera)
        try_recording(new.camera)  # one that can't be played would end the daemon
    seen = frame if new.camera == old.camera else None
    same = _networks(new, seen) == _networks(old, seen)
    try:
        wanted = store.folders()
        if wanted != in_use:
            return Successor(loaded, login, Vision.open(new, wanted, seen), None)
        refused = None
    except MaskedgeError as error:
        refused = str(error)
    return Successor(loaded, login, None if same else Vision.open(new, in_use, seen), refused)


def _networks(config: Config, frame: tuple[int, int] | None) -> tuple[object, ...]:
    """What asks for other networks when it changes."""
    view = View.of(config, frame)
    sides = {size.long for size in shipped(config.detector.input)}
    side = side_for((view.height, view.width), view.min_face, sides)
    return config.detector, config.classifier.model, config.inference, side
