"""Addresses of streams: recognised, shown without their password, completed with it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from maskedge.errors import InputError

STREAM_SCHEMES = frozenset({"rtsp", "rtsps", "http", "https"})
PASSWORD_VARIABLE = "MASKEDGE_CAMERA_PASSWORD"  # noqa: S105 - the name, not the secret
PASSWORD_CREDENTIAL = "camera-password"  # noqa: S105 - the name, not the secret

_USERINFO = re.compile(r"(?<=://)([^:]*):.*@")
"""Up to the *last* ``@``: rather too much hidden than a password with odd characters shown."""

_SECRET_FIELD = re.compile(r"(?i)((?:passw|pwd|token|secret|auth|key)\w*=)[^&;#/?\s]*")
"""Cheap cameras take the password in the path or the query."""


def scheme(source: str) -> str | None:
    """The scheme of ``scheme://...``, in lower case; None for anything else."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source)
    return found[1].lower() if found else None


def redact(text: str) -> str:
    """The text with the passwords of its URLs replaced by ``***``."""
    return _SECRET_FIELD.sub(r"\1***", _USERINFO.sub(r"\1:***@", text))


def shown(source: str) -> str:
    """A ``camera.source`` as messages show it, also one that is nearly a URL by mistake."""
    return redact(source) if scheme(source) else redact(f"://{source}").removeprefix("://")


def with_password(url: str) -> str:
    """Complete a URL that names a user but no password.

    The password comes from ``$MASKEDGE_CAMERA_PASSWORD``, else from the systemd credential
    ``camera-password``; without either, or without a user, the URL stays as it is.

    Raises:
        InputError: it is no URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError(f"{redact(url)}: no address of a stream: {error}") from None
    if not parts.username or parts.password is not None:
        return url
    password = os.environ.get(PASSWORD_VARIABLE) or _credential()
    if not password:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def _credential() -> str | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        return Path(folder, PASSWORD_CREDENTIAL).read_text().strip() if folder else None
    except OSError:
        return None
