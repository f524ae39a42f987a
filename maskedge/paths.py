"""Where the program keeps what must survive a restart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskedge.config import Config


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return systemd's ``StateDirectory=``, else the XDG base directory for state."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    base = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME", "/")) / ".local/state"
    return Path(base) / "maskedge"


def outbox_path(config: Config) -> Path:
    """The outbox file in force."""
    return config.outbox.path or state_dir() / "outbox.db"
