"""A client that deposits into an account: it takes the lock at Holdfast, reads, adds, writes, and releases the lock.

Run as `python deposit.py NAME AMOUNT HOLDFAST_URL ACCOUNT_URL [--stop]`. It always sends the fencing token of its lock; only
`/fenced` looks at it. With `--stop` the process stops itself (SIGSTOP) just before it writes, the first time: what a full
swap, a closed lid or a paused virtual machine does to a program at any point that it does not choose. No check that
stands before the write can help; here is one, and the stop comes right behind it.
"""

# ruff: noqa: INP001, S310 (a program on its own; the URLs are the caller's)
from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request

TTL_S = 1


def ask(method: str, url: str, body: bytes | None = None, **fields: str) -> tuple[int, bytes, float]:
    """Status, body, and the seconds after which the server advises to try again."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read(), 0.0
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read(), float(refusal.headers["Retry-After"] or 0)


class Depositor:
    """Somebody with money."""

    def __init__(self, name: str, amount: int, holdfast: str, account: str) -> None:
        self.name, self.amount, self.holdfast, self.account = name, amount, holdfast, account

    def deposit(self, *, stops: bool) -> bool:
        """One try, under a lock; False where the account refused the write, as the lock was lost meanwhile."""
        lock, good_until = self._locked()
        token = str(lock["fencing_token"])
        balance = int(ask("GET", self.account)[1])
        if time.monotonic() >= good_until:
            return False
        self._say(f"read {balance}, with fencing token {token}")
        if stops:
            os.kill(os.getpid(), signal.SIGSTOP)
        new = balance + self.amount
        status, _, _ = ask("PUT", self.account, str(new).encode(), Fencing_Token=token)
        self._say(
            f"wrote {new}: {'done' if status == 204 else f'refused ({status}), for somebody held the lock since'}"
        )
        ask("DELETE", f"{self.holdfast}{lock['url']}", Lock_Token=f"<{lock['token']}>")
        return status == 204

    def _locked(self) -> tuple[dict[str, str], float]:
        """A lock on the account, and until when it is good, however long it takes."""
        wanted = json.dumps({"resource": "/accounts/1", "ttl": TTL_S, "owner": self.name}).encode()
        while True:
            asked_at = time.monotonic()
            status, body, again = ask("POST", f"{self.holdfast}/api/locks", wanted, Content_Type="application/json")
            if status == 201:
                return json.loads(body), asked_at + TTL_S
            if status != 423:
                raise SystemExit(f"{self.name}: {status} {body.decode()}")
            time.sleep(again)

    def _say(self, text: str) -> None:
        sys.stdout.write(f"  {self.name} {text}\n")
        sys.stdout.flush()


def main(name: str, amount: str, holdfast: str, account: str, *options: str) -> None:
    """Try until it is in the account."""
    depositor = Depositor(name, int(amount), holdfast, account)
    stops = "--stop" in options
    while not depositor.deposit(stops=stops):
        stops = False


if __name__ == "__main__":
    main(*sys.argv[1:])
