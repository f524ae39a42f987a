"""The HTTP server: one thread, a listening socket, and bounds on what clients may cost.

A client that connects and says nothing, reads nothing or comes a thousandfold must cost neither
the file descriptors nor the memory that the pipeline needs. uvicorn answers above its limit but
accepts without one, so the bounds on connections are here.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from maskedge.errors import WebError

if TYPE_CHECKING:
    from starlette.applications import Starlette

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
"""Open at once; a browser opens up to six."""
HEAD_TIMEOUT = 10.0
"""Seconds that a request may take to arrive, and a connection to say anything."""
KEEP_ALIVE = 20
"""Seconds that an idle connection is kept; longer than a picture may take to come."""
STUCK = 20.0
"""Seconds after which a client that reads nothing is cut off."""
SEND_BUFFER = 128 * 1024
"""Bytes that the kernel may hold for one client."""
STOP = 1
"""Seconds that clients get to take the last bytes when the server ends."""


def listen(host: str, port: int, *, setting: str = "web.port") -> socket.socket:
    """A listening socket.

    Args:
        host: an address.
        port: TCP; 0: any that is free.
        setting: what chooses another port, for the error.

    Raises:
        WebError: the port is taken, or forbidden, or the address isn't ours.
    """
    v6 = ipaddress.ip_address(host).version == 6  # noqa: PLR2004 - the protocol's number
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        # Inherited by every connection.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(STUCK * 1000))
        sock.bind((host, port))
        sock.listen(MAX_CONNECTIONS)
    except OSError as error:
        sock.close()
        why = _why(error, port, setting)
        raise WebError(f"the page can't listen at {host}, {why}") from error
    return sock


def _why(error: OSError, port: int, setting: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port}: another program does; stop it or change {setting}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "it isn't an address of this machine: change web.host"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"port {port}: not permitted; choose a {setting} above 1023"
    return f"port {port}: {error.strerror}"


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with a bound on connections and on the time that a request takes to arrive."""

    _timer: asyncio.TimerHandle | None = None
    _taken = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it when there are enough."""
        super().connection_made(transport)
        self._taken = len(self.connections) <= MAX_CONNECTIONS
        if self._taken:
            self._await_request()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Go on with a request; the time for it began with its first byte."""
        if not self._taken:
            return
        super().data_received(data)
        begun = self.cycle is not None  # it is None until the first request
        if begun and not self.cycle.response_complete:
            self._stop_timer()
        elif self._timer is None:
            self._await_request()

    def _await_request(self) -> None:
        self._timer = self.loop.call_later(HEAD_TIMEOUT, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Server:
    """Serves an application in a thread of its own until stopped.

    Args:
        app: its ``state.stopping`` is an event that ends long answers.
        sock: listens already; it stays open when the server ends.
    """

    def __init__(self, app: Starlette, sock: socket.socket) -> None:
        self._stopping: asyncio.Event = app.state.stopping
        self._socket = sock.dup()
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="critical",  # what strangers send is nothing to fill the journal with
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=STOP,
            h11_max_incomplete_event_size=16 * 1024,
            backlog=MAX_CONNECTIONS,
        )
        self._server = uvicorn.Server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; returns within some seconds, whatever the clients do."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._tell(self._stopping.set)
            self._thread.join(STOP + 2)

    def _tell(self, callback: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            log.debug("the web's loop has ended")

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._server.serve(sockets=[self._socket]))
            self._loop.run_until_complete(_let_go(self._server))
        except Exception:
            log.exception("the page has ended; everything else goes on")
        finally:
            self._socket.close()
            self._loop.close()


async def _let_go(server: uvicorn.Server) -> None:
    """Cut off who still reads, and wait for what was cancelled."""
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    await asyncio.gather(*server.server_state.tasks, return_exceptions=True)
    await asyncio.sleep(0)
