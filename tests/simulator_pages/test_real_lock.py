"""The playground's fields for a real lock, in a real browser: it counts down, and is gone once it has ended."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.serving import Served
from tests.simulator_pages.looking import Gallery

pytestmark = [pytest.mark.process, pytest.mark.tool("chromium")]


def test_a_lock_is_begun_counts_down_and_is_gone(gallery: Gallery, open_server: Served) -> None:
    page = gallery.visit("/simulator?method=PUT")
    for field, value in (("lock", "browser"), ("for", "50s"), ("holder", "Grace")):
        page.locator(f"#{field}").fill(value)
    send = page.get_by_role("button", name="Send", exact=True)
    answer = page.locator("#answer")
    send.click()
    expect(page.locator(".status-line")).to_contain_text("423Locked")
    expect(answer).to_contain_text("retry-after: 50")
    expect(answer).to_contain_text("Grace has locked /simulated/browser")
    expect(answer).to_contain_text(re.compile(r"worth trying again in (50|4[0-9]) s"))
    open_server.uptime.advance(50)
    send.click()
    expect(page.locator(".status-line")).to_contain_text("200OK")
    expect(answer).to_contain_text("expired")
    assert page.locator("#history li").all_text_contents() == ["423", "200"]


def test_the_preset_of_a_real_lock_works(gallery: Gallery, open_server: Served) -> None:
    page = gallery.visit("/simulator")
    page.get_by_role("link", name="A real lock").click()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".status-line")).to_contain_text("423Locked")
    expect(page.locator("#answer")).to_contain_text("retry-after: 20")
