"""The inspector's page, in a real Chromium: pasting, a file, a URL, and looks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.browsing import House
from tests.dashboard.test_looks import DARK, LIGHT, WRONG, ground

pytestmark = [pytest.mark.process, pytest.mark.tool("chromium")]

HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(2)</script>&amp;'{{7*7}}\u202etxt.exe"
LOCKED = "HTTP/1.1 423 Locked\nRetry-After: soon\nX-Odd: {}\nContent-Type: application/problem+json\n\n{}"


def opened(house: House, name: str | None = "rita", *, phone: bool = False, dark: bool = False) -> Page:
    page = house.person(name, phone=phone, dark=dark).visit("/inspect")
    expect(page.get_by_label("URL, to be asked by this server")).to_be_visible()  # all is there now
    return page


def test_a_pasted_response_is_inspected(house: House) -> None:
    page = opened(house)
    page.get_by_label("The response, with its head").fill(LOCKED.format("", "no json"))
    page.get_by_label("The request's method").fill("put")
    page.get_by_role("button", name="Inspect", exact=True).click()
    report = page.locator(".report")
    expect(report.get_by_role("heading", level=2)).to_have_text("PUT: 423 Locked")
    expect(report).to_contain_text("Score ")
    note = report.locator(".notes > li.bad").filter(has_text="H01")
    expect(note).to_contain_text("soon")
    expect(note).to_contain_text("How to mend it")
    expect(note.get_by_role("link", name="RFC 9110 section 10.2.3")).to_have_attribute(
        "href", "https://www.rfc-editor.org/rfc/rfc9110.html#section-10.2.3"
    )
    expect(report.get_by_role("heading", level=3)).to_have_text("What caches, programs and people do with it")
    assert page.evaluate(WRONG) == []


def test_the_example_shows_what_it_does(house: House) -> None:
    page = opened(house)
    page.get_by_role("button", name="Show an example").click()
    for rule in ("H01", "L05"):
        expect(page.locator(".notes > li").filter(has_text=rule).first).to_be_visible()


def test_a_har_file_is_inspected_where_it_is_chosen(house: House, tmp_path: Path) -> None:
    entries = [
        {
            "request": {"method": "PUT", "url": f"http://h/{status}"},
            "response": {"status": status, "content": {"text": "x" * 70_000}},
        }
        for status in (200, 404, 423)
    ]
    har = tmp_path / "traffic.har"
    har.write_text(json.dumps({"log": {"entries": entries}}))
    page = opened(house)
    page.get_by_label("Or a file").set_input_files(har)
    expect(page.locator(".report")).to_have_count(2)
    expect(page.locator(".report h2").last).to_contain_text("PUT http://h/423: 423")


def test_what_cannot_be_read_is_told(house: House) -> None:
    page = opened(house)
    page.get_by_label("The response, with its head").fill("<html>locked</html>")
    page.get_by_role("button", name="Inspect", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("curl -i")
    expect(page.locator(".report")).to_have_count(0)
    # Chromium logs every refusal of a script's request, which is what was wanted here.
    house._people[0].complaints.clear()


def test_a_url_inside_is_refused_in_words(house: House) -> None:
    page = opened(house)
    page.get_by_label("URL, to be asked by this server").fill("http://169.254.169.254/latest/meta-data/")
    page.get_by_role("button", name="Ask and inspect").click()
    expect(page.get_by_role("alert")).to_contain_text("no host of the public internet")
    house._people[0].complaints.clear()


def test_hostile_texts_stay_text(house: House) -> None:
    page = opened(house)
    body = json.dumps({"type": HOSTILE, "title": HOSTILE, "status": HOSTILE, "detail": HOSTILE, "instance": HOSTILE})
    page.get_by_label("The response, with its head").fill(LOCKED.format(HOSTILE, body).replace("soon", HOSTILE))
    page.get_by_label("The request's method").fill("<img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Inspect", exact=True).click()
    expect(page.locator(".report h2")).to_contain_text("<IMG SRC=X ONERROR=ALERT(1)>")
    assert page.locator("main img, main script").count() == 0


def test_nobody_sees_it_without_logging_in_and_comes_back_after(house: House) -> None:
    page = house.person(None).visit("/inspect")
    page.get_by_label("Name").fill("rita")
    page.get_by_label("Password").fill("rita-secret")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Inspector")).to_be_visible()
    expect(page.locator("#self")).to_contain_text("rita")


def test_it_fits_a_phone_and_has_two_dresses(house: House) -> None:
    page = opened(house, phone=True, dark=True)
    assert ground(page) == DARK
    page.get_by_role("button", name="Show an example").click()
    expect(page.locator(".report")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Light colours").click()
    assert ground(page) == LIGHT


def test_a_url_cannot_be_given_where_that_is_off(house: House) -> None:
    page = house.person("rita").page
    page.route("**/api/inspect", lambda route: route.fulfill(json={"urls": False, "methods": [], "most_bytes": 1}))
    page.goto(house.served.url + "/inspect")
    expect(page.locator("#self")).to_contain_text("rita")
    expect(page.get_by_label("URL, to be asked by this server")).to_be_hidden()
