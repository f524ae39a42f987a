"""``python -m convert``: from pictures to proven int8 networks, one command per step."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from importlib import import_module

import click

from convert.backend import check_backend
from maskedge.errors import EX_UNAVAILABLE, EX_USAGE, MaskedgeError

COMMANDS = {
    "dataset": ("convert.dataset", "Import, check, split and show a set of pictures."),
    "relabel": ("convert.relabel", "Let YuNet go over a set's faces as a second annotator."),
    "mine": ("convert.mine", "Find what a trained detector takes for faces and is none."),
    "train": ("convert.train", "Train the mask classifier or the face detector."),
    "evaluate": ("convert.evaluate", "Score the networks, and the whole chain, on a COCO set."),
    "quantize": ("convert.quantize", "Make a trained classifier int8, prove and calibrate it."),
    "export": ("convert.detector.export", "Make a trained detector int8 for every input size."),
    "calibrate": ("convert.detector.calibrate", "Make the detector's score a probability."),
    "golden": ("convert.golden", "Record a network's answers to drawn pictures beside it."),
    "compile": ("convert.compile", "Check a network against the Edge TPU's rules and compile it."),
    "dequantise": ("convert.classifier.dequantise", "Make an int8 classifier float again."),
    "retrain": ("convert.retrain", "Train the classifier in use on with your own pictures."),
    "report": ("convert.report", "Write the model card from the measured figures."),
}
"""Name, module and help of each step: a module is imported only when its command runs."""


class Steps(click.Group):
    """Commands that are loaded when they are asked for: ``--help`` needs no TensorFlow."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of the work, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Import a step; one line when what it needs isn't installed."""
        if name not in COMMANDS:
            return None
        try:
            command: click.Command = import_module(COMMANDS[name][0]).command
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] in {"convert", "maskedge"}:
                raise
            raise click.ClickException(
                f"{name} needs {error.name}, which isn't installed: pip install 'maskedge[convert]'"
            ) from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the steps without importing them."""
        del ctx
        with formatter.section("Steps, in order"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Steps, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """From pictures to int8 networks that are proven before they ship.

    \b
    DATA is a COCO set: train.json, train/, val.json and val/ (convert/README.md has more). With it,
    the classifier is made by:

    \b
      python -m convert train --task classifier --data DATA --out runs/masks \\
          --weights mobilenet_v2_1.0_224_notop.weights.h5 --landmarks face_detection_yunet.onnx
      python -m convert quantize --run runs/masks --out models/mask_classifier.tflite
      python -m convert compile models/mask_classifier.tflite
      python -m convert evaluate --coco DATA/val.json --images DATA/val \\
          --json figures.json --out report/
      python -m convert report --figures figures.json

    Training goes on after a kill with --resume. Each step says more with --help.
    """  # noqa: D301 - click reads the \b


def run() -> None:
    """Entry point: an error that the user can cure is one line and its own exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's chatter, not its errors
    try:
        check_backend()
        status = main(standalone_mode=False)
    except MaskedgeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(EX_USAGE)
    except (click.Abort, KeyboardInterrupt):
        goes_on = {"train", "retrain"} & set(sys.argv[1:2])
        also = "; with --resume the same command goes on after the last finished epoch, if any"
        click.echo(f"stopped{also if goes_on else ''}", err=True)
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(130)  # threads of TensorFlow and Keras amid a batch can hang an orderly exit
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        click.echo(f"error: {_refused(error)}", err=True)
        sys.exit(EX_UNAVAILABLE)
    sys.exit(status if isinstance(status, int) else 0)


def _refused(error: OSError) -> str:
    """What the system refused, where, and what to do about it."""
    where = error.filename2 or error.filename  # of a copy, what is written is the second
    place = f"{where}: " if where is not None else ""
    cure = {
        errno.ENOSPC: "make room or give another folder",
        errno.EDQUOT: "make room or give another folder",
    }.get(error.errno or 0, "give a place that you may read and write")
    return f"{place}{error.strerror or error}: {cure}"


if __name__ == "__main__":
    run()
