"""Units behind a reverse proxy, each under a path of its own, in Debian's Chromium."""

import http.client
import threading
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browser import tab
from mosquitto import free_port
from webloop import configuration

from maskedge.web.page import StatusPage

SECRETS = {"entrance": "correct horse battery", "ward": "staple battery horse"}


class Forward(BaseHTTPRequestHandler):
    """``/NAME/x`` is ``/x`` of the unit of that name; 502 where it doesn't answer."""

    def forward(self):
        _, name, path = self.path.split("/", 2)
        web = self.server.units[name]
        unit = http.client.HTTPConnection(web.host, web.port, timeout=30)
        with closing(unit), suppress(OSError):  # the browser may go at any time
            try:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                unit.request(self.command, f"/{path}", body, dict(self.headers))
                answer = unit.getresponse()
            except (OSError, http.client.HTTPException):
                self.send_error(502)
                return
            with answer:
                self.send_response_only(answer.status)
                for key, value in answer.getheaders():
                    if key not in {"transfer-encoding", "connection"}:
                        self.send_header(key, value)
                self.end_headers()
                while piece := answer.read1():
                    self.wfile.write(piece)

    do_GET = do_POST = do_DELETE = forward  # noqa: N815 - http.server's names

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def units(serve, tmp_path):
    """Two units, each with its token, at the same port of an address of its own."""
    made, port = {}, free_port()
    for number, (name, secret) in enumerate(SECRETS.items(), 1):
        (tmp_path / name).write_text(secret)
        web = {"host": f"127.0.0.{number}", "port": port, "token_file": tmp_path / name}
        made[name] = serve(configuration(**web)).start()
    return made


@pytest.fixture
def proxy(units):
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Forward)
    server.daemon_threads = True
    server.units = {name: unit.loaded.config.web for name, unit in units.items()}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def log_in(page, address, name):
    page.goto(f"{address}/{name}/")
    page.get_by_label("Token").fill(SECRETS[name])
    page.keyboard.press("Enter")
    live(page)


def live(page):
    page.locator("#link[data-state=live]").wait_for()
    page.locator("#stage[data-state=live]").wait_for()


def test_while_a_unit_restarts_behind_a_proxy_its_page_waits_and_comes_back(units, proxy, browser):
    unit = units["entrance"]
    with tab(browser) as page:
        log_in(page, proxy, "entrance")
        unit.page.close()
        page.get_by_text("no answer, trying again").wait_for()
        page.locator("#stage[data-state=stale]").wait_for()  # no old picture passes for a live one
        assert not page.locator("#login").is_visible()
        unit.page = StatusPage(unit.loaded)
        live(page)


def test_units_behind_one_proxy_do_not_log_each_other_out(units, proxy, browser):
    assert len({unit.port for unit in units.values()}) == 1
    with tab(browser) as page:
        log_in(page, proxy, "entrance")
        log_in(page, proxy, "ward")
        page.goto(f"{proxy}/entrance/")
        live(page)
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Token").wait_for()
        page.goto(f"{proxy}/ward/")
        live(page)
