"""A real server, and a real Chromium, Debian's, before its simulator's pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.dashboard.browsing import TIMEOUT_MS
from tests.serving import Served, serving
from tests.simulator_pages.looking import Gallery


# For a module: while Playwright's loop is there, tests of other modules could not run one in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        # Without its sandbox, which is not to be had as root.
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One without users."""
    with serving(tmp_path_factory.mktemp("pages"), users=None) as served:
        yield served


@pytest.fixture(scope="module")
def server_with_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("pages")) as served:
        yield served


@pytest.fixture
def gallery(browser: Browser, open_server: Served) -> Iterator[Gallery]:
    """For looking at the open server; closed after each test, when no page may have complained."""
    opened = Gallery(browser, open_server.url)
    yield opened
    opened.close()


@pytest.fixture
def closed_gallery(browser: Browser, server_with_users: Served) -> Iterator[Gallery]:
    """The same for the server with users, of which nobody is logged in."""
    opened = Gallery(browser, server_with_users.url)
    yield opened
    opened.close()
