"""Windows of a browser on the simulator's pages."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.dashboard.browsing import TIMEOUT_MS

__all__ = ["Gallery"]

# Chromium logs every answer of 400 and above, and every connection that breaks; here they were asked for.
_EXPECTED = re.compile(r"Failed to load resource: ")


class Gallery:
    """The pages of one server. Close it at the end of each test."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.url = url
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._complaints: list[str] = []

    def visit(self, path: str, *, phone: bool = False, dark: bool = False) -> Page:
        """A page of the server in a window of its own."""
        context = self._browser.new_context(
            viewport={"width": 360, "height": 740} if phone else {"width": 1200, "height": 900},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
        )
        self._contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._complaints.append(str(error)))
        page.goto(self.url + path)
        return page

    def close(self) -> None:
        """Close all windows; no page may have complained, which a breach of the Content-Security-Policy is too."""
        for context in self._contexts:
            context.close()
        assert self._complaints == []

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not _EXPECTED.search(message.text):
            self._complaints.append(message.text)
