"""The documents as a site: built strictly, whole, every link of it leading somewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT

from convert import __main__ as convert
from maskedge import cli
from maskedge.config import Config

sys.path.insert(0, str(ROOT / "scripts"))

import configuration_page
import placement_table
import site_hooks


def build(config, target):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "-d", target],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", target)
    assert done.returncode == 0, done.stderr
    return target


def test_it_has_every_document(site):
    inside = {p.relative_to(ROOT / "docs").with_suffix("") for p in ROOT.glob("docs/**/*.md")}
    outside = {Path(name).with_suffix("") for name in {*site_hooks.OUTSIDE, *site_hooks.MADE}}
    built = {p.relative_to(site).with_suffix("") for p in site.rglob("*.html")}
    expected = {p.with_name("index") if p.name == "README" else p for p in inside | outside}
    assert expected <= built


def test_it_fetches_nothing_from_elsewhere(site):
    page = (site / "index.html").read_text()
    for tag in ("<script src=", '<link rel="stylesheet" href=', "<img src="):
        assert f'{tag}"http' not in page
        assert f"{tag}http" not in page


def test_what_a_page_links_to_in_the_repository_comes_along(site):
    copy = site / "repository/maskedge/schema/violation-1.json"
    assert json.loads(copy.read_text())["title"]
    assert "repository/maskedge/schema/violation-1.json" in (site / "mqtt.html").read_text()


def test_a_broken_link_fails_the_build(tmp_path):
    text = (ROOT / "mkdocs.yml").read_text().replace("docs_dir: docs", "docs_dir: planted")
    (tmp_path / "planted").mkdir()
    (tmp_path / "mkdocs.yml").write_text(
        text.replace("scripts/site_hooks.py", str(ROOT / "scripts/site_hooks.py"))
    )
    for planted in ("[a](nowhere.md)", "[a](#nothing)"):
        (tmp_path / "planted/faults.md").write_text(planted)
        assert build(tmp_path / "mkdocs.yml", tmp_path / "site").returncode == 1


def keys(model, prefix=""):
    for name, info in model.model_fields.items():
        if hasattr(info.annotation, "model_fields"):
            yield from keys(info.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


def test_the_configuration_page_has_every_key_with_its_default_and_a_meaning():
    rows = {
        line.split("`")[1]: line for line in configuration_page.page().splitlines() if "| `" in line
    }
    assert set(rows) == {key for key, _ in keys(Config)}
    for key, info in keys(Config):
        assert info.description, key
        assert rows[key].endswith(f"| {info.description} |")
        if isinstance(info.default, int | float | str):
            assert f"| `{json.dumps(info.default)}` |" in rows[key]


def test_the_commands_page_has_every_command(site):
    text = (site / "commands.html").read_text()
    for program, commands in (("maskedge", cli.COMMANDS), ("python -m convert", convert.COMMANDS)):
        for command in commands:
            assert f"<code>{program} {command}</code>" in text


def test_the_placement_page_has_the_computed_table():
    assert placement_table.table() in (ROOT / "docs/placement.md").read_text()


def test_a_face_is_as_large_as_optics_say():
    lens = placement_table.Lens("a right angle", 90, 16 / 9)
    # 90°: at 1 m the picture is 2 m wide, so 1920 pixels show 0.18 m as 172.8.
    far, wide = placement_table.distance(lens, 1920, 1080, 640, min_face=96)
    assert far == pytest.approx(1.8)
    assert wide == pytest.approx(3.6)
    # Half of the sensor's width is cut away: the rest is seen in twice the pixels.
    assert placement_table.distance(lens, 960, 1080, 640, 96)[0] == pytest.approx(1.8)
    # A detector that sees 320 of 1920 pixels needs faces of 120.
    assert placement_table.distance(lens, 1920, 1080, 320, 96)[0] == pytest.approx(1.44)
