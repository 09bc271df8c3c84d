"""Rights by path, where they meet what acts on a whole tree: nobody reaches by way of a parent what is closed to him."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from tests.serving import DAV, Client, Served, serving

ROOT = Grant(Role.WRITER)
READ_ONLY = Grant(Role.READER, ResourcePath("/dav/tree/fixed"))
SECRET = Grant(Role.NONE, ResourcePath("/dav/tree/secret"))


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """mia may write, but not in `fixed`, and may not see `secret`; leo reads all and writes in `open`."""
    users = {
        "root": Role.ADMIN,
        "mia": (ROOT, READ_ONLY, SECRET),
        "leo": (Grant(Role.READER), Grant(Role.WRITER, ResourcePath("/dav/tree/open"))),
    }
    with serving(tmp_path_factory.mktemp("rights"), users=users) as served:
        root = served.as_("root")
        for name in ("tree", "tree/fixed", "tree/secret", "tree/open"):
            assert root.request("MKCOL", f"/dav/{name}").status == 201
            if name != "tree":
                assert root.put(f"/dav/{name}/doc").status == 201
        yield served


@pytest.fixture
def mia(closed: Served) -> Client:
    return closed.as_("mia")


def test_a_tree_is_not_deleted_or_moved_by_whoever_may_not_write_all_of_it(closed: Served, mia: Client) -> None:
    assert mia.request("DELETE", "/dav/tree").status == 403
    assert mia.request("MOVE", "/dav/tree", destination="/dav/away").status == 403
    assert mia.request("DELETE", "/dav/tree/fixed").status == 403
    for name in ("fixed", "secret", "open"):
        assert closed.as_("root").get(f"/dav/tree/{name}/doc").status == 200


def test_a_tree_is_not_copied_by_whoever_may_not_read_all_of_it(closed: Served, mia: Client) -> None:
    assert mia.request("COPY", "/dav/tree", destination="/dav/copy").status == 403
    assert closed.as_("root").get("/dav/copy").status == 404
    assert mia.request("COPY", "/dav/tree", destination="/dav/flat", depth="0").status == 201
    assert mia.request("COPY", "/dav/tree/fixed", destination="/dav/of-fixed").status == 201


def test_a_tree_is_not_overwritten_by_whoever_may_not_write_all_of_it(closed: Served, mia: Client) -> None:
    assert mia.request("MKCOL", "/dav/source").status == 201
    for method in ("COPY", "MOVE"):
        assert mia.request(method, "/dav/source", destination="/dav/tree").status == 403
    assert closed.as_("root").get("/dav/tree/secret/doc").status == 200


def test_a_tree_is_not_locked_by_whoever_may_not_write_all_of_it(closed: Served, mia: Client) -> None:
    """RFC 4918 section 9.10.3: all or nothing; a lock in depth would close `fixed` to those who may write there."""
    assert mia.lock("/dav/tree", depth="infinity").status == 403
    token = mia.locked("/dav/tree", depth="0")
    assert mia.request("LOCK", "/dav/tree", if_=f"(<{token}>)").status == 200  # a refresh has no depth
    assert mia.unlock("/dav/tree", token).status == 204
    token = mia.locked("/dav/tree/open", depth="infinity")
    assert mia.unlock("/dav/tree/open", token).status == 204


def test_what_may_not_be_read_is_not_listed(mia: Client) -> None:
    names = mia.propfind("/dav/tree", depth="1").hrefs(f"{DAV}response/{DAV}href")
    assert sorted(names) == ["/dav/tree/", "/dav/tree/fixed/", "/dav/tree/open/"]
    assert b"secret" not in mia.get("/dav/tree/").body
    assert mia.propfind("/dav/tree/secret").status == 403


@pytest.mark.parametrize("name, lockable", [("mia", {"", "open/"}), ("leo", {"open/"})])
def test_locks_are_offered_member_by_member(closed: Served, name: str, lockable: set[str]) -> None:
    """owncloud/core 34394: supportedlock is per resource and principal."""
    answer = closed.as_(name).propfind("/dav/tree", "supportedlock", depth="1")
    offered = {
        (response.findtext(f"{DAV}href") or "").removeprefix("/dav/tree/")
        for response in answer.xml.findall(f"{DAV}response")
        if response.find(f".//{DAV}lockentry") is not None
    }
    assert offered == lockable
