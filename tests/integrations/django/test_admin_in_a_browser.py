"""Two people and one form, each in a real browser: who edits, taking over, staying alive, and the warnings before the end.

The page's own clock is moved by Playwright, the locks' by the test: nobody sleeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.integrations.django.desk import Desk

pytestmark = [pytest.mark.process, pytest.mark.tool("chromium")]

CHANGE = "/admin/articles/article/1/change/"
TIMEOUT_MS = 30_000
_EXPECTED = re.compile(r"the server responded with a status of (404|410|423) |net::ERR_INTERNET_DISCONNECTED")


class People:
    """Windows of several people. No page may complain, which a breach of the Content-Security-Policy is too."""

    def __init__(self, desk: Desk, browser: Browser) -> None:
        self.desk = desk
        self._browser = browser
        self._contexts: dict[str, BrowserContext] = {}
        self.complaints: list[str] = []

    def opens(self, name: str, path: str = CHANGE, *, clock: bool = False) -> Page:
        """A new window of this person, in the browser it has already."""
        context = self._contexts.get(name) or self._new(name)
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        if clock:
            page.clock.install()
        page.goto(self.desk.url + path)
        return page

    def context(self, name: str) -> BrowserContext:
        return self._contexts[name]

    def close(self) -> None:
        for context in self._contexts.values():
            context.close()
        assert self.complaints == []

    def _new(self, name: str) -> BrowserContext:
        size = {"width": 1200, "height": 800}
        context = self._browser.new_context(viewport=size, locale="en-GB", timezone_id="Europe/Berlin")
        context.set_default_timeout(TIMEOUT_MS)
        context.add_cookies([{"name": "sessionid", "value": self.desk.sessions[name], "url": self.desk.url}])
        self._contexts[name] = context
        return context

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not _EXPECTED.search(message.text):
            self.complaints.append(message.text)


@pytest.fixture
def people(desk: Desk, browser: Browser) -> Iterator[People]:
    found = People(desk, browser)
    yield found
    found.close()


def bar(page: Page):
    return page.locator("#holdfast-edit-lock")


def save(page: Page, text: str) -> None:
    page.get_by_label("Text").fill(text)
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/admin/articles/article/")


def test_the_second_sees_who_edits_and_hears_when_it_is_free(people: People) -> None:
    alice = people.opens("alice")
    expect(bar(alice)).to_contain_text("You are editing this")
    bob = people.opens("bob")
    expect(bar(bob)).to_contain_text("alice is editing this, since")
    expect(bob.get_by_role("button", name="Save", exact=True)).to_have_count(0)
    expect(bob.get_by_role("link", name="Take over")).to_have_count(0)
    save(alice, "by alice")
    assert people.desk.text() == "by alice"
    expect(bar(bob)).to_contain_text("It is free now")
    bob.get_by_role("link", name="Look again").click()
    expect(bar(bob)).to_contain_text("You are editing this")
    save(bob, "by bob")
    assert people.desk.text() == "by bob"
    assert people.desk.holders() == []


def test_leaving_gives_the_lock_back_and_loading_again_keeps_it(people: People) -> None:
    alice = people.opens("alice")
    for _ in range(3):
        alice.reload()
        expect(bar(alice)).to_contain_text("You are editing this")
    save(alice, "by alice")
    alice.goto(people.desk.url + CHANGE)
    assert people.desk.holders() == ["alice"]
    alice.get_by_role("link", name="Home").click()
    alice.wait_for_url("**/admin/")
    for _ in range(200):
        if not people.desk.holders():
            break
        alice.wait_for_timeout(50)
    assert people.desk.holders() == []


def test_whoever_may_takes_over_with_a_reason_and_the_other_is_told(people: People) -> None:
    alice = people.opens("alice")
    alice.get_by_label("Text").fill("half a sentence")
    root = people.opens("root")
    root.get_by_role("link", name="Take over").click()
    root.get_by_role("button", name="Take over from alice").click()
    expect(root.get_by_label("Why?")).to_be_focused()  # the browser asks for it
    assert people.desk.holders() == ["alice"]
    root.get_by_label("Why?").fill("it goes to print at noon")
    root.get_by_role("button", name="Take over from alice").click()
    expect(bar(root)).to_contain_text("You are editing this")
    expect(bar(alice)).to_contain_text("root took the form over")
    expect(bar(alice)).to_contain_text("it goes to print at noon")
    expect(alice.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    expect(alice.get_by_label("Text")).to_have_value("half a sentence")
    save(root, "by root")
    assert people.desk.text() == "by root"


def test_the_same_person_goes_on_in_another_window(people: People) -> None:
    first = people.opens("alice")
    second = people.opens("alice")
    expect(bar(second)).to_contain_text("You are editing this")
    expect(bar(first)).to_contain_text("You went on in another window")
    elsewhere = people.opens("alice2")
    expect(bar(elsewhere)).to_contain_text("You are editing this yourself")
    elsewhere.get_by_role("link", name="Continue here").click()
    elsewhere.get_by_role("button", name="Continue here").click()
    save(elsewhere, "from elsewhere")
    assert people.desk.text() == "from elsewhere"


def test_an_open_form_keeps_its_lock_alive(people: People) -> None:
    alice = people.opens("alice")
    expect(bar(alice)).to_contain_text("You are editing this")
    for _ in range(4):
        with alice.expect_response(lambda answer: answer.url.endswith("/lock/") and answer.ok):
            people.desk.advance(200)
        # The next one was asked for after the lock had aged: it begins anew.
        with alice.expect_response(lambda answer: answer.url.endswith("/lock/") and answer.ok):
            pass
    assert people.desk.holders() == ["alice"]
    save(alice, "after a long time")
    assert people.desk.text() == "after a long time"


def test_an_idle_form_warns_before_the_lock_ends_and_any_key_keeps_it(people: People) -> None:
    alice = people.opens("alice", clock=True)
    expect(bar(alice)).to_contain_text("You are editing this")
    alice.clock.fast_forward("30:05")
    expect(bar(alice)).to_contain_text("Nobody has done anything here for a while, so the edit lock ends in")
    with alice.expect_response(lambda answer: answer.url.endswith("/lock/") and answer.ok):
        alice.get_by_label("Text").press("End")
    expect(bar(alice)).to_contain_text("You are editing this")
    save(alice, "still here")
    assert people.desk.text() == "still here"


def test_while_the_server_cannot_be_reached_the_end_is_counted_down(people: People) -> None:
    alice = people.opens("alice")
    expect(bar(alice)).to_contain_text("You are editing this")
    people.context("alice").set_offline(True)
    expect(bar(alice)).to_contain_text("the server cannot be reached")
    expect(bar(alice)).to_contain_text("The edit lock ends in 4:5")
    people.context("alice").set_offline(False)
    expect(bar(alice)).to_contain_text("You are editing this")


def test_a_lock_that_ran_out_is_told_and_what_was_typed_stays(people: People) -> None:
    alice = people.opens("alice")
    alice.get_by_label("Text").fill("half a sentence")
    people.context("alice").set_offline(True)
    people.desk.advance(400)
    people.context("alice").set_offline(False)
    expect(bar(alice)).to_contain_text("The edit lock ran out at")
    expect(alice.get_by_label("Text")).to_have_value("half a sentence")
    alice.get_by_role("link", name="Open the form again").click()
    expect(bar(alice)).to_contain_text("You are editing this")


def test_without_the_script_a_lost_form_is_refused_with_what_was_typed(people: People) -> None:
    alice = people.opens("alice")
    alice.route("**/lock/", lambda route: route.abort("internetdisconnected"))
    alice.get_by_label("Text").fill("half a sentence")
    people.desk.clear()
    people.opens("bob")
    alice.get_by_role("button", name="Save", exact=True).click()
    expect(alice.get_by_role("alert")).to_contain_text("bob has locked")
    expect(alice.get_by_label("Text")).to_have_value("half a sentence")
    assert people.desk.text() == "A first draft."
