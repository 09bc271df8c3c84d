"""The security faults that other WebDAV servers had, each as a test that this server does not have it.

The identifier of each stands in its test's docstring.
"""

from __future__ import annotations

import ast
import contextlib
import re
import threading
import time
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

import holdfast
from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from tests.serving import DAV, USERS, Answer, Client, Served, lockinfo, serving

SECRET = b"outside of the folder"
CLOSED_PATH = ResourcePath("/dav/closed")
RIGHTS = USERS | {"guest": (Grant(Role.WRITER), Grant(Role.NONE, CLOSED_PATH))}
_numbers = count(1)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("lessons") / "served"
    (folder / "closed").mkdir(parents=True)
    (folder / "closed" / "doc").write_text("closed")
    (folder.parent / "outside").mkdir()
    (folder.parent / "outside" / "secret").write_bytes(SECRET)
    with serving(folder, users=RIGHTS, max_locks_per_principal=40) as running:
        yield running


@pytest.fixture
def alice(served: Served) -> Client:
    return served.as_("alice")


@pytest.fixture
def bob(served: Served) -> Client:
    return served.as_("bob")


@pytest.fixture
def path(alice: Client) -> str:
    """A document of its own for each test."""
    fresh = f"/dav/doc-{next(_numbers)}"
    assert alice.put(fresh).status == 201
    return fresh


def everything(client: Client, target: str) -> dict[str, Answer]:
    """Every way to reach a resource."""
    return {
        "GET": client.get(target),
        "HEAD": client.request("HEAD", target),
        "PROPFIND": client.propfind(target),
        "PUT": client.put(target),
        "LOCK": client.lock(target),
        "UNLOCK": client.unlock(target, "urn:x:1"),
        "MKCOL": client.request("MKCOL", target),
        "PROPPATCH": client.request("PROPPATCH", target, marking("x")),
        "COPY": client.request("COPY", target, destination="/dav/taken"),
        "MOVE": client.request("MOVE", target, destination="/dav/taken"),
        "DELETE": client.request("DELETE", target),
    }


def marking(value: str) -> bytes:
    return (
        '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>'
        f'<m xmlns="urn:x">{value}</m></D:prop></D:set></D:propertyupdate>'
    ).encode()


def outside_of(served: Served) -> Path:
    return served.folder.parent / "outside"


def test_a_link_that_leads_outside_is_followed_by_no_method(served: Served, alice: Client) -> None:
    """CVE-2026-48099, CVE-2026-55560 (wsgidav): containment was checked of the name, not of what it led to."""
    outside = outside_of(served)
    links = {"away": outside, "file": outside / "secret", "up": Path(".."), "proc": Path("/proc/self/root")}
    for name, to in links.items():
        (served.folder / name).symlink_to(to)
    inner = outside.relative_to("/")
    for target in (
        "/dav/away/secret",
        "/dav/file",
        "/dav/up/outside/secret",
        f"/dav/proc/{inner}/secret",
        "/dav/away/",
    ):
        for method, answer in everything(alice, target).items():
            assert 400 <= answer.status < 500, (method, target, answer.status)
            assert SECRET not in answer.body
    for name in links:
        (served.folder / name).unlink()
    assert (outside / "secret").read_bytes() == SECRET
    assert [entry.name for entry in outside.iterdir()] == ["secret"]


def test_a_link_is_judged_when_it_is_used_not_before(served: Served, alice: Client) -> None:
    """CVE-2026-48099, CVE-2026-55560 (wsgidav): what was a collection a moment ago may be a link by now."""
    inside, away = served.folder / "inside", served.folder / ".holdfast" / "away"
    inside.mkdir()
    (inside / "secret").write_text("inside")
    away.symlink_to(outside_of(served))
    other = served.folder / ".holdfast" / "other"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            inside.rename(other)
            away.rename(inside)
            inside.rename(away)
            other.rename(inside)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(150):
            assert SECRET not in alice.get("/dav/inside/secret").body
            alice.put("/dav/inside/secret", b"written")
            assert SECRET not in alice.request("COPY", "/dav/inside/secret", destination="/dav/copied").body
    finally:
        stop.set()
        swapping.join(20)
    assert (outside_of(served) / "secret").read_bytes() == SECRET
    assert alice.get("/dav/copied").body in {b"inside", b"written"}


def test_names_tokens_and_properties_are_values_not_sql(alice: Client, bob: Client) -> None:
    """CVE-2026-55509 (wsgidav's sample provider): SQL put together from a request."""
    evil = (
        "x'; DROP TABLE locks; --",
        '"; DELETE FROM locks; --',
        "100%",
        "under_score",
        "*?[a-z]",
        "x' OR '1'='1",
        "\u0027",
    )
    for number, text in enumerate(evil):
        target = ResourcePath(f"/dav/{text}").href()
        token = alice.locked(target)
        assert bob.put(target).status == 423
        assert bob.unlock(target, "urn:x:1'OR'1'='1").status == 409
        assert bob.request("UNLOCK", target, lock_token=f"<{token}' OR '1'='1>").status == 400
        assert alice.request("PROPPATCH", target, marking(text.replace('"', "")), if_=f"(<{token}>)").status == 207
        assert alice.unlock(target, token).status == 204, number
    # A wildcard of LIKE or GLOB stands for itself: a lock on `under_score` is none on `underXscore`.
    token = alice.locked("/dav/under_score", depth="infinity")
    assert bob.put("/dav/underXscore").status in {201, 204}
    alice.unlock("/dav/under_score", token)


@pytest.mark.parametrize(
    "spelling",
    [
        "/dav/closed", "/dav/closed/", "/dav/closed/doc", "/dav/c%6cosed/doc", "/dav/%63%6c%6f%73%65%64/", "/dav/./closed/doc",
        "/dav/x/../closed/doc", "/dav/x/%2e%2e/closed/doc", "/dav//closed/doc", "/dav/closed%2fdoc", "/dav/closed%5cdoc",
        "http://elsewhere/dav/closed/doc",
    ],
)  # fmt: skip
def test_rights_are_judged_on_the_one_canonical_path(served: Served, spelling: str) -> None:
    """GHSA-chxv-mvjv-f92j (hacdias/webdav): rules were matched before dot segments were resolved, and with a slash only."""
    guest = served.as_("guest")
    for method, answer in everything(guest, spelling).items():
        assert 400 <= answer.status < 500, (method, answer.status)
        assert b"closed" not in (answer.body if method in {"GET", "PROPFIND"} and answer.status < 400 else b"")
    path = f"/dav/from-{next(_numbers)}"
    assert guest.put(path).status == 201
    for method in ("COPY", "MOVE"):
        assert 400 <= guest.request(method, path, destination=spelling).status < 503, method
        assert guest.get(path).status == 200
    assert (served.folder / "closed" / "doc").read_text() == "closed"
    assert guest.put("/dav/closedx").status in {201, 204}


def test_a_tag_in_an_if_header_is_the_same_canonical_path(alice: Client, path: str) -> None:
    """GHSA-chxv-mvjv-f92j: its fix named tagged conditions too; two spellings of a URL are one resource."""
    token = alice.locked(path)
    spelled = path.replace("doc", "%64o%63")
    assert alice.put(path, if_=f"<{spelled}> (<{token}>)").status == 204
    assert alice.put(spelled, if_=f"<{path}> (<{token}>)").status == 204
    for wrong in (path.replace("doc", "x/../doc"), path.replace("/doc", "//doc"), path.replace("/doc", "%2fdoc")):
        assert alice.put(path, if_=f"<{wrong}> (<{token}>)").status in {400, 412, 423}


def test_every_spelling_of_a_locked_resource_is_locked(alice: Client, bob: Client, path: str) -> None:
    """CVE-2026-30914 and CVE-2026-30915 (sftpgo): layers that normalise differently see different resources."""
    alice.locked(path)
    for spelled in (path.replace("doc", "%64oc"), path + "/", path.replace("dav", "d%61v"), path + "?x=y"):
        assert bob.put(spelled).status in {400, 404, 405, 409, 423}, spelled
        assert bob.request("DELETE", spelled).status in {400, 404, 423}, spelled
    assert alice.get(path).body == b"text"
    composed, parted = "/dav/%C3%A9", "/dav/e%CC%81"
    alice.locked(composed)
    for method in ("PUT", "DELETE"):
        assert bob.request(method, parted, b"x" if method == "PUT" else None).status == 423


def test_no_name_of_a_user_is_put_into_a_path(served: Served, alice: Client, path: str) -> None:
    """CVE-2026-30915 (sftpgo): a placeholder for the user's name was filled before the path was made canonical."""
    for name in ("..", "../..", "%2e%2e", "alice/../bob"):
        answer = served.as_(name, "guess").get(path)
        assert answer.status in {401, 429}
    assert alice.get("/dav/%25u").status == 404
    assert alice.get("/dav/%7Busername%7D").status == 404


@pytest.mark.parametrize("up", ["%2e%2e", "%2E%2e", ".%2e", "..", "%252e%252e", "..;", "..%00"])
def test_dot_segments_are_refused_after_decoding(alice: Client, up: str) -> None:
    """webdav-handler-rs issue 22, dav-server-rs PR 10: `/%2e%2e/etc/passwd`."""
    for target in (f"/dav/{up}/outside/secret", f"/dav/{up}/{up}/{up}/{up}/{up}/etc/passwd", f"/{up}/etc/passwd"):
        answer = alice.get(target)
        assert answer.status in {400, 404}
        assert SECRET not in answer.body
        assert b"root:" not in answer.body


def test_an_encoded_slash_is_refused(alice: Client) -> None:
    """CVE-2023-37474 (copyparty): `/.cpr/%2Fetc%2Fpasswd`."""
    for target in (
        "/.holdfast/%2Fetc%2Fpasswd",
        "/dav/%2Fetc%2Fpasswd",
        "/dav/.holdfast%2Flocks.db",
        "/dav/x%2f..%2f..%2foutside%2fsecret",
    ):
        for method, answer in everything(alice, target).items():
            assert answer.status in {400, 404, 405}, (method, target)
            assert b"root:" not in answer.body


def test_copy_and_move_ask_for_rights_at_both_ends(served: Served, alice: Client) -> None:
    """hacdias/webdav issue 179, sabre/dav issue 179: one of the two was never asked about."""
    guest, rita = served.as_("guest"), served.as_("rita")
    path = f"/dav/both-{next(_numbers)}"
    assert alice.put(path).status == 201
    for method in ("COPY", "MOVE"):
        assert guest.request(method, "/dav/closed/doc", destination="/dav/stolen").status in {403, 404}
        assert guest.request(method, path, destination="/dav/closed/planted").status == 403
        assert guest.request(method, "/dav/closed", destination="/dav/stolen").status in {403, 404}
        # A tree of which a part is closed is not carried off as a whole.
        assert guest.request(method, "/dav/", destination="/dav/all").status in {403, 404}
        # A reader may neither write the copy nor take the source away.
        assert rita.request(method, path, destination="/dav/read").status == 403
    assert alice.get("/dav/stolen").status == 404
    assert sorted(entry.name for entry in (served.folder / "closed").iterdir()) == ["doc"]


@pytest.mark.parametrize(
    "destination", ["/", "/d", "/da", "/dav", "", "x", "http://", "http://{host}", "http://{host}/", "http://{host}/d"]
)
def test_a_destination_shorter_than_the_mount_is_refused(
    served: Served, alice: Client, path: str, destination: str
) -> None:
    """CVE-2026-27654 (nginx): a Destination shorter than the aliased prefix wrote behind a buffer."""
    given = destination.format(host=f"{served.host}:{served.port}")
    for method in ("COPY", "MOVE"):
        assert alice.request(method, path, destination=given).status in {400, 403, 502}
    assert alice.get(path).body == b"text"


def test_an_indirect_refresh_is_a_refresh(alice: Client, bob: Client) -> None:
    """CVE-2004-0809 (mod_dav_fs): refreshing a lock by way of a member that it covers crashed the process."""
    coll = f"/dav/coll-{next(_numbers)}"
    alice.request("MKCOL", coll)
    token = alice.locked(coll, depth="infinity")
    for target in (f"{coll}/member", f"{coll}/a/b/c", coll, f"{coll}/"):
        assert alice.request("LOCK", target, if_=f"(<{token}>)", timeout="Second-100").status == 200, target
        assert bob.request("LOCK", target, if_=f"(<{token}>)").status == 403
    assert alice.request("LOCK", "/dav/", if_=f"(<{token}>)").status == 412
    assert alice.request("LOCK", f"{coll}x", if_=f"(<{token}>)").status == 412


@pytest.mark.parametrize(
    "value", ["<", ">", "<>", "", " ", "<<>>", "<urn:uuid:", "urn:uuid:>", "<\t>", '"', "<a:b", "<" * 1000]
)
def test_a_cut_short_lock_token_is_400(alice: Client, path: str, value: str) -> None:
    """CVE-2026-29169 (mod_dav_lock), audits 003 and 004: UNLOCK with `Lock-Token: <` read behind the end of the value."""
    alice.locked(path)
    assert alice.request("UNLOCK", path, lock_token=value).status == 400
    assert alice.put(path, lock_token=value).status == 400
    assert alice.put(path, if_=value).status in {400, 423}
    assert len(alice.propfind(path, "lockdiscovery").xml.findall(f".//{DAV}activelock")) == 1


@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize(
    "condition",
    [
        "(Not <{token}>) (Not <DAV:no-lock>)",
        "<{other}> (<{token}>) (Not <DAV:no-lock>)",
        "<{other}> (Not <{token}>)",
        "(Not <DAV:no-lock>)",
    ],
)
def test_a_condition_that_is_true_is_no_permission(
    served: Served, alice: Client, path: str, condition: str, who: str
) -> None:
    """Audits 027 and 028 (mod_dav): any mention of a token, in Not or under a foreign tag, passed for holding the lock."""
    other = f"{path}-other"
    alice.put(other)
    token = alice.locked(path)
    text = condition.format(token=token, other=other)
    client = served.as_(who)
    for method in ("PUT", "DELETE", "MOVE"):
        body = b"stolen" if method == "PUT" else None
        assert client.request(method, path, body, if_=text, destination="/dav/gone").status in {412, 423}, method
    assert alice.get(path).body == b"text"


def test_the_body_of_a_propfind_or_lock_is_bounded(alice: Client, path: str) -> None:
    """CVE-2026-41284 (Tomcat): 50 MB of XML were read, and many times that answered."""
    started = time.monotonic()
    names = "".join(f"<n{number}/>" for number in range(19_000))
    answer = alice.request(
        "PROPFIND", path, f'<D:propfind xmlns:D="DAV:"><D:prop>{names}</D:prop></D:propfind>'.encode(), depth="0"
    )
    assert answer.status in {207, 400, 413}
    assert len(answer.body) < 2_000_000
    large = b'<D:propfind xmlns:D="DAV:"><D:prop>' + b"<n/>" * 3_000_000 + b"</D:prop></D:propfind>"
    for method in ("PROPFIND", "LOCK", "PROPPATCH", "MKCOL"):
        # A refused body may be cut off before all of it was sent.
        with contextlib.suppress(ConnectionError):
            assert alice.request(method, path, large, depth="0").status == 413
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("method", ["LOCK", "PROPFIND", "PROPPATCH", "MKCOL"])
def test_no_external_entity_is_read_and_a_dtd_is_400(served: Served, alice: Client, path: str, method: str) -> None:
    """CVE-2007-5461 and CVE-2013-1939 by their titles, Peergos issue 1267, bw-webdav GHSA-5p52: files read through entities."""
    url = (outside_of(served) / "secret").as_uri()
    for declared in (
        f'<!ENTITY e SYSTEM "{url}">',
        '<!ENTITY e SYSTEM "c:\\\\boot.ini">',
        f'<!ENTITY % p SYSTEM "{url}"> %p;',
        "<!ENTITY e 'x'>",
    ):
        body = f'<?xml version="1.0"?><!DOCTYPE x [{declared}]>'.encode() + lockinfo(owner="&e;").split(b"?>", 1)[1]
        answer = alice.request(
            method, f"{path}-new" if method == "MKCOL" else path, body, depth="0", content_type="application/xml"
        )
        assert answer.status == 400
        assert SECRET not in answer.body
    assert SECRET not in alice.propfind(path, "lockdiscovery").body


@pytest.mark.parametrize(
    "timeout",
    [
        "Infinite, Second-4100000000",
        "Second-4100000000, Infinite",
        "Second-4294967296",
        "Second-",
        "Infinite,",
        ",",
        "x" * 900,
    ],
)
def test_no_timeout_field_hangs_the_server(alice: Client, path: str, timeout: str) -> None:
    """lighttpd: `Infinite, Second-4100000000` was parsed for ever."""
    started = time.monotonic()
    answer = alice.request("LOCK", path, lockinfo(), timeout=timeout, depth="0")
    assert answer.status == 200
    assert time.monotonic() - started < 5
    seconds = int((answer.xml.findtext(f".//{DAV}timeout") or "").removeprefix("Second-"))
    assert 1 <= seconds <= 86_400


def test_depth_infinity_is_refused_by_default(alice: Client) -> None:
    """x/net, wsgidav and asgi-webdav walk the whole tree for whoever asks; an absent Depth means infinity too."""
    for fields in ({"depth": "infinity"}, {}):
        answer = alice.request("PROPFIND", "/dav/", **fields)
        assert answer.status == 403
        assert b"propfind-finite-depth" in answer.body


def test_one_principal_cannot_use_up_all_locks(served: Served, alice: Client) -> None:
    """Nobody limits the number of locks; nginx answers 500 when its zone is full."""
    guest = served.as_("guest")
    taken = [guest.lock(f"/dav/many-{number}") for number in range(41)]
    assert [answer.status for answer in taken] == [201] * 40 + [507]
    assert alice.get("/dav/many-40").status == 404, "the refused one left no document"
    fresh = f"/dav/doc-{next(_numbers)}"
    assert alice.unlock(fresh, alice.locked(fresh)).status == 204
    assert guest.unlock("/dav/many-0", taken[0].token).status == 204
    assert guest.lock("/dav/many-40").status == 201


def test_an_owner_element_is_bounded(alice: Client, path: str) -> None:
    """Lock exhaustion, second half: each lock may be as large as a client likes."""
    assert alice.request("LOCK", path, lockinfo(owner="o" * 20_000), depth="0").status in {400, 413}
    assert alice.put(path).status == 204


def test_tokens_cannot_be_guessed_and_are_no_use_to_others(alice: Client, bob: Client) -> None:
    """golang.org/x/net and nginx: 32 bits, or the time, as a token, and whoever sends it holds the lock."""
    tokens = []
    for number in range(20):
        target = f"/dav/token-{number}"
        tokens.append(alice.locked(target))
        assert bob.put(target, if_=f"(<{tokens[-1]}>)").status == 423
        assert bob.unlock(target, tokens[-1]).status == 403
        assert tokens[-1].encode() not in bob.propfind(target, "lockdiscovery").body
        assert tokens[-1].encode() not in bob.lock(target).body
        alice.unlock(target, tokens[-1])
    parsed = [uuid.UUID(token.removeprefix("urn:uuid:")) for token in tokens]
    assert {each.version for each in parsed} == {4}
    assert len(set(parsed)) == 20
    # No bit that version 4 leaves free is the same in all of them.
    same_ones, same_zeros = (1 << 128) - 1, (1 << 128) - 1
    for each in parsed:
        same_ones &= each.int
        same_zeros &= ~each.int
    fixed = same_ones.bit_count() + same_zeros.bit_count()
    assert fixed <= 8


def test_the_owner_is_parsed_and_written_anew(alice: Client, bob: Client, path: str) -> None:
    """Apache, wsgidav, sabre/dav and x/net keep the bytes of the owner element, and put them into everybody's answers."""
    owner = (
        "a]]&gt;<!-- hidden --><?php evil()?><x:y xmlns:x='urn:x' z='&lt;&quot;'><![CDATA[</D:owner><D:evil/>]]></x:y>"
    )
    answer = alice.request("LOCK", path, lockinfo(owner=owner), depth="0")
    assert answer.status == 200
    seen = bob.propfind(path, "lockdiscovery")
    for body in (answer.body, seen.body):
        assert b"<!--" not in body
        assert b"<?php" not in body
        assert b"CDATA" not in body
    [found] = seen.xml.findall(f".//{DAV}owner")
    assert [child.tag for child in found] == ["{urn:x}y"]
    assert found[0].text == "</D:owner><D:evil/>"
    assert seen.xml.findall(f".//{DAV}evil") == []
    for kind in ("text/html", "application/problem+json"):
        page = bob.put(path, accept=kind)
        assert page.status == 423
        assert b"<D:evil/>" not in page.body.replace(b"\\", b"") or kind == "application/problem+json"
    for broken in ("<D:owner>", "&#0;", "<x:y/>", "</D:owner></D:lockinfo><x/>", "&nbsp;"):
        assert alice.request("LOCK", f"{path}-b", lockinfo(owner=broken), depth="0").status == 400


def test_a_script_in_an_owner_stays_text_on_the_page(alice: Client, bob: Client, path: str) -> None:
    """Reflected markup, the same fault for people: the 423 page shows the owner, the reason, the client."""
    script = "&lt;script&gt;alert(1)&lt;/script&gt;"
    alice.agent = "<script>alert(2)</script>"
    assert alice.request("LOCK", path, lockinfo(owner=script), depth="0").status == 200
    page = bob.put(path, accept="text/html")
    assert page.status == 423
    assert b"<script>alert" not in page.body
    assert page["X-Content-Type-Options"] == "nosniff"


LOADERS = {"pickle", "marshal", "shelve", "dill", "yaml", "cPickle", "dbm"}


def test_nothing_that_is_kept_is_code() -> None:
    """wsgidav on Redis: locks were pickles, so whoever could write to Redis could run code in the server."""
    for source in sorted(Path(holdfast.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = {node.func.id} & {"eval", "exec", "compile", "__import__"}
                assert not names, f"{source.name}: {names}"
                continue
            else:
                continue
            assert not names & LOADERS, f"{source.name}: {names & LOADERS}"


def test_a_planted_note_in_the_state_folder_is_data_and_reaches_nothing_outside(tmp_path: Path) -> None:
    """The same lesson for what the server itself leaves for its next start."""
    folder = tmp_path / "served"
    left = folder / ".holdfast" / "staging" / "0123456789abcdef"
    left.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("victim")
    notes = (
        b"cos\nsystem\n(S'touch x'\ntR.",
        b"\x80\x04\x95",
        b'{"path": "/../victim"}',
        b'{"path": "/.holdfast/../../victim"}',
        b'{"path": "x"}',
        b"{",
    )
    for number, note in enumerate(notes):
        (left / f"note-{number}").write_bytes(note)
    with serving(folder) as served:
        assert served.as_("alice").put("/dav/doc").status == 201
    assert victim.read_text() == "victim"


def test_every_lesson_has_its_test() -> None:
    """The list of lessons, so that none is dropped unseen."""
    text = Path(__file__).read_text(encoding="utf-8")
    identifiers = (
        "CVE-2026-48099", "CVE-2026-55560", "CVE-2026-55509", "GHSA-chxv-mvjv-f92j", "CVE-2026-30914", "CVE-2026-30915",
        "webdav-handler-rs issue 22", "CVE-2023-37474", "hacdias/webdav issue 179", "CVE-2026-27654", "CVE-2004-0809", "CVE-2026-29169",
        "Audits 027 and 028", "CVE-2026-41284", "CVE-2007-5461", "CVE-2013-1939", "lighttpd", "Redis",
    )  # fmt: skip
    documented = " ".join(re.findall(r'"""(.*?)"""', text, re.DOTALL))
    assert [name for name in identifiers if name not in documented] == []
