"""The playground in a real browser, before the real simulator: what is entered is sent, shown, and told to programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.test_looks import WRONG
from tests.simulator_pages.looking import Gallery

pytestmark = [pytest.mark.process, pytest.mark.tool("chromium")]


def send(page: Page) -> None:
    page.get_by_role("button", name="Send", exact=True).click()


def status_line(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator(".status-line")).to_contain_text(text)


def history(page: Page) -> list[str]:
    return page.locator("#history li").all_text_contents()


def snippet(page: Page, language: str) -> str:
    page.get_by_role("button", name=language, exact=True).click()
    text = page.locator("#snippet code").text_content()
    assert text
    return text


def test_the_form_sends_what_it_shows_and_shows_what_comes(gallery: Gallery) -> None:
    page = gallery.visit("/simulator")
    page.get_by_label("Method").select_option("PUT")
    page.get_by_label("Body of the answer").select_option("problem")
    page.get_by_label("Retry-After").fill("9")
    expect(page.locator("#request code")).to_contain_text("PUT /api/status/423?body=problem&retry_after=9 HTTP/1.1")
    send(page)
    status_line(page, "423Locked")
    answer = page.locator("#answer")
    expect(answer).to_contain_text("retry-after: 9")
    expect(answer).to_contain_text("content-type: application/problem+json")
    expect(answer).to_contain_text('"title": "Locked"')
    expect(answer).to_contain_text("Retry-After: worth trying again in")


def test_a_request_has_the_fields_and_the_body_that_were_entered(gallery: Gallery) -> None:
    page = gallery.visit("/simulator?code=200&method=POST")
    page.get_by_text("Fields, size and faults").click()
    page.get_by_label("Fields of the request").fill("X-Colour: blue\nAccept: application/json")
    page.get_by_label("Body of the request").fill("a body\nof two lines")
    page.get_by_label("Fields of the answer").fill('ETag: "v1"\nX-Mood: fine')
    send(page)
    status_line(page, "200OK")
    answer = page.locator("#answer")
    expect(answer).to_contain_text('etag: "v1"')
    expect(answer).to_contain_text("x-mood: fine")
    expect(answer).to_contain_text("blue")
    expect(answer).to_contain_text(re.compile(r'"(size|length)": 19\b'))


def test_a_sequence_moves_on_with_each_request(gallery: Gallery) -> None:
    page = gallery.visit("/simulator?code=200&seq=423x2,200&key=moves-on")
    for number, code in enumerate(("423", "423", "200"), start=1):
        send(page)
        expect(page.locator("#history li")).to_have_count(number)
        status_line(page, code)
    assert history(page) == ["423", "423", "200"]


def test_the_address_holds_the_form(gallery: Gallery) -> None:
    page = gallery.visit("/simulator?code=503&method=DELETE&retry_after=3&header=X-A: 1&header=X-B: 2")
    expect(page.get_by_label("Status")).to_have_value("503")
    expect(page.get_by_label("Method")).to_have_value("DELETE")
    expect(page.get_by_label("Fields of the answer")).to_have_value("X-A: 1\nX-B: 2")
    page.get_by_label("Status").fill("429")
    page.reload()
    expect(page.get_by_label("Status")).to_have_value("429")
    expect(page.get_by_label("Retry-After")).to_have_value("3")
    page.get_by_role("button", name="Start over").click()
    expect(page.get_by_label("Status")).to_have_value("423")
    expect(page.locator("#request code")).to_contain_text("GET /api/status/423 HTTP/1.1")
    assert page.url == f"{gallery.url}/simulator"


def test_the_page_of_the_code_that_is_entered_is_linked(gallery: Gallery) -> None:
    page = gallery.visit("/simulator")
    page.get_by_label("Status").fill("412")
    page.get_by_role("link", name="412 Precondition Failed: what it means").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("412 Precondition Failed")
    page.get_by_role("link", name="Try it in the playground").click()
    expect(page.get_by_label("Status")).to_have_value("412")


def test_what_is_no_code_is_not_sent(gallery: Gallery) -> None:
    page = gallery.visit("/simulator")
    page.get_by_label("Status").fill("42")
    send(page)
    expect(page.get_by_text("Nothing sent yet.")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "code"


@pytest.mark.parametrize("fault", ["before-headers", "mid-body"])
def test_an_answer_that_breaks_off_is_said_to(gallery: Gallery, fault: str) -> None:
    page = gallery.visit(f"/simulator?code=200&fault={fault}&size=200000")
    send(page)
    expect(page.locator("#answer")).to_contain_text("No whole answer came")
    assert history(page) == ["no answer"]


def test_a_redirect_is_shown_as_far_as_a_browser_lets_it_be_seen(gallery: Gallery) -> None:
    page = gallery.visit("/simulator?code=307")
    send(page)
    status_line(page, "307Temporary Redirect")
    expect(page.locator("#answer")).to_contain_text("The line for curl shows all of it.")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("103", "this is the final one, behind the 103"),
        ("101", "A script cannot ask a server to switch protocols"),
        ("407", "Browsers take a 407 from their proxy alone"),
    ],
)
def test_what_a_browser_keeps_from_scripts_is_said_to_be_kept(gallery: Gallery, code: str, said: str) -> None:
    page = gallery.visit(f"/simulator?code={code}")
    send(page)
    expect(page.locator("#answer")).to_contain_text(said)
    expect(page.locator("#answer")).to_contain_text("The line for curl shows all of it.")


@pytest.mark.tool("curl")
def test_the_line_for_curl_shows_a_switch_of_protocols(gallery: Gallery, tmp_path: Path) -> None:
    line = snippet(gallery.visit("/simulator?code=101"), "curl")
    # Behind the switch curl waits for an answer in HTTP all the same, none comes, and it says so when it ends.
    assert run(["sh"], tmp_path, f"{line} || true").startswith("HTTP/1.1 101 ")


def test_a_wrong_option_is_told_apart_from_what_is_simulated(gallery: Gallery) -> None:
    page = gallery.visit("/simulator?code=200&delay=soon")
    send(page)
    status_line(page, "400")
    expect(page.locator("#answer")).to_contain_text("Nothing is simulated here")
    expect(page.locator("#answer")).to_contain_text("The option delay is a span of time")


def test_who_is_not_logged_in_is_led_to_the_form_and_back(closed_gallery: Gallery) -> None:
    page = closed_gallery.visit("/simulator?code=429")
    send(page)
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password").fill("alice-secret")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/simulator?code=429")
    send(page)
    status_line(page, "429Too Many Requests")


def test_copying_copies_the_whole_line(gallery: Gallery) -> None:
    page = gallery.visit("/simulator?code=404")
    page.get_by_role("button", name="Copy").nth(1).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == f"curl -i {gallery.url}/api/status/404"


CONTENT = 'it\'s "a" $HOME `body` \\ ü 🔒\nsecond line'
NOTE = 'it\'s "quoted" \\ $HOME'
AWKWARD = urlencode({
    "code": 418, "method": "PUT", "header": "X-Said: it's \"so\"", "retry_after": 7, "body": "json",
    "fields": f"X-Note: {NOTE}", "content": CONTENT,
})  # fmt: skip


def run(command: list[str], folder: Path, text: str = "") -> str:
    done = subprocess.run(command, input=text, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def awkward(gallery: Gallery) -> Page:
    """The page with a request whose every part needs quoting."""
    page = gallery.visit(f"/simulator?{AWKWARD}")
    expect(page.get_by_label("Body of the request")).to_have_value(CONTENT)
    return page


SIZE = len(CONTENT.encode())


def check_output(said: str) -> None:
    """The request arrived as it was entered."""
    assert "418" in said
    assert "7" in said
    assert re.search(rf'"(size|length)": ?{SIZE}\b', said), said
    assert json.dumps(NOTE) in said


@pytest.mark.tool("curl")
def test_the_line_for_curl_sends_the_same(gallery: Gallery, tmp_path: Path) -> None:
    said = run(["sh"], tmp_path, snippet(awkward(gallery), "curl"))
    assert 'x-said: it\'s "so"' in said.lower()
    check_output(said)


@pytest.mark.parametrize("language", ["httpx", "requests"])
def test_the_programs_for_python_send_the_same(gallery: Gallery, tmp_path: Path, language: str) -> None:
    (tmp_path / "asking.py").write_text(snippet(awkward(gallery), language), encoding="utf-8")
    check_output(run([sys.executable, "asking.py"], tmp_path))


@pytest.mark.tool("node")
def test_the_program_for_fetch_sends_the_same(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "asking.mjs").write_text(snippet(awkward(gallery), "fetch"), encoding="utf-8")
    check_output(run(["node", "asking.mjs"], tmp_path))


@pytest.mark.tool("go")
def test_the_program_for_go_sends_the_same(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "asking.go").write_text(snippet(awkward(gallery), "Go"), encoding="utf-8")
    check_output(run(["go", "run", "asking.go"], tmp_path))


@pytest.mark.parametrize("path", ["/simulator", "/simulator/423", "/simulator/206", "/simulator/499"])
def test_pages_fit_a_phone_and_are_in_order_for_a_screen_reader(gallery: Gallery, path: str) -> None:
    page = gallery.visit(path, phone=True)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    if path == "/simulator":
        page.get_by_text("Fields, size and faults").click()
        send(page)
        status_line(page, "423")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(WRONG) == []


def test_the_dress_follows_the_system(gallery: Gallery) -> None:
    for dark, ground in ((False, "rgb(245, 244, 240)"), (True, "rgb(20, 23, 27)")):
        page = gallery.visit("/simulator/423", dark=dark)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground


def test_commands_on_a_page_name_this_server(gallery: Gallery) -> None:
    page = gallery.visit("/simulator/405")
    expect(page.locator(".try code")).to_have_text(f"curl -i {gallery.url}/api/status/405")


def test_without_scripts_every_text_is_there(gallery: Gallery, browser: Browser) -> None:
    plain = browser.new_context(java_script_enabled=False)
    try:
        page = plain.new_page()
        page.goto(gallery.url + "/simulator")
        page.locator("#codes").get_by_role("link", name="423 Locked").click()
        expect(page.get_by_role("heading", name="Tokens and the If field")).to_be_visible()
        expect(page.locator(".try code").first).to_contain_text("curl -i http://127.0.0.1:4230/api/status/423")
    finally:
        plain.close()
