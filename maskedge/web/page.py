"""The daemon's side of the status page: nothing at all while ``web.enabled`` is false."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from maskedge.errors import ConfigError, WebError
from maskedge.web import access
from maskedge.web.hub import Hub, Overview

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from maskedge.camera.frame import Frame
    from maskedge.config import WebConfig
    from maskedge.configfile import LoadedConfig
    from maskedge.events import Violation
    from maskedge.health.monitor import Monitor, Parts
    from maskedge.pipeline import FrameResult
    from maskedge.web.metrics import PageMetrics
    from maskedge.web.server import Server

log = logging.getLogger(__name__)


class StatusPage:
    """Takes what the daemon's loop has to tell, and serves it.

    What the loop calls costs a few microseconds; encoding and sending happen in the web's thread.
    A history outlives a restart of the server, but not its being switched off.
    """

    def __init__(self, loaded: LoadedConfig) -> None:
        """Serve, if the configuration says so.

        Raises:
            ConfigError: a token is missing or unusable, the extra isn't installed, or the port
                isn't permitted.
            WebError: it can't listen there now.
        """
        self._loaded = loaded
        self._secret: str | None = None
        self._socket: socket.socket | None = None
        self._server: Server | None = None
        self._hub: Hub | None = None
        self._metrics: PageMetrics | None = None
        if loaded.config.web.enabled:
            secret = check(loaded.config.web)
            self._listen(loaded.config.web)
            self._start(loaded, secret)

    @property
    def enabled(self) -> bool:
        """Whether it serves."""
        return self._server is not None

    def frame(self, frame: Frame, result: FrameResult, seconds: float) -> None:
        """A frame has crossed the pipeline in ``seconds``."""
        if self._hub is not None and self._metrics is not None:
            self._hub.frame(frame, result)
            self._metrics.frame(result, seconds)

    def told(self, events: Sequence[Violation]) -> None:
        """Violations have started or ended."""
        if self._hub is not None and self._metrics is not None:
            self._hub.told(events)
            self._metrics.told(events)

    def looked(self, monitor: Monitor, parts: Parts, now: float) -> None:
        """The monitor has had its look, at ``now``; what it saw is told if somebody wants it."""
        if self._hub is not None and self._hub.looked():
            from maskedge.web.driftview import view  # noqa: PLC0415 - only while somebody looks

            state, health = monitor.state(now), monitor.health(parts, now)
            drift = None if monitor.drift is None else view(monitor.drift, self._hub.config.drift)
            self._hub.tell(Overview(state, health, parts, drift))

    def refused(self, why: str) -> None:
        """A changed configuration isn't in force, and why."""
        if self._hub is not None:
            self._hub.reloaded(self._loaded, why)

    def reconfigure(self, loaded: LoadedConfig) -> None:
        """Take a new configuration; with another section ``web`` or token the server starts anew.

        Raises:
            ConfigError: as at the start; everything stays as it was.
            WebError: the same.
        """
        old, new = self._loaded.config.web, loaded.config.web
        if new != old or (new.enabled and check(new) != self._secret):
            self._change(old, loaded)
        self._loaded = loaded
        if self._hub is not None:
            self._hub.reloaded(loaded)

    def close(self) -> None:
        """End the server; the port is free afterwards."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _change(self, old: WebConfig, loaded: LoadedConfig) -> None:
        new = loaded.config.web
        if not new.enabled:
            self.close()
            self._hub = self._metrics = None
            return
        secret = check(new)
        if self._socket is None or (new.host, new.port) != (old.host, old.port):
            self._move(old, new)
        if self._server is not None:
            self._server.stop()
        self._start(loaded, secret)

    def _move(self, old: WebConfig, new: WebConfig) -> None:
        """Listen elsewhere; on failure go on here."""
        before = self._socket
        if before is None or new.port != old.port:
            self._listen(new)
            if before is not None:
                before.close()
            return
        # Two addresses with the same port can exclude each other: first let go of the old one.
        self.close()
        try:
            self._listen(new)
        except (ConfigError, WebError):
            self._listen(old)
            self._start(self._loaded, access.token(old))
            raise

    def _listen(self, config: WebConfig) -> None:
        from maskedge.web.server import listen  # noqa: PLC0415 - of the extra `web`

        try:
            self._socket = listen(config.host, config.port)
        except WebError as error:
            if isinstance(error.__cause__, PermissionError):  # however often it is tried
                raise ConfigError(str(error)) from error
            raise

    def _start(self, loaded: LoadedConfig, secret: str | None) -> None:
        import asyncio  # noqa: PLC0415 - only where something is served

        from maskedge.web import app, server  # noqa: PLC0415 - of the extra `web`
        from maskedge.web.metrics import PageMetrics  # noqa: PLC0415 - the same

        assert self._socket is not None  # noqa: S101 - every caller listens first
        self._secret = secret
        config = loaded.config.web
        self._hub = self._hub or Hub(loaded)
        self._metrics = self._metrics or PageMetrics(self._hub)
        guard = access.Access(config, secret)
        application = app.build(self._hub, self._metrics, guard, config, asyncio.Event())
        self._server = server.Server(application, self._socket)
        log.info("status page at %s", config.url)


def check(config: WebConfig, environ: Mapping[str, str] | None = None) -> str | None:
    """The token of an enabled page, once everything that it needs is there.

    Args:
        config: the section.
        environ: where the token may be; None: this process's.

    Raises:
        ConfigError: something isn't.
    """
    try:
        import prometheus_client  # noqa: F401, PLC0415
        import starlette  # noqa: F401, PLC0415
        import uvicorn  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConfigError(
            f"web.enabled is true, but {error.name} is missing: pip install 'maskedge[web]'"
        ) from error
    return access.token(config, environ)
