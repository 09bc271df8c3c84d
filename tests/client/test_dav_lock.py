"""Locks on WebDAV servers: Holdfast, Apache's mod_dav and wsgidav, all real; and which tokens go where."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.client.api import Client
from holdfast.client.dav import AsyncDavLock, DavLock
from holdfast.client.dav_acquiring import DavAsk, refresh_dav
from holdfast.client.drivers import run_sync
from holdfast.client.errors import LockedError, LockLostError, LostReason
from holdfast.client.exchange import ClientRequest, ClientResponse, Headers
from holdfast.client.holding import Failed, HoldState, Loss, Refreshed
from holdfast.client.policy import Waiting, WaitPolicy
from holdfast.client.refusals import RefusedError, UnreachableError
from holdfast.client.tokens import LockTokens
from holdfast.client.transport_httpx import WaitTransport
from tests.client.cutting import cutting
from tests.client.programs import peer
from tests.client.waiting import until
from tests.serving import Served, serving

ALICE = ("alice", "alice-secret")
BOB = ("bob", "bob-secret")
FAST = WaitPolicy(floor=0.02, cap=0.1, wait_for_endless=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture(
    scope="module",
    params=[
        "holdfast",
        pytest.param("apache", marks=[pytest.mark.process, pytest.mark.tool("apache2")]),
        pytest.param("wsgidav", marks=pytest.mark.process),
    ],
)
def dav(request: pytest.FixtureRequest) -> Iterator[str]:
    """A collection of each server, as a URL without a slash at its end."""
    if request.param == "holdfast":
        yield f"{request.getfixturevalue('served').url}/dav"
    else:
        with peer(request.param) as url:
            yield url


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(auth=ALICE, timeout=20) as http:
        yield http


@pytest.fixture
def document(dav: str, http: httpx.Client, request: pytest.FixtureRequest) -> str:
    """A document that no other test uses."""
    url = f"{dav}/document-{abs(hash(request.node.nodeid))}.txt"
    assert http.put(url, content=b"one").status_code in {201, 204}
    return url


class TestOnEveryServer:
    """What RFC 4918 promises, on servers that keep it each in its own way."""

    def test_a_block_holds_the_lock_writes_with_it_and_releases_it(self, http: httpx.Client, document: str) -> None:
        with DavLock(http, document, ttl=60, owner="Ada & co <ada>") as held:
            assert held.state is HoldState.HELD
            assert 55 < held.expires_in <= 60
            assert http.put(document, content=b"two").status_code == 423
            held.put(b"three", content_type="text/plain")
        assert held.state is HoldState.RELEASED
        assert http.get(document).content == b"three"
        assert http.put(document, content=b"four").status_code in {200, 204}

    def test_a_refresh_keeps_it(self, http: httpx.Client, document: str) -> None:
        with DavLock(http, document, ttl=60) as held:
            token = held.token
            for _ in range(3):
                held.refresh()
            assert held.token == token
            assert 55 < held.expires_in <= 60
            held.put(b"two")

    def test_another_one_is_refused_and_told(self, http: httpx.Client, document: str) -> None:
        with DavLock(http, document, owner="Ada"):
            with pytest.raises(LockedError) as caught:
                DavLock(http, document).acquire()
        assert caught.value.response.status == 423  # type: ignore[union-attr, attr-defined]

    def test_it_waits_its_turn(self, http: httpx.Client, document: str) -> None:
        waits: list[Waiting] = []
        policy = WaitPolicy(floor=0.02, cap=0.1, wait_for_endless=True, on_wait=waits.append)
        with ThreadPoolExecutor(1) as threads, httpx.Client(auth=BOB) as other:
            waiting = DavLock(other, document, wait=30, policy=policy)
            first = DavLock(http, document).acquire()
            future = threads.submit(waiting.acquire)
            until(lambda: bool(waits) or "/dav/" in document)
            first.release()
            held = future.result(20)
            held.put(b"bob")
            waiting.close()
        assert http.get(document).content == b"bob"

    def test_a_wait_that_is_over_is_an_error_that_says_how_long_it_was(self, http: httpx.Client, document: str) -> None:
        with DavLock(http, document):
            with pytest.raises(LockedError) as caught:
                DavLock(http, document, wait=0.3, policy=FAST).acquire()
        assert caught.value.waited >= 0.3

    def test_shared_locks(self, http: httpx.Client, document: str) -> None:
        with DavLock(http, document, scope="shared"), httpx.Client(auth=BOB) as other:
            with DavLock(other, document, scope="shared"):
                with pytest.raises(LockedError):
                    DavLock(http, document).acquire()

    def test_a_collection_in_depth_its_members_made_moved_and_removed(
        self, dav: str, http: httpx.Client, request: pytest.FixtureRequest
    ) -> None:
        folder = f"{dav}/folder-{abs(hash(request.node.nodeid))}"
        assert http.request("MKCOL", f"{folder}/").status_code == 201
        with DavLock(http, f"{folder}/", depth="infinity", ttl=60) as held:
            http.event_hooks = {"request": [held.sign]}
            steps = [
                ("PUT", "new.txt", {}, {201, 204}),
                ("PUT", "new.txt", {}, {200, 204}),
                ("MKCOL", "below", {}, {201}),
                ("COPY", "new.txt", {"Destination": f"{folder}/copy.txt"}, {201}),
                ("MOVE", "new.txt", {"Destination": f"{folder}/moved.txt"}, {201}),
                ("DELETE", "moved.txt", {}, {200, 204}),
                ("GET", "copy.txt", {}, {200}),
            ]
            for method, name, headers, expected in steps:
                content = b"text" if method == "PUT" else None
                status = http.request(method, f"{folder}/{name}", content=content, headers=headers).status_code
                assert status in expected, (method, name, status)
            http.event_hooks = {"request": []}
            assert http.put(f"{folder}/copy.txt", content=b"x").status_code == 423

    def test_a_lock_that_another_released_is_lost(self, http: httpx.Client, document: str) -> None:
        with pytest.raises(LockLostError) as caught:  # noqa: PT012 - the block is what is tested
            with DavLock(http, document) as held:
                http.request("UNLOCK", document, headers={"Lock-Token": f"<{held.token}>"}).raise_for_status()
                held.refresh()
        assert caught.value.reason is LostReason.GONE

    def test_a_release_that_comes_too_late_says_so(self, http: httpx.Client, document: str) -> None:
        with pytest.raises(LockLostError) as caught:
            with DavLock(http, document) as held:
                http.request("UNLOCK", document, headers={"Lock-Token": f"<{held.token}>"}).raise_for_status()
        assert caught.value.reason is LostReason.GONE

    def test_an_unmapped_url_can_be_locked(self, dav: str, http: httpx.Client, document: str) -> None:
        with DavLock(http, f"{document}.new") as held:
            held.put(b"made under the lock")
        assert http.get(f"{document}.new").content == b"made under the lock"

    def test_a_lock_whose_answer_was_lost_is_found_again_and_not_left_behind(
        self, http: httpx.Client, document: str
    ) -> None:
        port = httpx.URL(document).port
        assert port is not None
        with cutting(port) as cutter:
            url = document.replace(f"http://127.0.0.1:{port}", cutter.url)
            cutter.drop_answers = 1
            with DavLock(url, auth=ALICE, ttl=60) as held:
                assert cutter.dropped == 1
                held.put(b"two")
                assert 55 < held.expires_in <= 60
        assert http.put(document, content=b"three").status_code in {200, 204}

    def test_a_release_whose_answer_was_lost_is_no_loss(self, http: httpx.Client, document: str) -> None:
        port = httpx.URL(document).port
        assert port is not None
        with cutting(port) as cutter:
            with DavLock(document.replace(f"http://127.0.0.1:{port}", cutter.url), auth=ALICE):
                cutter.drop_answers = 1
        assert cutter.dropped == 1

    def test_for_asyncio(self, http: httpx.Client, document: str) -> None:
        async def play() -> None:
            async with httpx.AsyncClient(auth=ALICE) as client:
                async with AsyncDavLock(client, document, ttl=60) as held:
                    client.event_hooks = {"request": [held.sign]}
                    assert (await client.put(document, content=b"signed")).status_code in {200, 204}
                    client.event_hooks = {"request": []}
                    await held.refresh()
                    with pytest.raises(LockedError):
                        await AsyncDavLock(client, document, wait=0.1, policy=FAST).acquire()
                    await held.put(b"async")
                assert held.state is HoldState.RELEASED
                with pytest.raises(ZeroDivisionError):
                    async with AsyncDavLock(client, document):
                        raise ZeroDivisionError

        asyncio.run(asyncio.wait_for(play(), 60))
        assert http.get(document).content == b"async"
        assert http.put(document, content=b"free").status_code in {200, 204}


class TestOnHoldfast:
    """What only a Holdfast server tells."""

    @pytest.fixture
    def url(self, served: Served, request: pytest.FixtureRequest) -> str:
        return f"{served.url}/dav/own-{abs(hash(request.node.nodeid))}"

    def test_who_broke_it_is_told(self, served: Served, http: httpx.Client, url: str) -> None:
        with DavLock(http, url, ttl=60, now=lambda: served.uptime() / 1e6) as held:
            [lock] = http.get(f"{served.url}/api/locks?under=/dav").json()["locks"]
            served.as_("root").request(
                "POST", f"/api/locks/{lock['id']}/break", b'{"reason":"old"}', {"Content-Type": "application/json"}
            )
            with pytest.raises(LockLostError, match="broken by root") as caught:
                held.refresh()
            with pytest.raises(LockLostError):
                held.put(b"too late")
            assert held.headers_for("GET") == {}
        assert caught.value.reason is LostReason.BROKEN

    def test_the_line_is_held_and_not_asked_again_and_again(self, served: Served, http: httpx.Client, url: str) -> None:
        sent: list[str] = []
        with httpx.Client(auth=BOB, event_hooks={"request": [lambda request: sent.append(request.method)]}) as other:
            first = DavLock(http, url, ttl=600)
            waiting = DavLock(other, url, ttl=600, wait=60)
            with ThreadPoolExecutor(1) as threads:
                first.acquire()
                future = threads.submit(waiting.acquire)
                until(lambda: len(served.application.line) == 1)
                first.close()
                future.result(20)
            waiting.close()
        assert sent == ["LOCK", "UNLOCK"]

    def test_a_put_with_the_version_that_was_read(self, http: httpx.Client, url: str) -> None:
        with DavLock(http, url) as held:
            one = held.put(b"one")
            assert one
            two = held.put(b"two", if_match=one)
            assert two != one
            with pytest.raises(RefusedError) as caught:
                held.put(b"three", if_match=one)
        assert caught.value.status == 412
        assert http.get(url).content == b"two"

    def test_each_holder_of_a_shared_lock_may_write(self, http: httpx.Client, url: str) -> None:
        with DavLock(http, url, scope="shared"), httpx.Client(auth=BOB) as other:
            with DavLock(other, url, scope="shared") as held:
                held.put(b"two")

    def test_it_is_kept_alive(self, served: Served, http: httpx.Client, url: str) -> None:
        lock = DavLock(http, url, ttl=60, now=lambda: served.uptime() / 1e6)
        with lock as held:
            for _ in range(4):
                served.uptime.advance(25)
                lock._keep_alive.poke()
                until(lambda: held.expires_in > 55)
            held.put(b"still mine")

    def test_two_locks_in_one_request(self, served: Served, http: httpx.Client, url: str) -> None:
        for name in ("a", "b"):
            assert http.request("MKCOL", f"{url}-{name}/").status_code == 201
        http.put(f"{url}-a/doc", content=b"text").raise_for_status()
        tokens = LockTokens()
        with (
            DavLock(http, f"{url}-a/", depth="infinity", tokens=tokens) as held,
            DavLock(http, f"{url}-b/", depth="infinity", tokens=tokens),
        ):
            headers = held.headers_for("MOVE", f"{url}-a/doc", f"{url}-b/doc")
            answer = http.request("MOVE", f"{url}-a/doc", headers={"Destination": f"{url}-b/doc", **headers})
            assert answer.status_code == 201
        assert len(tokens) == 0

    def test_over_a_waiting_transport_there_is_one_layer_that_waits(self, http: httpx.Client, url: str) -> None:
        with (
            DavLock(http, url),
            httpx.Client(auth=BOB, transport=WaitTransport(WaitPolicy(deadline=600))) as other,
            Client(url.partition("/dav")[0], http=other) as client,
        ):
            with pytest.raises(LockedError):
                DavLock(other, url).acquire()
            with pytest.raises(LockedError) as caught:
                client.acquire(httpx.URL(url).path, wait=0.3)
            assert caught.value.attempts <= 2

    def test_a_server_that_is_not_there(self) -> None:
        with pytest.raises(UnreachableError):
            DavLock("http://127.0.0.1:1/dav/a").acquire()

    @pytest.mark.parametrize("url", ["", "/dav/a", "file:///etc/passwd", "http://h/a%00b"])
    def test_what_names_no_resource_of_a_server_is_refused_at_once(self, url: str) -> None:
        with pytest.raises(ValueError, match="names no resource"):
            DavLock(url)


ASK = DavAsk(url="http://dav.example/a", ttl=60)


def answered(status: int, body: str = "", **headers: str):
    """The outcome of a refresh that is answered so."""
    fields = Headers((name.replace("_", "-"), text) for name, text in headers.items())

    def send(request: ClientRequest) -> ClientResponse:
        assert (request.method, request.headers["if"], request.body) == ("LOCK", "(<urn:t>)", None)
        return ClientResponse(status=status, url=request.url, headers=fields, body=body.encode(), method="LOCK")

    return run_sync(refresh_dav(ASK, "urn:t", 5.0), send, now=lambda: 100.0)


def active(timeout: str, token: str = "urn:t") -> str:
    return (
        '<prop xmlns="DAV:"><lockdiscovery><activelock><locktoken><href>urn:other</href></locktoken><timeout>Second-9</timeout>'
        f"</activelock><activelock><timeout>{timeout}</timeout><locktoken><href>{token}</href></locktoken></activelock>"
        "</lockdiscovery></prop>"
    )


class TestOddAnswers:
    """What servers say to a refresh, as it was seen."""

    @pytest.mark.parametrize(
        ("timeout", "ttl"),
        [
            ("Second-60", 60),
            ("Second-59", 59),
            ("Second-3600", 3600),
            ("Infinite", None),
            ("infinite", None),
            ("Second-0", 0),
        ],
    )
    def test_the_time_is_what_the_server_says_of_this_token(self, timeout: str, ttl: float | None) -> None:
        assert answered(200, active(timeout)) == Refreshed(100.0, ttl)

    @pytest.mark.parametrize("body", ["", "OK", "<p>OK</p>", "<prop xmlns='DAV:'/>", active("soon")])
    def test_an_answer_that_tells_no_time_is_taken_for_no_more_than_a_minute(self, body: str) -> None:
        assert answered(200, body) == Refreshed(100.0, 60.0)

    @pytest.mark.parametrize("status", [400, 404, 409, 410, 412, 423])
    def test_a_lock_that_is_not_known_is_lost(self, status: int) -> None:
        outcome = answered(status, "<html>no</html>")
        assert isinstance(outcome, Loss)
        assert outcome.reason is LostReason.GONE

    @pytest.mark.parametrize(
        ("status", "refused"), [(401, True), (403, True), (429, False), (500, False), (503, False)]
    )
    def test_other_refusals_say_nothing_about_the_lock(self, status: int, refused: bool) -> None:
        outcome = answered(status, Retry_After="7")
        assert isinstance(outcome, Failed)
        assert (outcome.is_refusal, outcome.retry_after) == (refused, 7.0)

    @pytest.mark.parametrize(
        ("header", "body"),
        [
            ("<urn:t>", active("Second-30")),
            ("urn:t", active("Second-30")),
            (
                "",
                active("Second-30")
                .replace("<activelock><locktoken><href>urn:other", "<x><locktoken><href>", 1)
                .replace("Second-9</timeout></activelock>", "Second-9</timeout></x>", 1),
            ),
        ],
    )
    def test_the_token_is_found_with_and_without_its_brackets_or_its_field(self, header: str, body: str) -> None:
        def handle(request: httpx.Request) -> httpx.Response:
            if request.method == "LOCK":
                return httpx.Response(200, content=body, headers={"Lock-Token": header} if header else {})
            return httpx.Response(204)

        with httpx.Client(transport=httpx.MockTransport(handle)) as http, DavLock(http, "http://dav.example/a") as held:
            assert held.token == "urn:t"
            assert 29 < held.expires_in <= 30

    def test_a_grant_without_any_token_is_no_grant(self) -> None:
        with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as http:
            with pytest.raises(RefusedError, match="without telling its token"):
                DavLock(http, "http://dav.example/a").acquire()


HERE = "https://dav.example"


def tokens_of(*locks: tuple[str, str]) -> LockTokens:
    tokens = LockTokens()
    for number, (path, depth) in enumerate(locks):
        tokens.add(HERE + path, f"urn:{number}", depth)
    return tokens


class TestTokens:
    """A token goes out only with what its lock protects."""

    @pytest.mark.parametrize(
        ("lock", "method", "path", "destination", "sent"),
        [
            (("/a", "0"), "PUT", "/a", None, True),
            (("/a", "0"), "put", "/a/", None, True),
            (("/a%20b", "0"), "PUT", "/a%20b?x=1#y", None, True),
            (("/a", "0"), "PUT", "/ab", None, False),
            (("/a", "0"), "PUT", "/a/b", None, True),  # it may make a member
            (("/a", "0"), "PROPPATCH", "/a/b", None, False),
            (("/a", "0"), "PUT", "/a/b/c", None, False),
            (("/a", "infinity"), "PUT", "/a/b/c", None, True),
            (("/a", "0"), "GET", "/a", None, False),
            (("/a", "infinity"), "PROPFIND", "/a/b", None, False),
            (("/a", "0"), "UNLOCK", "/a", None, False),
            (("/a/b", "0"), "DELETE", "/a", None, True),
            (("/a/b", "0"), "PUT", "/a", None, False),
            (("/a", "0"), "DELETE", "/a/b", None, True),
            (("/a", "0"), "MKCOL", "/a/b", None, True),
            (("/a", "0"), "COPY", "/a", "/b", False),
            (("/b", "0"), "COPY", "/a", "/b", True),
            (("/b", "0"), "COPY", "/a", "/b/c", True),
            (("/b/c/d", "0"), "COPY", "/a", f"{HERE}/b/c", True),
            (("/a", "0"), "MOVE", "/a", "/b", True),
            (("/a", "0"), "MOVE", "/a/x", "/b/x", True),
            (("/b", "infinity"), "MOVE", "/a", "/b/x", True),
            (("/b", "0"), "MOVE", "/a", "https://evil.example/b", False),
        ],
    )
    def test_with_what_it_protects(
        self, lock: tuple[str, str], method: str, path: str, destination: str | None, sent: bool
    ) -> None:
        fields = tokens_of(lock).headers_for(method, HERE + path, destination)
        assert fields == ({"If": f"<{HERE}{lock[0]}> (<urn:0>)"} if sent else {})

    @pytest.mark.parametrize(
        "url",
        ["http://dav.example/a", "https://dav.example:8443/a", "https://evil.example/a", "https://dav.example.evil/a"],
    )
    def test_never_to_another_origin(self, url: str) -> None:
        assert tokens_of(("/a", "infinity")).headers_for("PUT", url) == {}

    def test_the_default_port_is_the_same_origin(self) -> None:
        assert tokens_of(("/a", "0")).headers_for("PUT", "https://DAV.example:443/a") != {}

    def test_which_locks_cover_a_url(self) -> None:
        tokens = tokens_of(("/a", "infinity"), ("/a/b", "0"), ("/c", "0"))
        assert tokens.covering(f"{HERE}/a/b") == [(f"{HERE}/a", "urn:0"), (f"{HERE}/a/b", "urn:1")]
        assert tokens.covering("https://evil.example/a/b") == []
        assert tokens.covering("no url") == []

    def test_a_waiting_transport_sends_the_token_of_ones_own_lock(self, served: Served, http: httpx.Client) -> None:
        tokens = LockTokens()
        with (
            DavLock(http, f"{served.url}/dav/own-token", tokens=tokens) as held,
            httpx.Client(
                auth=ALICE, transport=WaitTransport(WaitPolicy(deadline=5), tokens_for=tokens.covering)
            ) as other,
        ):
            assert other.put(held.url, content=b"mine").status_code in {200, 201, 204}

    def test_each_lock_has_a_list_of_its_own(self) -> None:
        tokens = tokens_of(("/a", "infinity"), ("/b", "0"), ("/c", "0"))
        assert tokens.headers_for("MOVE", f"{HERE}/a/x", "/b/x") == {"If": f"<{HERE}/a> (<urn:0>) <{HERE}/b> (<urn:1>)"}

    def test_a_token_that_was_given_back_is_not_sent(self) -> None:
        tokens = tokens_of(("/a", "0"))
        tokens.remove("urn:0")
        assert tokens.headers_for("PUT", f"{HERE}/a") == {}

    def test_no_token_is_in_a_repr(self) -> None:
        assert "urn:0" not in repr(tokens_of(("/a", "0")))

    @given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=60))
    def test_no_text_is_too_odd_to_be_judged(self, url: str, method: str, destination: str) -> None:
        tokens = tokens_of(("/a", "infinity"))
        tokens.headers_for(method, url, destination)
        tokens.headers_for(method, f"{HERE}/{url}", destination)

    def test_an_if_field_of_the_users_own_is_left_alone(self, served: Served, http: httpx.Client) -> None:
        with DavLock(http, f"{served.url}/dav/own-if") as held:
            request = http.build_request("PUT", held.url, content=b"x", headers={"If": '(["etag"])'})
            held.sign(request)
            assert request.headers["if"] == '(["etag"])'
