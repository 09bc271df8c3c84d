"""A server that inspects, and a real Chromium that looks at its page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.dashboard.browsing import TIMEOUT_MS, House
from tests.serving import serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        # Without its sandbox, which is not to be had as root.
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def building(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("house"), inspect_urls=True) as served:
        yield House(served, browser)


@pytest.fixture
def house(building: House) -> Iterator[House]:
    """With no window open before and after."""
    opened = House(building.served, building._browser)
    yield opened
    opened.close()
