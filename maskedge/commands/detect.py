"""``maskedge detect``: pictures, folders and videos, face by face."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskedge.commands.options import config_options, load_config
from maskedge.errors import EX_NOINPUT, EX_OK, EndOfStream, InputError, MaskedgeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maskedge.camera.frame import Camera, Frame
    from maskedge.geometry import Box
    from maskedge.vision.base import FaceDetector, MaskClassifier

EPILOG = """\b
Examples:
  maskedge detect photo.jpg
  maskedge detect --json pictures/ > found.jsonl
  maskedge detect --out annotated/ photo.jpg video.mp4

With --json, one line for each picture or video frame:
  {"path", "frame", "width", "height",
   "faces": [{"box": [x1, y1, x2, y2], "score", "label", "scores": {label: p}}]}
Boxes are in pixels of the picture. A file that can't be read is named on standard
error, the others are still judged, and the exit code is then 66.
"""


@click.command(name="detect", epilog=EPILOG)
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per picture or frame.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write annotated copies into this folder.",
)
@config_options
def command(
    paths: tuple[Path, ...],
    as_json: bool,
    out: Path | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
) -> int:
    """Find and judge the faces in pictures, folders of pictures, and videos."""
    config = load_config(config_path, None, overrides).config
    files = list(_expand(paths))

    from maskedge.modelfile import models_dir
    from maskedge.vision.faces import open_detector
    from maskedge.vision.masks import open_classifier

    detector = open_detector(config.detector, config.inference, models_dir())
    classifier = open_classifier(config.classifier, config.inference, models_dir())
    failed = 0
    quiet = not (as_json and sys.stderr.isatty() and not sys.stdout.isatty())
    with click.progressbar(
        files, label="judging", file=sys.stderr, hidden=quiet, show_pos=True
    ) as shown:
        for path in shown:
            try:
                _judge(path, detector, classifier, as_json=as_json, out=out)
            except (InputError, OSError) as error:
                failed += 1
                click.echo(f"maskedge: {error}", err=True)
    return EX_NOINPUT if failed else EX_OK


def _expand(paths: tuple[Path, ...]) -> Iterator[Path]:
    """Files as given; folders as the pictures and videos under them, sorted."""
    from maskedge.camera.files import PICTURE_SUFFIXES, VIDEO_SUFFIXES

    wanted = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in wanted)
            if not found:
                raise InputError(f"{path}: no picture or video in this folder")
            yield from found
        elif path.exists():
            yield path
        else:
            raise InputError(f"{path}: no such file or folder")


def _judge(
    path: Path,
    detector: FaceDetector,
    classifier: MaskClassifier,
    *,
    as_json: bool,
    out: Path | None,
) -> None:
    from maskedge.camera.files import open_files

    camera = open_files(path, realtime=False)
    camera.open()
    writer = None if out is None else _Writer(out, path)
    try:
        for frame in _frames(camera):
            found = _faces(frame, detector, classifier)
            line = {
                "path": str(path),
                "frame": frame.number,
                "width": frame.width,
                "height": frame.height,
                "faces": [entry for _, entry in found],
            }
            click.echo(json.dumps(line) if as_json else _sentence(line))
            if writer is not None:
                writer.write(frame, found)
    finally:
        camera.close()
        if writer is not None:
            writer.close()


def _frames(camera: Camera) -> Iterator[Frame]:
    while True:
        try:
            yield camera.read()
        except EndOfStream:
            return


def _faces(
    frame: Frame, detector: FaceDetector, classifier: MaskClassifier
) -> list[tuple[Box, dict[str, Any]]]:
    from maskedge.vision.base import LABELS

    faces = detector.detect(frame)
    boxes = [face.box for face in faces]
    probabilities = classifier.classify(frame, boxes)
    return [
        (
            face.box,
            {
                "box": [round(float(edge), 1) for edge in face.box],
                "score": round(float(face.score), 4),
                "label": LABELS[int(row.argmax())],
                "scores": {label: round(float(p), 4) for label, p in zip(LABELS, row, strict=True)},
            },
        )
        for face, row in zip(faces, probabilities, strict=True)
    ]


def _sentence(line: dict[str, Any]) -> str:
    faces = ", ".join(
        f"{face['label']} {face['scores'][face['label']]:.0%}" for face in line["faces"]
    )
    return f"{line['path']} [{line['frame']}]: {faces or 'no face'}"


class _Writer:
    """Annotated copies: a picture as a picture, a video as an MP4 of the same name."""

    def __init__(self, folder: Path, path: Path) -> None:
        from maskedge.camera.files import VIDEO_SUFFIXES

        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MaskedgeError(f"{folder}: can't write there: {error.strerror}") from error
        self._is_video = path.suffix.lower() in VIDEO_SUFFIXES
        self._target = folder / (f"{path.stem}.mp4" if self._is_video else path.name)
        if self._target.exists() and self._target.samefile(path):
            raise MaskedgeError(f"{self._target}: --out would overwrite the picture itself")
        self._path = path
        self._video: Any = None

    def write(self, frame: Frame, found: list[tuple[Box, dict[str, Any]]]) -> None:
        import cv2

        from maskedge import annotate

        picture = annotate.to_bgr(frame)
        annotate.draw(
            picture, [(box, face["label"], face["scores"][face["label"]]) for box, face in found]
        )
        if self._is_video:
            if self._video is None:
                rate = cv2.VideoCapture(str(self._path)).get(cv2.CAP_PROP_FPS) or 25.0
                fourcc = cv2.VideoWriter.fourcc(*"mp4v")
                size = (frame.width, frame.height)
                self._video = cv2.VideoWriter(str(self._target), fourcc, rate, size)
            self._video.write(picture)
        elif not cv2.imwrite(str(self._target), picture):
            raise MaskedgeError(f"{self._target}: can't write the annotated picture")

    def close(self) -> None:
        if self._video is not None:
            self._video.release()
