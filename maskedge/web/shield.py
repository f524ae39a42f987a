"""What every page of ours has around it: no strangers' names, strict headers, small bodies."""

from __future__ import annotations

import asyncio
import logging
from importlib import resources
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from maskedge.web.access import Access

    Handler = Callable[[Request], Awaitable[Response]]

log = logging.getLogger(__name__)

MAX_BODY = 1024
"""Bytes of a body: a token, a label."""
BODY_TIMEOUT = 5.0
"""Seconds that it may take to arrive."""

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


class Shield:
    """Around everything: refuses strangers' names, adds the security headers, logs mistakes."""

    def __init__(self, app: ASGIApp, access: Access, public: Collection[str]) -> None:
        """Only paths in ``public``, which hold nothing of ours, may be asked for by other sites."""
        self._app = app
        self._access = access
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
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
            log.exception("the page failed at %s", scope["path"])
            if not begun:
                await PlainTextResponse("internal error\n", 500)(scope, receive, shielded)

    def _refusal(self, scope: Scope) -> str | None:
        """Why a request isn't answered at all."""
        given = dict(scope["headers"])
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._access.knows(hosts[0].decode("latin-1")):
            return "this host name isn't known here; web.allowed_hosts can allow it"
        site = given.get(b"sec-fetch-site", b"none")
        if site not in {b"none", b"same-origin"} and scope["path"] not in self._public:
            return "asked for by another site"
        return None


def static(name: str, media_type: str) -> Handler:
    """One of our own files, as it is."""
    content = (resources.files("maskedge.web") / "static" / name).read_bytes()

    async def answer(_request: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer


async def nothing(_request: Request) -> Response:
    """No content."""
    return Response(status_code=204)


async def refuse(_request: Request, error: Exception) -> Response:
    """Say why a request isn't answered, as text."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


async def body(request: Request) -> str:
    """A small body that comes soon, as text.

    Raises:
        HTTPException: it is too long, too slow or no text.
    """
    content = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAX_BODY:
                    raise HTTPException(413, "too long")
        return content.decode().strip()
    except (TimeoutError, UnicodeDecodeError):
        raise HTTPException(400, "expected a short text") from None
