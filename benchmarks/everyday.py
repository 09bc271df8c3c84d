"""The everyday case: five people's programs write one document that is locked while each of them works on it.

    python -m benchmarks.everyday [--write]

Each takes the lock, adds a line to the document, works for a while, writes it back, and releases the lock. Three ways: the loop that is
found in programs everywhere (five tries, sleep(5) between them), reading before it has the lock or after; and
`holdfast.client.WaitTransport`. Shown: how long all of it took, how long they waited, lines that are missing in the end, and requests.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import requests

from holdfast.client.policy import WaitPolicy
from holdfast.client.transport_httpx import WaitTransport

PEOPLE: Final = ("ada", "bob", "carol", "dave", "erin")
WORK_S: Final = 0.5
PAUSE_S: Final = 5.0
TRIES: Final = 5
RESULTS: Final = Path(__file__).parent / "results" / "everyday.md"
LOCKINFO: Final = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)


@dataclass
class Tally:
    """What one way of doing it came to."""

    requests: int = 0
    waited_s: list[float] = field(default_factory=list)
    gave_up: int = 0
    total_s: float = 0.0
    lost: int = 0
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def sent(self) -> None:
        with self._mutex:
            self.requests += 1


class Counted(httpx.HTTPTransport):
    """Counts what really goes out, below whatever waits."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.tally.sent()
        return super().handle_request(request)


def loop(url: str, name: str, tally: Tally, *, reads_first: bool) -> None:
    """As found in the wild, over requests."""
    with requests.Session() as session:

        def send(method: str, **options: object) -> requests.Response:
            tally.sent()
            return session.request(method, url, timeout=30, **options)  # type: ignore[arg-type]

        text = send("GET").text if reads_first else ""
        begun = time.monotonic()
        for attempt in range(TRIES):
            answer = send("LOCK", data=LOCKINFO, headers={"Depth": "0", "Timeout": "Second-60"})
            if answer.ok:
                break
            if attempt + 1 < TRIES:
                time.sleep(PAUSE_S)
        else:
            tally.gave_up += 1
            return
        tally.waited_s.append(time.monotonic() - begun)
        token = answer.headers["Lock-Token"]
        if not reads_first:
            text = send("GET").text
        time.sleep(WORK_S)
        send("PUT", data=f"{text}{name}\n", headers={"If": f"({token})"}).raise_for_status()
        send("UNLOCK", headers={"Lock-Token": token}).raise_for_status()


def patient(url: str, name: str, tally: Tally) -> None:
    """The same with a transport that waits."""
    with httpx.Client(transport=WaitTransport(WaitPolicy(deadline=60), Counted(tally)), timeout=30) as http:
        begun = time.monotonic()
        answer = http.request("LOCK", url, content=LOCKINFO, headers={"Depth": "0", "Timeout": "Second-60"})
        if answer.status_code == 423:
            tally.gave_up += 1
            return
        tally.waited_s.append(time.monotonic() - begun)
        token = answer.raise_for_status().headers["Lock-Token"]
        text = http.get(url).text
        time.sleep(WORK_S)
        http.put(url, content=f"{text}{name}\n", headers={"If": f"({token})"}).raise_for_status()
        http.request("UNLOCK", url, headers={"Lock-Token": token}).raise_for_status()


WAYS: Final[dict[str, Callable[[str, str, Tally], None]]] = {
    "five tries with sleep(5), read first": lambda url, name, tally: loop(url, name, tally, reads_first=True),
    "five tries with sleep(5), read under the lock": lambda url, name, tally: loop(url, name, tally, reads_first=False),
    "`WaitTransport`": patient,
}


def measure(url: str, way: Callable[[str, str, Tally], None]) -> Tally:
    """Let all five do it at once."""
    tally = Tally()
    requests.put(url, data="", timeout=30).raise_for_status()
    begun = time.monotonic()
    threads = [threading.Thread(target=way, args=(url, name, tally)) for name in PEOPLE]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.total_s = time.monotonic() - begun
    kept = set(requests.get(url, timeout=30).text.split())
    tally.lost = len(PEOPLE) - tally.gave_up - len(kept)
    return tally


def table(tallies: dict[str, Tally]) -> str:
    """As Markdown."""
    rows = [
        "| | all done after | waited in all | lost updates | gave up | requests |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {name} | {tally.total_s:.1f} s | {sum(tally.waited_s):.1f} s | {tally.lost} | {tally.gave_up} | {tally.requests} |"
        for name, tally in tallies.items()
    ]
    return "\n".join(rows) + "\n"


def main() -> None:
    """Serve a folder, do it all three ways, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "holdfast", "serve", folder, "--port", "0", "--durability", "crash"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert server.stdout is not None
        try:
            found = next(match for line in server.stdout if (match := re.match(r"  WebDAV +(http://\S+/dav/)", line)))
            tallies = {name: measure(f"{found[1]}ledger.txt", way) for name, way in WAYS.items()}
        finally:
            server.terminate()
            server.wait(30)
            server.stdout.close()
    text = table(tallies)
    print(text)
    if "--write" in sys.argv:
        RESULTS.write_text(
            "# The everyday case\n\n"
            f"Made by `python -m benchmarks.everyday --write`: {len(PEOPLE)} clients at once add a line each to one document, under its lock, and\n"
            f"work on it for {WORK_S:g} s. With no time lost between them that is {len(PEOPLE) * WORK_S:g} s in all, and "
            f"{sum(range(len(PEOPLE))) * WORK_S:g} s of waiting.\n\n{text}",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
