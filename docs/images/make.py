"""Remake the README's pictures: Chromium looks at a real `holdfast serve` with two people at work.

    .venv/bin/python docs/images/make.py                # the pictures beside this script
    .venv/bin/python docs/images/make.py --review DIR   # every page, light and dark, wide and on a phone

Needs `chromium` (Debian's package of that name), and Playwright, which comes with the tests. A browser shows a 423 only
when a page's own request is refused, so the request that such a picture is of is made in here, and the browser is given
the answer as it came: status, fields, body.
"""

# ruff: noqa: INP001 (a script beside the pictures that it makes)
from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, Route, sync_playwright

IMAGES: Final = Path(__file__).parent
ALICE: Final = ("alice", "wonderland")
BOB: Final = ("bob", "builder")
ROOT: Final = ("root", "sesame")
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR

# Name, size in bytes, seconds since its last change; a name that ends in a slash is a collection.
DOCUMENTS: Final = (
    ("Contracts/", 0, 21 * _DAY),
    ("Photos/", 0, 3 * _DAY),
    ("Annual report.odt", 284_113, 25 * 60),
    ("Budget 2027.ods", 48_213, 2 * _HOUR),
    ("Floor plan.pdf", 1_904_880, 12 * _DAY),
    ("Meeting notes.md", 3_420, 40 * 60),
    ("Opening speech.docx", 31_744, 4 * _DAY),
)
LOCKS: Final = (
    (ALICE, "Annual report.odt", "LibreOffice/24.8.4.2 denylistedbackend/8.11.1 OpenSSL/3.4.1", 1800),
    (BOB, "Meeting notes.md", "gvfs/1.56.1", 600),
)
# What programs lock by the API: who, resource, seconds, reason.
API_LOCKS: Final = (
    (BOB, "/orders/42", 45, "invoice run"),
    (ALICE, "/jobs/nightly-backup", 280, "pg_dump"),
    (BOB, "/dav/Contracts", 5 * _HOUR, "Audit"),
)
# Name -> what stands on the page once all is shown, and method, path, fields, body; as bob sees it.
PAGES: Final = {
    "dashboard": ("Annual report.odt", "GET", "/", {}, b""),
    "history": ("alice locked", "GET", "/history", {}, b""),
    "lock": ("What to do next", "GET", "/locks/{id}", {}, b""),
    "login": ("Log in", "GET", "/login?failed=1", {}, b""),
    "listing": ("All documents", "GET", "/dav/", {}, b""),
    "locked": ("alice", "PUT", "/dav/Annual%20report.odt", {"Accept": "text/html"}, b"Bob's version"),
    "problem": ("423", "GET", "/problems/locked", {}, b""),
    "missing": ("Not Found", "GET", "/dav/Nothing.odt", {"Accept": "text/html"}, b""),
    "empty": ("Nothing here", "GET", "/dav/Photos/", {}, b""),
    "simulator": ("Nothing sent yet", "GET", "/simulator?code=423&method=PUT&body=problem&retry_after=20", {}, b""),
    "status-423": ("423 Locked", "GET", "/simulator/423", {}, b""),
}
# Name -> width and height in CSS pixels of the pictures in the README.
PICTURES: Final = {
    "dashboard": (1100, 690),
    "listing": (1040, 640),
    "locked": (800, 740),
    "simulator": (1120, 800),
    "status-423": (860, 720),
}
# Name -> the button that is pressed before the picture is taken, and what stands there then.
PRESSED: Final = {"simulator": ("Send", "worth trying again")}
DRESSES: Final = {"light": ((1100, 800), False), "dark": ((1100, 800), True), "phone": ((390, 844), False)}


def lay_out(folder: Path, now: float) -> None:
    """Fill the folder with documents of an ordinary team."""
    for name, size, age in DOCUMENTS:
        path = folder / name
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(bytes(size))
        os.utime(path, (now - age, now - age))


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """A real `holdfast serve` with its users; yields its port."""
    roles = ((ALICE, ""), (BOB, ""), (ROOT, ":admin"))
    users = [part for (name, password), role in roles for part in ("--user", f"{name}:{password}{role}")]
    command = [sys.executable, "-m", "holdfast", "serve", str(folder), "--port", "0", *users]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                break
        found = re.search(r"WebDAV +http://127\.0\.0\.1:(\d+)/", said)
        if found is None:
            sys.exit("holdfast serve did not say where it is")
        yield int(found[1])
    finally:
        process.terminate()
        process.communicate()


def ask(
    port: int, who: tuple[str, str], method: str, path: str, fields: dict[str, str], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    """One request; status, fields and body of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    credentials = base64.b64encode(":".join(who).encode()).decode()
    connection.request(method, path, body or None, {"Authorization": f"Basic {credentials}", **fields})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.getheaders(), content


def take_locks(port: int) -> None:
    """Lock as each person's program does when it opens the document."""
    for who, name, program, seconds in LOCKS:
        info = (
            '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>'
            f"<D:owner>{who[0]}</D:owner></D:lockinfo>"
        )
        fields = {
            "User-Agent": program,
            "Timeout": f"Second-{seconds}",
            "Depth": "0",
            "Content-Type": "application/xml",
        }
        status, _, body = ask(port, who, "LOCK", "/dav/" + name.replace(" ", "%20"), fields, info.encode())
        if status != 200:
            sys.exit(f"LOCK of {name} was answered {status}: {body.decode()}")
    for who, resource, seconds, reason in API_LOCKS:
        depth = "infinity" if resource == "/dav/Contracts" else "0"
        asked = {"resource": resource, "ttl": seconds, "reason": reason, "depth": depth}
        fields = {"User-Agent": "backup/2.1" if "jobs" in resource else "billing/7", "Content-Type": "application/json"}
        status, _, body = ask(port, who, "POST", "/api/locks", fields, json.dumps(asked).encode())
        if status != 201:
            sys.exit(f"The lock of {resource} was answered {status}: {body.decode()}")


def office_hours() -> str:
    """The time zone in which it is ten in the morning, whenever the pictures are made."""
    ahead = (10 - datetime.now(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


class Studio:
    """A browser before the server, with root logged in on every page but the login form."""

    def __init__(self, browser: Browser, port: int) -> None:
        """Look at the server on `port`."""
        self._browser = browser
        self._port = port
        self._url = f"http://127.0.0.1:{port}"

    def photograph(self, name: str, target: Path, size: tuple[int, int], *, scale: float, dark: bool = False) -> None:
        """A PNG of a page, in CSS pixels of `size`."""
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            device_scale_factor=scale,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id=office_hours(),
        )
        page = context.new_page()
        if name != "login":
            self._log_in(page)
        says, method, path, fields, body = PAGES[name]
        if method == "GET":
            page.goto(self._url + path.format(id=self._first_lock()))
        else:
            page.route("**/asked", lambda route: self._answer(route, method, path, fields, body))
            page.goto(self._url + "/asked")
        page.get_by_text(says).first.wait_for()
        if page.locator("#state").count():
            page.get_by_text("Live", exact=True).wait_for()
        if name in PRESSED:
            button, outcome = PRESSED[name]
            page.get_by_role("button", name=button, exact=True).click()
            page.get_by_text(outcome).wait_for()
            page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=target)
        context.close()

    def _log_in(self, page: Page) -> None:
        page.goto(self._url + "/login")
        page.get_by_label("Name").fill(ROOT[0])
        page.get_by_label("Password").fill(ROOT[1])
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(self._url + "/")

    def _first_lock(self) -> str:
        _, _, body = ask(self._port, ROOT, "GET", "/api/locks?under=/dav", {}, b"")
        return json.loads(body)["locks"][0]["id"]

    def _answer(self, route: Route, method: str, path: str, fields: dict[str, str], body: bytes) -> None:
        status, answered, content = ask(self._port, BOB, method, path, fields, body)
        route.fulfill(status=status, headers=dict(answered), body=content)


def main() -> None:
    """Make the pictures, or with `--review DIR` one of every page in every dress."""
    parser = argparse.ArgumentParser(description="Remake the README's pictures.")
    parser.add_argument("--review", type=Path, metavar="DIR", help="photograph every page into DIR instead")
    review: Path | None = parser.parse_args().review
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary) / "Documents"
        folder.mkdir()
        lay_out(folder, time.time())
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with serving(folder) as port:
            take_locks(port)
            studio = Studio(browser, port)
            if review is None:
                for name, size in PICTURES.items():
                    studio.photograph(name, IMAGES / f"{name}.png", size, scale=1.5)
            else:
                review.mkdir(parents=True, exist_ok=True)
                for name in PAGES:
                    for dress, (size, dark) in DRESSES.items():
                        studio.photograph(name, review / f"{name}-{dress}.png", size, scale=1, dark=dark)
        browser.close()


if __name__ == "__main__":
    main()
