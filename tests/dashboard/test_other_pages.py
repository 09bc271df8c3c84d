"""The record, the page of one lock, the login form and the listing, in a real Chromium."""

from __future__ import annotations

import json
import re
import shlex
import threading

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from holdfast.wire import sentences
from tests.dashboard.browsing import House

pytestmark = [pytest.mark.process, pytest.mark.tool("chromium")]


def said(page: Page):
    return page.locator(".record li .said")


def test_the_record_tells_the_newest_first_in_plain_words_and_goes_on_live(house: House) -> None:
    lock = house.desk.granted("alice", "/record/live", reason="Chapter two", ttl=7200)
    house.desk.later(12 * 60)
    house.desk.release("alice", lock)
    page = house.person("bob").visit("/history?under=/record/live")
    expect(page.locator("#state")).to_have_text("Live")
    expect(said(page)).to_have_count(2)
    expect(said(page).first).to_contain_text("alice released /record/live after 12 min")
    broken = house.desk.granted("bob", "/record/live")
    expect(said(page).first).to_contain_text("bob locked /record/live")
    house.desk.break_("root", broken, "left open")
    expect(said(page).first).to_contain_text("root broke the lock of bob on /record/live")
    expect(said(page).first).to_contain_text("left open")
    expect(said(page)).to_have_count(4)


def test_a_break_that_is_set_for_later_is_in_the_record_and_on_the_locks_page_at_once(house: House) -> None:
    lock = house.desk.granted("alice", "/grace/live", ttl=7200)
    record = house.person("bob").visit("/history?under=/grace/live")
    one = house.person("rita").visit(f"/locks/{lock['id']}")
    expect(said(record)).to_have_count(1)
    expect(one.locator("#state")).to_have_text("Live")
    house.desk.break_("root", lock, "upgrade", after=600)
    expect(said(record).first).to_contain_text("root is breaking the lock of alice on /grace/live, by ")
    expect(said(record).first).to_contain_text("upgrade")
    expect(one.locator(".signs")).to_contain_text("being broken")
    expect(said(one)).to_have_count(2)
    record.get_by_label("What", exact=True).select_option("breaking")
    expect(said(record)).to_have_count(1)


def test_an_event_that_comes_while_the_record_is_read_is_shown_too(house: House) -> None:
    """What was asked for before the event must not stand for all there is."""
    lock = house.desk.granted("alice", "/grace/late", ttl=7200)
    page = house.person("rita").visit(f"/locks/{lock['id']}")
    expect(page.locator("#state")).to_have_text("Live")
    kept: list[tuple[Route, APIResponse]] = []
    late = threading.Event()

    def answer(route: Route) -> None:
        if late.is_set():
            route.continue_()
        else:
            kept.append((route, route.fetch()))

    page.route("**/api/history?lock=*", answer)
    with page.expect_request("**/api/history?lock=*"):
        house.desk.break_("root", lock, "upgrade", after=600)
    page.evaluate(
        """new Promise((opened) => {
            const feed = new EventSource("/api/events");
            globalThis.heard = new Promise((tell) => feed.addEventListener("breaking", () => tell(true)));
            feed.addEventListener("open", () => opened(true));
        })"""
    )
    house.desk.break_("root", lock, "sooner", after=500)
    assert page.evaluate("globalThis.heard")
    late.set()
    for route, response in reversed(kept):
        route.fulfill(response=response)
    expect(said(page)).to_have_count(3)


def test_the_record_is_narrowed_by_path_name_and_kind(house: House) -> None:
    house.desk.release("alice", house.desk.granted("alice", "/narrow/a"))
    house.desk.break_("root", house.desk.granted("bob", "/narrow/b"))
    page = house.person("bob").visit("/history")
    page.get_by_label("Under this path").fill("narrow")
    expect(said(page)).to_have_count(4)
    page.get_by_label("Who").fill("root")
    expect(said(page)).to_have_count(1)
    page.get_by_label("Who").fill("")
    page.get_by_label("What", exact=True).select_option("granted")
    expect(said(page)).to_have_count(2)
    page.get_by_label("What", exact=True).select_option("expired")
    expect(page.get_by_role("heading", name="Nothing fits")).to_be_visible()


def test_older_events_are_read_on_demand(house: House) -> None:
    for number in range(60):
        house.desk.release("alice", house.desk.granted("alice", f"/older/{number}"))
    page = house.person("bob").visit("/history?under=/older")
    expect(said(page)).to_have_count(100)
    page.get_by_role("button", name="Show older").click()
    expect(said(page)).to_have_count(120)
    expect(said(page).last).to_contain_text("alice locked /older/0")
    expect(page.get_by_role("button", name="Show older")).to_be_hidden()


def test_the_page_of_a_lock_says_what_to_do_and_then_how_it_ended(house: House) -> None:
    lock = house.desk.granted("alice", "/dav/plan.odt", reason="Chapter two", ttl=600, owner="room 12")
    page = house.person("bob").visit(f"/locks/{lock['id']}")
    expect(page.locator("h1")).to_have_text("plan.odt")
    for text in ("alice", "“room 12”", "Chapter two", "unless renewed", "Ask alice to save and close it"):
        expect(page.locator("#lock")).to_contain_text(text)
    expect(page.locator("#lock .left")).to_have_text(re.compile(r"^(9:\d\d|10:00) left$"))
    expect(page.get_by_role("link", name="read the current version")).to_have_attribute("href", "/dav/plan.odt")
    expect(page.get_by_role("button", name="Break")).to_have_count(0)
    house.desk.break_("root", lock, "left open")
    for text in ("Ended: broken", "Was held by", "root", "left open", "Nothing protects it any more"):
        expect(page.locator("#lock")).to_contain_text(text)
    again = house.desk.granted("bob", "/dav/plan.odt")
    expect(page.get_by_role("link", name="bob has /dav/plan.odt locked")).to_have_attribute(
        "href", f"/locks/{again['id']}"
    )


def test_who_waits_is_shown_and_what_they_get_in_their_turn(house: House) -> None:
    lock = house.desk.granted("alice", "/line/42", ttl=600)
    bob = house.person("bob")
    page = bob.visit(f"/locks/{lock['id']}")
    expect(page.locator("#state")).to_have_text("Live")
    granted: list[str] = []
    waiting = threading.Thread(
        target=lambda: granted.append(house.desk.granted("bob", "/line/42", wait=120, id="bobs-turn")["id"])
    )
    waiting.start()
    expect(page.locator("#lock")).to_contain_text("1 in line")
    expect(page.locator("#lock ol").first).to_contain_text("bob")
    overview = house.person("root").visit("/")
    expect(overview.locator("#rows tr").filter(has_text="/line/42").locator(".line")).to_have_text("1")
    page = bob.visit("/locks/bobs-turn")
    expect(page.locator("#lock")).to_contain_text("Waiting in line")
    house.desk.release("alice", lock)
    expect(page.locator("#lock")).to_contain_text("Held by")
    expect(page.get_by_role("button", name="Take over")).to_be_visible()
    waiting.join()
    assert granted == ["bobs-turn"]


def test_the_line_for_a_shell_asks_for_this_very_resource(house: House) -> None:
    lock = house.desk.granted("alice", "/it's%20$HOME%20%22%3Bls")
    page = house.person("bob").visit(f"/locks/{lock['id']}")
    words = shlex.split(page.get_by_role("article").locator("xpath=../section").locator("pre").inner_text())
    assert words[:3] == ["curl", "-u", "bob"]
    assert json.loads(words[4]) == {"resource": lock["root"], "wait": 300}
    assert words[5] == house.served.url + "/api/locks"


def test_ones_own_lock_is_taken_over_with_a_token_that_is_shown_once(house: House) -> None:
    lock = house.desk.granted("alice", "/dav/plan.odt")
    page = house.person("alice").visit(f"/locks/{lock['id']}")
    page.get_by_role("button", name="Take over…").click()
    page.get_by_role("button", name="Take over", exact=True).click()
    dialog = page.get_by_role("dialog", name="The lock is yours here")
    token = dialog.locator("pre").first.inner_text()
    dialog.get_by_role("button", name="Done").click()
    page.wait_for_url(lambda url: "/locks/" in url and lock["id"] not in url)
    expect(page.locator("h1")).to_have_text("plan.odt")
    new_id = page.url.rsplit("/", 1)[1]
    assert house.desk.refresh("alice", {"id": new_id, "token": token}).status == 200
    assert house.desk.refresh("alice", lock).status == 410


def test_an_unknown_lock_is_said_to_be_none(house: House) -> None:
    page = house.person("bob").visit("/locks/never-there")
    expect(page.get_by_role("heading", name="No such lock")).to_be_visible()


def test_a_wrong_password_is_said_and_a_right_one_leads_on(house: House) -> None:
    page = house.person(None).visit("/history")
    page.wait_for_url("**/login?next=/history")
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong")
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password").fill("alice-secret")
    page.keyboard.press("Enter")
    page.wait_for_url("**/history")
    expect(page.locator("#self")).to_contain_text("alice")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto(house.served.url + "/")
    page.wait_for_url("**/login")


def test_whoever_is_slowed_is_told_for_how_long(house: House) -> None:
    page = house.person(None).visit("/login?slowed=12")
    expect(page.get_by_role("alert")).to_have_text("Too many wrong attempts. Wait 12 seconds, then try again.")


def test_the_listing_shows_locks_beside_names_and_leads_to_them(house: House) -> None:
    lock = house.desk.granted("alice", "/dav/plan.odt")
    page = house.person("bob").visit("/dav/")
    page.get_by_role("link", name="alice").click()
    page.wait_for_url(f"**/locks/{lock['id']}")
    page.get_by_role("link", name="Documents").click()
    page.get_by_role("link", name="Locks").click()
    expect(page.locator("#rows tr")).to_have_count(1)


def test_programs_have_the_same_names_here_as_in_a_423(house: House) -> None:
    page = house.person("bob").visit("/")
    programs = page.evaluate("import('/assets/programs.js').then((module) => module.PROGRAMS)")
    assert [tuple(pair) for pair in programs] == list(sentences._PROGRAMS)
    for client in ("gvfs/1.56", "Mozilla/5.0 (X11)", "backup/2 (nightly)", "", "  "):
        here = page.evaluate("(c) => import('/assets/programs.js').then((m) => m.programName(c))", client)
        assert here == sentences.program_name(client)
