"""What a training run that goes on must have kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskedge.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


def same_settings(
    folder: Path, fixed: Iterable[str], before: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    """See that a run goes on with the settings that what it learnt depends on.

    Args:
        folder: of the run, for the message.
        fixed: names of the settings that can't change.
        before: the settings that it was begun with.
        now: those that it shall go on with.

    Raises:
        UsageError: it says what can't change.
    """
    for name in fixed:
        old, new = before[name], now[name]
        if old != new:
            raise UsageError(
                f"{folder}: was begun with {name.replace('_', ' ')} {_shown(old)}, not "
                f"{_shown(new)}; go on with that, or train anew with another --out"
            )


def _shown(value: Any) -> str:
    return "none" if value in {None, ""} else str(value)
