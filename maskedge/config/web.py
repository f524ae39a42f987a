"""The section of the status page."""

from __future__ import annotations

import ipaddress
import re

from pydantic import Field, field_validator

from maskedge.config.base import FilePath, Section

_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
"""As browsers send it: other letters come as xn--."""


class WebConfig(Section):
    """The status page and the metrics."""

    enabled: bool = Field(False, description="serve them; false: no socket listens")
    host: str = Field("127.0.0.1", description="address to listen at; beyond this machine: a token")
    port: int = Field(8620, ge=1, le=65_535, description="TCP port")
    token_file: FilePath | None = Field(
        None, description="file with the token; or MASKEDGE_WEB_TOKEN, or a credential"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="further names that browsers may ask for; a proxy's, for example"
    )
    picture: bool = Field(True, description="show the live picture")
    picture_fps: float = Field(5.0, ge=0.2, le=30.0, description="most pictures shown per second")
    picture_width: int = Field(640, ge=160, le=3840, description="widest picture shown, pixels")

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if value == "localhost":
            return "127.0.0.1"
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            raise ValueError(
                f"host must be an address of this machine (127.0.0.1, 0.0.0.0, ::), got {value!r}"
            ) from None

    @field_validator("allowed_hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError(
                    "allowed_hosts takes host names alone, without https://, port or path, such as "
                    f"proxy.example.org; got {name!r}"
                )
        return tuple(name.rstrip(".") for name in value)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback
