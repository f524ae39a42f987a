"""The broker's password and TLS settings: read once, kept out of every message and log."""

from __future__ import annotations

import hashlib
import os
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from maskedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskedge.config import MqttConfig, TlsConfig

PASSWORD_VARIABLE = "MASKEDGE_MQTT_PASSWORD"  # noqa: S105 - a name, no secret
CREDENTIAL = "mqtt-password"
AS_A_SERVICE = f"write the password into /etc/maskedge/{CREDENTIAL} and restart the service"


@dataclass(frozen=True, slots=True)
class Login:
    """What a connection needs besides the configuration; equal while the files say the same.

    Attributes:
        password: None: none is asked for.
        tls: how to encrypt; None: not at all.
        files: SHA-256 of the certificates that ``mqtt.tls`` names, in hexadecimal.
    """

    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None = field(compare=False)
    files: tuple[str, ...]

    @classmethod
    def read(cls, config: MqttConfig, environ: Mapping[str, str] | None = None) -> Self:
        """Read all of it.

        Args:
            config: the broker's section.
            environ: where the password may be; None: this process's environment.

        Raises:
            ConfigError: password, certificate or key can't be read or isn't one.
        """
        # First the hashes: of a file replaced in between, the next reading tells.
        files = _hashes(config.tls)
        return cls(password(config, environ), tls_context(config.tls), files)


def password(config: MqttConfig, environ: Mapping[str, str] | None = None) -> str | None:
    """The password: from ``password_file``, else the environment, else systemd's credential.

    A line break at the end belongs to the file, not to the password.

    Args:
        config: the broker's section.
        environ: None: this process's.

    Raises:
        ConfigError: ``password_file`` can't be read, is empty, or there is no user name for it.
    """
    environ = os.environ if environ is None else environ
    if config.password_file is not None:
        if config.username is None:
            raise ConfigError("mqtt.password_file is set, but mqtt.username isn't: set it")
        return _read(config.password_file, "mqtt.password_file")
    if config.username is None:
        return None
    if PASSWORD_VARIABLE in environ:
        return environ[PASSWORD_VARIABLE]
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder and (Path(folder) / CREDENTIAL).exists():
        return _read(Path(folder) / CREDENTIAL, "credential", AS_A_SERVICE)
    return None


def tls_context(config: TlsConfig) -> ssl.SSLContext | None:
    """How to encrypt; None: not at all.

    Raises:
        ConfigError: a certificate or key file can't be read or isn't one.
    """
    if not config.enabled:
        return None
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"mqtt.tls.ca_file {config.ca_file}: {_why(error)}; give PEM certificates"
        ) from error
    if not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.cert_file is not None:
        try:
            # An empty pass phrase, else OpenSSL would ask for one at the terminal.
            context.load_cert_chain(config.cert_file, config.key_file, password="")
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"mqtt.tls.cert_file {config.cert_file} with key_file {config.key_file}: "
                f"{_why(error)}; give a PEM certificate and its unencrypted key"
            ) from error
    return context


def _hashes(config: TlsConfig) -> tuple[str, ...]:
    """Of what can be read; the rest is :func:`tls_context`'s to tell."""
    named = (config.ca_file, config.cert_file) if config.enabled else ()
    hashes: list[str] = []
    for path in named:
        if path is not None:
            with suppress(OSError):
                hashes.append(hashlib.sha256(path.read_bytes()).hexdigest())
    return tuple(hashes)


def _read(path: Path, what: str, cure: str = "write the password into it") -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {path}: can't be read: {_why(error)}") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError(f"{what} {path}: is empty; {cure}")
    return text


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not a usable file").replace("_", " ").lower()
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it isn't text in UTF-8"
