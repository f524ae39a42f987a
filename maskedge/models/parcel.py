"""What a person hands over as an update: networks, their descriptions, their compiled forms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge.errors import InputError, UsageError
from maskedge.inference.edgetpu import COMPILED_SUFFIX, compiled_path
from maskedge.models.store import ROLES, Folders, Role
from maskedge.paths import present
from maskedge.vision import inputs, masks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUFFIX = ".tflite"
STEMS: dict[Role, tuple[str, ...]] = {
    "detector": tuple(size.stem for size in inputs.SHIPPED),
    "classifier": (Path(masks.SHIPPED).stem,),
}
"""What the files of each role are called where the daemon looks for them."""


@dataclass(frozen=True, slots=True)
class Item:
    """One network.

    Attributes:
        path: its file; the description has the same name with ``.json``.
        compiled: its form for the Edge TPU; None: there is none.
        shown: how to call it to the person who gave it.
    """

    path: Path
    compiled: Path | None
    shown: str

    @classmethod
    def at(cls, path: Path) -> Item:
        """A file with what lies beside it."""
        compiled = compiled_path(path)
        return cls(path, compiled if compiled.exists() else None, str(path))


def of_role(folders: Folders, role: Role) -> list[Item]:
    """The role's networks that are in these folders."""
    folder = folders.detector if role == "detector" else folders.classifier
    paths = (folder / f"{stem}{SUFFIX}" for stem in STEMS[role])
    return [Item.at(path) for path in paths if path.exists()]


def gather(given: Sequence[Path], in_force: Folders) -> list[Item]:
    """The networks among files and folders.

    Args:
        given: ``.tflite`` files, or folders of them. A compiled form (``NAME_edgetpu.tflite``)
            belongs to the ``NAME.tflite`` that is given with it, else to the one in force, which
            then comes along with all others of its role.
        in_force: where the networks in force lie.

    Raises:
        InputError: nothing is there.
        UsageError: a file is no network, or a compiled form without its network.
    """
    files = list(dict.fromkeys(file for path in given for file in _files(path)))
    plain = [file for file in files if not file.stem.endswith(COMPILED_SUFFIX)]
    items = {file: Item.at(file) for file in plain}
    for compiled in (file for file in files if file not in items):
        if _plain(compiled) in items:
            continue
        role = _role_in_force(compiled, in_force)
        for item in of_role(in_force, role):
            mine = item.path.name == _plain(compiled).name
            items[item.path] = Item(item.path, compiled, str(compiled)) if mine else item
    return list(items.values())


def _files(path: Path) -> Iterator[Path]:
    if not present(path):
        raise InputError(f"{path}: isn't there")
    if path.is_dir():
        found = sorted(path.glob(f"*{SUFFIX}"))
        if not found:
            raise InputError(f"{path}: holds no {SUFFIX} file")
        yield from found
    elif path.suffix != SUFFIX:
        raise UsageError(f"{path}: give the network itself, {path.with_suffix(SUFFIX).name}")
    else:
        yield path


def _plain(compiled: Path) -> Path:
    return compiled.with_name(compiled.stem.removesuffix(COMPILED_SUFFIX) + SUFFIX)


def _role_in_force(compiled: Path, in_force: Folders) -> Role:
    name = _plain(compiled).name
    for role in ROLES:
        if any(item.path.name == name for item in of_role(in_force, role)):
            return role
    raise UsageError(
        f"{compiled}: is the compiled form of {name}, which is neither given with it nor in force"
    )
