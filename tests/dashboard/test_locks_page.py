"""The page of all locks, in a real Chromium: two people at once, breaking, closing for maintenance, searching."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.browsing import House

pytestmark = [pytest.mark.process, pytest.mark.tool("chromium")]

HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(2)</script>&amp;'{{7*7}}\u202etxt.exe"


def rows(page: Page, text: str = ""):
    return page.locator("#rows tr").filter(has_text=text)


def is_live(page: Page) -> None:
    expect(page.locator("#state")).to_have_text("Live")


def test_what_one_locks_another_sees_come_and_go(house: House) -> None:
    page = house.person("bob").visit("/")
    expect(page.get_by_role("heading", name="Nothing is locked")).to_be_visible()
    is_live(page)
    lock = house.desk.granted("alice", "/dav/plan.odt", ttl=600, reason="Chapter two", owner="room 12")
    row = rows(page, "plan.odt")
    for text in ("/dav/plan.odt", "alice", "room 12", "Chapter two", "API"):
        expect(row).to_contain_text(text)
    expect(row.locator(".left")).to_have_text(re.compile(r"^(9:\d\d|10:00)$"))
    house.desk.release("alice", lock)
    expect(rows(page)).to_have_count(0)
    expect(page.get_by_role("heading", name="Nothing is locked")).to_be_visible()


def test_a_lock_of_a_webdav_client_is_shown_with_its_program(house: House) -> None:
    page = house.person("bob").visit("/")
    is_live(page)
    client = house.served.as_("alice", agent="LibreOffice/24.8.4.2 denylistedbackend/8.11.1")
    token = client.locked("/dav/plan.odt")
    expect(rows(page, "plan.odt")).to_contain_text("LibreOffice")
    expect(rows(page, "plan.odt")).to_contain_text("WebDAV")
    client.unlock("/dav/plan.odt", token)
    expect(rows(page)).to_have_count(0)


def test_a_lock_that_is_refreshed_counts_down_anew_and_one_that_is_not_goes(house: House) -> None:
    kept = house.desk.granted("alice", "/jobs/kept", ttl=60)
    house.desk.granted("alice", "/jobs/left", ttl=60)
    page = house.person("bob").visit("/")
    expect(rows(page)).to_have_count(2)
    house.desk.refresh("alice", kept, ttl=600)
    expect(rows(page, "/jobs/kept").locator(".left")).to_have_text(re.compile(r"^(9:\d\d|10:00)$"))
    house.desk.later(61)
    expect(rows(page, "/jobs/left")).to_have_count(0)


def test_an_administrator_breaks_a_lock_and_its_holder_is_told(house: House) -> None:
    lock = house.desk.granted("alice", "/dav/plan.odt", reason="Chapter two")
    admin = house.person("root").visit("/")
    alice = house.person("alice").visit("/")
    is_live(alice)
    rows(admin, "plan.odt").get_by_role("button", name="Break").click()
    dialog = admin.get_by_role("dialog", name="Break the lock of alice?")
    expect(dialog).to_contain_text("alice")
    expect(dialog).to_contain_text("/dav/plan.odt")
    dialog.get_by_role("button", name="Break the lock").click()
    expect(dialog).to_be_visible()  # not without a reason
    dialog.get_by_label("Why").fill("left open over the weekend")
    dialog.get_by_role("button", name="Break the lock").click()
    expect(dialog).to_have_count(0)
    expect(rows(admin)).to_have_count(0)
    expect(rows(alice)).to_have_count(0)
    expect(admin.locator("#toasts")).to_contain_text("has ended")
    refused = house.desk.refresh("alice", lock)
    assert refused.status == 410
    assert "left open over the weekend" in refused.problem["detail"]


def test_a_lock_broken_with_a_grace_says_so_until_it_ends(house: House) -> None:
    house.desk.granted("alice", "/dav/plan.odt", ttl=3600)
    page = house.person("root").visit("/")
    rows(page).get_by_role("button", name="Break").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("backup")
    dialog.get_by_label("Grace", exact=True).select_option("60")
    expect(dialog.get_by_label("After a grace of")).to_be_checked()
    dialog.get_by_role("button", name="Break the lock").click()
    expect(rows(page)).to_contain_text("being broken")
    expect(rows(page).locator(".left")).to_have_text(re.compile(r"^(0:\d\d|1:00)$"))


def test_a_break_with_a_grace_is_seen_at_once_by_all_who_look(house: House) -> None:
    lock = house.desk.granted("alice", "/dav/plan.odt", ttl=3600)
    page = house.person("alice").visit("/")
    expect(page.locator("#state")).to_have_text("Live")
    expect(rows(page)).to_have_count(1)
    house.desk.break_("root", lock, "backup", after=600)
    expect(rows(page)).to_contain_text("being broken")
    expect(rows(page)).to_have_count(1)


def test_only_the_creator_and_administrators_are_offered_to_end_a_lock(house: House) -> None:
    house.desk.granted("alice", "/dav/plan.odt")
    bob = house.person("bob").visit("/")
    expect(rows(bob)).to_have_count(1)
    expect(rows(bob).get_by_role("button")).to_have_count(0)
    expect(bob.get_by_role("button", name="Close for maintenance")).to_have_count(0)
    alice = house.person("alice").visit("/")
    expect(rows(alice)).to_contain_text("yours")
    rows(alice).get_by_role("button", name="End").click()
    alice.get_by_label("Why").fill("done")
    alice.get_by_role("button", name="End my lock").click()
    expect(rows(alice)).to_have_count(0)
    expect(rows(bob)).to_have_count(0)


def test_hostile_texts_stay_text(house: House) -> None:
    house.desk.granted("alice", "/things/%3Cimg%20src=x%20onerror=alert(1)%3E", owner=HOSTILE, reason=HOSTILE)
    house.served.as_("bob", agent="<b>evil</b>/1").locked("/dav/%3Cscript%3Ealert(3)")
    for name, path in (("root", "/"), ("root", "/history"), ("root", "/dav/")):
        page = house.person(name).visit(path)
        opened = page.locator("#rows tr, .record li, td.name").first
        expect(opened).to_be_visible()
        assert page.locator("main img[src='x'], main script, main b b").count() == 0
    page = house.person("root").visit("/")
    expect(rows(page, "onerror=alert(1)>").first).to_contain_text(HOSTILE)
    rows(page, "/things/").get_by_role("link").click()
    expect(page.locator("h1")).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.locator("#lock")).to_contain_text(HOSTILE)
    assert page.locator("main img, main script").count() == 0


def test_closing_for_maintenance_breaks_what_is_in_the_way_and_opens_again(house: House) -> None:
    house.desk.granted("alice", "/dav/plan.odt")
    admin = house.person("root").visit("/")
    bob = house.person("bob").visit("/")
    is_live(bob)
    admin.get_by_role("button", name="Close for maintenance").click()
    dialog = admin.get_by_role("dialog", name="Close for maintenance")
    expect(dialog).to_contain_text("1 lock is in the way")
    expect(dialog).to_contain_text("alice: /dav/plan.odt")
    dialog.get_by_label("Reason").fill("Upgrade, back at ten")
    dialog.get_by_role("button", name="Close for maintenance").click()
    expect(dialog).to_be_visible()  # not without saying that they are to be broken
    dialog.get_by_label("Break them").check()
    dialog.get_by_role("button", name="Close for maintenance").click()
    for page in (admin, bob):
        expect(page.get_by_role("region", name="Maintenance")).to_contain_text("Upgrade, back at ten")
        expect(rows(page, "maintenance")).to_have_count(1)
    assert house.served.as_("alice").put("/dav/plan.odt").status == 423
    expect(bob.get_by_role("button", name="Open again")).to_have_count(0)
    admin.get_by_role("region", name="Maintenance").get_by_role("button", name="Open again").click()
    for page in (admin, bob):
        expect(page.get_by_role("region", name="Maintenance")).to_have_count(0)
    assert house.served.as_("alice").put("/dav/plan.odt").status == 204


def test_a_closure_with_an_end_counts_down_and_nothing_in_the_way_is_said(house: House) -> None:
    page = house.person("root").visit("/")
    page.get_by_role("button", name="Close for maintenance").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Path").fill("/dav/Photos")
    expect(dialog).to_contain_text("No lock is in the way")
    dialog.get_by_label("Reason").fill("Sorting")
    dialog.get_by_label("Until", exact=True).check()
    dialog.get_by_label("Until when").fill("2000-01-01T00:00")
    dialog.get_by_role("button", name="Close for maintenance").click()
    expect(dialog.get_by_role("alert")).to_contain_text("over already")
    dialog.get_by_label("Until when").fill("2100-01-01T00:00")
    dialog.get_by_role("button", name="Close for maintenance").click()
    expect(page.locator("#toasts")).to_contain_text("the longest that this server allows")
    expect(rows(page, "/dav/Photos").locator(".left")).to_have_text(re.compile(r"^(23:|24:)"))


def test_search_filters_and_order(house: House) -> None:
    house.desk.granted("alice", "/dav/plan.odt", reason="Chapter two", ttl=900)
    house.desk.granted("alice", "/dav/Photos", scope="shared", ttl=100)
    house.desk.granted("bob", "/orders/42", ttl=500)
    page = house.person("alice").visit("/")
    expect(rows(page)).to_have_count(3)
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("chapter ALICE")
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#summary")).to_have_text("1 of 3 locks")
    page.keyboard.press("Escape")
    expect(rows(page)).to_have_count(3)
    page.get_by_label("Scope").select_option("shared")
    expect(rows(page)).to_have_count(1)
    page.get_by_label("Scope").select_option("")
    page.get_by_label("Only mine").check()
    expect(rows(page)).to_have_count(2)
    house.desk.granted("bob", "/orders/43")
    page.get_by_label("Only mine").uncheck()
    page.get_by_label("Under this path").fill("/orders")
    expect(rows(page)).to_have_count(2)
    page.get_by_label("Under this path").fill("")
    expect(rows(page)).to_have_count(4)
    page.get_by_role("button", name="Ends in").click()
    expect(rows(page).first).to_contain_text("/dav/Photos")
    expect(page.get_by_role("columnheader", name="Ends in")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="Ends in").click()
    expect(rows(page).last).to_contain_text("/dav/Photos")
    page.get_by_label("Search").fill("nothing of this name")
    expect(page.get_by_role("heading", name="No lock fits")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(rows(page)).to_have_count(4)


def test_of_many_locks_a_hundred_are_shown_at_once(house: House) -> None:
    for number in range(205):
        house.desk.granted("alice", f"/many/{number}")
    page = house.person("bob").visit("/")
    expect(rows(page)).to_have_count(100)
    expect(page.locator("#summary")).to_have_text("205 locks")
    expect(page.locator("#where")).to_have_text("Page 1 of 3")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    expect(rows(page)).to_have_count(5)
    expect(rows(page).last).to_contain_text("/many/204")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()


def test_a_page_that_was_cut_off_says_so_and_catches_up(house: House) -> None:
    person = house.person("bob")
    page = person.visit("/")
    is_live(page)
    page.route("**/api/events", lambda route: route.abort())
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(page.locator("#state")).to_have_text("Reconnecting…")
    house.desk.granted("alice", "/dav/plan.odt")
    page.unroute("**/api/events")
    is_live(page)
    expect(rows(page, "plan.odt")).to_have_count(1)
    assert all("net::ERR_FAILED" in complaint for complaint in person.complaints)
    person.complaints.clear()


def test_whoever_is_not_logged_in_any_more_is_led_to_the_form_and_back(house: House) -> None:
    page = house.person("bob").visit("/history?under=/dav")
    is_live(page)
    page.context.clear_cookies()
    page.get_by_label("Who").fill("alice")
    page.wait_for_url("**/login?next=*")
    page.get_by_label("Name").fill("bob")
    page.get_by_label("Password").fill("bob-secret")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/history?under=/dav")
