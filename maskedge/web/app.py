"""What the server answers: the page, its news as server-sent events, the picture, the metrics."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from maskedge.events import to_json
from maskedge.web.faulthelp import fault_help
from maskedge.web.hub import FRESH
from maskedge.web.picture import Pictures
from maskedge.web.shield import Shield, body, nothing, refuse, static

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from maskedge.config import WebConfig
    from maskedge.web.access import Access
    from maskedge.web.hub import Hub
    from maskedge.web.metrics import PageMetrics

    Handler = Callable[[Request], Awaitable[Response]]

log = logging.getLogger(__name__)

TICK = 0.25
"""Seconds between two looks for news."""
SHORT = 0.05
"""The same while somebody waits for an answer."""
SILENCE = 10.0
"""Seconds without news after which an empty line proves that the connection lives."""
REMEMBER = 90 * 86_400
"""Seconds for which a browser stays logged in."""
WRONG = 1.0
"""Seconds that a wrong token costs."""

FILES = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}


def build(
    hub: Hub, metrics: PageMetrics, access: Access, config: WebConfig, stopping: asyncio.Event
) -> Starlette:
    """The application.

    Args:
        hub: where the news comes from.
        metrics: what is scraped.
        access: who may see it.
        config: the section in force.
        stopping: set when the server shall end; long answers then end too.
    """
    pages = _Pages(hub, metrics, access, config, stopping)
    app = Starlette(
        routes=[
            *(Route(path, static(*file)) for path, file in FILES.items()),
            Route("/favicon.ico", nothing),
            Route("/session", pages.session, methods=["GET", "POST", "DELETE"]),
            Route("/events", pages.guarded(pages.events)),
            Route("/status.json", pages.guarded(pages.status)),
            Route("/picture", pages.guarded(pages.picture)),
            Route("/metrics", pages.guarded(pages.metrics)),
        ],
        exception_handlers={HTTPException: refuse},
    )
    app.state.stopping = stopping
    app.add_middleware(Shield, access=access, public=FILES)
    return app


class _Pages:
    def __init__(
        self,
        hub: Hub,
        metrics: PageMetrics,
        access: Access,
        config: WebConfig,
        stopping: asyncio.Event,
    ) -> None:
        self._hub = hub
        self._metrics = metrics
        self._access = access
        self._stopping = stopping
        self._pictures = Pictures(hub, config, stopping) if config.picture else None

    def guarded(self, handler: Handler) -> Handler:
        """Only for who brings the token."""

        async def guard(request: Request) -> Response:
            await self._check(request)
            return await handler(request)

        return guard

    async def _check(self, request: Request) -> None:
        given, cookies = request.headers.get("authorization"), request.headers.get("cookie")
        if not self._access.admits(given, cookies):
            if given is not None:
                await asyncio.sleep(WRONG)
            raise HTTPException(401, "a token is needed", {"www-authenticate": "Bearer"})

    async def session(self, request: Request) -> Response:
        """GET: whether a token is needed still; POST: log in; DELETE: log out."""
        done = Response(status_code=204)
        if request.method == "DELETE":
            self._set_cookie(done, "", 0)
        elif request.method == "GET":
            await self._check(request)
            done = JSONResponse({"token": not self._access.open})
        elif self._access.accepts(await body(request)):
            self._set_cookie(done, self._access.session(), REMEMBER)
        else:
            await asyncio.sleep(WRONG)
            raise HTTPException(401, "that isn't the token")
        return done

    def _set_cookie(self, answer: Response, value: str, seconds: int) -> None:
        """Without a path it is for the page's own: a proxy's host may have a unit under each."""
        answer.set_cookie(
            self._access.cookie, value, seconds, path=None, httponly=True, samesite="strict"
        )

    async def events(self, _request: Request) -> Response:
        """All news from now on, beginning with how things are."""
        unbuffered = {"x-accel-buffering": "no"}  # nginx would else hold it back
        return StreamingResponse(self._news(), media_type="text/event-stream", headers=unbuffered)

    async def status(self, _request: Request) -> Response:
        """The same news once, as one JSON object."""
        await self._fresh()
        topics = self._hub.topics()
        return JSONResponse({name: topic.content() for name, topic in topics.items()})

    async def picture(self, request: Request) -> Response:
        """The next picture as JPEG, with what is seen in it in a header."""
        if self._pictures is None:
            raise HTTPException(404, "the picture is switched off: web.picture")
        try:
            after = int(request.query_params.get("after", "0"))
        except ValueError:
            raise HTTPException(400, "after: expected the number of a picture") from None
        encoded = await self._pictures.after(after)
        if encoded is None:
            return Response(status_code=204)
        headers = {"x-maskedge-view": encoded.description}
        return Response(encoded.jpeg, media_type="image/jpeg", headers=headers)

    async def metrics(self, request: Request) -> Response:
        """In the exposition format of Prometheus or OpenMetrics."""
        await self._fresh()
        body, content_type = self._metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def _fresh(self) -> None:
        """Wait for a new overview; while nobody wants one, none is made."""
        for _ in range(round(FRESH / SHORT)):
            if self._hub.fresh() or self._stopping.is_set():
                return
            await asyncio.sleep(SHORT)

    async def _news(self) -> AsyncIterator[str]:
        yield "retry: 2000\n\n" + _event("help", fault_help())
        seen: dict[str, object] = {}
        loop = asyncio.get_running_loop()
        began = told = loop.time()
        while not self._stopping.is_set():
            old = not self._hub.fresh() and loop.time() - began < FRESH
            for name, topic in self._hub.topics().items():
                if name == "overview" and old:
                    continue  # a new one comes within a second, unless the daemon's loop hangs
                if name not in seen or seen[name] != topic.version:
                    seen[name] = topic.version
                    told = loop.time()
                    yield _event(name, topic.content())
            if loop.time() - told > SILENCE:
                told = loop.time()
                yield ":\n\n"
            await asyncio.sleep(TICK)


def _event(name: str, content: Any) -> str:
    return f"event: {name}\ndata: {to_json(content)}\n\n"
