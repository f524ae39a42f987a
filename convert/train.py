"""``python -m convert train --task …``: hands over to the task's own command and options."""

from __future__ import annotations

from importlib import import_module

import click

TASKS = {"classifier": "convert.classifier.train", "detector": "convert.detector.train"}


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.option("--task", type=click.Choice(list(TASKS)), help="Which network.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, task: str | None, arguments: tuple[str, ...]) -> None:
    """Train a network; each task has options of its own.

    \b
      python -m convert train --task classifier --help
      python -m convert train --task detector --help
    """  # noqa: D301 - click reads the \b
    if task is None:
        if {"-h", "--help"} & set(arguments):
            click.echo(ctx.get_help())
            return
        raise click.UsageError("say --task classifier or --task detector")
    chosen: click.Command = import_module(TASKS[task]).command
    chosen.main(
        list(arguments), prog_name=f"{ctx.command_path} --task {task}", standalone_mode=False
    )
