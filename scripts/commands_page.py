#!/usr/bin/env python3
"""Prints the reference of both programs' commands: what their own ``--help`` says.

The site's page `commands` is made of this at each build.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click

from convert import train
from convert.__main__ import main as convert
from maskedge.cli import cli as maskedge

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = "# Commands\n\nWhat each command's `--help` says.\n"
WIDTH = 78


def page() -> str:
    """Everything as Markdown."""
    return "\n".join([HEAD, *_helps("maskedge", maskedge), *_helps("python -m convert", convert)])


def _helps(name: str, command: click.Command, above: click.Context | None = None) -> Iterator[str]:
    settings = {**command.context_settings, "max_content_width": WIDTH, "terminal_width": WIDTH}
    context = click.Context(command, above, name, **settings)
    level = "##" if above is None else "###"
    yield f"{level} `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```\n"
    if command is train.command:
        for task, module in train.TASKS.items():
            yield from _helps(f"train --task {task}", import_module(module).command, above)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None:
                yield from _helps(inner, found, context)


if __name__ == "__main__":
    print(page())
