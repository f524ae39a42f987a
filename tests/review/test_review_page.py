"""The page for labelling, in Debian's Chromium and by plain requests."""

import http.client
import io
import json
import re
import time
import zipfile
from collections import Counter

import pytest
from browser import CONTRAST, chromium, tab
from kept import fill, record
from mosquitto import wait_for

from maskedge.errors import WebError
from maskedge.geometry import Box
from maskedge.review.folder import ReviewFolder
from maskedge.web.review import ReviewPage

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
ANSWERS = ("with_mask", "without_mask", "incorrect_mask")


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def folder(tmp_path):
    """Six faces; the higher the number, the more doubtful."""
    faces = [
        record(n, doubt=0.3 + n / 10, others=(Box(100, 5, 118, 40),) if n == 6 else ())
        for n in range(1, 7)
    ]
    return fill(tmp_path / "review", faces)


class Page(ReviewPage):
    """Remembers how often a link was used."""

    def __init__(self, folder):
        self.uses = 0
        super().__init__(ReviewFolder(folder.path), 0, self._count)

    def _count(self):
        self.uses += 1

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(
                method, path, body, {k.replace("_", "-"): v for k, v in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def enter(self):
        """The cookie that a link brings."""
        _, _, headers = self.ask("GET", self.link().partition(str(self.port))[2])
        return headers["set-cookie"].partition(";")[0]


@pytest.fixture
def served(folder):
    page = Page(folder)
    yield page
    page.close()


@pytest.fixture
def labelling(served, browser):
    """The page in a tab, let in."""
    with tab(browser, viewport=DESK) as page:
        page.goto(served.link())
        shown(page, 6)
        yield page
        assert page.said == []


def marks(folder):
    """By number of the face."""
    return {int(item.record.track.split("-")[1]): item.mark for item in folder.items()}


def name(number):
    return record(number).name


def shown(page, number):
    page.locator(f"#face[data-shown='{name(number)}']").wait_for()


# ---- Who is let in


def test_a_link_lets_one_browser_in_once(served):
    link = served.link().partition(str(served.port))[2]
    status, _, headers = served.ask("GET", link)
    assert (status, headers["location"]) == (303, "/")
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=strict" in headers["set-cookie"]
    cookie = headers["set-cookie"].partition(";")[0]
    assert served.ask("GET", "/faces.json", Cookie=cookie)[0] == 200
    assert served.uses == 1
    status, _, headers = served.ask("GET", link)
    assert (status, "set-cookie" in headers, served.uses) == (200, False, 1)
    assert served.ask("GET", served.link().partition(str(served.port))[2])[0] == 303
    assert served.ask("GET", "/?key=")[0] == 200
    assert served.ask("GET", "/faces.json", Cookie=cookie)[0] == 200  # still in


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/faces.json"),
        ("GET", f"/faces/{name(1)}.jpg"),
        ("PUT", f"/faces/{name(1)}/label"),
        ("GET", "/review.zip"),
    ],
)
def test_who_has_no_link_gets_no_face_and_changes_nothing(served, folder, method, path):
    for headers in ({}, {"Cookie": f"maskedge-{served.port}=guess"}):
        status, body, _ = served.ask(method, path, b"with_mask", **headers)
        assert status == 401
        assert b"open the link" in body
    cookie = served.enter()
    other_site = served.ask(method, path, b"with_mask", Cookie=cookie, Sec_Fetch_Site="cross-site")
    rebound = served.ask(method, path, b"with_mask", Cookie=cookie, Host="evil.example")
    assert other_site[0] == rebound[0] == 403
    assert set(marks(folder).values()) == {None}


def test_it_listens_at_this_machine_only_with_strict_headers(served):
    assert served._socket.getsockname()[0] == "127.0.0.1"
    for path in ("/", "/review.js", "/review.css", "/style.css", "/faces.json"):
        _, _, headers = served.ask("GET", path)
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src")
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_port_in_use_is_one_clear_error(served):
    with pytest.raises(WebError, match="another program does; stop it or change --port"):
        ReviewPage(ReviewFolder("unused"), served.port, lambda: None)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"/faces/{name(1)}/label", b"maybe", 400),
        (f"/faces/{name(1)}/label", b"x" * 5000, 413),
        (f"/faces/{name(99)}/label", b"with_mask", 404),
        ("/faces/..%2F..%2Fsecret/label", b"with_mask", 404),
    ],
)
def test_a_senseless_label_is_refused(served, folder, path, body, status):
    assert served.ask("PUT", path, body, Cookie=served.enter())[0] == status
    assert set(marks(folder).values()) == {None}


def test_without_the_link_the_page_says_what_to_do(served, browser):
    with tab(browser, viewport=DESK) as page:
        page.goto(f"http://127.0.0.1:{served.port}/?key=used-up")
        page.get_by_text("only the link that maskedge review prints").wait_for()
        assert not page.locator("#work").is_visible()


# ---- Labelling


def test_the_most_doubtful_come_first_and_keys_label_them(labelling, folder):
    assert "key=" not in labelling.url
    for number, key in ((6, "1"), (5, "b"), (4, "i"), (3, "n"), (2, "s")):
        shown(labelling, number)
        labelling.keyboard.press(key)
    shown(labelling, 1)
    assert "4 of 6 done, 1 skipped" in labelling.locator("#progress-text").inner_text()
    assert labelling.locator("#progress").evaluate("bar => bar.value / bar.max") == 5 / 6
    wait_for(lambda: marks(folder)[2] == "skipped", "the last label on the disk")
    assert marks(folder) == {
        6: "with_mask", 5: "without_mask", 4: "incorrect_mask", 3: "not_a_face", 2: "skipped",
        1: None,
    }  # fmt: skip
    labelling.keyboard.press("w")
    labelling.get_by_role("heading", name="Every face is looked at").wait_for()
    assert labelling.evaluate("document.activeElement.id") == "done-title"
    assert "With mask\n2" in labelling.locator("#counts").inner_text()


def test_labels_outlive_the_page_and_it_goes_on_where_it_was(labelling, folder, browser):
    labelling.keyboard.press("1")
    shown(labelling, 5)
    labelling.keyboard.press("3")
    shown(labelling, 4)
    wait_for(lambda: marks(folder)[5] == "incorrect_mask", "the label on the disk")
    again = Page(folder)
    try:
        with tab(browser, viewport=DESK) as page:
            page.goto(again.link())
            shown(page, 4)
            assert "2 of 6 done" in page.locator("#progress-text").inner_text()
            page.keyboard.press("ArrowLeft")
            shown(page, 5)
            pressed = page.locator("[data-label][aria-pressed=true]")
            assert pressed.get_attribute("data-label") == "incorrect_mask"
            page.keyboard.press("2")  # a second thought
            shown(page, 4)
            wait_for(lambda: marks(folder)[5] == "without_mask", "the second thought")
    finally:
        again.close()


def test_undo_takes_back_labels_and_deletions(labelling, folder):
    assert labelling.locator("#undo").is_disabled()
    labelling.keyboard.press("1")
    shown(labelling, 5)
    labelling.keyboard.press("d")
    shown(labelling, 4)
    wait_for(lambda: (marks(folder)[5], marks(folder)[6]) == ("deleted", "with_mask"), "both")
    labelling.keyboard.press("u")
    shown(labelling, 5)
    labelling.keyboard.press("u")
    shown(labelling, 6)
    wait_for(lambda: set(marks(folder).values()) == {None}, "both taken back")
    assert labelling.locator("#undo").is_disabled()
    labelling.keyboard.press("u")
    shown(labelling, 6)


def test_a_key_held_down_or_with_control_labels_nothing_more(labelling, folder):
    labelling.keyboard.down("1")
    for _ in range(5):
        labelling.keyboard.down("1")  # what a held key repeats
    labelling.keyboard.up("1")
    labelling.keyboard.press("Control+3")
    shown(labelling, 5)
    wait_for(lambda: Counter(marks(folder).values())["with_mask"] == 1, "one label")
    assert Counter(marks(folder).values()) == {None: 5, "with_mask": 1}


def test_a_picture_that_is_not_there_yet_cannot_be_labelled(served, folder, browser):
    held = []
    with tab(browser, viewport=DESK) as page:
        page.route("**/faces/*.jpg", lambda route: held.append(route))  # noqa: PLW0108
        page.goto(served.link())
        wait_for(lambda: page.evaluate("1") and held, "the question for a picture")
        page.keyboard.press("1")
        assert page.locator("#place").inner_text() == "Face 1 of 6"
        held[0].continue_()
        shown(page, 6)
        wait_for(lambda: page.evaluate("1") and len(held) > 1, "the question for the next one")
        held[1].continue_()
        page.keyboard.press("1")
        shown(page, 5)
    wait_for(lambda: marks(folder)[6] == "with_mask", "the label")
    assert Counter(marks(folder).values()) == {None: 5, "with_mask": 1}


def test_buttons_do_the_same_and_the_skipped_come_again(labelling, folder):
    for number in (6, 5, 4, 3, 2):
        shown(labelling, number)
        labelling.get_by_role("button", name="Without mask").click()
    labelling.get_by_role("button", name="Skip").click()
    labelling.get_by_role("button", name="Look at the skipped ones again").click()
    shown(labelling, 1)
    labelling.get_by_role("button", name="Not a face").click()
    labelling.get_by_role("heading", name="Every face is looked at").wait_for()
    wait_for(lambda: marks(folder)[1] == "not_a_face", "the label")
    labelling.get_by_role("button", name="Undo the last").click()
    shown(labelling, 1)


def test_the_opinion_of_the_program_is_shown_only_on_demand(labelling):
    assert not labelling.locator("#opinions").is_visible()
    labelling.keyboard.press("m")
    assert labelling.locator("#scores").inner_text().split("\n") == [
        "With mask", "50%", "Without mask", "30%", "Worn wrongly", "20%"
    ]  # fmt: skip
    labelling.keyboard.press("1")
    shown(labelling, 5)
    assert labelling.locator("#opinions").is_visible()


def test_the_face_and_others_are_framed_where_they_are(labelling):
    image, face, other = labelling.evaluate("""() => ["#face", ".box.this", ".box.other"]
      .map((name) => document.querySelector(name).getBoundingClientRect().toJSON())""")
    scale = min(image["width"], image["height"]) / 120
    left = image["x"] + (image["width"] - 120 * scale) / 2
    assert face["x"] - left == pytest.approx(30 * scale, abs=3)
    assert face["width"] == pytest.approx(60 * scale, abs=3)
    assert face["y"] - image["y"] == pytest.approx(30 * scale, abs=3)
    assert other["x"] - left == pytest.approx(100 * scale, abs=3)


def test_a_screen_reader_hears_what_is_shown_and_what_was_said(labelling):
    picture = labelling.get_by_role("img", name=re.compile(r"^Face 1 of 6, .*2026.*, 60 pixels$"))
    assert picture.count() == 1
    group = labelling.get_by_role("group", name="How is the mask worn?")
    assert group.get_by_role("button").count() == 4
    assert labelling.get_by_role("progressbar", name="0 of 6 done").count() == 1
    labelling.keyboard.press("3")
    labelling.get_by_text("Worn wrongly. 5 left.").wait_for(state="attached")
    assert labelling.locator("#tell").get_attribute("role") == "status"
    assert labelling.locator("#problem").get_attribute("role") == "alert"
    for button in labelling.locator("button").all():
        assert button.get_attribute("aria-keyshortcuts") or not button.is_visible()


def test_a_face_removed_meanwhile_is_told_and_the_next_one_comes(labelling, folder):
    folder.remove(name(6))
    labelling.keyboard.press("1")
    shown(labelling, 5)
    labelling.get_by_text("A face was removed meanwhile").wait_for()
    assert "0 of 5 done" in labelling.locator("#progress-text").inner_text()
    assert all("404" in text for text in labelling.said)  # the browser's own line
    labelling.said.clear()


def test_what_could_not_be_saved_is_told_and_asked_again(served, folder, browser):
    with tab(browser, viewport=DESK) as page:
        page.goto(served.link())
        shown(page, 6)
        served.close()
        page.keyboard.press("1")
        page.get_by_text(re.compile("^Not saved: ")).wait_for()
        page.get_by_text("Face 1 of 6", exact=True).wait_for()
        assert page.locator("[data-label][aria-pressed=true]").count() == 0
    assert set(marks(folder).values()) == {None}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_it_can_be_read_in_light_and_dark_and_used_on_a_phone(served, browser, scheme, size):
    with tab(browser, viewport=size, color_scheme=scheme, has_touch=size is PHONE) as page:
        page.goto(served.link())
        shown(page, 6)
        page.locator("#opinion").click()
        found = page.evaluate(CONTRAST)
        assert found["bad"] == []
        assert found["count"] > 15
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"]
        page.evaluate("scrollTo(0, 0)")
        for label in (*ANSWERS, "skipped", "deleted"):
            box = page.locator(f"[data-label={label}]").bounding_box()
            assert box["height"] >= 40
            assert box["y"] + box["height"] <= size["height"]  # without scrolling
        assert page.said == []


# ---- Taking the labels away


def test_the_button_downloads_a_coco_set(labelling, folder, tmp_path):
    assert not labelling.locator("#export").is_visible()
    labelling.keyboard.press("2")
    shown(labelling, 5)
    wait_for(lambda: marks(folder)[6], "the label on the disk")
    with labelling.expect_download() as waiting:
        labelling.get_by_role("link", name="Download labels").click()
    download = waiting.value
    assert download.suggested_filename == "maskedge-review.zip"
    download.save_as(tmp_path / "labels.zip")
    with zipfile.ZipFile(tmp_path / "labels.zip") as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"review.json", f"review/{name(6)}.jpg"}
        content = json.loads(archive.read("review.json"))
        assert archive.read(f"review/{name(6)}.jpg") == folder.picture(name(6))
    assert [image["group"] for image in content["images"]] == ["0a1b2c3d-6"]
    assert [(a["category_id"], a.get("by")) for a in content["annotations"]] == [
        (2, None), (4, "maskedge")
    ]  # fmt: skip


def test_an_archive_of_nothing_is_refused_with_the_reason(served):
    status, body, _ = served.ask("GET", "/review.zip", Cookie=served.enter())
    assert status == 409
    assert b"no face is labelled yet" in body


def test_a_large_archive_is_whole(tmp_path):
    faces = fill(tmp_path / "many", [record(n) for n in range(1, 200)])
    for item in faces.items():
        faces.mark(item.name, "with_mask")
    page = Page(faces)
    try:
        begin = time.monotonic()
        status, body, _ = page.ask("GET", "/review.zip", Cookie=page.enter())
        assert status == 200
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            assert archive.testzip() is None
            assert len(archive.namelist()) == 200
        assert time.monotonic() - begin < 60
    finally:
        page.close()
