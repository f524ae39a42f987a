"""``maskedge man``: everything that ``--help`` says, as one page for man(1).

The page is made from the commands themselves, so it can't be out of date:
docs/decisions/0025-man-page.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from maskedge import __version__
from maskedge.errors import EX_OK

if TYPE_CHECKING:
    from collections.abc import Iterator

EPILOG = """\b
Examples:
  maskedge man | man -l -
  maskedge man | sudo tee /usr/local/share/man/man1/maskedge.1 > /dev/null

systemd/install.sh installs it.
"""
CLOSING = """\
.SH EXIT STATUS
Those of sysexits.h: 0, 64 wrong usage, 66 a file can't be read, 69 something isn't available,
78 wrong configuration; 1 where a command says so, 128 and the signal's number when interrupted.
.SH ENVIRONMENT
.TP
.B MASKEDGE_CONFIG
the configuration file
.TP
.B MASKEDGE_MQTT_PASSWORD, MASKEDGE_CAMERA_PASSWORD, MASKEDGE_WEB_TOKEN
secrets, where no file and no systemd credential gives them
.TP
.B NO_COLOR
no colours
.SH FILES
.TP
.I /etc/maskedge/config.yaml
the configuration
.TP
.I /var/lib/maskedge
events that wait for the broker
.SH SEE ALSO
.BR journalctl (1),
.BR systemctl (1),
.BR mosquitto_sub (1)
"""
SPECIAL = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
"""What groff would set as another character: groff_char(7)."""


@click.command(name="man", epilog=EPILOG)
@click.pass_context
def command(ctx: click.Context) -> int:
    """Print the manual page."""
    click.echo("\n".join(_page(ctx.find_root())))
    return EX_OK


def _page(root: click.Context) -> Iterator[str]:
    command = root.command
    yield f'.TH MASKEDGE 1 "" "maskedge {__version__}" "User Commands"'
    yield ".SH NAME"
    yield f"maskedge \\- {_escaped((command.help or '').partition(':')[0].lower())}"
    yield ".SH SYNOPSIS"
    yield ".B maskedge\n.I command\n[options]"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(command.help)
    yield from _paragraphs(command.epilog)
    yield ".SH COMMANDS"
    for ctx in _below(root):
        yield from _section(ctx)
    yield CLOSING.rstrip()


def _below(ctx: click.Context) -> Iterator[click.Context]:
    """Each command of a group, and each below it."""
    group = ctx.command
    if isinstance(group, click.Group):
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            if command is not None and not command.hidden:
                inner = click.Context(command, info_name=name, parent=ctx)
                yield inner
                yield from _below(inner)


def _section(ctx: click.Context) -> Iterator[str]:
    usage = " ".join(ctx.command.collect_usage_pieces(ctx))
    yield f".SS {_escaped(ctx.command_path)} {_escaped(usage)}"
    yield from _paragraphs(ctx.command.help)
    for parameter in ctx.command.params:
        record = parameter.get_help_record(ctx)
        if record is not None and isinstance(parameter, click.Option):
            yield f".TP\n.B {_escaped(record[0])}\n{_escaped(record[1])}"
    yield from _paragraphs(ctx.command.epilog)


def _paragraphs(text: str | None) -> Iterator[str]:
    r"""Blocks as click's help sets them: ``\b`` before one keeps its lines."""
    for block in re.split(r"\n\s*\n", (text or "").strip("\n")):
        lines = [_escaped(line) for line in block.splitlines() if line.strip() != "\b"]
        yield ".PP"
        if block.lstrip(" ").startswith("\b"):
            yield "\n".join([".nf", *lines, ".fi"])
        else:
            yield "\n".join(line.strip() for line in lines)


def _escaped(text: str) -> str:
    escaped = "".join(SPECIAL.get(char, char) for char in text)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
