"""Options that several commands share, and how they become a configuration."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maskedge.configfile import LoadedConfig

F = TypeVar("F", bound="Callable[..., Any]")


def _settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's signature
    """The keys that ``--set`` takes, for the shell's completion."""
    from maskedge.config import Config

    return sorted(f"{key}=" for key in _keys(Config().model_dump()) if key.startswith(incomplete))


def _keys(section: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


class Seconds(click.FloatRange):
    """A number of seconds within bounds; ``nan``, which lies in any range of click's, is none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See click."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return seconds


_config = click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),  # what is wrong with it, the reader tells
    help="Configuration file.",
)
_set = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=_settings,
    help="Override a setting, e.g. verdict.min_face=40. May be repeated.",
)
_source = click.option(
    "--source",
    metavar="SOURCE",
    help="Camera: auto, picamera, /dev/video0, rtsp://…, a video, picture or folder.",
)


def config_options(function: F) -> F:
    """Add ``--config`` and ``--set``."""
    return _config(_set(function))


def source_option(function: F) -> F:
    """Add ``--source``."""
    return _source(function)


def quiet_option(quiet: str) -> Callable[[F], F]:
    """Add ``--quiet``, with what it means for this command."""
    return click.option("-q", "--quiet", is_flag=True, help=quiet)


def verbosity_options(
    *, quiet: str = "Log warnings only.", verbose: str = "Log everything."
) -> Callable[[F], F]:
    """Add ``--quiet`` and ``--verbose``, with what they mean for this command."""

    def add(function: F) -> F:
        more = click.option("-v", "--verbose", is_flag=True, help=verbose)
        return quiet_option(quiet)(more(function))

    return add


def verbosity(quiet: bool, verbose: bool) -> int:
    """The level that :func:`maskedge.logs.set_up` takes."""
    return int(verbose) - int(quiet)


def load_config(
    config_path: Path | None, source: str | None, overrides: tuple[str, ...]
) -> LoadedConfig:
    """Find, merge and validate; raises ConfigError."""
    import yaml

    from maskedge import configfile

    extra = () if source is None else (f"camera.source={yaml.safe_dump(source, width=10**6)}",)
    return configfile.load(configfile.find(config_path), (*overrides, *extra))
