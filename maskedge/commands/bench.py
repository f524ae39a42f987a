"""``maskedge bench``: what a frame costs on this machine."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from maskedge.commands.options import quiet_option
from maskedge.commands.progress import Progress
from maskedge.errors import EX_OK

if TYPE_CHECKING:
    from collections.abc import Sequence

EPILOG = """\b
Examples:
  maskedge bench                    about a minute
  maskedge bench --quick            some ten seconds, coarse
  maskedge bench --threads 4 --accelerator auto
  maskedge bench --json > mine.json

`networks` is the limit: the interpreter alone, a run for each face. `ratio` says how many times the
CPU time of these runs a whole frame costs. Compare ratios, not milliseconds of different runs.
Needs the extra `demo`.
"""


@click.command(name="bench", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@click.option("--quick", is_flag=True, help="Fewer repetitions, sizes and crowds.")
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="CPU threads per network.",
)
@click.option(
    "--accelerator",
    type=click.Choice(["cpu", "auto", "edgetpu"]),
    default="cpu",
    show_default=True,
    help="What the networks run on; as inference.accelerator.",
)
@click.option("--device", help="Which Coral; as inference.device.")
@click.option(
    "--input",
    "side",
    type=click.Choice(["auto", "320", "480", "640"]),
    default="auto",
    show_default=True,
    help="What the detector sees; as detector.input.",
)
@quiet_option("No progress.")
def command(
    as_json: bool,
    quick: bool,
    threads: int,
    accelerator: str,
    device: str | None,
    side: str,
    quiet: bool,
) -> int:
    """Measure networks, stages and the whole pipeline, in one run."""
    from maskedge.bench import machine
    from maskedge.bench.pictures import FACES, SIZES
    from maskedge.bench.stages import stages
    from maskedge.bench.whole import Bench, slope
    from maskedge.config import ClassifierConfig

    inference = {"accelerator": accelerator, "device": device, "threads": threads}
    seconds = 0.1 if quick else 1.0
    sizes, faces = (SIZES[:1], (0, 1, 4)) if quick else (SIZES, FACES)
    report: dict[str, Any] = {"machine": machine.machine(), "settings": inference}
    cores = report["machine"]["cores"]
    counts = [threads] if quick else sorted({1, 2, threads, cores} & set(range(1, cores + 1)))
    bench = Bench(inference, None if side == "auto" else int(side))
    with closing(bench), Progress(lambda: None, "measuring", " figures", quiet=quiet) as progress:

        def gather(rows: Any) -> list[dict[str, Any]]:
            gathered = []
            for row in rows:
                gathered.append(row)
                progress.step()
            return gathered

        report["start_up"] = machine.start_up(inference)
        report["networks"] = gather(bench.networks(seconds / 2, counts))
        report["stages"] = gather(stages(bench, size, seconds) for size in sizes)
        report["pipeline"] = gather(
            bench.crowd(size, count, seconds) for size in sizes for count in faces
        )
        report["per_face"] = {
            f"{width}x{height}": slope([r for r in report["pipeline"] if r["width"] == width])
            for width, height in sizes
        }
        budget = ClassifierConfig().budget
        report["budget"] = gather(
            bench.crowd(size, FACES[-1], seconds, budget) for size in sizes if not quick
        )
        fault = bench.fault
    after = machine.state()
    report["after"] = after
    report["warnings"] = machine.warnings(report["machine"], after)
    if fault:
        report["warnings"].append(f"on the CPU, not the Edge TPU: {fault}")
    click.echo(json.dumps(report, indent=2) if as_json else _tables(report))
    return EX_OK


def _tables(report: dict[str, Any]) -> str:
    return "\n\n".join(
        "\n".join(part)
        for part in (
            _head(report),
            _networks(report["networks"]),
            _stages(report["stages"]),
            _frames(report),
            [f"note: {text}" for text in report["warnings"]],
        )
        if part
    )


def _head(report: dict[str, Any]) -> list[str]:
    start, after = report["start_up"], report["after"]
    lines = [f"{key}: {value}" for key, value in report["machine"].items() if value is not None]
    if after["temperature_c"] is not None:
        lines.append(f"temperature_c afterwards: {after['temperature_c']}")
    return [
        *lines,
        f"maskedge --help: {start['help_ms']} ms, {start['help_ratio']} x python -c pass",
        f"networks open: {start['open_cpu_ms']} ms of CPU, {start['rss_mib']} MiB resident",
    ]


def _networks(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"{'network':<28}{'threads':>8}{'p50 ms':>9}{'p95 ms':>9}{'CPU ms':>9}  backend",
        *(
            f"{_named(row):<28}{row['threads']:>8}{row['p50_ms']:>9}{row['p95_ms']:>9}"
            f"{row['cpu_ms']:>9}  {row['backend']}"
            for row in rows
        ),
    ]


def _named(row: dict[str, Any]) -> str:
    several = f", {row['pictures']} at once" if row["pictures"] > 1 else ""
    return f"{row['network']}{several}"


STAGES = {
    "jpeg": "decode a JPEG frame (USB cameras)",
    "shrink": "resize, colour, into the input",
    "motion": "motion gate",
    "detect": "detector network",
    "decode_nms": "decode boxes, NMS",
    "track": "track",
    "quality": "quality, per face",
    "crop": "crop into the input, per face",
    "classify": "classifier network, per face",
    "decide": "verdicts",
    "store": "event to disk, wall clock",
}


def _stages(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    sizes = "".join(f"{row['width']}x{row['height']}".rjust(11) for row in rows)
    inputs = "".join(row["input"].rjust(11) for row in rows)
    return [
        f"{'stage, CPU ms, ' + str(rows[0]['faces']) + ' faces':<36}{sizes}",
        f"{'  input of the detector':<36}{inputs}",
        *(
            f"{'  ' + text:<36}" + "".join(f"{row[name]:>11.3f}" for row in rows)
            for name, text in STAGES.items()
        ),
    ]


def _frames(report: dict[str, Any]) -> list[str]:
    def row_of(row: dict[str, Any]) -> str:
        return (
            f"{row['width']}x{row['height']:<6}{row['input']:>9}{row['faces']:>6}"
            f"{row['classified']:>7}{row['frame_ms']:>10}{row['frame_p95_ms']:>9}"
            f"{row['networks_ms']:>10}{row['ratio']:>7}"
        )

    head = f"{'picture':<11}{'input':>9}{'faces':>6}{'judged':>7}{'frame ms':>10}{'p95 ms':>9}"
    head += f"{'networks':>10}{'ratio':>7}"
    lines = [head, *map(row_of, report["pipeline"])]
    if report["budget"]:
        lines += ["with the default classifier.budget:", *map(row_of, report["budget"])]
    slopes = [f"{size} {value}" for size, value in report["per_face"].items() if value]
    if slopes:
        lines.append(f"one more face, in runs of the classifier: {', '.join(slopes)}")
    return lines
