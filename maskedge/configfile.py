"""Reads a configuration file and, when it is wrong, says where and how to cure it.

Every error at once, each as ``FILE:LINE: key: what was expected``, with the nearest valid key
for an unknown one. The values themselves are described in :mod:`maskedge.config`.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from maskedge.config import Config
from maskedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pydantic_core import ErrorDetails

SEARCH_PATH = (Path("/etc/maskedge/config.yaml"), Path("config.yaml"))
ENVIRONMENT = "MASKEDGE_CONFIG"
MAX_BYTES = 100_000
"""A configuration is a few kilobytes; what is larger is some other file."""
MAX_KEYS = MAX_BYTES // 2
"""Keys and list entries, those of aliases counted wherever they stand: more can't be written out.

Nested aliases unfold a few lines to more than any memory holds.
"""

KeyPath = tuple[str | int, ...]

HINTS = {
    "password": "passwords are never kept in this file; use mqtt.password_file, the environment "
    "variable MASKEDGE_MQTT_PASSWORD or a systemd credential",
    "token": "tokens are never kept in this file; use web.token_file, the environment variable "
    "MASKEDGE_WEB_TOKEN or a systemd credential",
}


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration and the file it came from (None: the defaults alone)."""

    config: Config
    path: Path | None


def find(explicit: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The configuration file in force.

    Args:
        explicit: what ``--config`` names; it must exist.
        environ: looked up for ``MASKEDGE_CONFIG``, which must exist when set.

    Returns:
        The first of ``--config``, ``$MASKEDGE_CONFIG``, ``/etc/maskedge/config.yaml``,
        ``./config.yaml``; None when there is none.
    """
    if explicit is not None:
        return explicit
    if named := environ.get(ENVIRONMENT):
        return Path(named)
    return next((path for path in SEARCH_PATH if _may_be_there(path)), None)


def _may_be_there(path: Path) -> bool:
    try:
        return path.exists()
    except (
        PermissionError
    ):  # defaults for a file that isn't ours to see would mislead: let it be told
        return True


def load(path: Path | None, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Read, merge ``--set`` overrides, validate.

    Args:
        path: the file; None for the defaults alone.
        overrides: each ``section.key=value``, the value in YAML.

    Raises:
        ConfigError: with one line per mistake.
    """
    data, places = ({}, {}) if path is None else _read(path)
    problems: list[str] = []
    for text in overrides:
        problem = _override(data, places, text)
        if problem:
            problems.append(problem)
    context = {"folder": path.resolve().parent if path else _here()}
    config: Config | None = None
    try:
        config = Config.model_validate(data, context=context)
    except ValidationError as error:
        problems += _explain(error, places, path)
    problems.sort(key=_line_number)
    if problems or config is None:
        raise ConfigError("\n".join(problems))
    return LoadedConfig(config, path)


def _here() -> Path:
    """The current folder, from which names in overrides are seen."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError("the current folder was removed: cd to another one") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        cure = "; let this user read it: chmod a+r" if isinstance(error, PermissionError) else ""
        said = f"{path}: can't read the configuration: {error.strerror}{cure}"
        raise ConfigError(said) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: more than {MAX_BYTES:,} bytes: this isn't a configuration file")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text (byte {raw[error.start]:#x})") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    if node is None:
        return {}, {}
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}:1: expected `key: value` lines")
    return _construct(node, path)


class _Values(yaml.SafeLoader):
    """Says of a scalar that isn't what its form or tag says where it stands: PyYAML doesn't."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """See PyYAML."""
        try:
            value = super().construct_object(node, deep)
            odd = isinstance(node, yaml.ScalarNode) and _another_number(node.value, value)
        except (ValueError, KeyError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value!r} is no {kind}; text goes in quotes", node.start_mark
            ) from error
        if odd:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"{node.value} means {value} in YAML; write that, or text in quotes",
                node.start_mark,
            )
        return value


def _another_number(text: str, read: object) -> bool:
    """Whether YAML 1.1 reads a number as no person does: ``12:30`` is 750, ``010`` is 8."""
    if isinstance(read, bool) or not isinstance(read, int | float):
        return False
    digits = text.replace("_", "")
    return ":" in text or (digits.lstrip("+-").isdecimal() and int(digits) != read)


def _construct(node: yaml.MappingNode, path: Path) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """The plain data, and for every key where it stands (``FILE:LINE``)."""
    places: dict[KeyPath, str] = {}
    problems: list[str] = []
    for count, (key_path, line, repeated) in enumerate(_walk(node, (), set())):
        if count >= MAX_KEYS:
            raise ConfigError(f"{path}: its aliases unfold to more than {MAX_KEYS:,} values")
        if repeated:
            shown = ".".join(map(str, key_path))
            problems.append(f"{path}:{line}: {shown}: given twice; keep one of the two")
        places[key_path] = f"{path}:{line}"
    if problems:
        raise ConfigError("\n".join(problems))
    constructor = _Values("")
    try:
        data = constructor.construct_document(node)
    except (yaml.MarkedYAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else f"{path}"
        raise ConfigError(f"{where}: {getattr(error, 'problem', None) or error}") from error
    return data, places


def _walk(node: yaml.Node, at: KeyPath, above: set[int]) -> Iterator[tuple[KeyPath, int, bool]]:
    """Every key under ``node``: (path, line from 1, seen before in the same mapping)."""
    if id(node) in above:  # an alias that holds itself
        return
    above = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            here = (*at, name)
            yield here, key.start_mark.line + 1, name in seen
            seen.add(name)
            yield from _walk(value, here, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*at, index), value.start_mark.line + 1, False
            yield from _walk(value, (*at, index), above)


def _override(data: dict[str, Any], places: dict[KeyPath, str], text: str) -> str | None:
    """Merge one ``section.key=value`` into ``data``; returns a sentence if it can't be."""
    key, equals, value = text.partition("=")
    parts: KeyPath = tuple(key.strip().split("."))
    if not equals or not all(parts):
        return f"--set {text}: expected section.key=value, for example verdict.min_face=40"
    try:
        parsed = yaml.load(value, Loader=_Values)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        return f"--set {text}: the value isn't valid YAML: {str(error).splitlines()[0]}"
    section: Any = data
    for part in parts[:-1]:
        inner = section.get(part)
        if not isinstance(inner, dict):
            inner = section[part] = {}
        section = inner
    section[parts[-1]] = parsed
    for depth in range(1, len(parts) + 1):
        places[parts[:depth]] = "--set"
    return None


def _line_number(problem: str) -> int:
    """The line that a problem's ``FILE:LINE:`` names, so that they read from top to bottom."""
    found = re.match(r".*?:(\d+): ", problem)
    return int(found.group(1)) if found else 0


def _explain(
    error: ValidationError, places: Mapping[KeyPath, str], path: Path | None
) -> Iterable[str]:
    for detail in error.errors(include_url=False):
        loc: KeyPath = tuple(detail["loc"])
        where = next(
            (places[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in places),
            str(path) if path else "configuration",
        )
        yield f"{where}: {'.'.join(map(str, loc))}: {_sentence(detail, loc)}"


def _sentence(detail: ErrorDetails, loc: KeyPath) -> str:
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return _unknown(loc)
    if kind in {"model_type", "model_attributes_type"}:
        return f"expected a section of keys, got {_shown(given)}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if kind in {"value_error", "assertion_error"}:
        return message
    message = message.partition(", unable")[0].replace("Input should be", "expected")
    message = message.replace("a valid integer", "an integer").replace("a valid ", "a ")
    return f"{message[0].lower()}{message[1:]}, got {_shown(given)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"  # noqa: PLR2004 - a line's worth


def _unknown(loc: KeyPath) -> str:
    name = str(loc[-1])
    if hint := HINTS.get(name):
        return f"unknown key; {hint}"
    valid = list(_section_of(loc).model_fields)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.65)
    if near:
        return f"unknown key; did you mean `{near[0]}`?"
    elsewhere = [found for found in _all_keys(Config) if found.split(".")[-1] == name]
    if elsewhere:
        return f"unknown key here; did you mean `{elsewhere[0]}`?"
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`? " if near else ""
    return f"unknown key; {hint}valid here: {', '.join(valid)}"


def _section_of(loc: KeyPath) -> type[BaseModel]:
    section: type[BaseModel] = Config
    for part in loc[:-1]:
        if isinstance(part, int):  # an entry of the list that is meant already
            continue
        inner = section.model_fields[part].annotation
        # A list of sections, ``tuple[Section, ...]``, has its section as the first argument.
        for candidate in (inner, *get_args(inner)[:1]):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                section = candidate
                break
        else:
            break
    return section


def _all_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in section.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _all_keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
