"""The ``maskedge`` command: finds the sub-command's module only when it is asked for.

Start-up is kept cheap: ``maskedge --help`` loads neither OpenCV nor an interpreter nor pydantic.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from maskedge import __version__, coredump
from maskedge.errors import EX_OK, EX_UNAVAILABLE, EX_USAGE, MaskedgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMANDS = {
    "run": "Watch a camera and publish violations (the daemon).",
    "demo": "See the real thing work in a minute: scene, networks, broker, subscriber.",
    "check": "Validate configuration and networks; say what would run.",
    "doctor": "Look at camera, broker, Coral, system; say what to do about what is wrong.",
    "detect": "Judge pictures and videos; print or draw what was found.",
    "listen": "Subscribe; print violations and faults as they come.",
    "signal": "Try the lamp, relay or program that a violation switches.",
    "models": "List, verify, install and take back networks.",
    "review": "Label the uncertain faces that were kept, for the next training.",
    "purge": "Remove the pictures that are kept on this machine.",
    "bench": "Measure what a frame costs on this machine.",
    "completion": "Print a script that makes your shell complete commands.",
    "man": "Print the manual page.",
}
"""Sub-commands with the one line that ``--help`` shows; the modules hold the rest."""


class LazyGroup(click.Group):
    """Imports ``maskedge.commands.NAME`` when NAME is run or its own help is asked for."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run all; that the reader (head, less) of what it prints has gone is no error of ours."""
        try:
            return super().main(*args, **kwargs)
        except BrokenPipeError:
            return _unread()

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line, ``--help`` included: click's main() would end with 1."""
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError:
            raise click.exceptions.Exit(_unread()) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, the same."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _unread()

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load one."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"maskedge.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Add the nearest name to click's 'no such command'."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415 - only for a typing mistake

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


EPILOG = """\b
Examples:
  maskedge demo                               see it work, no camera needed
  maskedge check --config config.yaml         is this configuration right?
  maskedge doctor                             is everything there that it needs?
  maskedge run --source rtsp://cam/stream     watch a network camera
  maskedge detect --json picture.jpg          one line of JSON per picture
  maskedge listen --host broker.local         print violations and faults

Configuration is looked for at --config, $MASKEDGE_CONFIG,
/etc/maskedge/config.yaml and ./config.yaml; the first found is used.
"""


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="maskedge")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Face-mask monitor: reads a camera, publishes each violation over MQTT."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":  # https://no-color.org
        ctx.color = False


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with a code of sysexits(3)."""
    coredump.forbid()
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that isn't text, or a locale without our arrows, is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    code = run(argv)
    if any(thread.name == "camera" for thread in threading.enumerate()):
        # A read that hangs in the camera's library for good: its exit handlers would wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _unread() -> int:
    """What was printed has no reader any more: the exit code that says so."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):  # Python must not flush to it again at the end
        os.dup2(null, stream.fileno())
    return 128 + signal.SIGPIPE


def _open_closed() -> None:
    """Give streams that were closed before us (``>&-``) the null device.

    Else they aren't there for whoever writes, and the next file that is opened takes their number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line; every error that a user can cause becomes one clear message."""
    try:
        args = None if argv is None else list(argv)
        result: Any = cli.main(args, prog_name="maskedge", standalone_mode=False)
    except MaskedgeError as error:
        _complain(str(error))
        return error.exit_code
    except click.ClickException as error:
        _tell(error.show)
        return EX_USAGE
    except (click.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}:
            raise
        _complain(f"{error.filename or 'output'}: {error.strerror}")
        return EX_UNAVAILABLE
    return result if isinstance(result, int) else EX_OK


def _complain(text: str) -> None:
    from maskedge.commands.console import complain  # noqa: PLC0415 - only when something is wrong

    _tell(lambda: complain(text))


def _tell(say: Callable[[], None]) -> None:
    """Say what is wrong; if nobody reads it the exit code does."""
    try:
        say()
    except BrokenPipeError:
        _unread()
