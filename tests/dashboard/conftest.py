"""A real Chromium, Debian's, and a server for the tests of a module."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.dashboard.browsing import TIMEOUT_MS, House
from tests.serving import serving


# Not for the session: while Playwright's loop is there, tests of other modules could not run one in this thread.
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
    folder = tmp_path_factory.mktemp("house")
    (folder / "plan.odt").write_bytes(b"a plan")
    (folder / "Photos").mkdir()
    with serving(folder) as served:
        yield House(served, browser)


@pytest.fixture
def house(building: House) -> Iterator[House]:
    """With no lock held, and no window open before and after."""
    opened = House(building.served, building._browser)
    yield opened
    try:
        opened.close()
    finally:
        for lock in opened.desk.ask("root", "GET", "/api/locks?limit=1000").json["locks"]:
            opened.desk.ask("root", "POST", f"/api/locks/{lock['id']}/break", {"reason": "the test is over"})
