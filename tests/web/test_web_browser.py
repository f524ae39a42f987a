"""The page in Debian's Chromium: what people see, hear and reach."""

import re
from itertools import combinations, pairwise

import pytest
from browser import CONTRAST, tab
from doorway import Door, Network
from mosquitto import Relay, wait_for
from webloop import configuration, parts

from maskedge.camera.status import CameraState, CameraStatus
from maskedge.config import Config
from maskedge.configfile import LoadedConfig
from maskedge.geometry import Box
from maskedge.health.drift import Drift
from maskedge.pipeline import PersonView
from maskedge.web.page import StatusPage

SECRET = "correct horse battery"  # noqa: S105 - of these tests only
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}

FOCUSED = """() => {
  const node = document.activeElement;
  const link = node.tagName === "A" ? node.textContent : "";
  return node.id || link || node.tagName + [...document.querySelectorAll("*")].indexOf(node);
}"""


@pytest.fixture
def watched(serve, browser):
    """A page in a tab, with a loop behind it that goes on by itself."""
    loop = serve().start()
    with tab(browser, viewport=DESK) as page:
        page.goto(f"http://127.0.0.1:{loop.port}/")
        page.locator("#link[data-state=live]").wait_for()
        page.locator("#status:not([data-status=unknown])").wait_for()  # violations are told before
        page.loop = loop
        yield page
        assert page.said == []


def live(page):
    page.locator("#stage[data-state=live]").wait_for()


def test_the_live_picture_moves_and_says_who_is_seen(watched):
    live(watched)
    picture = watched.locator("#picture")
    assert picture.evaluate("image => image.naturalWidth") == 640
    first = picture.get_attribute("src")
    watched.wait_for_function("old => document.getElementById('picture').src !== old", arg=first)
    assert picture.get_attribute("alt") == "Live picture: 1 person: without mask"
    assert watched.locator(".box[data-label=without_mask] .tag").inner_text() == "without mask 93%"
    row = watched.locator("#persons li")
    assert re.sub(r"\s+", " ", row.inner_text()) == "Person 7 without mask, 93% face 120 px"
    assert watched.locator("#n-without_mask").inner_text() == "1"
    watched.loop.told = True
    row.get_by_text("violation told").wait_for()
    assert "640 \u00d7 480" in watched.locator("#caption").inner_text()


def test_the_boxes_lie_where_the_faces_are(watched):
    live(watched)
    stage, box = watched.evaluate("""() => ["#stage", ".box[data-label=without_mask]"]
      .map((name) => document.querySelector(name).getBoundingClientRect().toJSON())""")
    scale = stage["width"] / 640
    assert box["x"] - stage["x"] == pytest.approx(200 * scale, abs=2)
    assert box["y"] - stage["y"] == pytest.approx(100 * scale, abs=2)
    assert box["width"] == pytest.approx(100 * scale, abs=2)


def test_in_a_crowd_the_label_that_matters_is_on_top_and_none_lies_on_another(watched):
    live(watched)
    places = [(190, 95, 230, 140), (215, 90, 260, 150), (240, 98, 330, 200), (20, 300, 90, 390)]
    labels = ["unsure", "with_mask", "unsure", "unsure"]
    watched.loop.others = tuple(
        PersonView(20 + n, Box(*place), label, 0.9, seen=True, violation=None)
        for n, (place, label) in enumerate(zip(places, labels, strict=True))
    )
    watched.get_by_text("Person 23").wait_for()
    tags = watched.evaluate("""() => [...document.querySelectorAll("#overlay .tag")]
      .map((tag) => ({ text: tag.textContent, ...tag.getBoundingClientRect().toJSON(),
                       shown: tag.checkVisibility({ checkVisibilityCSS: true }) }))""")
    shown = [tag for tag in tags if tag["shown"]]
    assert len(shown) < len(tags)
    assert "without mask 93%" in {tag["text"] for tag in shown}
    assert "not sure" in {tag["text"] for tag in shown}  # the one who stands alone
    for one, other in combinations(shown, 2):
        assert (
            one["right"] <= other["left"]
            or other["right"] <= one["left"]
            or one["bottom"] <= other["top"]
            or other["bottom"] <= one["top"]
        ), (one["text"], other["text"])


def test_guides_show_the_smallest_face_and_strangers_and_can_be_hidden(watched):
    live(watched)
    watched.locator(".box.guide").wait_for()
    assert "48 px" in watched.locator(".guide .tag").inner_text()
    assert "30 px" in watched.locator(".stranger .tag").inner_text()
    watched.locator("#guides").click()
    watched.wait_for_function("() => !document.querySelector('.guide, .stranger')")
    assert watched.locator("#guides").get_attribute("aria-pressed") == "false"


def place_of(page, selector):
    """Of what every picture draws anew; in one step, as it may be gone in the next."""
    return page.evaluate(
        "(name) => document.querySelector(name).getBoundingClientRect().toJSON()", selector
    )


def test_an_area_to_ignore_is_drawn_with_the_mouse_and_told_in_shares_of_the_picture(watched):
    live(watched)
    stage = watched.locator("#stage").bounding_box()

    def drag(*shares):
        for number, (x, y) in enumerate(shares):
            at = (stage["x"] + x * stage["width"], stage["y"] + y * stage["height"])
            watched.mouse.move(*at)
            if number == 0:
                watched.mouse.down()
        watched.mouse.up()

    assert watched.locator("#area").is_hidden()
    drag((0.6, 0.5), (0.7, 0.6), (0.25, 0.75))
    told = [
        float(edge) for edge in watched.locator("#area-text").inner_text().strip("[]").split(",")
    ]
    assert told == pytest.approx([0.25, 0.5, 0.6, 0.75], abs=0.01)
    area = place_of(watched, ".box.area")
    assert area["x"] - stage["x"] == pytest.approx(0.25 * stage["width"], abs=3)
    assert area["width"] == pytest.approx(0.35 * stage["width"], abs=3)
    drag((0.3, 0.3))  # a click takes it away
    assert watched.locator("#area").is_hidden()
    drag((0.9, 0.8), (1.4, 1.7))
    assert watched.locator("#area-text").inner_text() == "[0.900, 0.800, 1.000, 1.000]"
    watched.locator("#guides").click()
    assert watched.locator("#area").is_hidden()
    assert not watched.locator(".box.area").count()


def test_areas_that_are_ignored_are_shown(watched):
    live(watched)
    assert not watched.locator(".box.ignored").count()
    loaded = watched.loop.page._loaded
    told = {**loaded.config.model_dump(), "tracker": {"ignore": [[0.5, 0.0, 1.0, 0.25]]}}
    watched.loop.page.reconfigure(LoadedConfig(Config.model_validate(told), loaded.path))
    watched.locator(".box.ignored").wait_for()
    stage = watched.locator("#stage").bounding_box()
    area = place_of(watched, ".box.ignored")
    assert area["width"] == pytest.approx(stage["width"] / 2, abs=3)


def test_a_violation_appears_without_a_reload_and_is_said_aloud(watched):
    watched.evaluate("window.mark = 'the same document'")
    watched.get_by_text("None since the start.").wait_for()
    event = watched.loop.violate("incorrect_mask")
    row = watched.locator("#violation-rows tr")
    row.wait_for()
    assert "mask worn wrongly" in row.inner_text()
    assert "person 7, 93% sure" in row.inner_text()
    assert "so far" in row.inner_text()
    watched.get_by_text(re.compile(r"^Violation at .*: mask worn wrongly\.$")).wait_for(
        state="attached"
    )
    assert watched.locator("#tell").get_attribute("role") == "status"
    watched.loop.end(event)
    watched.locator("#violation-rows tr.open").wait_for(state="detached")
    assert watched.evaluate("window.mark") == "the same document"


def test_what_is_of_another_day_says_which(watched):
    watched.loop.violate(person=1, ago=3 * 86_400)
    watched.loop.violate(person=2)
    today, earlier = watched.locator("#violation-rows time"), watched.locator("#reloads time")
    today.nth(1).wait_for()
    recent, old = (one.inner_text() for one in today.all())
    assert re.fullmatch(r"[\d:]{8}", recent)
    assert re.search(r"\b20\d\d\b", old)
    watched.loop.page.refused("config.yaml:3: wrong")
    earlier.wait_for()
    assert re.fullmatch(r"[\d:]{8}", earlier.inner_text())
    # A page that stays open into another day.
    two_days = "{ get: () => 2 * 86400e3, set() {} }"
    watched.evaluate(f"() => Object.defineProperty(state, 'ahead', {two_days})")
    watched.locator("#reloads time", has_text=re.compile(r"\b20\d\d\b")).wait_for()


def test_a_fault_appears_with_help_is_said_aloud_and_goes(watched):
    loop = watched.loop
    live(watched)
    lost = CameraStatus("cam", CameraState.LOST, 0.0, error="/dev/video0: unplugged")
    loop.parts = parts(camera=lost)
    fault = watched.locator(".fault[data-key=camera_lost]")
    fault.wait_for()
    assert "/dev/video0: unplugged" in fault.inner_text()
    assert "no violation can be seen" in fault.inner_text()
    assert watched.locator("#status").inner_text() == "Blind"
    announced = watched.locator("#announce")
    assert announced.get_attribute("role") == "alert"
    assert "Fault: Camera lost. /dev/video0: unplugged" in announced.inner_text()
    assert watched.title().startswith("Blind · maskedge")
    summary = fault.locator("summary")
    summary.focus()
    watched.keyboard.press("Enter")
    assert "give_up_after" in fault.locator(".help").inner_text()
    loop.parts = parts()
    fault.wait_for(state="detached")
    assert announced.inner_text() == "Over: Camera lost."


def test_a_refused_reload_says_why(watched):
    why = "config.yaml:3: camera.fsp: unknown key; did you mean `fps`?"
    watched.loop.page.refused(why)
    refused = watched.locator("#reloads .refused")
    refused.wait_for()
    assert why in refused.inner_text()
    assert "runs on" in refused.inner_text()


def test_the_configuration_shows_what_differs_and_on_demand_everything(watched):
    rows = watched.locator("#config-rows tr")
    watched.get_by_text("web.enabled", exact=True).wait_for()
    assert {row.split("\t")[0] for row in watched.locator("#config-rows").inner_text().split("\n")
            if row} == {"device", "web.enabled", "web.port"}  # fmt: skip
    watched.get_by_role("button", name="Show defaults too").click()
    watched.get_by_text("verdict.min_face", exact=True).wait_for()
    assert sum(row.is_visible() for row in rows.all()) > 50


def test_what_the_daemon_says_is_text_never_markup(watched):
    bad = "<img src=x onerror=\"document.title='pwned'\"><b>bold</b>"
    watched.loop.parts = parts(config_error=bad)
    watched.loop.page.refused(bad)
    watched.locator(".fault[data-key=config_refused]").wait_for()
    assert bad in watched.locator(".fault[data-key=config_refused] .message").inner_text()
    assert watched.locator("#page b").get_by_text("bold").count() == 0
    assert "pwned" not in watched.title()


def test_the_day_is_a_chart_with_words_and_a_table(watched):
    watched.get_by_text(re.compile("^1 person decided on since the start, 0%")).wait_for()
    assert watched.locator("#chart .slot").count() == 48
    # Not in the last one where the next half hour has just begun.
    assert watched.locator("#chart .bad:visible").bounding_box()["height"] > 10
    assert watched.get_by_role("img", name=re.compile("Last 24 hours 1 person")).count() == 1
    watched.locator("#day summary").click()
    cells = watched.locator("#day-rows td")
    cells.first.wait_for()  # the table has opened
    assert cells.all_inner_texts()[1:] == ["0", "1"]


def test_drift_is_small_charts_with_words(serve, browser, drifted):
    loop = serve(drift=drifted).start()
    with tab(browser, viewport=DESK) as page:
        page.goto(f"http://127.0.0.1:{loop.port}/")
        page.locator(".fault[data-key=model_drift]").wait_for()
        card = page.locator("#drift-list li[data-key=brightness].moved")
        card.wait_for()
        assert page.locator("#drift-list li.moved").count() == 1
        assert re.search(r"now \d+ to \d+\s+at first 11\d to 14\d", card.inner_text())
        assert "of 0.25 from the first days\nMoved" in card.inner_text()
        assert card.locator("svg path.bar-now").count() == 1
        assert card.locator("svg path.line-site").count() == 1
        sure = page.locator("#drift-list li[data-key=confidence]")
        assert sure.locator("svg path.line-shipped").count() == 1
        assert "from where measured" in sure.inner_text()
        assert page.get_by_role("img", name="Distribution: brightness of faces").count() == 1
        assert page.locator("#drift-sum").inner_text() == "Moved: brightness of faces."
        assert page.said == []


def test_while_it_learns_what_is_normal_it_says_how_far_it_is(serve, browser, tmp_path):
    drift = Drift(Config(device="door"), (Network(), Network()), tmp_path / "baseline.json")
    for number in range(40):
        drift.visit(Door().visit(), 3600.0 * number)
    loop = serve(drift=drift).start()
    with tab(browser) as page:
        page.goto(f"http://127.0.0.1:{loop.port}/")
        page.get_by_text("40 of the 100 visits that are needed to compare.").wait_for()
        page.get_by_text("40 visits in 1.6 of 7 days.").wait_for()
        assert not page.locator("#key-site").is_visible()
        loop.visit(Door().visit(), 3600.0 * 41)
        page.get_by_text("41 of the 100 visits").wait_for()


def test_stages_delivery_and_machine_are_told(watched):
    watched.get_by_role("cell", name="detect", exact=True).wait_for()
    assert "20.0 ms" in watched.locator("#stage-rows tr", has_text="detect").inner_text()
    assert "connected" in watched.locator("#delivery-list").inner_text()
    machine = watched.locator("#machine-list").inner_text()
    assert "litert, 0123456789ab" in machine


def test_nothing_comes_from_elsewhere(serve, browser):
    loop = serve().start()
    asked = []
    with tab(browser) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{loop.port}/")
        live(page)
    own = f"http://127.0.0.1:{loop.port}/"
    assert asked
    assert all(url.startswith((own, f"blob:{own}")) for url in asked), asked


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_light_and_dark_and_nothing_overflows(
    serve, browser, drifted, scheme, viewport
):
    loop = serve(drift=drifted).start()
    lost = CameraStatus("cam", CameraState.LOST, 0.0, error="unplugged: " + "x" * 200)
    loop.parts = parts(camera=lost, config_error="config.yaml:3: wrong")
    loop.page.refused("config.yaml:3: " + "y" * 200)
    loop.violate()
    loop.violate("incorrect_mask", person=8)
    with tab(browser, viewport=viewport, color_scheme=scheme) as page:
        page.goto(f"http://127.0.0.1:{loop.port}/")
        live(page)
        page.locator(".fault[data-key=camera_lost]").wait_for()
        page.locator("#violation-rows tr").first.wait_for()
        page.locator("#drift-list li.moved").wait_for()
        page.locator(".fault summary").first.click()
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shade = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
        assert shade > 200 if scheme == "light" else shade < 50
        found = page.evaluate(CONTRAST)
        assert found["count"] > 50
        assert found["bad"] == []
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"]
        if viewport is PHONE:
            for button in page.get_by_role("button").all():
                assert button.bounding_box()["height"] >= 44
        assert page.said == []


def test_all_can_be_done_with_the_keyboard_and_focus_is_seen(watched):
    live(watched)
    watched.locator("#config-rows tr").first.wait_for()
    reached = []
    for _ in range(20):
        watched.keyboard.press("Tab")
        name = watched.evaluate(FOCUSED)
        if name in reached or name.startswith("BODY"):
            break
        style = watched.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none", name
        reached.append(name)
    assert reached[0] == "Skip to the content"
    for wanted in ("guides", "pause", "all", "Metrics", "Status as JSON"):
        assert wanted in reached
    assert reached.index("guides") < reached.index("pause") < reached.index("all")


def test_pause_stops_the_picture_and_the_asking(watched):
    live(watched)
    watched.locator("#pause").focus()
    watched.keyboard.press("Space")
    assert watched.locator("#pause").get_attribute("aria-pressed") == "true"
    watched.locator("#stage[data-state=paused]").wait_for()
    hub = watched.loop.page._hub
    wait_for(lambda: hub._view is None, "no frame kept while nobody looks")
    watched.keyboard.press("Space")
    live(watched)


def test_a_tab_in_the_background_costs_no_picture(watched):
    live(watched)
    watched.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
    hub = watched.loop.page._hub
    wait_for(lambda: hub._view is None, "no frame kept while nobody looks")


def test_the_accessibility_tree_has_landmarks_headings_and_names(watched):
    live(watched)
    watched.locator("#violations").wait_for()
    tree = watched.locator("body").aria_snapshot()
    for landmark in ("- banner:", "- main:", "- contentinfo:"):
        assert landmark in tree
    names = [heading.inner_text() for heading in watched.locator("section:visible h2").all()]
    assert len(names) >= 8
    for region in names:
        assert f'region "{region}"' in tree
    assert 'img "Live picture: 1 person: without mask"' in tree
    assert tree.count("[level=1]") == 1
    levels = [int(level) for level in re.findall(r"\[level=(\d)\]", tree)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert not re.findall(r"- (button|link|img|region)\n", tree), "something has no name"
    regions = re.findall(r'- region "(.+?)"', tree)
    assert len(set(regions)) == len(regions), "two with the same name"
    assert watched.evaluate("document.documentElement.lang") == "en"


def test_a_loop_that_hangs_is_said(watched):
    live(watched)
    watched.loop.stop()
    watched.get_by_text(re.compile("^No word for ")).wait_for()
    assert watched.locator("#status").get_attribute("data-status") == "failed"


def test_who_comes_while_the_loop_hangs_sees_since_when(serve, browser):
    loop = serve()
    loop.page._hub._overview_at -= 600
    with tab(browser) as page:
        page.goto(f"http://127.0.0.1:{loop.port}/")
        page.get_by_text("No word for 10 min").wait_for()


def test_after_a_restart_the_page_comes_back_by_itself(watched):
    live(watched)
    loop = watched.loop
    loop.page.close()
    watched.locator("#link[data-state=lost]").wait_for()
    again = StatusPage(loop.loaded)
    loop.page = again
    watched.locator("#link[data-state=live]").wait_for()
    live(watched)
    watched.said.clear()  # the browser reports refused connections


def impatient(route):
    """The page's script, for which a unit is gone sooner."""
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace("LOST = 20000", "LOST = 3000"))


def test_a_unit_that_is_gone_without_a_word_doesnt_look_alive(serve, browser):
    """As when it loses its power: no connection ends, and nothing comes."""
    wire = Relay(serve().start().port)
    with tab(browser) as page:
        page.route("**/page.js", impatient)
        page.goto(f"http://127.0.0.1:{wire.port}/")
        live(page)
        wire.delay = 3600.0
        page.get_by_text("No answer from the unit").wait_for()
        assert page.locator("#stage").get_attribute("data-state") == "stale"
        page.locator("#link[data-state=lost]").wait_for()
        wire.delay = 0.0
        page.locator("#link[data-state=live]").wait_for()
        live(page)
    wire.close()


def test_without_a_picture_there_is_no_empty_frame(serve, browser):
    loop = serve(picture=False).start()
    with tab(browser) as page:
        page.goto(f"http://127.0.0.1:{loop.port}/")
        page.get_by_text("web.picture", exact=True).first.wait_for()
        assert not page.locator("#view").is_visible()
        assert page.said == []


def test_a_still_camera_says_so(serve, browser, monkeypatch):
    monkeypatch.setattr("maskedge.web.picture.PATIENCE", 0.3)
    loop = serve()
    with tab(browser) as page:
        page.goto(f"http://127.0.0.1:{loop.port}/")
        page.get_by_text("No picture comes from the camera").wait_for()
        assert page.locator("#stage").get_attribute("data-state") == "waiting"
        loop.start()
        live(page)


def test_getting_in_with_the_token_and_out_again(serve, browser, tmp_path):
    (tmp_path / "token").write_text(SECRET)
    loop = serve(configuration(token_file=tmp_path / "token")).start()
    loop.parts = parts(config_error="config.yaml:3: camera.fsp: unknown key")
    with tab(browser, viewport=PHONE) as page:
        page.goto(f"http://127.0.0.1:{loop.port}/")
        field = page.get_by_label("Token")
        field.wait_for()
        assert not page.locator("#page").is_visible()
        assert page.evaluate("document.activeElement.id") == "token"
        field.fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("That isn't the token.").wait_for()
        field.fill(SECRET)
        page.keyboard.press("Enter")
        live(page)
        assert not field.is_visible()
        page.locator(".fault[data-key=config_refused]").wait_for()
        assert page.evaluate("scrollY") == 0  # what is wrong comes first, and isn't scrolled away
        assert page.evaluate("document.activeElement.id") == "main"
        assert page.context.cookies()[0]["httpOnly"]
        assert page.evaluate("document.cookie") == ""
        page.reload()
        live(page)
        page.get_by_role("button", name="Log out").click()
        field.wait_for()
        assert page.context.cookies() == []


def test_who_logs_out_of_a_unit_that_is_gone_or_into_one_is_told(serve, browser, tmp_path):
    (tmp_path / "token").write_text(SECRET)
    wire = Relay(serve(configuration(token_file=tmp_path / "token")).start().port)
    with tab(browser) as page:
        page.route("**/page.js", impatient)
        page.goto(f"http://127.0.0.1:{wire.port}/")
        page.get_by_label("Token").fill(SECRET)
        page.keyboard.press("Enter")
        live(page)
        wire.delay = 3600.0
        page.get_by_role("button", name="Log out").click()
        page.get_by_text("Not logged out: no answer from the unit.").wait_for()
        wire.delay = 0.0
        page.locator("#link[data-state=live]").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Token").wait_for()
        assert not page.locator("#logout-error").is_visible()
        wire.delay = 3600.0
        page.get_by_label("Token").fill(SECRET)
        page.keyboard.press("Enter")
        page.locator("#login-error").get_by_text("No answer from the unit.").wait_for()
    wire.close()
