"""The page on which a person labels the kept faces, at this machine only.

Who has the link that ``maskedge review`` prints is let in, once per link; each label is on the disk
before the next is asked for.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from maskedge.config import WebConfig
from maskedge.errors import InputError, ReviewError
from maskedge.review import export
from maskedge.review.record import DELETED, MARKS
from maskedge.vision.base import LABELS
from maskedge.web.access import Access
from maskedge.web.server import Server, listen
from maskedge.web.shield import Shield, body, nothing, refuse, static

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from maskedge.review.folder import Item, ReviewFolder
    from maskedge.web.shield import Handler

HOST = "127.0.0.1"
FILES = {
    "/": ("review.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/review.css": ("review.css", "text/css"),
    "/review.js": ("review.js", "text/javascript"),
}


class ReviewPage:
    """Serves the page until closed.

    Attributes:
        port: where.
    """

    def __init__(self, folder: ReviewFolder, port: int, used: Callable[[], None]) -> None:
        """Listen.

        Args:
            folder: the kept faces.
            port: TCP; 0: any.
            used: told, in the server's thread, when a link was used up.

        Raises:
            WebError: it can't listen there.
        """
        self._folder = folder
        self._used = used
        self._turn = asyncio.Lock()
        self._link = ""
        self._socket = listen(HOST, port, setting="--port")
        self.port: int = self._socket.getsockname()[1]
        self._access = Access(WebConfig(port=self.port), secrets.token_hex(32))
        self._server = Server(self._build(), self._socket)

    def link(self) -> str:
        """A new address that lets one browser in; an earlier one doesn't any more."""
        self._link = secrets.token_urlsafe(24)
        return f"http://{HOST}:{self.port}/?key={self._link}"

    def close(self) -> None:
        """End; the port is free afterwards."""
        self._server.stop()
        self._socket.close()

    def _build(self) -> Starlette:
        files = {path: static(*file) for path, file in FILES.items()}
        app = Starlette(
            routes=[
                Route("/", self._enter(files.pop("/"))),
                *(Route(path, file) for path, file in files.items()),
                Route("/favicon.ico", nothing),
                Route("/faces.json", self._guarded(self._faces)),
                Route("/faces/{name}.jpg", self._guarded(self._picture)),
                Route("/faces/{name}/label", self._guarded(self._label), methods=["PUT"]),
                Route("/review.zip", self._guarded(self._archive)),
            ],
            exception_handlers={HTTPException: refuse},
        )
        app.state.stopping = asyncio.Event()
        app.add_middleware(Shield, access=self._access, public=FILES)
        return app

    def _enter(self, page: Handler) -> Handler:
        """Whoever brings the link's key gets a cookie for it, and an address without it."""

        async def enter(request: Request) -> Response:
            key = request.query_params.get("key")
            if key is None:
                return await page(request)
            if not self._link or not secrets.compare_digest(key.encode(), self._link.encode()):
                return await page(request)  # it says what to do, or works, if let in before
            self._link = ""
            self._used()
            answer = RedirectResponse("/", 303)
            answer.set_cookie(
                self._access.cookie, self._access.session(), httponly=True, samesite="strict"
            )
            return answer

        return enter

    def _guarded(self, handler: Handler) -> Handler:
        async def guard(request: Request) -> Response:
            headers = request.headers
            if not self._access.admits(headers.get("authorization"), headers.get("cookie")):
                raise HTTPException(401, "open the link that maskedge review prints")
            try:
                async with self._turn:
                    return await handler(request)
            except FileNotFoundError:
                raise HTTPException(404, "this face was removed meanwhile") from None
            except InputError as error:
                raise HTTPException(409, str(error)) from None
            except ReviewError as error:
                raise HTTPException(503, str(error)) from None

        return guard

    async def _faces(self, _request: Request) -> Response:
        """All faces, the most doubtful first."""
        items = await run_in_threadpool(self._folder.items)
        shown = (item for item in items if item.mark != DELETED)
        ranked = sorted(shown, key=lambda item: -item.record.doubt)
        return JSONResponse({"labels": LABELS, "faces": [_described(item) for item in ranked]})

    async def _picture(self, request: Request) -> Response:
        jpeg = await run_in_threadpool(self._folder.picture, request.path_params["name"])
        return Response(jpeg, media_type="image/jpeg")

    async def _label(self, request: Request) -> Response:
        """What the person says; nothing: it is taken back."""
        label = await body(request)
        if label and label not in MARKS:
            raise HTTPException(400, f"expected one of {', '.join(MARKS)}, or nothing")
        await run_in_threadpool(self._folder.mark, request.path_params["name"], label or None)
        return Response(status_code=204)

    async def _archive(self, _request: Request) -> Response:
        items = await run_in_threadpool(export.labelled, self._folder)
        return StreamingResponse(
            export.archive(self._folder, items),
            media_type="application/zip",
            headers={"content-disposition": 'attachment; filename="maskedge-review.zip"'},
        )


def _described(item: Item) -> dict[str, Any]:
    record = item.record
    width, height = record.width, record.height

    def place(box: Any) -> list[float]:
        return [round(edge, 4) for edge in box.relative(width, height)]

    return {
        "name": item.name,
        "time": record.time.isoformat(),
        "width": width,
        "height": height,
        "box": place(record.box),
        "others": [place(box) for box in record.others],
        "scores": record.scores,
        "decided": record.decided,
        "doubt": record.doubt,
        "size": round(record.size),
        "label": item.mark,
    }
