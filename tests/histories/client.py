"""One client of a recorded history: a process of its own that asks for locks at random and writes down all it sees.

Run as `python client.py NAME SEED SECONDS ADDRESS_FILE RECORD_FILE`. Owns: which operations a client chooses (the same
ones for the same seed) and the lines it writes: one when a request is about to be sent, one when its answer is
there, both flushed at once, so that a client that is killed leaves what it knew. Needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

SOLITARY = ("/jobs/nightly", "/jobs/hourly", "/orders/42", "/orders/43", "/orders/44", "/orders/45")
TREE = ("/tree", "/tree/a", "/tree/b")
REFUSED = 423


class Recorder:
    """Sends requests on one kept connection; the address is read anew for each connection, for servers are restarted."""

    def __init__(self, name: str, address: Path, record: Path) -> None:
        self._name = name
        self._address = address
        self._lines = record.open("a", buffering=1)
        self._connection: http.client.HTTPConnection | None = None
        self._count = 0

    def call(self, kind: str, method: str, path: str, ask: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        """One operation; what came of it: `status` (0: nobody knows), and of a lock `id`, `fencing` and `token`."""
        self._count += 1
        head = {"client": self._name, "number": self._count}
        self._write(head | {"kind": kind, "start": time.monotonic(), **ask})
        try:
            status, told = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException, ValueError):
            self._drop()
            status, told = 0, {}
        answer: dict[str, Any] = {"status": status}
        if "fencing_token" in told:
            answer |= {"id": told["id"], "fencing": told["fencing_token"]}
        if told.get("position") is not None:
            answer["position"] = told["position"]
        self._write(head | {"end": time.monotonic(), **answer})
        return answer | {"token": told.get("token")}

    def _exchange(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self._connection is None:
            host, port = self._address.read_text().split()
            self._connection = http.client.HTTPConnection(host, int(port), timeout=30)
        self._connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else {}

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
        self._connection = None

    def _write(self, line: dict[str, Any]) -> None:
        self._lines.write(json.dumps(line) + "\n")


class Chooser:
    """A client's life: acquire, hold, refresh, release or let it expire; until its time is over."""

    def __init__(self, name: str, seed: str, recorder: Recorder, until: float) -> None:
        self._name = name
        self._dice = random.Random(f"{seed} {name}")
        self._recorder = recorder
        self._until = until
        self._rounds = 0

    def live(self) -> None:
        """Rounds until the time is over."""
        while time.monotonic() < self._until:
            self._rounds += 1
            self._round()
            time.sleep(self._dice.uniform(0, 0.1))

    def _round(self) -> None:
        dice = self._dice
        resource = dice.choice(SOLITARY + TREE)
        ask: dict[str, Any] = {
            "resource": resource,
            "scope": dice.choice(("exclusive", "exclusive", "shared")),
            "depth": "infinity" if resource == TREE[0] and dice.random() < 0.4 else "0",
            # Long enough that a release which wakes nobody shows, where the lock is not to be left to expire.
            "ttl": dice.choice((1, 1.5, 6)) if (releases := dice.random() < 0.93) else 1,
            "wait": dice.choice((0, 0.3, 0.6, 1, 2.5, 5)),
        }
        if dice.random() < 0.25:
            ask["id"] = f"{self._name}-{self._rounds}"
        # Who polls and gives up leaves its place behind for some time, so few do.
        polls = (1 if dice.random() < 0.04 else 1000) if "id" in ask else 1
        acts = (dice.random() < 0.4, releases, dice.uniform(0, 0.15))
        granted = self._acquired(ask, polls)
        if granted is not None:
            self._hold(granted, ask, *acts)

    def _acquired(self, ask: dict[str, Any], polls: int) -> dict[str, Any] | None:
        """The grant, or none. Where nobody knows what became of a request with an id, it is sent again."""
        while time.monotonic() < self._until:
            answer = self._recorder.call("acquire", "POST", "/api/locks", ask, ask)
            if answer["token"] is not None:
                return answer
            if answer["status"] == 0:
                time.sleep(0.1)
                if "id" not in ask:
                    return None
                continue
            polls -= 1
            time.sleep(0.02)
            if answer["status"] != REFUSED or polls <= 0:
                return None
        return None

    def _hold(
        self, granted: dict[str, Any], ask: dict[str, Any], refreshes: bool, releases: bool, seconds: float
    ) -> None:
        """Whoever waited refreshes at once: until that is answered it cannot know how old its grant is."""
        path, lock = f"/api/locks/{granted['id']}", {"id": granted["id"]}
        token = {"token": granted["token"]}
        if ask["wait"]:
            self._recorder.call("refresh", "POST", f"{path}/refresh", lock, token | {"ttl": ask["ttl"]})
        time.sleep(seconds)
        if refreshes:
            self._recorder.call("refresh", "POST", f"{path}/refresh", lock, token | {"ttl": ask["ttl"]})
            time.sleep(seconds / 2)
        while releases:
            answer = self._recorder.call("release", "DELETE", path, lock, token)
            if answer["status"] != 0 or time.monotonic() > self._until + 5:
                return
            time.sleep(0.05)


def main(name: str, seed: str, seconds: str, address: str, record: str) -> None:
    """Live for so many seconds."""
    until = time.monotonic() + float(seconds)
    Chooser(name, seed, Recorder(name, Path(address), Path(record)), until).live()


if __name__ == "__main__":
    main(*sys.argv[1:])
