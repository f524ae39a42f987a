"""``maskedge completion``: what makes a shell complete commands, options and settings."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from maskedge.errors import EX_OK, UsageError

SHELLS = ("bash", "zsh", "fish")
EPILOG = """\b
Examples:
  maskedge completion                  for the shell that $SHELL names
  eval "$(maskedge completion bash)"   in ~/.bashrc
  maskedge completion zsh > ~/.zfunc/_maskedge
  maskedge completion fish > ~/.config/fish/completions/maskedge.fish

systemd/install.sh does this for all users. Afterwards Tab completes commands,
options, files, checks of `doctor` and settings after --set.
"""


@click.command(name="completion", epilog=EPILOG)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def command(ctx: click.Context, shell: str | None) -> int:
    """Print a script that teaches your shell to complete maskedge's commands."""
    shell = shell or Path(os.environ.get("SHELL", "")).name
    completion = get_completion_class(shell) if shell in SHELLS else None
    if completion is None:
        raise UsageError(f"name your shell: {', '.join(SHELLS)}")
    root = ctx.find_root()
    click.echo(completion(root.command, {}, "maskedge", "_MASKEDGE_COMPLETE").source())
    return EX_OK
