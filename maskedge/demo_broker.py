"""A real MQTT broker inside this process, for the demo and for tests without mosquitto.

amqtt runs in a thread of its own with its own event loop, on a loopback port that the kernel
picks. It keeps nothing on disk and speaks MQTT 3.1.1.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any, Self

from maskedge.errors import BrokerError

if TYPE_CHECKING:
    from types import TracebackType

START_TIMEOUT = 20.0


class EmbeddedBroker:
    """``with EmbeddedBroker() as broker: ... broker.port``."""

    def __init__(self) -> None:
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._done: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)

    def __enter__(self) -> Self:
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.CRITICAL)
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT) or self._failure is not None:
            raise BrokerError(f"the embedded broker didn't start: {self._failure or 'no answer'}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._done is not None:
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(START_TIMEOUT)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            self._failure = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        from amqtt.broker import Broker  # noqa: PLC0415 - of the extra `demo` only

        self._done = asyncio.Event()
        config: dict[str, Any] = {
            "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
        broker = Broker(config)
        await broker.start()
        try:
            self.port = _bound_port(broker)
            self._ready.set()
            await self._done.wait()
        finally:
            await broker.shutdown()


def _bound_port(broker: Any) -> int:
    server = broker._servers["default"].instance  # noqa: SLF001 - amqtt tells it nowhere else
    port: int = server.sockets[0].getsockname()[1]
    return port
