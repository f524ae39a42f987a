"""``maskedge detect``: pictures, folders and videos, face by face and person by person."""

from __future__ import annotations

import csv
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import click

from maskedge.commands.console import complain, complaint
from maskedge.commands.options import (
    config_options,
    load_config,
    verbosity,
    verbosity_options,
)
from maskedge.commands.progress import Progress
from maskedge.errors import EX_NOINPUT, EX_OK, EndOfStream, InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from maskedge.camera.frame import Camera, Frame
    from maskedge.config import Config
    from maskedge.detect.copies import Copies
    from maskedge.detect.inputs import Input
    from maskedge.detect.judging import JudgedFrame
    from maskedge.detect.report import VideoStory
    from maskedge.vision.system import Vision

Style = Literal["text", "json", "csv"]
EPILOG = """\b
Examples:
  maskedge detect photo.jpg
  maskedge detect --out annotated/ holiday/ entrance.mp4
  maskedge detect --json pictures/ > found.jsonl
  maskedge detect --csv 'archive/**/*.jpg' > faces.csv
  curl -s http://cam/snapshot.jpg | maskedge detect -
  find . -name '*.jpg' -newer last -print0 | maskedge detect --files-from -

\b
PATH is a picture, a video, a folder (all in it and below), a pattern, or -
for one picture or video on standard input. A video is watched as the daemon
would: who would have been told about, from when to when. With --out the
copies have the names of the originals; videos become .webm, which browsers
play.

\b
With --json, one line for each picture or video frame:
  {"path", "frame", "width", "height",
   "faces": [{"box": [x1, y1, x2, y2], "score", "label", "scores": {label: p}}]}
Boxes are in pixels of the picture. For videos also "time", "decisions", and
the "person" of each face: docs/detect.md.

A file that can't be read is named on standard error, the others are still
judged, and the exit code is then 66. Ctrl-C leaves finished copies whole.
"""


@click.command(name="detect", epilog=EPILOG)
@click.argument("paths", nargs=-1, metavar="PATH...", type=click.Path(readable=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per picture or frame.")
@click.option("--csv", "as_csv", is_flag=True, help="A table with one row per face.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write annotated copies into this folder.",
)
@click.option(
    "--files-from",
    metavar="FILE",
    type=click.File("rb"),
    help="Read further paths from FILE, one a line; - is standard input.",
)
@config_options
@verbosity_options(
    quiet="Data only: no progress, no sums.", verbose="Also every frame of a video, and the log."
)
def command(
    paths: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
    out: Path | None,
    files_from: BinaryIO | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
    quiet: bool,
    verbose: bool,
) -> int:
    """Find and judge the faces in pictures, folders of pictures, and videos."""
    if as_json and as_csv:
        raise UsageError("--json or --csv, not both")
    if not paths and files_from is None:
        raise UsageError("name a picture, a video or a folder; see: maskedge detect --help")
    config = load_config(config_path, None, overrides).config

    from maskedge import logs
    from maskedge.detect.copies import Copies
    from maskedge.detect.inputs import gather, read_list
    from maskedge.vision.system import Vision

    logs.set_up(-1 + verbosity(quiet, verbose))
    words = [*paths, *(read_list(files_from) if files_from else ())]
    inputs, errors = gather(words, sys.stdin.buffer, leave_out=out)
    for error in errors:
        complain(str(error))
    if not inputs:
        return EX_NOINPUT
    copies = Copies(out, inputs) if out else None
    style: Style = "json" if as_json else "csv" if as_csv else "text"
    vision = Vision.open(config)
    unreadable = 0
    try:
        with Progress(lambda: _steps(inputs), "judging", " frames", quiet=quiet) as progress:
            teller = _Teller(style, progress, quiet=quiet, verbose=verbose)
            try:
                for one in inputs:
                    unreadable += not _judge(one, vision, config, copies, teller)
            except KeyboardInterrupt:
                teller.complain("interrupted; what was finished is whole")
                raise
            finally:
                teller.sum_up()
    finally:
        vision.close()
    return EX_NOINPUT if errors or unreadable else EX_OK


class _Teller:
    """Prints what was found, in one of three styles, and counts."""

    def __init__(self, style: Style, progress: Progress, *, quiet: bool, verbose: bool) -> None:
        from maskedge.detect.report import COLUMNS, Sums

        self._style = style
        self._progress = progress
        self._quiet, self._verbose = quiet, verbose
        self._table = csv.writer(progress, lineterminator="\n")
        self._sums = Sums()
        if style == "csv":
            self._table.writerow(COLUMNS)

    def frame(self, name: str, judged: JudgedFrame) -> None:
        """A picture, or a frame of a video."""
        from maskedge.detect import report

        self._sums.faces.update(face.label for face in judged.faces)
        self._sums.pictures += judged.time is None
        if self._style == "json":
            self._progress.write(f"{report.json_line(name, judged)}\n")
        elif self._style == "csv":
            self._table.writerows(report.csv_rows(name, judged))
        elif judged.time is None or self._verbose:
            self._progress.write(f"{report.sentence(name, judged)}\n")
        self._progress.step()

    def story(self, name: str, story: VideoStory) -> None:
        """A video, now that it is over."""
        self._sums.add_story(story)
        self._for_people(story.lines(name))

    def problem(self, one: Input, error: InputError) -> None:
        """A file that can't be judged."""
        said = str(error).replace(str(one.path), "standard input" if one.piped else one.name)
        self.complain(said)

    def complain(self, text: str) -> None:
        """Say what is wrong, above the bar."""
        self._progress.write(f"{complaint(text)}\n", err=True)

    def sum_up(self) -> None:
        """What it was in all."""
        if not self._quiet:
            self._for_people(self._sums.lines())

    def _for_people(self, lines: Iterable[str]) -> None:
        """Standard output, unless that is for a program."""
        if self._style == "text" or not self._quiet:
            for line in lines:
                self._progress.write(f"{line}\n", err=self._style != "text")


def _judge(
    one: Input, vision: Vision, config: Config, copies: Copies | None, teller: _Teller
) -> bool:
    """One input through vision, and its annotated copy; False: it can't be read, or not whole."""
    from maskedge.camera.files import VideoFile, open_files
    from maskedge.detect.judging import judge_pictures, judge_video
    from maskedge.detect.report import VideoStory

    try:
        camera = open_files(one.path)
        camera.open()
    except InputError as error:
        teller.problem(one, error)
        return False
    fps = camera.fps if isinstance(camera, VideoFile) else None
    story = VideoStory()
    frames = _frames(camera)
    judged = judge_pictures(frames, vision) if fps is None else judge_video(frames, vision, config)
    try:
        with copies.copy(one, fps) if copies else nullcontext() as copy:
            for frame in judged:
                if copy is not None:
                    copy.write(frame)
                story.add(frame)
                teller.frame(one.name, frame)
    except InputError as error:
        teller.problem(one, error)
        return False
    finally:
        camera.close()
        if fps is not None:
            teller.story(one.name, story)
    return True


def _steps(inputs: Sequence[Input]) -> int:
    """Pictures and frames to come, as far as the files announce them."""
    from maskedge.camera.files import VideoFile, open_files

    steps = 0
    for one in inputs:
        camera = None
        try:
            camera = open_files(one.path)
            if isinstance(camera, VideoFile):
                camera.open()
                steps += max(1, camera.length)
            else:
                steps += 1
        except InputError:
            steps += 1  # told when its turn comes
        finally:
            if camera is not None:
                camera.close()
    return steps


def _frames(camera: Camera) -> Iterator[Frame]:
    while True:
        try:
            yield camera.read()
        except EndOfStream:
            return
