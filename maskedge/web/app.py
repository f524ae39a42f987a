"""What the server answers: the page, its news as server-sent events, the picture, the metrics."""

from __future__ import annotations

import asyncio
import logging
from importlib import resources
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from maskedge.events import to_json
from maskedge.web.faulthelp import fault_help
from maskedge.web.hub import FRESH
from maskedge.web.picture import Pictures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
MAX_BODY = 1024
"""Bytes of a log-in."""
BODY_TIMEOUT = 5.0
"""Seconds that a log-in may take to arrive."""
REMEMBER = 90 * 86_400
"""Seconds for which a browser stays logged in."""
WRONG = 1.0
"""Seconds that a wrong token costs."""

FILES = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
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
            *(Route(path, _file(*file)) for path, file in FILES.items()),
            Route("/favicon.ico", _nothing),
            Route("/session", pages.session, methods=["GET", "POST", "DELETE"]),
            Route("/events", pages.guarded(pages.events)),
            Route("/status.json", pages.guarded(pages.status)),
            Route("/picture", pages.guarded(pages.picture)),
            Route("/metrics", pages.guarded(pages.metrics)),
        ],
        exception_handlers={HTTPException: _refuse},
    )
    app.state.stopping = stopping
    app.add_middleware(_Shield, access=access)
    return app


class _Shield:
    """Around everything: refuses strangers' names, adds the security headers, logs mistakes."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun = False

        async def shielded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                present = {name for name, _ in message["headers"]}
                message["headers"] += [
                    (name.encode(), value.encode())
                    for name, value in HEADERS.items()
                    if name.encode() not in present
                ]
            await send(message)

        refusal = self._refusal(scope)
        app = self._app if refusal is None else PlainTextResponse(f"{refusal}\n", 403)
        try:
            await app(scope, receive, shielded)
        except Exception:
            log.exception("the status page failed at %s", scope["path"])
            if not begun:
                await PlainTextResponse("internal error\n", 500)(scope, receive, shielded)

    def _refusal(self, scope: Scope) -> str | None:
        """Why a request isn't answered at all."""
        given = dict(scope["headers"])
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._access.knows(hosts[0].decode("latin-1")):
            return "this host name isn't known here; web.allowed_hosts can allow it"
        site = given.get(b"sec-fetch-site", b"none")
        if site not in {b"none", b"same-origin"} and scope["path"] not in FILES:
            return "asked for by another site"
        return None


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
            self._check(request)
            return await handler(request)

        return guard

    def _check(self, request: Request) -> None:
        headers = request.headers
        if not self._access.admits(headers.get("authorization"), headers.get("cookie")):
            raise HTTPException(401, "a token is needed", {"www-authenticate": "Bearer"})

    async def session(self, request: Request) -> Response:
        """GET: whether a token is needed still; POST: log in; DELETE: log out."""
        done = Response(status_code=204)
        cookie = self._access.cookie
        if request.method == "DELETE":
            done.delete_cookie(cookie, httponly=True, samesite="strict")
        elif request.method == "GET":
            self._check(request)
            done = JSONResponse({"token": not self._access.open})
        elif self._access.accepts(await _body(request)):
            value = self._access.session()
            done.set_cookie(cookie, value, max_age=REMEMBER, httponly=True, samesite="strict")
        else:
            await asyncio.sleep(WRONG)
            raise HTTPException(401, "that isn't the token")
        return done

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


def _file(name: str, media_type: str) -> Handler:
    content = (resources.files("maskedge.web") / "static" / name).read_bytes()

    async def answer(_request: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer


async def _nothing(_request: Request) -> Response:
    return Response(status_code=204)


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


async def _body(request: Request) -> str:
    """A small body that comes soon, as text."""
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise HTTPException(413, "too long for a token")
        return body.decode().strip()
    except (TimeoutError, UnicodeDecodeError):
        raise HTTPException(400, "expected the token as text") from None
