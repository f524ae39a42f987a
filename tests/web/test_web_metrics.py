"""Prometheus's view, also by a real Prometheus."""

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from mosquitto import free_port, wait_for
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic
from webloop import TIMINGS, ask, parts

from maskedge.camera.status import CameraState
from maskedge.health import soc
from maskedge.health.faults import FAULTS
from maskedge.health.features import BY_NAME
from maskedge.pipeline import FrameResult
from maskedge.web.metrics import STAGES

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docs/examples/grafana-maskedge.json"
DOCUMENT = ROOT / "docs/metrics.md"
SECRET = "correct horse battery"  # noqa: S105 - of these tests only


def scrape(loop):
    """{(name, labels): value} of every sample."""
    families = classic(ask(loop.port, "/metrics").body.decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def busy(serve, drifted):
    """A loop with something of everything behind it."""
    loop = serve(drift=drifted)
    for _ in range(5):
        loop.step()
    loop.end(loop.violate())
    loop.violate("incorrect_mask", person=8)
    loop.look()
    return loop


def test_the_figures_are_those_of_the_loop(busy):
    got = scrape(busy)
    assert got["maskedge_frames_total",] == 5
    assert got["maskedge_faces_total",] == 10
    assert got["maskedge_frame_seconds_count",] == 5
    assert got["maskedge_frame_seconds_sum",] == pytest.approx(5 * 0.0265)
    assert got["maskedge_stage_seconds_sum", ("stage", "detect")] == pytest.approx(0.1)
    assert got["maskedge_violations_started_total", ("label", "without_mask")] == 1
    assert got["maskedge_violations_ended_total", ("label", "without_mask")] == 1
    assert got["maskedge_violations_started_total", ("label", "incorrect_mask")] == 1
    assert got["maskedge_violations_ended_total", ("label", "incorrect_mask")] == 0
    assert got["maskedge_people", ("label", "without_mask")] == 1
    assert got["maskedge_camera_state", ("state", "streaming")] == 1
    assert got["maskedge_broker_connected",] == 1
    assert got["process_resident_memory_bytes",] > 1e6


def test_faults_come_and_go(busy):
    lost = parts().camera.__class__("cam", CameraState.LOST, 0.0, error="unplugged")
    busy.parts = parts(camera=lost)
    busy.look()
    got = scrape(busy)
    assert got["maskedge_fault", ("code", "camera_lost")] == 1
    assert got["maskedge_status", ("status", "failed")] == 1
    assert got["maskedge_camera_state", ("state", "lost")] == 1
    busy.parts = parts()
    busy.look()
    assert scrape(busy)["maskedge_fault", ("code", "camera_lost")] == 0


def test_what_has_drifted_is_told_by_feature_and_reference(busy):
    got = scrape(busy)
    brightness = (("against", "site"), ("feature", "brightness"))
    assert got["maskedge_drift_moved", *brightness] == 1
    assert got["maskedge_drift_psi", *brightness] > got["maskedge_drift_limit", *brightness] == 0.25
    assert got["maskedge_drift_moved", ("against", "shipped"), ("feature", "confidence")] == 0
    assert got["maskedge_drift_state", ("state", "watching")] == 1
    assert got["maskedge_drift_visits_total",] == 2400
    assert got["maskedge_fault", ("code", "model_drift")] == 1
    found = {dict(labels)["feature"] for name, *labels in got if name == "maskedge_drift_psi"}
    assert found == set(BY_NAME)


def test_frames_that_nobody_looked_at_take_no_part_in_the_timings(busy):
    busy.page.frame(None, FrameResult(timings={"motion": 0.1}), 0.1)
    assert scrape(busy)["maskedge_frame_seconds_count",] == 5


def test_a_machine_that_tells_its_temperature_and_no_limits_has_only_that(busy, monkeypatch):
    monkeypatch.setattr(soc, "temperature", lambda: 61.5)
    busy.look()
    got = scrape(busy)
    assert got["maskedge_soc_temperature_celsius",] == 61.5
    assert ("maskedge_soc_throttled",) not in got


def test_a_loop_that_hangs_shows(busy):
    hub = busy.page._hub
    hub.clock = lambda: hub._looked_at + 100
    assert scrape(busy)["maskedge_last_look_age_seconds",] == 100


def test_labels_come_from_closed_sets_whatever_happens(busy):
    before = set(scrape(busy))
    for number in range(50):
        busy.step()
        busy.end(busy.violate(person=number))
    busy.parts = parts(broker=parts().broker, scene=frozenset({"black"}))
    busy.look()
    assert set(scrape(busy)) == before
    assert len(before) < 250


def test_open_metrics_is_spoken_too(busy):
    answer = ask(busy.port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in open_metrics(answer.body.decode())}
    assert {"maskedge_frames", "maskedge_build", "maskedge_stage_seconds"} <= names


def test_who_asks_for_a_version_that_is_none_gets_plain_text(busy):
    answer = ask(busy.port, "/metrics", Accept="text/plain; version=abc")
    assert answer.status == 200
    assert "version=0.0.4" in answer.headers["content-type"]


def test_before_the_first_look_only_the_timings_are_there(serve):
    loop = serve()
    loop.page._hub._overview = loop.page._hub._looked_at = None
    got = {name for name, *_ in scrape(loop)}
    assert "maskedge_frame_seconds_count" in got
    assert "maskedge_frames_total" not in got


def test_the_document_names_every_metric_and_no_other(busy):
    busy.parts = parts()
    families = classic(ask(busy.port, "/metrics").body.decode())
    exposed = {family.name for family in families if family.name.startswith("maskedge_")}
    exposed = {f"{name}_total" if family_is_counter(name, busy) else name for name in exposed} | {
        "maskedge_soc_temperature_celsius",
        "maskedge_soc_throttled",
    }
    documented = set(re.findall(r"^\| `(maskedge_[a-z_]+)`", DOCUMENT.read_text(), re.MULTILINE))
    assert documented == exposed


def family_is_counter(name, loop):
    body = ask(loop.port, "/metrics").body.decode()
    return f"# TYPE {name}_total counter" in body


def test_stages_and_faults_of_the_metrics_are_those_of_the_program(busy):
    got = scrape(busy)
    assert {dict(labels)["code"] for name, *labels in got if name == "maskedge_fault"} == {
        kind.code for kind in FAULTS
    }
    assert set(TIMINGS) <= set(STAGES)


def expressions():
    """Every query of the dashboard, as Grafana would send it."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in {
                "$job": "maskedge",
                "$instance": ".*",
                "$__rate_interval": "20s",
                "$__range": "1m",
            }.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


def test_the_dashboard_asks_only_for_metrics_that_there_are():
    documented = set(re.findall(r"^\| `(maskedge_[a-z_]+)`", DOCUMENT.read_text(), re.MULTILINE))
    for _, expression in expressions():
        for name in re.findall(r"maskedge_[a-z_]+", expression):
            assert re.sub(r"_(bucket|sum|count)$", "", name) in documented, name
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["title"] and panel["description"] for panel in dashboard["panels"])


@pytest.fixture
def prometheus(tmp_path):
    """``prometheus(target port)``: scrapes each second; ``.query(expression)``."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed: see tests/apt-packages.txt")
    made = []

    def start(target, token_file):
        (tmp_path / "prometheus.yml").write_text(
            "scrape_configs:\n"
            "  - job_name: maskedge\n"
            "    scrape_interval: 1s\n"
            "    authorization:\n"
            f"      credentials_file: {token_file}\n"
            "    static_configs:\n"
            f"      - targets: ['127.0.0.1:{target}']\n"
        )
        port = free_port()
        log = (tmp_path / "prometheus.log").open("wb")
        process = subprocess.Popen(
            [
                program,
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
        log.close()
        made.append(process)

        def query(expression):
            url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode(
                {"query": expression}
            )
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]["result"]
            return None

        return query

    yield start
    for process in made:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_real_prometheus_scrapes_it_and_the_dashboard_has_something_to_show(
    serve, prometheus, tmp_path
):
    token = tmp_path / "token"
    token.write_text(SECRET)
    loop = serve(token_file=token)
    loop.parts = parts(
        outbox=parts().outbox.__class__(3, 0, None, 0, None, None), config_error="line 3: wrong"
    )
    loop.start()
    query = prometheus(loop.port, token)
    wait_for(lambda: query("up == 1"), "a scrape that succeeds")
    loop.violate()  # after the first scrape, so that its rate isn't zero
    wait_for(lambda: query("increase(maskedge_violations_started_total[20s]) > 0"), "the violation")
    assert query("maskedge_outbox_pending_events")[0]["value"][1] == "3"
    assert query("histogram_quantile(0.5, rate(maskedge_frame_seconds_bucket[20s])) > 0.01")
    cannot = {"Temperature"}  # no SoC here
    for title, expression in expressions():
        result = query(expression)
        assert result is not None, f"{title}: Prometheus refuses {expression}"
        assert result or title in cannot, f"{title}: {expression} shows nothing"


def test_the_documents_configuration_and_alerts_are_valid(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: see tests/apt-packages.txt")
    scraping, alerts = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    token = tmp_path / "token"
    token.write_text(SECRET)
    scraping = scraping.replace("/etc/prometheus/maskedge-token", str(token))
    for check, text in (("config", scraping), ("rules", alerts)):
        path = tmp_path / f"{check}.yml"
        path.write_text(text)
        subprocess.run([promtool, "check", check, str(path)], check=True)


def test_promtool_finds_nothing_to_improve(busy):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: see tests/apt-packages.txt")
    body = ask(busy.port, "/metrics").body
    done = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
