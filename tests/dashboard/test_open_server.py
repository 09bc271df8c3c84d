"""The pages of a server without users: nobody logs in, and whoever reaches it may do everything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.dashboard.browsing import House
from tests.serving import serving

pytestmark = [pytest.mark.process, pytest.mark.tool("chromium")]


@pytest.fixture
def house(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("open"), users=None) as served:
        opened = House(served, browser)
        yield opened
        opened.close()


def test_it_is_shown_at_once_and_holders_are_told_by_their_own_words(house: House) -> None:
    page = house.person(None).visit("/")
    expect(page.get_by_role("heading", name="Nothing is locked")).to_be_visible()
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)
    expect(page.get_by_label("Only mine")).to_be_hidden()
    house.desk.granted("nobody", "/orders/42", owner="room 12")
    row = page.locator("#rows tr")
    expect(row).to_contain_text("Someone (“room 12”)")
    row.get_by_role("button", name="Break").click()
    page.get_by_label("Why").fill("left open")
    page.get_by_role("button", name="Break the lock").click()
    expect(row).to_have_count(0)
    page.get_by_role("link", name="History").click()
    expect(page.locator(".record li").first).to_contain_text(
        "Someone broke the lock of Someone (“room 12”) on /orders/42"
    )


def test_it_is_closed_and_opened_by_anybody(house: House) -> None:
    page = house.person(None).visit("/")
    page.get_by_role("button", name="Close for maintenance").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("No lock is in the way")
    dialog.get_by_label("Reason").fill("Upgrade")
    dialog.get_by_role("button", name="Close for maintenance").click()
    page.get_by_role("region", name="Maintenance").get_by_role("button", name="Open again").click()
    expect(page.get_by_role("heading", name="Nothing is locked")).to_be_visible()
