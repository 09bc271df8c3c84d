"""Each limit is a setting, and each refusal a clear error that leaves everything as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Client, lockinfo, serving

PATCH = b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>%s</D:prop></D:set></D:propertyupdate>'


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    small = {
        "max_path_bytes": 64,
        "max_if_bytes": 64,
        "max_timeout_bytes": 64,
        "max_destination_bytes": 64,
        "max_owner_bytes": 64,
        "max_property_bytes": 64,
        "max_properties": 2,
        "max_locks_per_principal": 3,
        "max_xml_bytes": 4096,
        "max_xml_depth": 8,
        "max_upload_bytes": 100_000,
    }
    folder: Path = tmp_path_factory.mktemp("served")
    with serving(folder, **small) as running:
        client = running.as_("alice")
        client.put("/dav/a", b"before")
        yield client


@pytest.mark.parametrize(
    ("status", "method", "target", "body", "fields"),
    [
        (400, "GET", "/dav/" + "x" * 64, None, {}),
        (400, "PUT", "/dav/a", b"", {"if_": f"(<urn:{'x' * 64}>)"}),
        (400, "LOCK", "/dav/a", lockinfo(owner="x"), {"timeout": "Second-1, " * 10}),
        (400, "COPY", "/dav/a", None, {"destination": "/dav/" + "x" * 64}),
        (413, "LOCK", "/dav/a", lockinfo(owner="x" * 64), {}),
        (507, "PROPPATCH", "/dav/a", PATCH % (b"<x>" + b"y" * 64 + b"</x>"), {}),
        (507, "PROPPATCH", "/dav/a", PATCH % b"<one/><two/><three/>", {}),
        (413, "PROPFIND", "/dav/a", b"<x>" + b" " * 4096 + b"</x>", {"depth": "0"}),
        (400, "PROPFIND", "/dav/a", b"<x>" * 9 + b"</x>" * 9, {"depth": "0"}),
        (413, "PUT", "/dav/a", b"x" * 100_001, {}),
        (403, "PROPFIND", "/dav/", None, {"depth": "infinity"}),
        (403, "PROPFIND", "/dav/", None, {}),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isupper() else None,
)
def test_more_than_the_limit_is_refused(
    alice: Client, status: int, method: str, target: str, body: bytes | None, fields: dict[str, str]
) -> None:
    assert alice.request(method, target, body, **fields).status == status
    assert alice.get("/dav/a").body == b"before"
    assert alice.propfind("/dav/a").xml.find(".//{DAV:}activelock") is None
    assert alice.propfind("/dav/a").xml.find(".//x") is None


def test_one_lock_too_many_is_507_and_room_comes_back(alice: Client) -> None:
    tokens = [alice.request("LOCK", f"/dav/room{number}", lockinfo(owner="x")).token for number in range(3)]
    assert alice.request("LOCK", "/dav/room3", lockinfo(owner="x")).status == 507
    assert alice.get("/dav/room3").status == 404
    assert alice.unlock("/dav/room0", tokens[0]).status == 204
    last = alice.request("LOCK", "/dav/room3", lockinfo(owner="x"))
    assert last.status == 201
    for number, token in ((1, tokens[1]), (2, tokens[2]), (3, last.token)):
        alice.unlock(f"/dav/room{number}", token)
