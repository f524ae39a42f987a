"""Annotated copies: a picture as a picture, a video as WebM, whole or not there at all.

WebM with VP8 is what the OpenCV wheels can write and browsers play: docs/decisions/0033-webm.md.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import cv2

from maskedge import annotate
from maskedge.camera.files import PICTURE_SUFFIXES
from maskedge.camera.opencv import opencv_path
from maskedge.errors import InputError, MaskedgeError
from maskedge.inference.runtime import quiet_stderr
from maskedge.people.verdict import UNSURE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from maskedge.detect.inputs import Input
    from maskedge.detect.judging import JudgedFrame

VIDEO_SUFFIX = ".webm"
VIDEO_CODEC = "VP80"
CHATTER = b"OpenCV: FFMPEG: tag"
"""OpenCV tells that WebM calls the codec by another name, and uses that one."""
LONGEST_HOLE = 60.0
"""Seconds; a longer hole in a recording's time stamps is jumped over, not filled."""
_KEPT = 0.9
"""Share of the written frames that a finished video must announce."""


def marks(judged: JudgedFrame) -> list[annotate.Mark]:
    """What to draw.

    In a picture each face's own label; in a video what is decided about the person, and until
    then the frame's guess with a question mark.
    """
    drawn = []
    for face in judged.faces:
        person = face.person
        number = None if person is None else person.track_id
        text = annotate.caption(face.label, face.confidence, number)
        if judged.time is None:
            mark = annotate.Mark(face.box, face.label, text)
        elif person is None or person.label == UNSURE:
            mark = annotate.Mark(face.box, UNSURE, f"{text}?")
        else:
            text = annotate.caption(person.label, person.confidence, number)
            mark = annotate.Mark(face.box, person.label, text)
        drawn.append(mark)
    return drawn


class Copies:
    """The folder of the copies.

    Args:
        folder: is made if it isn't there.
        inputs: none of these is ever overwritten.

    Raises:
        MaskedgeError: the folder can't be made.
    """

    def __init__(self, folder: Path, inputs: Iterable[Input]) -> None:
        self.folder = folder
        self._inputs = {one.path.resolve() for one in inputs}
        self._taken: set[Path] = set()
        _make(folder)

    @contextmanager
    def copy(self, one: Input, fps: float | None) -> Iterator[Copy]:
        """A copy of this input; it gets its name when the block ends, or when the input does.

        Args:
            one: what is copied.
            fps: of a video; None: it's a picture.

        Raises:
            MaskedgeError: it would overwrite an input, or can't be written.
        """
        target = self._free(self.folder / _renamed(one.place, video=fps is not None))
        if target.resolve() in self._inputs:
            raise MaskedgeError(f"{target}: --out would overwrite the picture itself")
        _make(target.parent)
        copy = PictureCopy(target) if fps is None else VideoCopy(target, fps)
        try:
            try:
                yield copy
            except InputError:  # the input is cut off: so is its copy, and whole
                copy.finish()
                raise
            copy.finish()
        except BaseException:
            copy.drop()
            raise

    def _free(self, target: Path) -> Path:
        """``name-2.jpg`` where another input of this run has the name already."""
        wanted, number = target, 1
        while target in self._taken:
            number += 1
            target = wanted.with_stem(f"{wanted.stem}-{number}")
        self._taken.add(target)
        return target


class Copy:
    """One copy under way, under another name.

    Args:
        target: the final name.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._part = target.with_name(f".{target.stem}.part{target.suffix}")
        self._written = 0

    def write(self, judged: JudgedFrame) -> None:
        """Draw and take a frame.

        Raises:
            MaskedgeError: it can't be written.
        """
        picture = annotate.to_bgr(judged.frame)
        annotate.draw(picture, marks(judged))
        self._take(picture, judged.time or 0.0)
        self._written += 1

    def finish(self) -> None:
        """Give it its name, if there is anything.

        Raises:
            MaskedgeError: it couldn't be written whole.
        """
        self._close()
        if not self._written:
            return
        self._check()
        try:
            self._part.replace(self.target)
        except OSError as error:
            raise self._failed(error.strerror) from error

    def drop(self) -> None:
        """Leave nothing unfinished behind."""
        self._close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    def _take(self, picture: NDArray[np.uint8], moment: float) -> None:
        """Take a picture; in a video it belongs at ``moment``, seconds."""
        raise NotImplementedError

    def _close(self) -> None:
        """Let go of the file."""

    def _check(self) -> None:
        """See whether the file is whole."""

    def _failed(self, why: str | None) -> MaskedgeError:
        return MaskedgeError(f"{self.target}: the annotated copy can't be written: {why}")


class PictureCopy(Copy):
    """In the original's format."""

    def _take(self, picture: NDArray[np.uint8], moment: float) -> None:  # noqa: ARG002 - it has none
        done, encoded = cv2.imencode(self.target.suffix, picture)
        if not done:
            raise self._failed("OpenCV can't encode this format")
        try:
            self._part.write_bytes(encoded.tobytes())
        except OSError as error:
            raise self._failed(error.strerror) from error


class VideoCopy(Copy):
    """WebM of a constant frame rate, as OpenCV writes no other.

    Where the original's varies, pictures are repeated or left out, so that the copy stays within
    one of its frames of the original.

    Args:
        target: the final name.
        fps: frames a second.
    """

    _last: NDArray[np.uint8]

    def __init__(self, target: Path, fps: float) -> None:
        super().__init__(target)
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._start = 0.0
        self._frames = 0

    def _take(self, picture: NDArray[np.uint8], moment: float) -> None:
        # VP8 halves the colours' resolution: OpenCV would cut an odd edge off without a word.
        height, width = (edge - edge % 2 for edge in picture.shape[:2])
        picture = picture[:height, :width]
        if self._writer is None:
            self._writer = self._open(width, height)
            self._start, self._last = moment, picture
        missing = (moment - self._start) * self._fps - self._frames
        if missing > LONGEST_HOLE * self._fps:
            self._start += missing / self._fps
            missing = 0.0
        for _ in range(int(missing)):
            self._writer.write(self._last)
        self._last = picture
        if missing > -1:
            self._writer.write(picture)
            self._frames += int(missing) + 1

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        fourcc = cv2.VideoWriter.fourcc(*VIDEO_CODEC)
        path = opencv_path(self._part)
        with quiet_stderr((CHATTER,)):
            writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, fourcc, self._fps, (width, height))
        if not writer.isOpened():
            raise self._failed("no space or permission there, or this OpenCV has no VP8 encoder")
        return writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _check(self) -> None:
        """OpenCV doesn't tell when the disk is full, but then the file announces too little."""
        reader = cv2.VideoCapture(str(self._part.absolute()), cv2.CAP_FFMPEG)
        announced = reader.get(cv2.CAP_PROP_FRAME_COUNT) if reader.isOpened() else 0
        reader.release()
        if announced < _KEPT * self._frames:
            raise self._failed("it came out damaged; is the disk full?")


def _renamed(place: Path, *, video: bool) -> Path:
    if video:
        return place.with_suffix(VIDEO_SUFFIX)
    return place if place.suffix.lower() in PICTURE_SUFFIXES else place.with_suffix(".png")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MaskedgeError(f"{folder}: can't write there: {error.strerror}") from error
