"""Why a stream can't be opened, in words: OpenCV says only that it couldn't.

Asked after a failure, over a connection of its own: resolve, connect, then one RTSP DESCRIBE
(RFC 2326, with the Basic or Digest answer of RFC 2617) or one HTTP GET.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from maskedge.camera.urls import PASSWORD_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_MAX_ANSWER = 16_384


def explain(url: str, timeout: float = 3.0) -> str:
    """Say why the stream at this URL gives nothing, and the cure; never its password.

    Args:
        url: with its password.
        timeout: seconds for each step.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS[parts.scheme]
    except ValueError:
        host = None
    if not host:
        return "the address can't be understood: write rtsp://host:port/path"
    try:
        with socket.create_connection((host, port), timeout) as connection:
            status = _ask(parts, host, port, connection, timeout)
    except socket.gaierror:
        return f"the host {host!r} is unknown: correct its name, or check DNS and the network"
    except ConnectionRefusedError:
        return f"{host} refuses port {port}: start its stream server or correct the port"
    except TimeoutError:
        return f"{host} doesn't answer on port {port}: is it switched on, and in this network?"
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return f"no connection to {host} port {port} ({reason}): check the network and the port"
    return _meaning(status, parts, host)


def _ask(
    parts: SplitResult, host: str, port: int, connection: socket.socket, timeout: float
) -> int | None:
    """The status that the server answers with; None where only the connection can be tried."""
    if parts.scheme == "rtsp":
        return _describe(parts, host, port, connection)
    if parts.scheme == "http":
        headers = {"Authorization": _basic(parts)} if parts.username else {}
        request = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            request.request(
                "GET", urlunsplit(("", "", parts.path or "/", parts.query, "")), "", headers
            )
            return request.getresponse().status
        finally:
            request.close()
    return None


def _meaning(status: int | None, parts: SplitResult, host: str) -> str:
    if status == _UNAUTHORISED and not parts.username:
        return (
            f"{host} wants a user and password: write {parts.scheme}://user@host/… and give the "
            f"password by {PASSWORD_VARIABLE}"
        )
    if status in {_UNAUTHORISED, _FORBIDDEN}:
        return f"{host} refuses this user and password: correct them"
    if status == _NOT_FOUND:
        return f"{host} has no stream at {parts.path or '/'!r}: correct the path"
    if status is None or 200 <= status < 300:  # noqa: PLR2004 - the class of success
        return f"{host} answers, but sent no video that can be decoded in time (H.264, MJPEG …)"
    return f"{host} answers with error {status}: see the camera's own log"


def _describe(parts: SplitResult, host: str, port: int, connection: socket.socket) -> int:
    target = urlunsplit((parts.scheme, f"{host}:{port}", parts.path, parts.query, ""))
    status, headers = _exchange(connection, target, 1, None)
    if status == _UNAUTHORISED and parts.username:
        challenge = headers.get("www-authenticate", "")
        answer = (
            _digest(parts, target, challenge)
            if challenge.lower().startswith("digest")
            else _basic(parts)
        )
        status, _ = _exchange(connection, target, 2, answer)
    return status


def _exchange(
    connection: socket.socket, target: str, number: int, authorization: str | None
) -> tuple[int, Mapping[str, str]]:
    lines = [f"DESCRIBE {target} RTSP/1.0", f"CSeq: {number}", "Accept: application/sdp"]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _MAX_ANSWER:
        chunk = connection.recv(4096)
        if not chunk:
            break
        answer += chunk
    first, *rest = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    found = re.match(r"RTSP/\d\.\d (\d{3})", first)
    if found is None:
        raise ValueError("no RTSP")
    headers: dict[str, str] = {}
    for line in rest:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return int(found[1]), headers


def _basic(parts: SplitResult) -> str:
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _digest(parts: SplitResult, target: str, challenge: str) -> str:
    """Answer a Digest challenge without qop, the form that RTSP servers use."""
    said = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm, nonce = said.get("realm", ""), said.get("nonce", "")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    response = md5(f"{md5(f'{user}:{realm}:{password}')}:{nonce}:{md5(f'DESCRIBE:{target}')}")
    fields = {
        "username": user, "realm": realm, "nonce": nonce, "uri": target, "response": response
    }  # fmt: skip
    return "Digest " + ", ".join(f'{key}="{value}"' for key, value in fields.items())
