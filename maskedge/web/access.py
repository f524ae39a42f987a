"""Who may see the page: a token where others can reach it, and no name that isn't ours.

A page on somebody's site can make a browser ask *this* machine for things: by its address
(stopped by ``Sec-Fetch-Site`` and the missing cookie) or, after rebinding a name of its own to
our address, as if it were ours (stopped by looking at ``Host``).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskedge.config import WebConfig

TOKEN_VARIABLE = "MASKEDGE_WEB_TOKEN"  # noqa: S105 - a name, no secret
CREDENTIAL = "web-token"
MIN_LENGTH = 16
"""Characters of a token, at least: it can be tried over the network."""
_CURE = "make one with: openssl rand -hex 16"


def token(config: WebConfig, environ: Mapping[str, str] | None = None) -> str | None:
    """The token: from ``token_file``, else the environment, else systemd's credential.

    Args:
        config: the section.
        environ: None: this process's.

    Returns:
        None: nobody is asked for one, as only this machine can reach the page.

    Raises:
        ConfigError: there must be one and isn't, or it is too short, or can't be read.
    """
    environ = os.environ if environ is None else environ
    found, where = _find(config, environ)
    if not found:
        if config.token_file is None and config.local:
            return None
        if config.token_file is not None:
            raise ConfigError(f"{where} is empty: {_CURE}")
        raise ConfigError(
            f"web.host {config.host} can be reached by others, so a token is needed: set "
            f"web.token_file or {TOKEN_VARIABLE}; {_CURE}"
        )
    if not (found.isascii() and found.isprintable()):
        raise ConfigError(f"{where}: must be one line of plain ASCII characters; {_CURE}")
    if len(found) < MIN_LENGTH:
        raise ConfigError(f"{where}: shorter than {MIN_LENGTH} characters; {_CURE}")
    return found


def _find(config: WebConfig, environ: Mapping[str, str]) -> tuple[str, str]:
    """(token or nothing, where it was found)."""
    if config.token_file is not None:
        return _read(config.token_file, "web.token_file"), f"web.token_file {config.token_file}"
    if given := environ.get(TOKEN_VARIABLE, "").strip():
        return given, TOKEN_VARIABLE
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder and (path := Path(folder) / CREDENTIAL).exists():
        return _read(path, "credential"), f"credential {path}"
    return "", ""


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} {path}: can't be read: it isn't text in UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{what} {path}: can't be read: {error.strerror}") from error


class Access:
    """Judges requests by their headers.

    Args:
        config: the section in force.
        secret: the token; None: nobody is asked for one.
    """

    def __init__(self, config: WebConfig, secret: str | None) -> None:
        host = socket.gethostname().lower()
        self._names = {"localhost", host, f"{host}.local", *map(str.lower, config.allowed_hosts)}
        self._token = None if secret is None else secret.encode()
        # Cookies are shared by all ports of a host: each unit's has its own name.
        self.cookie = f"maskedge-{config.port}"

    @property
    def open(self) -> bool:
        """Whether nobody is asked for a token."""
        return self._token is None

    def knows(self, host: str) -> bool:
        """Whether a ``Host`` header names us: an address, this machine, or an allowed name.

        An address can't be rebound, so any will do.
        """
        name = host.strip().lower()
        if name.startswith("["):
            name, _, _ = name[1:].partition("]")
        elif name.count(":") == 1:
            name, _, _ = name.partition(":")
        name = name.removesuffix(".")
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def session(self) -> str:
        """The cookie of a browser that knows the token; it changes with the token."""
        key = self._token or b""
        return hmac.new(key, b"maskedge status page", hashlib.sha256).hexdigest()

    def accepts(self, given: str) -> bool:
        """Whether this is the token, in constant time."""
        return self._token is None or hmac.compare_digest(given.encode(), self._token)

    def admits(self, authorization: str | None, cookies: str | None) -> bool:
        """Whether a request brings the token (``Bearer``) or its cookie."""
        if self._token is None:
            return True
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and self.accepts(given.strip()):
            return True
        # Not http.cookies: it forgets them all where another program's isn't to its liking.
        session = self.session().encode()
        pairs = (pair.strip().partition("=") for pair in (cookies or "").split(";"))
        return any(
            name == self.cookie and hmac.compare_digest(value.encode(), session)
            for name, _, value in pairs
        )
