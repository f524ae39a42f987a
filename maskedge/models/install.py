"""Puts networks in force once every check has passed; refuses them otherwise."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge import __version__
from maskedge.errors import ModelError, UsageError
from maskedge.inference.edgetpu import compiled_path
from maskedge.inference.interpreter import read
from maskedge.inference.trial import TIMEOUT
from maskedge.modelfile import ModelFile
from maskedge.models.card import parse
from maskedge.models.change import changing
from maskedge.models.examine import examine, examine_family, stem_of
from maskedge.models.parcel import STEMS, SUFFIX, Item, gather
from maskedge.models.store import ROLES, Folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from maskedge.config import Config
    from maskedge.models.change import Change
    from maskedge.models.examine import Finding
    from maskedge.models.store import Role, State, Store


REFUSED = "refused; the networks in force stay"


@dataclass(frozen=True, slots=True)
class Done:
    """What an installation or a rollback did.

    Attributes:
        changed: False: these networks were in force already.
        state: what is in force now.
        folders: where that lies.
    """

    changed: bool
    state: State
    folders: Folders


def examine_all(
    items: Sequence[Item], config: Config, timeout: float = TIMEOUT
) -> Iterator[Finding]:
    """Every check of every network, and of detectors together; a run takes ``timeout`` seconds."""
    fit = True
    for item in items:
        for finding in examine(item, config.inference.accelerator, timeout):
            fit = fit and finding.status != "fail"
            yield finding
    detectors = [item for item in items if item.path.stem in STEMS["detector"]]
    if fit and detectors:
        yield from examine_family(detectors, config)


def install(
    given: Sequence[Path],
    config: Config,
    store: Store,
    tell: Callable[[Finding], None],
    timeout: float = TIMEOUT,
) -> Done:
    """Examine files or folders, and put them in force.

    Args:
        given: see :func:`maskedge.models.parcel.gather`.
        config: what the daemon will ask of them.
        store: where they go.
        tell: called with every finding, as it is made.
        timeout: seconds that the start and each run of a network may take.

    Raises:
        ModelError: they are refused; what was in force stays so.
        StoreError: the store can't be changed.
        InputError, UsageError: the files aren't there, or aren't what was asked for.
    """
    with changing(store) as change:
        items = gather(given, _in_force(store))
        named = _named(items, config, tell)
        new = [stem for stem, item in named.items() if {item.path, item.path.parent} & {*given}]
        change.spare({_role(stem) for stem in new})
        staged = _stage(named, change)
        fit = True
        for finding in examine_all([item for _, item in staged], config, timeout):
            tell(finding)
            fit = fit and finding.status != "fail"
        if not fit:
            raise ModelError(REFUSED)
        origin = {
            "installed_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "from": [str(path.resolve()) for path in given],
            "maskedge": __version__,
        }
        folders = {role: item.path.parent for role, item in staged}
        changed = change.commit(folders, origin)
        return Done(changed, change.state, store.folders(change.state.current))


def go_back(store: Store, *, shipped: bool) -> Done:
    """Put in force what was before the last change; or what is shipped.

    Raises:
        StoreError: there is nothing to go back to, or the store can't be changed.
        ModelError: what was before is damaged.
    """
    with changing(store) as change:
        changed = change.go_back(shipped=shipped)
        return Done(changed, change.state, store.folders(change.state.current))


def _in_force(store: Store) -> Folders:
    """What is in force; where nobody can tell, as the daemon does: the next best."""
    with suppress(ModelError):
        return store.folders()
    return next(store.fallbacks())


def _stage(named: Mapping[str, Item], change: Change) -> list[tuple[Role, Item]]:
    """Copy the files to where they shall lie, so that what is examined is what is kept."""
    staged = []
    for role in ROLES:
        mine = {stem: item for stem, item in named.items() if _role(stem) == role}
        files = {}
        for stem, item in mine.items():
            network = Path(stem + SUFFIX)
            files[network.name] = read(item.path)
            files[f"{stem}.json"] = read(item.path.with_suffix(".json"))
            if item.compiled is not None:
                files[compiled_path(network).name] = read(item.compiled)
        if mine:
            folder = change.stage(role, files)
            for stem, item in mine.items():
                staged.append(
                    (role, replace(Item.at(folder / f"{stem}{SUFFIX}"), shown=item.shown))
                )
    return staged


def _named(
    items: Iterable[Item], config: Config, tell: Callable[[Finding], None]
) -> dict[str, Item]:
    """The networks by the names that the daemon has for them.

    Raises:
        ModelError: a network or its description doesn't even say what it is.
        UsageError: two have the same name.
    """
    named: dict[str, Item] = {}
    unknown = False
    for item in items:
        stem = _stem(item)
        if stem is None:
            unknown = True
            for finding in examine(item, config.inference.accelerator):
                tell(finding)
        elif stem in named:
            both = f"{named[stem].shown} and {item.shown}"
            raise UsageError(f"{both} are both a {stem}: give one of them")
        else:
            named[stem] = item
    if unknown:
        raise ModelError(REFUSED)
    return named


def _role(stem: str) -> Role:
    return "classifier" if stem in STEMS["classifier"] else "detector"


def _stem(item: Item) -> str | None:
    """What the daemon will call it; None: it doesn't hold together."""
    try:
        card, _ = parse(ModelFile.load(item.path).card)
    except ModelError:
        return None
    return None if card is None else stem_of(card)
