"""``maskedge bench``: what a frame costs on this machine."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from maskedge.errors import EX_OK

EPILOG = """\b
Examples:
  maskedge bench                    about a minute
  maskedge bench --quick            a few seconds, coarse
  maskedge bench --json > mine.json

`networks` is the limit: the interpreter alone. `ratio` says how many times that limit a whole
frame costs. Compare ratios, not milliseconds of different runs. Needs the extra `demo`.
"""


@click.command(name="bench", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@click.option("--quick", is_flag=True, help="Fewer repetitions, sizes and crowds.")
@click.option("--threads", type=click.IntRange(1, 16), default=1, show_default=True)
def command(as_json: bool, quick: bool, threads: int) -> int:
    """Measure networks, stages and the whole pipeline, in one run."""
    from maskedge import bench

    seconds = 0.1 if quick else 1.0
    sizes = bench.SIZES[:1] if quick else bench.SIZES
    faces = (0, 1, 4) if quick else bench.FACES
    counts = sorted({1, threads, *([] if quick else [2, 4])})
    counts = [count for count in counts if count <= max(threads, bench.machine()["cores"])]
    report: dict[str, Any] = {"machine": bench.machine(), "start_up": bench.start_up()}
    report["networks"] = _gather("networks", bench.networks(seconds, counts))
    report["pipeline"] = _gather("pipeline", bench.pipeline(seconds, threads, sizes, faces))
    report["rss_mib"] = bench.memory_mib()
    click.echo(json.dumps(report, indent=2) if as_json else _tables(report))
    return EX_OK


def _gather(label: str, rows: Any) -> list[dict[str, Any]]:
    """Collect, saying on standard error how far it has come."""
    gathered = []
    for row in rows:
        gathered.append(row)
        if sys.stderr.isatty():
            click.echo(f"\r{label}: {len(gathered)} measured ", err=True, nl=False)
    if sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)
    return gathered


def _tables(report: dict[str, Any]) -> str:
    lines = [f"{key}: {value}" for key, value in report["machine"].items() if value is not None]
    start = report["start_up"]
    lines += [f"maskedge --help: {start['help_ms']} ms, {start['ratio']} x python -c pass", ""]
    lines.append(f"{'network':<28}{'threads':>8}{'p50 ms':>9}{'p95 ms':>9}{'KiB':>7}  backend")
    lines += [
        f"{row['network']:<28}{row['threads']:>8}{row['p50_ms']:>9}{row['p95_ms']:>9}"
        f"{row['kib']:>7}  {row['backend']}"
        for row in report["networks"]
    ]
    lines += [
        "",
        f"{'picture':<11}{'faces':>6}{'judged':>7}{'frame ms':>10}{'networks':>10}{'ratio':>7}",
    ]
    lines += [
        f"{row['width']}x{row['height']:<6}{row['faces']:>6}{row['classified']:>7}"
        f"{row['frame_ms']:>10}{row['networks_ms']:>10}{row['ratio']:>7}"
        for row in report["pipeline"]
    ]
    lines += ["", f"largest resident set: {report['rss_mib']} MiB"]
    return "\n".join(lines)
