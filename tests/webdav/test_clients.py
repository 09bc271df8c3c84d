"""What real clients send and expect, each test named for its client; docs/clients.md lists them all."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import DAV, LOCKINFO, Answer, Client, Served, lockinfo, serving

MAC = "WebDAVFS/3.0.0 (03008000) Darwin/21.6.0 (x86_64)"
WINDOWS = "Microsoft-WebDAV-MiniRedir/10.0.19045"
OFFICE = "Microsoft Office Word 2016"
WIN32 = "urn:schemas-microsoft-com:"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def home(request: pytest.FixtureRequest, served: Served) -> str:
    """A collection of this test's own."""
    target = f"/dav/{request.node.name}/".replace("[", "-").replace("]", "")
    assert served.as_("alice").request("MKCOL", target).status == 201
    return target


def mac(served: Served, name: str = "alice") -> Client:
    return served.as_(name, agent=MAC)


def send_lines(client: Client, method: str, target: str, lines: list[tuple[str, str]], body: bytes = b"") -> Answer:
    """A request with fields that repeat."""
    connection = http.client.HTTPConnection(client.host, client.port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in [*lines, ("Authorization", client.authorization or ""), ("Content-Length", str(len(body)))]:
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


# -- macOS Finder (webdavfs) ---------------------------------------------------------------------------


def test_finder_mounts_read_write_because_dav_says_2(served: Served) -> None:
    classes = served.anonymous.request("OPTIONS", "/dav/")["DAV"]
    assert {"1", "2", "3"} <= {item.strip() for item in classes.split(",")}


def test_finder_two_macs_with_the_same_owner_text_do_not_share_a_lock(served: Served, home: str) -> None:
    owner = lockinfo(owner="<D:href>http://www.apple.com/webdav_fs/</D:href>")
    first = mac(served).request("LOCK", home + "a", owner, depth="0", timeout="Second-600")
    second = mac(served, "bob").request("LOCK", home + "a", owner, depth="0", timeout="Second-600")
    assert (first.status, second.status) == (201, 423)


def test_finder_refreshes_with_an_empty_body_and_a_content_type(served: Served, home: str) -> None:
    token = mac(served).locked(home + "a")
    answer = mac(served).request(
        "LOCK", home + "a", b"", content_type="text/xml", if_=f"(<{token}>)", timeout="Second-600"
    )
    assert answer.status == 200
    assert answer.hrefs(f".//{DAV}locktoken/{DAV}href") == [token]
    assert answer.headers["Lock-Token"] is None


def test_finder_deletes_a_locked_document_with_an_untagged_token(served: Served, home: str) -> None:
    token = mac(served).locked(home + "a")
    assert mac(served).request("DELETE", home + "a", if_=f"(<{token}>)").status == 204


@pytest.mark.parametrize("method", ["MOVE", "DELETE"])
def test_finder_moves_a_folder_with_the_tokens_of_all_open_members(served: Served, home: str, method: str) -> None:
    alice = mac(served)
    alice.request("MKCOL", home + "folder")
    tokens = [alice.locked(f"{home}folder/{name}") for name in "ab"]
    lines = [("If", f"(<{token}>)") for token in tokens]
    if method == "MOVE":
        lines.append(("Destination", f"{served.url}{home}moved"))
    assert send_lines(alice, method, home + "folder", lines).status in {201, 204}


def test_finder_folder_with_a_member_of_somebody_else_stays(served: Served, home: str) -> None:
    mac(served).request("MKCOL", home + "folder")
    mine, theirs = mac(served).locked(home + "folder/a"), served.as_("bob").locked(home + "folder/b")
    lines = [("If", f"(<{mine}>)"), ("If", f"(<{theirs}>)")]
    answer = send_lines(mac(served), "DELETE", home + "folder", lines)
    assert answer.status == 207
    assert answer.statuses() == {home + "folder/b": 423}
    assert mac(served).get(home + "folder/a").status == 200


def test_finder_reads_the_quota(served: Served, home: str) -> None:
    answer = mac(served).propfind(home, "quota-available-bytes", "quota-used-bytes")
    for name in ("quota-available-bytes", "quota-used-bytes"):
        assert int(answer.xml.findtext(f".//{DAV}{name}") or "") > 0


def test_finder_uploads_in_chunks(served: Served, home: str) -> None:
    body = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    answer = mac(served).put(home + "a", body, transfer_encoding="chunked", x_expected_entity_length="11")
    assert answer.status == 201
    assert mac(served).get(home + "a").body == b"hello world"


def test_finder_upload_emptied_by_a_proxy_does_not_truncate_the_document(served: Served, home: str) -> None:
    mac(served).put(home + "a", b"precious")
    assert mac(served).put(home + "a", b"", x_expected_entity_length="8").status == 400
    assert mac(served).get(home + "a").body == b"precious"


@pytest.mark.parametrize("name", ["._plan.odt", ".DS_Store"])
def test_finder_locks_and_writes_its_own_files(served: Served, home: str, name: str) -> None:
    token = mac(served).locked(home + name)
    assert mac(served).put(home + name, b"x", if_=f"(<{token}>)").status == 204
    assert mac(served).unlock(home + name, token).status == 204


def test_finder_unlock_of_the_shadow_file_leaves_the_lock_of_the_document(served: Served, home: str) -> None:
    """sabre issue 149."""
    document, shadow = mac(served).locked(home + "plan"), mac(served).locked(home + "._plan")
    assert mac(served).unlock(home + "._plan", shadow).status == 204
    assert served.as_("bob").put(home + "plan").status == 423
    assert mac(served).unlock(home + "plan", document).status == 204


def test_finder_safe_save_through_a_temporary_folder(served: Served, home: str) -> None:
    alice = mac(served)
    alice.put(home + "plan.txt", b"old")
    assert alice.request("MKCOL", home + "plan.txt.sb-1a2b3c/").status == 201
    assert alice.put(home + "plan.txt.sb-1a2b3c/plan.txt", b"new").status == 201
    moved = alice.request(
        "MOVE", home + "plan.txt.sb-1a2b3c/plan.txt", destination=f"{served.url}{home}plan.txt", overwrite="T"
    )
    assert moved.status == 204
    assert alice.request("DELETE", home + "plan.txt.sb-1a2b3c/").status == 204
    assert alice.get(home + "plan.txt").body == b"new"


# -- Windows Explorer (Mini-Redirector) ----------------------------------------------------------------


def win32_times() -> bytes:
    return (
        f'<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="{WIN32}"><D:set><D:prop>'
        "<Z:Win32CreationTime>Tue, 03 Mar 2020 10:00:00 GMT</Z:Win32CreationTime>"
        "<Z:Win32LastAccessTime>Tue, 03 Mar 2020 11:00:00 GMT</Z:Win32LastAccessTime>"
        "<Z:Win32LastModifiedTime>Tue, 03 Mar 2020 12:00:00 GMT</Z:Win32LastModifiedTime>"
        "<Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>"
    ).encode()


def test_windows_copies_a_document_into_the_folder(served: Served, home: str) -> None:
    """The whole sequence of the Mini-Redirector; it gives up when one step answers otherwise (wsgidav issue 112)."""
    windows, target = served.as_("alice", agent=WINDOWS), home + "report.docx"
    assert windows.propfind(target, translate="f").status == 404
    assert windows.put(target, b"").status == 201
    granted = windows.request("LOCK", target, LOCKINFO, timeout="Second-3600")
    assert granted.status == 200
    assert granted.xml.findtext(f".//{DAV}depth") == "infinity"
    if_ = f"(<{granted.token}>)"
    patched = windows.request("PROPPATCH", target, win32_times(), if_=if_)
    assert patched.status == 207
    assert patched.statuses() == {target: 200}
    assert windows.request("HEAD", target).status == 200
    assert windows.put(target, b"contents", if_=if_).status == 204
    assert windows.request("PROPPATCH", target, win32_times(), if_=if_).status == 207
    assert windows.unlock(target, granted.token).status == 204
    read = windows.get(target)
    assert (read.body, read["Last-Modified"]) == (b"contents", "Tue, 03 Mar 2020 12:00:00 GMT")
    kept = windows.request(
        "PROPFIND",
        target,
        f'<D:propfind xmlns:D="DAV:"><D:prop><Z:Win32FileAttributes xmlns:Z="{WIN32}"/></D:prop></D:propfind>'.encode(),
        depth="0",
    )
    assert kept.xml.findtext(f".//{{{WIN32}}}Win32FileAttributes") == "00000020"


def test_windows_lock_token_without_angle_brackets(served: Served, home: str) -> None:
    windows = served.as_("alice", agent=WINDOWS)
    token = windows.locked(home + "a")
    assert windows.request("UNLOCK", home + "a", lock_token=token).status == 204


def test_windows_trailing_number_sign_in_a_url(served: Served, home: str) -> None:
    windows = served.as_("alice", agent=WINDOWS)
    windows.put(home + "a", b"x")
    assert windows.get(home + "a#").status == 200


def test_windows_asks_options_of_the_top_without_credentials(served: Served) -> None:
    answer = served.anonymous.request("OPTIONS", "/")
    assert (answer.status, answer["MS-Author-Via"]) == (200, "DAV")


def test_windows_deletes_a_locked_folder_with_an_untagged_token(served: Served, home: str) -> None:
    windows = served.as_("alice", agent=WINDOWS)
    windows.request("MKCOL", home + "folder")
    token = windows.locked(home + "folder", depth="infinity")
    windows.put(home + "folder/a", if_=f"(<{token}>)")
    assert windows.request("DELETE", home + "folder", if_=f"(<{token}>)").status == 204


def test_windows_dates_have_no_long_fractions_and_the_prefix_is_d(served: Served, home: str) -> None:
    answer = served.as_("alice", agent=WINDOWS).propfind(home)
    assert b"<D:multistatus" in answer.body
    created = answer.xml.findtext(f".//{DAV}creationdate") or ""
    assert created.endswith("Z")
    assert "." not in created


def test_windows_put_lock_delete_put_lock_finds_no_old_lock(served: Served, home: str) -> None:
    """golang/go issue 42839: the second LOCK was refused, and Windows then deleted the document."""
    windows = served.as_("alice", agent=WINDOWS)
    windows.put(home + "a", b"")
    token = windows.locked(home + "a")
    assert windows.request("DELETE", home + "a", if_=f"(<{token}>)").status == 204
    assert windows.put(home + "a", b"").status == 201
    assert windows.lock(home + "a").status == 200


def test_windows_connection_stays_open_through_a_401(served: Served) -> None:
    connection = http.client.HTTPConnection(served.host, served.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("PROPFIND", "/dav/", headers={"Depth": "0"})
        first = connection.getresponse()
        first.read()
        sock = connection.sock
        assert (first.status, sock is not None) == (401, True)
        connection.request(
            "PROPFIND", "/dav/", headers={"Depth": "0", "Authorization": served.as_("alice").authorization or ""}
        )
        assert connection.getresponse().status == 207
        assert connection.sock is sock


# -- Microsoft Office ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["<{}>", "{}"])
def test_office_puts_with_a_lock_token_field_and_no_if(served: Served, home: str, form: str) -> None:
    """sabre-io/dav issue 980; six of six probed servers answered 423."""
    office = served.as_("alice", agent=OFFICE)
    token = office.locked(home + "a")
    assert office.put(home + "a", b"saved", lock_token=form.format(token)).status == 204
    assert served.as_("bob").put(home + "a", b"stolen", lock_token=form.format(token)).status == 423


def test_office_is_told_who_has_the_document(served: Served, home: str) -> None:
    served.as_("bob").locked(home + "a")
    office = served.as_("alice", agent=OFFICE)
    for answer in (office.lock(home + "a"), office.put(home + "a"), office.request("DELETE", home + "a")):
        assert answer.status == 423
        assert answer["X-MSDAVEXT_ERROR"].startswith("589838; ")
        assert "bob" in answer["X-MSDAVEXT_ERROR"]
        assert " " not in answer["X-MSDAVEXT_ERROR"].removeprefix("589838; ")


def test_office_first_refresh_with_an_unknown_token_is_412(served: Served, home: str) -> None:
    """sabre issue 537: Office 2013 begins with a LOCK without a body and a token that nobody knows."""
    office = served.as_("alice", agent=OFFICE)
    office.put(home + "a")
    answer = office.request("LOCK", home + "a", if_="(<opaquelocktoken:11111111-2222-3333-4444-555555555555>)")
    assert answer.status == 412
    assert answer.xml.find(f"{DAV}lock-token-matches-request-uri") is not None


def test_office_save_dance(served: Served, home: str) -> None:
    """PUT of a temporary document, MOVE of the old one away, MOVE of the new one into place, LOCK again."""
    office = served.as_("alice", agent=OFFICE)
    office.put(home + "plan.docx", b"old")
    token = office.locked(home + "plan.docx")
    assert office.put(home + "~tmp.docx", b"new").status == 201
    aside = office.request(
        "MOVE", home + "plan.docx", destination=f"{served.url}{home}old.tmp", overwrite="T", if_=f"(<{token}>)"
    )
    assert aside.status == 201
    assert office.request("MOVE", home + "~tmp.docx", destination=f"{served.url}{home}plan.docx").status == 201
    assert office.lock(home + "plan.docx").status == 200
    assert office.get(home + "plan.docx").body == b"new"


# -- LibreOffice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_libreoffice_saves_because_the_parent_collection_answers_200(served: Served, home: str, method: str) -> None:
    assert served.as_("alice").request(method, home).status == 200


def test_libreoffice_opens_read_only_only_where_locking_is_not_allowed(served: Served, home: str) -> None:
    """owncloud/core issue 34394: supportedlock was advertised where LOCK was refused."""
    served.as_("alice").put(home + "a")
    writer = served.as_("alice").propfind(home + "a", "supportedlock")
    reader = served.as_("rita").propfind(home + "a", "supportedlock")
    assert len(writer.xml.findall(f".//{DAV}lockentry")) == 2
    assert reader.xml.findall(f".//{DAV}lockentry") == []
    assert served.as_("rita").lock(home + "a").status == 403


def test_libreoffice_gets_the_three_minutes_that_it_asks_for(served: Served, home: str) -> None:
    """A shorter grant makes it refresh every second (npm-WebDAV-Server issue 101)."""
    answer = served.as_("alice").lock(home + "a", timeout="Second-180")
    assert answer.xml.findtext(f".//{DAV}timeout") == "Second-180"


# -- davfs2, neon, cadaver -----------------------------------------------------------------------------


def test_davfs2_lock_of_a_new_document_only_if_it_is_new(served: Served, home: str) -> None:
    alice = served.as_("alice")
    first = alice.lock(home + "a", if_none_match="*")
    assert first.status == 201
    alice.unlock(home + "a", first.token)
    assert alice.lock(home + "a", if_none_match="*").status == 412


def test_davfs2_finds_its_own_lock_again(served: Served, home: str) -> None:
    """After a 423 it looks for a lock of its own owner text, and goes on with that lock's token."""
    alice = served.as_("alice")
    token = alice.locked(home + "a")
    assert alice.lock(home + "a").status == 423
    mine = alice.propfind(home + "a", "lockdiscovery").hrefs(f".//{DAV}locktoken/{DAV}href")
    others = served.as_("bob").propfind(home + "a", "lockdiscovery")
    assert mine == [token]
    assert others.xml.find(f".//{DAV}activelock") is not None
    assert token.encode() not in others.body


def test_davfs2_gets_a_strong_etag_from_put(served: Served, home: str) -> None:
    alice = served.as_("alice")
    etag = alice.put(home + "a", b"one")["ETag"]
    assert etag.startswith('"')
    assert alice.request("HEAD", home + "a")["ETag"] == etag
    assert alice.put(home + "a", b"two")["ETag"] != etag


def test_neon_tags_its_if_header_with_the_whole_url(served: Served, home: str) -> None:
    alice = served.as_("alice")
    answer = alice.request("LOCK", home + "a", LOCKINFO, depth="0", timeout="Infinite")
    assert answer["Lock-Token"] == f"<{answer.token}>"
    assert answer.xml.findtext(f".//{DAV}timeout") == "Second-86400"
    assert alice.put(home + "a", if_=f"<{served.url}{home}a> (<{answer.token}>)").status == 204


# -- others --------------------------------------------------------------------------------------------


def test_gvfs_saves_only_over_what_it_has_read(served: Served, home: str) -> None:
    alice = served.as_("alice")
    assert alice.put(home + "a", b"one", if_none_match="*", expect="100-continue").status == 201
    etag = alice.get(home + "a")["ETag"]
    assert alice.put(home + "a", b"two", if_match=etag).status == 204
    assert alice.put(home + "a", b"three", if_match=etag).status == 412
    assert alice.put(home + "a", b"four", if_none_match="*").status == 412
    assert alice.get(home + "a").body == b"two"


def test_rclone_sets_modification_times(served: Served, home: str) -> None:
    alice = served.as_("alice")
    answer = alice.put(home + "a", b"x", x_oc_mtime="1583236800")
    assert answer["X-OC-MTime"] == "accepted"
    assert alice.request("HEAD", home + "a")["Last-Modified"] == "Tue, 03 Mar 2020 12:00:00 GMT"
    body = (
        b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:lastmodified>1583240400</D:lastmodified></D:prop></D:set>'
        b"</D:propertyupdate>"
    )
    assert alice.request("PROPPATCH", home + "a", body).statuses() == {home + "a": 200}
    assert alice.request("HEAD", home + "a")["Last-Modified"] == "Tue, 03 Mar 2020 13:00:00 GMT"


def test_cyberduck_with_a_token_it_kept_for_too_long(served: Served, home: str) -> None:
    """sabre pull request 1672: 412 says that the token is stale; the next PUT without it goes through."""
    alice = served.as_("alice")
    token = alice.locked(home + "a")
    alice.unlock(home + "a", token)
    assert alice.put(home + "a", if_=f"(<{token}>)").status == 412
    assert alice.put(home + "a").status == 204


def test_keepass_saves_through_a_temporary_document(served: Served, home: str) -> None:
    alice = served.as_("alice")
    alice.put(home + "db.kdbx", b"old")
    alice.put(home + "db.kdbx.tmp", b"new")
    moved = alice.request("MOVE", home + "db.kdbx.tmp", destination=f"{served.url}{home}db.kdbx", overwrite="T")
    assert moved.status == 204
    assert alice.get(home + "db.kdbx").body == b"new"


def test_npm_webdav_lock_with_a_refresh_token_and_a_body_is_a_new_lock(served: Served, home: str) -> None:
    alice = served.as_("alice")
    token = alice.locked(home + "a")
    assert alice.request("LOCK", home + "a", LOCKINFO, if_=f"(<{token}>)").status == 423


def test_webdavclient3_copies_with_an_untagged_token_of_the_source(served: Served, home: str) -> None:
    """Apache answers 412."""
    alice = served.as_("alice")
    token = alice.locked(home + "a")
    copied = alice.request("COPY", home + "a", destination=f"{served.url}{home}b", if_=f"(<{token}>)")
    assert copied.status == 201
    assert served.as_("bob").put(home + "b").status == 204


def test_everyone_reads_while_someone_writes(served: Served, home: str) -> None:
    """couling/WebDAV-Daemon pull request 21: a write lock stops no read (RFC 4918 section 7)."""
    served.as_("alice").put(home + "a", b"x")
    served.as_("alice").locked(home + "a")
    bob = served.as_("bob")
    assert bob.get(home + "a").status == 200
    assert bob.propfind(home, depth="1").status == 207
    assert bob.request("COPY", home + "a", destination=f"{served.url}{home}copy").status == 201


def test_names_in_either_normal_form_are_one_resource(served: Served, home: str) -> None:
    """macOS sends decomposed names, others composed ones; a lock must hold for both spellings."""
    composed, decomposed = home + "caf%C3%A9.txt", home + "cafe%CC%81.txt"
    alice, bob = served.as_("alice"), mac(served, "bob")
    assert alice.put(composed, b"x").status == 201
    alice.locked(composed)
    assert bob.put(decomposed, b"y").status == 423
    assert bob.get(decomposed).body == b"x"


def test_a_served_folder_is_listed_as_it_is_on_disk(served: Served, home: str) -> None:
    folder: Path = served.folder / home.removeprefix("/dav/")
    (folder / "née 100%.txt").write_text("x")
    (folder / "emoji 🔒").mkdir()
    listed = served.as_("alice").propfind(home, "resourcetype", depth="1").statuses()
    assert set(listed) == {home, home + "n%C3%A9e%20100%25.txt", home + "emoji%20%F0%9F%94%92/"}
