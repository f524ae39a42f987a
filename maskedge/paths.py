"""Where the program keeps what must survive a restart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskedge.config import Config


def present(path: Path) -> bool:
    """Whether there is such a file or folder; a link to nowhere isn't one.

    Raises:
        InputError: nobody can tell: a folder on the way is closed to us, the name is too long.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    return True


def from_home(path: Path) -> Path:
    """With the folder that ``~`` or ``~user`` stands for; a name that begins so by chance stays."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return systemd's ``StateDirectory=``, else the XDG base directory for state."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    base = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME", "/")) / ".local/state"
    return Path(base) / "maskedge"


SERVICE_STATE = Path("var/lib/maskedge")
"""Where systemd keeps the service's state, below the root."""


def state_at_hand(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Path:
    """The state folder for somebody at the terminal: the service's where there is one."""
    service = root / SERVICE_STATE
    if not environ.get("STATE_DIRECTORY") and os.path.lexists(service):
        return service
    return state_dir(environ)


def review_folder(config: Config, state: Path | None = None) -> Path:
    """Where uncertain faces are kept; unless the configuration says, below the state folder."""
    return config.review.folder or (state or state_dir()) / "review"


CONFIGURATION = Path("etc/maskedge")
"""Where the service's configuration and its credentials lie, below the root."""


def unit_environ(
    credential: str | None, environ: Mapping[str, str] = os.environ, root: Path = Path("/")
) -> Mapping[str, str]:
    """The environment as the unit has it, for root at the terminal.

    systemd hands the unit files of :data:`CONFIGURATION` as credentials (``LoadCredential=``).

    Args:
        credential: the file's name; None: none is wanted.
        environ: ours.
        root: the file system's.
    """
    folder = root / CONFIGURATION
    try:
        given = credential and (folder / credential).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        given = None
    if "CREDENTIALS_DIRECTORY" in environ or not given:
        return environ
    return {**environ, "CREDENTIALS_DIRECTORY": str(folder)}


def models_store(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Path:
    """The folder of installed networks: the same for the service and for who installs into it.

    ``$MASKEDGE_MODELS``; else ``models`` in ``/etc/maskedge`` where that is, as the service may
    read but not write there; else ``models`` in :func:`state_dir`.
    """
    if given := environ.get("MASKEDGE_MODELS"):
        return Path(given)
    service = root / CONFIGURATION
    return (service if service.is_dir() else state_dir(environ)) / "models"


def outbox_path(config: Config) -> Path:
    """The outbox file in force."""
    return config.outbox.path or state_dir() / "outbox.db"


def baseline_path(config: Config) -> Path:
    """Where it is kept what is normal at this place, see :mod:`maskedge.health.baseline`."""
    return outbox_path(config).with_name("baseline.json")
