"""What every page promises to everybody: it fits a phone, has a light and a dark dress, and needs no mouse and no eyes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import holdfast
from tests.dashboard.browsing import House

pytestmark = [pytest.mark.process, pytest.mark.tool("chromium")]

PACKAGE = Path(holdfast.__file__).parent
LONG = "/dav/" + "a-very-long-name-without-any-space-" * 4 + ".odt"

# What a screen reader and a keyboard need, as far as a script can see it; a list of what is wrong.
WRONG = r"""
() => {
  const wrong = [];
  const seen = (element) => element.checkVisibility();
  if (!document.documentElement.lang) wrong.push("no language");
  if ([...document.querySelectorAll("h1")].filter(seen).length !== 1) wrong.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) wrong.push("not one main");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id is there twice");
  for (const element of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    const label = element.labels?.[0]?.textContent.trim() || element.getAttribute("aria-label");
    if (!label) wrong.push(`no label: ${element.outerHTML}`);
  }
  for (const element of document.querySelectorAll("button, a[href]")) {
    const name = element.getAttribute("aria-label") || element.textContent.trim();
    if (seen(element) && !name) wrong.push(`no name: ${element.outerHTML}`);
  }
  for (const element of document.querySelectorAll("img:not([alt]), [tabindex]:not([tabindex='0'], [tabindex='-1'])")) wrong.push(element.outerHTML);
  for (const reference of ["aria-labelledby", "aria-describedby", "for"]) {
    for (const element of document.querySelectorAll(`[${reference}]`)) {
      if (!document.getElementById(element.getAttribute(reference))) wrong.push(`${reference} leads nowhere: ${element.outerHTML}`);
    }
  }
  let level = 0;
  for (const heading of [...document.querySelectorAll("main h1, main h2, main h3")].filter(seen)) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) wrong.push(`a heading is skipped before: ${heading.textContent}`);
    level = next;
  }
  return wrong;
}
"""


def pages(house: House) -> list[tuple[str, str]]:
    """Each page's path, and a text that stands there once all is shown."""
    lock = house.desk.granted("alice", LONG, reason="Chapter two, " * 10, owner="room 12 " * 10)
    ended = house.desk.granted("alice", "/dav/plan.odt")
    house.desk.break_("root", ended, "left open")
    return [
        ("/", "Chapter two"),
        ("/history", "left open"),
        (f"/locks/{lock['id']}", "What to do next"),
        (f"/locks/{ended['id']}", "Ended: broken"),
        ("/dav/", "plan.odt"),
    ]


def test_no_page_is_wider_than_a_phone(house: House) -> None:
    person = house.person("root", phone=True)
    for path, text in [*pages(house), ("/login", "")]:
        page = person.visit(path)
        expect(page.locator("body")).to_contain_text(text)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    page = person.visit("/")
    for name in ("Break", "Close for maintenance"):
        page.get_by_role("button", name=name).first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.evaluate(
            "document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth"
        )
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_labels_names_and_headings_are_in_order(house: House) -> None:
    person = house.person("root")
    for path, text in pages(house):
        page = person.visit(path)
        expect(page.locator("body")).to_contain_text(text)
        assert page.evaluate(WRONG) == [], path
    page = house.person(None).visit("/login?failed=1")
    assert page.evaluate(WRONG) == []
    page = person.visit("/")
    for name in ("Break", "Close for maintenance"):
        page.get_by_role("button", name=name).first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.evaluate(WRONG) == [], name
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


def focused(page: Page) -> str:
    return page.evaluate(
        "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent.trim()"
    )


def test_a_lock_is_broken_with_the_keyboard_alone(house: House) -> None:
    house.desk.granted("alice", "/dav/plan.odt")
    page = house.person("root").visit("/")
    expect(page.locator("#rows tr")).to_have_count(1)
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    page.keyboard.press("/")
    page.keyboard.type("plan")
    for _ in range(30):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", focused(page)
        if focused(page) == "Break… plan.odt":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_label("Why")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Break… plan.odt")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("left open")
    page.keyboard.press("Enter")
    expect(page.locator("#rows tr")).to_have_count(0)


def ground(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


LIGHT, DARK = "rgb(245, 244, 240)", "rgb(20, 23, 27)"


def test_the_dress_follows_the_system_until_another_is_chosen(house: House) -> None:
    person = house.person("bob", dark=True)
    page = person.visit("/")
    assert ground(page) == DARK
    page.get_by_role("button", name="Light colours").click()
    assert ground(page) == LIGHT
    for path in ("/history", "/dav/"):
        page = person.visit(path)
        assert ground(page) == LIGHT
    page.get_by_role("button", name="Dark colours").click()
    assert ground(person.visit("/")) == DARK
    page.emulate_media(color_scheme="light")
    expect(page.get_by_role("button", name="Dark colours")).to_be_visible()
    assert ground(page) == LIGHT


COLOUR = re.compile(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")


def colours(path: str) -> dict[str, tuple[str, str]]:
    return {name: (light, dark) for name, light, dark in COLOUR.findall((PACKAGE / path).read_text())}


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dress", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(dress: int) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1; 1.4.11: at least 3 to 1 for the edges of fields."""
    found = colours("faces/dashboard/assets/look.css")
    pairs = [(ink, on, 4.5) for ink in ("ink", "quiet", "link") for on in ("card", "ground", "code", "hover", "raised")]
    pairs += [(name, f"{name}-soft", 4.5) for name in ("accent", "good", "danger", "link")]
    pairs += [("accent", "card", 4.5), ("danger", "card", 4.5), ("quiet", "accent-soft", 4.5), ("edge", "card", 3)]
    for ink, on, least in pairs:
        light, dark = sorted((luminance(found[ink][dress]), luminance(found[on][dress])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= least, (ink, on)


def test_the_pages_below_dav_wear_the_same_colours() -> None:
    dashboard, pages_css = colours("faces/dashboard/assets/look.css"), colours("wire/pages/page.css")
    assert len(pages_css) > 8
    assert pages_css.items() <= dashboard.items()


def test_no_asset_names_another_host_or_turns_text_into_markup() -> None:
    for path in (PACKAGE / "faces/dashboard/assets").iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?:|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\sstyle=|\son\w+=\"", text
        ), path
