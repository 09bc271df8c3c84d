"""Asking the API as one of the users, and reading what comes back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.serving import Answer, Client, Served

__all__ = ["Desk", "Reply", "new_resource"]

JSON = "application/json"
PROBLEM = "application/problem+json"

_numbers = itertools.count(1)


def new_resource() -> str:
    """A resource that no other test uses."""
    return f"/things/{next(_numbers)}"


@dataclass
class Reply:
    """An answer with its JSON."""

    answer: Answer

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def json(self) -> Any:
        """The body; nothing but JSON is taken."""
        assert self.answer["Content-Type"] in {JSON, PROBLEM}, self.answer.headers.items()
        return json.loads(self.answer.body)

    @property
    def problem(self) -> dict[str, Any]:
        """The body of a refusal."""
        assert self.answer["Content-Type"] == PROBLEM, self.answer.body
        assert self.json["status"] == self.status
        assert self.json["title"]
        assert self.json["detail"]
        return self.json

    def __getitem__(self, name: str) -> Any:
        """A member of the JSON."""
        return self.json[name]


@dataclass
class Desk:
    """One server; the users are alice and bob (writers), rita (a reader), root (an administrator), and nobody."""

    served: Served

    def client(self, name: str) -> Client:
        return self.served.anonymous if name == "nobody" else self.served.as_(name)

    def ask(
        self,
        who: str,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        **fields: str,
    ) -> Reply:
        """Send `body` as JSON, or as it is where it is bytes."""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        typed = {} if body is None else {"Content-Type": JSON}
        return Reply(self.client(who).request(method, target, sent, {**typed, **(headers or {})}, **fields))

    def acquire(self, who: str, resource: str, headers: Mapping[str, str] | None = None, **members: object) -> Reply:
        return self.ask(who, "POST", "/api/locks", {"resource": resource, **members}, headers)

    def granted(self, who: str, resource: str, **members: object) -> dict[str, Any]:
        """Acquire, which must be granted."""
        reply = self.acquire(who, resource, **members)
        assert reply.status == 201, reply.answer.body
        return reply.json

    def refresh(self, who: str, lock: Mapping[str, Any], **members: object) -> Reply:
        return self.ask(who, "POST", f"/api/locks/{lock['id']}/refresh", {"token": lock["token"], **members})

    def release(self, who: str, lock: Mapping[str, Any]) -> Reply:
        return self.ask(who, "DELETE", f"/api/locks/{lock['id']}", lock_token=f"<{lock['token']}>")

    def break_(self, who: str, lock: Mapping[str, Any], reason: str = "too long", **members: object) -> Reply:
        return self.ask(who, "POST", f"/api/locks/{lock['id']}/break", {"reason": reason, **members})

    def describe(self, who: str, lock: Mapping[str, Any]) -> Reply:
        return self.ask(who, "GET", f"/api/locks/{lock['id']}")

    def later(self, seconds: float) -> None:
        self.served.uptime.advance(seconds)
