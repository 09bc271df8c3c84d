"""A small resource server: bank accounts over HTTP, in plain Python. It shows what a resource has to do for fencing.

`GET /fenced` and `GET /unfenced` give the balance; `PUT` replaces it. `/unfenced` takes every write, as most resources do.
`/fenced` keeps the highest fencing token that it has seen beside the balance, and refuses a write with a lower one (409) or
with none (428). The comparison and the write are one step: here under a mutex, in a database in one statement:

    UPDATE accounts SET balance = :balance, fencing_token = :token WHERE name = :name AND fencing_token <= :token

Run as `python account.py BALANCE`: it prints its URL and serves until it is ended.
"""

# ruff: noqa: INP001 (a program on its own)
from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Account:
    """A balance, and the highest fencing token that wrote it."""

    balance: int
    wants_token: bool
    highest_token: int = 0
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def write(self, balance: int, token: int | None) -> int:
        """Replace the balance, or refuse; the HTTP status."""
        with self.mutex:
            if self.wants_token:
                if token is None:
                    return 428
                if token < self.highest_token:
                    return 409
                self.highest_token = token
            self.balance = balance
            return 204


class Accounts(BaseHTTPRequestHandler):
    """The two accounts of this server."""

    accounts: dict[str, Account]

    def do_GET(self) -> None:
        """The balance."""
        account = self.accounts.get(self.path)
        self._answer(404 if account is None else 200, b"" if account is None else str(account.balance).encode())

    def do_PUT(self) -> None:
        """A new balance."""
        account = self.accounts.get(self.path)
        balance = int(self.rfile.read(int(self.headers["Content-Length"])))
        token = self.headers["Fencing-Token"]
        self._answer(404 if account is None else account.write(balance, None if token is None else int(token)))

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the clients do."""


def main(balance: str) -> None:
    """Serve on a free port of this machine."""
    Accounts.accounts = {f"/{name}": Account(int(balance), name == "fenced") for name in ("fenced", "unfenced")}
    with ThreadingHTTPServer(("127.0.0.1", 0), Accounts) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
