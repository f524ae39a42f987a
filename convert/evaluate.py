"""Scores the networks as they run: through maskedge.vision, on any COCO set.

Three questions, kept apart: are faces found (detector), is a face that a person marked judged right
(classifier), and is a person in the picture found *and* judged right (the whole chain).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convert.detector.score import FLOOR
from convert.judging import (
    LOOSE_IOU,
    MATCH_IOU,
    chain_report,
    classifier_report,
    judge,
    known_faces,
)
from convert.output import writable, write_text
from convert.reference import references
from maskedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from convert.coco import Picture
    from convert.judging import Judged
    from maskedge.vision.base import FaceDetector, MaskClassifier


def evaluate(
    pictures: Sequence[Picture],
    detector: FaceDetector | None,
    classifier: MaskClassifier | None,
    *,
    threshold: float,
    side: int = 320,
    progress: Callable[[Sequence[Picture]], Iterable[Picture]] = iter,
) -> tuple[dict[str, Any], Judged]:
    """All figures of a set, ready for JSON, and what they were computed from."""
    started = time.monotonic()
    seen = judge(progress(pictures), detector, classifier, threshold)
    report: dict[str, Any] = {
        "pictures": len(pictures),
        "faces": sum(len(p.faces) for p in pictures),
        "faces_of_known_state": sum(len(known_faces(p)) for p in pictures),
    }
    if detector is not None:
        from convert.detector.score import Found, Truth, score_detections

        found = [Found.of(faces) for faces in seen.detections]
        truth = [Truth.of(picture, side) for picture in pictures]
        report["detector"] = score_detections(found, truth, iou=MATCH_IOU)
        loose = score_detections(found, truth, iou=LOOSE_IOU)
        loose.pop("curve", None)
        report["detector"][f"at_iou_{LOOSE_IOU}"] = loose
    if classifier is not None:
        report["classifier"] = classifier_report(seen)
    if detector is not None and classifier is not None:
        report["chain"] = chain_report(seen)
        report["reference"] = references(seen.looks)
    report["seconds"] = round(time.monotonic() - started, 1)
    return report, seen


def open_finder(model: Path | None, kind: str, size: int, threads: int) -> Any:
    """The detector to score (None: the one shipped), reporting down to :data:`FLOOR`."""
    from maskedge.config import DetectorConfig, InferenceConfig
    from maskedge.modelfile import models_dir
    from maskedge.vision.faces import open_detector

    asked = {"kind": kind, "model": model, "input": size, "threshold": FLOOR}
    config = DetectorConfig.model_validate({**asked, "max_faces": 256})
    return open_detector(config, InferenceConfig(accelerator="cpu", threads=threads), models_dir())


def open_judge(model: Path | None, threads: int) -> Any:
    """The classifier to score: a ``.tflite``, a ``.keras`` in float, None for the one shipped."""
    from maskedge.config import ClassifierConfig, InferenceConfig
    from maskedge.modelfile import models_dir
    from maskedge.vision.masks import open_classifier

    if model is not None and model.suffix == ".keras":
        from convert.classifier.float_network import open_float_classifier

        return open_float_classifier(model)
    inference = InferenceConfig(accelerator="cpu", threads=threads)
    return open_classifier(ClassifierConfig(model=model), inference, models_dir())


FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option("--coco", required=True, type=FILE, help="COCO detection JSON.")
@click.option(
    "--images",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of its pictures.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all figures here; without it, print them.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for plots and report.html.",
)
@click.option("--detector", type=FILE, help="Score this detector; default: the one shipped.")
@click.option(
    "--detector-kind",
    default="builtin",
    show_default=True,
    type=click.Choice(["builtin", "yunet", "ssd"]),
    help="How its outputs are read.",
)
@click.option(
    "--input",
    "size",
    default="320",
    show_default=True,
    type=click.Choice(["320", "480", "640"]),
    help="Long side that the detector sees.",
)
@click.option(
    "--classifier",
    type=FILE,
    help="Score this classifier (.tflite, or .keras in float); default: the one shipped.",
)
@click.option(
    "--only", type=click.Choice(["detector", "classifier"]), help="Score one network alone."
)
@click.option(
    "--threads",
    default=2,
    show_default=True,
    type=click.IntRange(1, 16),
    help="CPU threads per network.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Least score of a found face in the chain; default: the program's.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first pictures.")
@click.option(
    "--unlike",
    type=FILE,
    help="COCO JSON of what a network was trained on, its pictures in the folder of its name: what "
    "looks like one of them is left out.",
)
@click.option(
    "--robustness", "hard", is_flag=True, help="Also judge each face dark, blurred, small, turned."
)
@click.option(
    "--crops",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Tight crops, a folder per kind (covered/, not_covered/): how often each label is called.",
)
@click.option(
    "--tags", "tag_file", type=FILE, help="CSV of file,tag: figures by what you noted of pictures."
)
def command(
    coco: Path,
    images: Path,
    json_file: Path | None,
    out: Path | None,
    detector: Path | None,
    detector_kind: str,
    size: str,
    classifier: Path | None,
    only: str | None,
    threads: int,
    threshold: float | None,
    limit: int | None,
    unlike: Path | None,
    hard: bool,
    crops: Path | None,
    tag_file: Path | None,
) -> None:
    """Score detector, classifier and the whole chain on a COCO set.

    Categories with_mask, without_mask and incorrect_mask (or mask_weared_incorrect) are judged; any
    other is a face of unknown state: found or not, never judged. Annotations with "by" and crowds
    are neither rewarded nor punished. The folder of --out also gets the ten worst errors as a
    picture: look at them.

    \b
    Example:
      python -m convert evaluate --coco val.json --images val/ --json figures.json --out report/
    """  # noqa: D301 - click reads the \b
    from tqdm import tqdm

    from convert.tags import by_tag, judge_crops, read_tags
    from maskedge.config import DetectorConfig

    threshold = DetectorConfig().threshold if threshold is None else threshold
    tags = read_tags(tag_file) if tag_file else {}
    pictures, apart = _chosen(coco, images, limit, unlike)
    for folder in filter(None, (json_file and json_file.parent, out)):
        writable(folder)  # before the work
    finder = None
    if only != "classifier":
        finder = open_finder(detector, detector_kind, int(size), threads)
    judge_of_masks = open_judge(classifier, threads) if only != "detector" else None
    report, seen = evaluate(
        pictures,
        finder,
        judge_of_masks,
        threshold=threshold,
        side=int(size),
        progress=lambda items: tqdm(items, unit="picture", dynamic_ncols=True),
    )
    if judge_of_masks is not None:
        if tags:
            report["classifier"]["by_tag"] = by_tag(seen, tags)
        if hard:
            from convert.robustness import robustness

            shown = tqdm(pictures, desc="hardships", unit="picture", dynamic_ncols=True)
            report["robustness"] = robustness(shown, judge_of_masks)
        if crops:
            report["crops"] = judge_crops(crops, judge_of_masks, tags)
    report = {
        "coco": coco.name,
        **apart,
        "threshold": threshold,
        "models": _names(finder, judge_of_masks),
        **report,
    }
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if json_file:
        write_text(json_file, text + "\n")
    else:
        click.echo(text)
    if out:
        from convert.plots import write_report

        write_report(out, report, seen)
        click.echo(f"{out / 'report.html'}", err=True)


def _chosen(
    coco: Path, images: Path, limit: int | None, trained: Path | None
) -> tuple[list[Picture], dict[str, Any]]:
    """The pictures that look like nothing in ``trained``, and what the report says of that."""
    from convert.coco import read_coco
    from convert.likeness import unlike

    pictures = read_coco(coco, images)[:limit]
    if not pictures:
        raise InputError(f"{coco}: holds no pictures")
    if trained is None:
        return pictures, {}
    chosen = unlike(pictures, trained)
    if not chosen:
        raise InputError(
            f"--unlike {trained}: every picture looks like one of it; nothing is left to measure on"
        )
    told = {"file": trained.name, "left_out": len(pictures) - len(chosen)}
    return chosen, {"unlike": told}


def _names(*networks: Any) -> dict[str, Any]:
    names = ("detector", "classifier")
    return {
        name: {
            "file": network.model.path.name,
            "sha256": network.model.sha256,
            "backend": network.backend,
        }
        for name, network in zip(names, networks, strict=True)
        if network is not None
    }
