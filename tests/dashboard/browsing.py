"""People who look at the pages with a real browser, each with a profile of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.api.desk import Desk
from tests.serving import Served

__all__ = ["TIMEOUT_MS", "House", "Person"]

TIMEOUT_MS = 30_000
"""How long a page may take to show something: the machine may be busy. Nothing waits for so long where all is well."""

# A script that asks for a lock which has ended is answered 410, after the session 401; Chromium logs each of these.
_EXPECTED = re.compile(r"the server responded with a status of (401|404|410) ")


@dataclass
class Person:
    """One page in a profile of its own; `complaints` is what the browser's console said of errors."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def visit(self, path: str) -> Page:
        """Go to a page of the server."""
        self.page.goto(self.url + path)
        return self.page


class House:
    """A server, and a browser for those who look at it. Close it at the end of each test."""

    def __init__(self, served: Served, browser: Browser) -> None:
        self.served = served
        self.desk = Desk(served)
        self._browser = browser
        self._people: list[Person] = []
        self._contexts: list[BrowserContext] = []

    def person(self, name: str | None, *, phone: bool = False, dark: bool = False) -> Person:
        """Somebody with the session of this user; None: not logged in."""
        context = self._browser.new_context(
            viewport={"width": 360, "height": 740} if phone else {"width": 1200, "height": 800},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="Europe/Berlin",
        )
        self._contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        if name is not None:
            context.add_cookies([self._session(name)])
        person = Person(context.new_page(), self.served.url)
        person.page.on("console", lambda message: _hear(person, message))
        person.page.on("pageerror", lambda error: person.complaints.append(str(error)))
        self._people.append(person)
        return person

    def close(self) -> None:
        """Close all windows; no page may have complained, which a breach of the Content-Security-Policy is too."""
        for context in self._contexts:
            context.close()
        for person in self._people:
            assert person.complaints == []

    def _session(self, name: str) -> Mapping[str, str]:
        form = urlencode({"name": name, "password": f"{name}-secret"}).encode()
        fields = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.served.anonymous.request("POST", "/login", form, fields)
        cookie, _, value = answer["Set-Cookie"].partition(";")[0].partition("=")
        return {"name": cookie, "value": value, "url": self.served.url}


def _hear(person: Person, message: ConsoleMessage) -> None:
    if message.type == "error" and not _EXPECTED.search(message.text):
        person.complaints.append(message.text)
