"""Remake the README's pictures: Chromium looks at a real `holdfast serve` with two people at work.

    .venv/bin/python docs/images/make.py                # docs/images/listing.png and locked.png
    .venv/bin/python docs/images/make.py --review DIR   # every page, light and dark, wide and on a phone

Needs `chromium` (Debian's package of that name). A browser shows a 423 only when a page's own request is
refused, so a small relay in here turns a GET into the request that the picture is of, and passes on the
answer as it came: status, fields, body.
"""

# ruff: noqa: INP001, S607 (a script beside the pictures that it makes; Chromium is found by its name)
from __future__ import annotations

import argparse
import base64
import http.client
import http.server
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

IMAGES: Final = Path(__file__).parent
ALICE: Final = ("alice", "wonderland")
BOB: Final = ("bob", "builder")
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
# Name -> method, path, fields, body; all as bob sees it.
PAGES: Final = {
    "listing": ("GET", "/dav/", {}, b""),
    "locked": ("PUT", "/dav/Annual%20report.odt", {"Accept": "text/html"}, b"Bob's version"),
    "problem": ("GET", "/problems/locked", {}, b""),
    "missing": ("GET", "/dav/Nothing.odt", {"Accept": "text/html"}, b""),
    "empty": ("GET", "/dav/Photos/", {}, b""),
}
# Name -> width and height in CSS pixels of the two pictures in the README.
PICTURES: Final = {"listing": (1040, 600), "locked": (800, 740)}


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
    """A real `holdfast serve` with two users; yields its port."""
    users = [part for name, password in (ALICE, BOB) for part in ("--user", f"{name}:{password}")]
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


@contextmanager
def relaying(port: int) -> Iterator[str]:
    """The pages under plain GET addresses; yields the address that they are under."""

    class Relay(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            method, path, fields, body = PAGES[self.path.strip("/")]
            status, answered, content = ask(port, BOB, method, path, fields, body)
            self.send_response_only(status)
            for name, value in answered:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def office_hours() -> str:
    """The time zone in which it is ten in the morning, whenever the pictures are made."""
    ahead = (10 - datetime.now(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


def photograph(url: str, target: Path, size: tuple[int, int], *, scale: float = 1.5, dark: bool = False) -> None:
    """A PNG of a page, in CSS pixels of `size`."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(  # noqa: S603
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--lang=en-GB",
                f"--user-data-dir={profile}", f"--force-device-scale-factor={scale}", f"--window-size={size[0]},{size[1]}",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--screenshot={target}", url,
            ],
            check=True, capture_output=True, timeout=120,
            env=os.environ | {"TZ": office_hours(), "LANGUAGE": "en_GB", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip


def main() -> None:
    """Make the two pictures, or with `--review DIR` one of every page in every dress."""
    parser = argparse.ArgumentParser(description="Remake the README's pictures.")
    parser.add_argument("--review", type=Path, metavar="DIR", help="photograph every page into DIR instead")
    review: Path | None = parser.parse_args().review
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "Documents"
        folder.mkdir()
        lay_out(folder, time.time())
        with serving(folder) as port, relaying(port) as address:
            take_locks(port)
            if review is None:
                for name, size in PICTURES.items():
                    photograph(address + name, IMAGES / f"{name}.png", size)
                return
            review.mkdir(parents=True, exist_ok=True)
            for name in PAGES:
                for dress, size, dark in (
                    ("light", (1040, 800), False),
                    ("dark", (1040, 800), True),
                    ("phone", (390, 844), False),
                ):
                    photograph(address + name, review / f"{name}-{dress}.png", size, scale=1, dark=dark)


if __name__ == "__main__":
    main()
