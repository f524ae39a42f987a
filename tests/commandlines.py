"""Would a command line of a document be understood? Asked of the programs; nothing is run."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convert import train
from convert.__main__ import main as convert
from maskedge.cli import cli as maskedge
from maskedge.configfile import load
from maskedge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FOLDERS = "benchmarks|convert|docs|maskedge|models|scripts|systemd|tests"
PROGRAMS = {"maskedge": maskedge, "convert": convert}
PREFIXES = re.compile(r"\$|sudo|exec|time|timeout|nohup|\w+=.*")


def broken(text: str) -> Iterator[str]:
    """What is wrong with one line for a shell, as far as its commands are ours."""
    text = re.sub(r"<([\w -]+)>", "word", text).replace("…", "word")
    text = re.sub(r"\[(-[^\]]*)\]", r"\1", text)  # [--optional]
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return  # prose, or a program's output
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("();<>|&"):
            yield from _broken(command)
            command = []
        elif command or not PREFIXES.fullmatch(word):
            command.append(word)


def _broken(command: list[str]) -> Iterator[str]:
    program, words = _program(command)
    if program in PROGRAMS:
        yield from _misused(PROGRAMS[program], program, words)
    elif program == "make":
        rules = (ROOT / "Makefile").read_text()
        targets = [word for word in words if "=" not in word]
        yield from (f"make {t}: no such target" for t in targets if f"\n{t}:" not in rules)
    elif program == "pip":
        yield from _unknown_extras(words)
    elif program.split("/", maxsplit=1)[0] in FOLDERS.split("|"):
        yield from _unknown_options(program, words)


def _program(command: list[str]) -> tuple[str, list[str]]:
    """What a command runs: a module's name, a script's path, or a program; and its arguments."""
    match command:
        case [python, "-m", module, *words] if re.search(r"python[\d.]*$", python):
            return module, words
        case [python, script, *words] if re.search(r"python[\d.]*$", python):
            return script, words
        case [program, *words]:
            installed = Path(program).name
            return (installed if installed in {*PROGRAMS, "make", "pip"} else program), words
    return "", []


def _misused(group: click.Command, name: str, words: list[str]) -> Iterator[str]:
    """Ask click, without running anything: does the sub-command exist, and each option?"""
    if isinstance(group, click.Group) and words and not words[0].startswith("-"):
        found = group.get_command(click.Context(group), words[0])
        if found is None:
            yield f"{name} {words[0]}: no such command"
        else:
            yield from _misused(found, f"{name} {words[0]}", words[1:])
        return
    try:
        values, rest = _parsed(group, words)
    except click.UsageError as error:
        yield f"{name}: {error.format_message()}"
        return
    except ConfigError as error:
        yield f"{name}: {error}"
        return
    if group is train.command and values.get("task"):
        task: click.Command = import_module(train.TASKS[values["task"]]).command
        yield from _misused(task, name, values["arguments"])
    if rest:
        yield f"{name}: too many arguments: {' '.join(rest)}"


def _parsed(command: click.Command, words: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Options as they were typed, and what no argument takes; choices and ``--set`` are tried."""
    context = click.Context(command, **command.context_settings)
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    for parameter in command.params:
        given = values.get(str(parameter.name))
        if isinstance(parameter.type, click.Choice) and isinstance(given, str | list | tuple):
            for value in given if isinstance(given, list | tuple) else [given]:
                parameter.type.convert(value, parameter, context)
    if values.get("overrides"):
        load(None, values["overrides"])
    return values, rest


def _unknown_extras(words: list[str]) -> Iterator[str]:
    if any(re.match(r"maskedge\b", word) for word in words):
        yield "pip: maskedge is on no index, only in a checkout: '.[...]'"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for asked in re.findall(r"(?:maskedge|\.)\[([\w,]+)\]", " ".join(words)):
        for extra in asked.split(","):
            if extra not in project["optional-dependencies"]:
                yield f"pip: no extra {extra}"


def _unknown_options(script: str, words: list[str]) -> Iterator[str]:
    if not (ROOT / script).exists():
        yield f"{script}: no such file"
        return
    source = (ROOT / script).read_text()
    for option in (word.split("=")[0] for word in words if word.startswith("--")):
        if option not in source:
            yield f"{script}: no option {option}"
