"""A live request sees what goes over the wire, is bounded in time and bytes, and stays out of private networks where it is told to."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from holdfast.inspector.addresses import AddressGuard, is_public, own_networks, read_routes
from holdfast.inspector.exchange import Exchange, SentRequest
from holdfast.inspector.fetching import FetchError, FetchLimits, fetch
from tests.inspector.misbehaving import Talk, misbehaving, says

LOCKED = b"HTTP/1.1 423 Locked\r\nContent-Length: 6\r\n\r\nlocked"
USUAL = FetchLimits()
QUICK = FetchLimits(total_s=0.6)


def ask(
    talk: Talk, method: str = "GET", body: bytes = b"", *fields: tuple[str, str], limits: FetchLimits = USUAL
) -> Exchange:
    with misbehaving(talk) as server:
        [found] = fetch(SentRequest(method=method, url=server.url, body=body, fields=fields), limits=limits)
    return found


def codes(exchange: Exchange) -> list[str]:
    return [each.code for each in exchange.response.faults]


def test_just_what_is_asked_for_is_sent_and_told():
    now = datetime(2026, 3, 1, tzinfo=UTC)
    with misbehaving(says(LOCKED)) as server:
        request = SentRequest(
            method="PUT",
            url=server.url + "a%20b?c=d#e",
            body=b"new",
            fields=(("user-agent", "me"), ("If", "(<urn:x>)")),
        )
        [found] = fetch(request, clock=lambda: now)
    host = f"127.0.0.1:{server.port}"
    assert server.heard[0] == (
        f"PUT /a%20b?c=d HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\nContent-Length: 3\r\n"
        "user-agent: me\r\nIf: (<urn:x>)\r\n\r\nnew"
    ).encode()  # fmt: skip
    assert found.request is not None
    assert found.request.url == f"http://{host}/a%20b?c=d"
    assert found.request.field("content-length") == "3"
    assert (found.response.status, found.response.body, found.response.faults) == (423, b"locked", ())
    assert (found.received_at, found.body_was_sent, found.answered_s is not None) == (now, True, True)


@pytest.mark.parametrize(
    ("answer", "expected", "body"),
    [
        (b"HTTP/1.1 423 Locked\r\nContent-Length: 9\r\n\r\nlocked", ["content-length-wrong"], b"locked"),
        (LOCKED + b"more", ["excess-data"], b"locked"),
        (b"HTTP/1.1 204 No Content\r\n\r\nlocked", ["body-not-allowed"], b""),
        (b"HTTP/1.1 423 Locked\nContent-Length: 6\n\nlocked", ["bare-lf"], b"locked"),
        (b"HTTP/1.1 423 Locked\r\nContent-Length: 3", ["head-cut", "content-length-wrong"], b""),
        (
            b"HTTP/1.1 423 Locked\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nlocked\r\n0\r\n\r\n",
            ["content-length-and-transfer-encoding"],
            b"locked",
        ),
        (b"HTTP/1.1 423 Locked\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nlocked\r\nx\r\n", ["chunk-malformed"], b"locked"),
        (b"HTTP/1.1 423 Locked\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nlocked\r\n", ["chunked-cut"], b"locked"),
        (b"HTTP/1.1 423 Locked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n", ["chunked-cut"], b""),
        (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", ["transfer-encoding-not-allowed"], b""),
        (b"\r\nHTTP/1.1 423 Locked\r\n\r\nlocked", [], b"locked"),
        (b"HTTP/1.0 423 Locked\r\n\r\nlocked", [], b"locked"),
    ],
)  # fmt: skip
def test_what_is_wrong_on_the_wire_is_seen(answer: bytes, expected: list[str], body: bytes):
    found = ask(says(answer))
    assert (codes(found), found.response.body) == (expected, body)


def test_a_body_to_head_is_told():
    assert codes(ask(says(LOCKED), "HEAD")) == ["body-not-allowed"]
    assert codes(ask(says(LOCKED.removesuffix(b"locked")), "HEAD")) == []


def test_a_response_on_a_connection_that_stays_open_is_not_waited_for():
    def talk(connection: socket.socket, _heard: bytes) -> None:
        connection.sendall(LOCKED)
        connection.recv(1)  # until the other side closes

    started = time.monotonic()
    assert codes(ask(talk)) == []
    assert time.monotonic() - started < 10


def test_interim_responses_are_kept():
    found = ask(says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + LOCKED))
    assert ([each.status for each in found.interim], found.response.status) == ([103], 423)
    with pytest.raises(FetchError, match="one interim response after the other"):
        ask(says(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 60))


def test_a_switch_of_protocols_ends_it():
    assert (ask(says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x00\x01")).response.status) == 101


def test_the_body_is_kept_back_until_it_is_welcome():
    parts: list[bytes] = []

    def talk(connection: socket.socket, heard: bytes) -> None:
        parts.append(heard)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        parts.append(connection.recv(100))
        connection.sendall(LOCKED)

    found = ask(talk, "PUT", b"new", ("Expect", "100-continue"))
    assert (parts[0].endswith(b"\r\n\r\n"), parts[1]) == (True, b"new")
    assert (found.body_was_sent, [each.status for each in found.interim]) == (True, [100])


def test_a_body_that_is_not_welcome_is_not_sent():
    parts: list[bytes] = []

    def talk(connection: socket.socket, _heard: bytes) -> None:
        connection.sendall(LOCKED)
        connection.shutdown(socket.SHUT_WR)
        parts.append(connection.recv(100))

    found = ask(talk, "PUT", b"new", ("Expect", "100-continue"))
    assert (found.body_was_sent, found.response.status, parts) == (False, 423, [b""])


def test_a_response_before_the_whole_body_was_sent_is_read():
    def talk(connection: socket.socket, _heard: bytes) -> None:
        connection.sendall(LOCKED)
        while connection.recv(1 << 20):  # so that nothing is reset before the answer is read
            pass

    found = ask(talk, "PUT", b"x" * (32 << 20))
    assert (found.body_was_sent, found.response.status) == (False, 423)


def test_a_server_that_drips_is_cut_off_at_the_deadline():
    def drip(start: bytes) -> Talk:
        def talk(connection: socket.socket, _heard: bytes) -> None:
            connection.sendall(start)
            while True:
                connection.sendall(b"x")
                time.sleep(0.02)

        return talk

    with pytest.raises(FetchError, match=r"no HTTP response|no response within 0\.6 seconds|No HTTP response"):
        ask(drip(b""), limits=QUICK)
    started = time.monotonic()
    found = ask(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"), limits=QUICK)
    assert time.monotonic() - started < 5
    assert (found.response.body_is_whole, codes(found)) == (False, [])  # who knows what would have come


def test_a_server_that_says_nothing_or_goes_is_told_in_plain_words():
    release = threading.Event()
    with misbehaving(lambda *_: release.wait(20) and None) as server:
        with pytest.raises(FetchError, match=r"sent no response within 0\.6 seconds"):
            fetch(SentRequest(url=server.url), limits=QUICK)
        release.set()
    with pytest.raises(FetchError, match="closed the connection without a response"):
        ask(says(b""))
    with pytest.raises(FetchError, match="begins like"):
        ask(says(b"SSH-2.0-OpenSSH_9.6\r\n"))


def test_a_body_without_end_is_cut_at_the_limit():
    def talk(connection: socket.socket, _heard: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    found = ask(talk, limits=FetchLimits(most_bytes=100_000))
    assert (len(found.response.body), found.response.body_is_whole, codes(found)) == (100_000, False, [])


def test_a_head_without_end_is_cut_at_the_limit():
    def talk(connection: socket.socket, _heard: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"A: " + b"b" * 60_000 + b"\r\n")

    assert codes(ask(talk)) == ["head-too-long"]


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("ftp://h/", "no URL that can be asked"),
        ("/plan.odt", "no URL that can be asked"),
        ("http://", "no URL that can be asked"),
        ("http://h:70000/", "no URL"),
        ("http://[::1/", "no URL"),
        ("http://ada:secret@h/", "credentials do not belong"),
        ("http://h/a b", "a space"),
        ("http://h/\r\nX: y", "a control character"),
        ("http://a..b/", "not known"),
        ("http://nowhere.invalid/", "nowhere.invalid is not known"),
    ],
)
def test_what_cannot_be_asked_is_told_in_plain_words(url: str, match: str):
    def look_up(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(FetchError, match=match) as caught:
        fetch(SentRequest(url=url), look_up=look_up)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "request_",
    [
        SentRequest(method="GET /", url="http://h/"),
        SentRequest(method="", url="http://h/"),
        SentRequest(url="http://h/", fields=(("A\r\nB", "c"),)),
        SentRequest(url="http://h/", fields=(("A", "b\r\nC: d"),)),
    ],
)
def test_nothing_can_be_smuggled_into_a_request(request_: SentRequest):
    with pytest.raises(FetchError, match="is no"):
        fetch(request_)


def test_a_port_on_which_nothing_listens_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FetchError, match=f"cannot be reached on port {port}: connection refused"):
        fetch(SentRequest(url=f"http://127.0.0.1:{port}/"))


def test_a_look_up_that_hangs_is_given_up():
    release = threading.Event()
    try:
        with pytest.raises(FetchError, match="not known"):
            fetch(
                SentRequest(url="http://h/"), limits=QUICK, look_up=lambda *_: ["127.0.0.1"] if release.wait(20) else []
            )
    finally:
        release.set()


# --- TLS


def test_a_certificate_that_cannot_be_trusted_is_told_and_may_be_left_unchecked():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def talk(connection: socket.socket, _heard: bytes) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(LOCKED)

    with misbehaving(talk, hears=False) as server:
        url = f"https://127.0.0.1:{server.port}/"
        with pytest.raises(FetchError, match=r"The certificate of 127\.0\.0\.1 cannot be trusted: .*certificate"):
            fetch(SentRequest(url=url))
        [found] = fetch(SentRequest(url=url), checks_tls=False)
    assert (found.response.status, found.response.body) == (423, b"locked")


def test_plain_http_where_tls_was_expected_is_told():
    with misbehaving(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        with pytest.raises(FetchError, match="does not speak TLS"):
            fetch(SentRequest(url=f"https://127.0.0.1:{server.port}/"))


# --- redirects


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def test_redirects_are_not_followed_unless_wanted():
    with misbehaving(says(redirect("/b"))) as server:
        [found] = fetch(SentRequest(url=server.url))
    assert found.response.status == 302
    with misbehaving(says(redirect("/b"), redirect("c?d"), LOCKED)) as server:
        found_all = fetch(SentRequest(url=server.url), follows=True)
    assert [each.response.status for each in found_all] == [302, 302, 423]
    assert [heard.split(b" ")[1] for heard in server.heard[:3]] == [b"/", b"/b", b"/c?d"]


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "POST", "GET"),
        (301, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
    ],
)
def test_a_redirect_keeps_the_method_where_it_should(status: int, method: str, expected: str):
    with misbehaving(says(redirect("/b", status), LOCKED)) as server:
        found = fetch(SentRequest(method=method, url=server.url, body=b"new"), follows=True)
    assert found[-1].method == expected
    assert (b"Content-Length: 3" in server.heard[1]) == (
        expected in {"PUT", "POST"} or (method, expected) == ("HEAD", "HEAD")
    )


def test_credentials_do_not_go_along_to_another_server():
    fields = (("Authorization", "Basic c2VjcmV0"), ("Cookie", "secret"), ("Host", "x"), ("X-Kept", "y"))
    with misbehaving(says(LOCKED)) as other, misbehaving(says(redirect("/same"), redirect(other.url))) as server:
        fetch(SentRequest(url=server.url, fields=fields), follows=True)
    assert b"Authorization" in server.heard[1]
    assert b"Authorization" not in other.heard[0]
    assert b"Cookie" not in other.heard[0]
    assert b"X-Kept" in other.heard[0]
    assert f"Host: 127.0.0.1:{other.port}".encode() in other.heard[0]


def test_redirects_in_a_circle_end():
    with misbehaving(says(*[redirect("/")] * 20)) as server:
        with pytest.raises(FetchError, match="more than 3 redirects"):
            fetch(SentRequest(url=server.url), follows=True, limits=FetchLimits(redirects=3))


# --- the guard

PRIVATE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1",
    "240.0.0.1", "255.255.255.255", "192.88.99.1",
    "::1", "::", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1", "2001:db8::1", "fe80::1", "fe80::1%2",
    "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1", "100::1", "3fff::1", "5f00::1", "2a00::5efe:10.0.0.1", "2a00::200:5efe:7f00:1",
    "", "localhost", "0x7f.1", "127.1", "2130706433", "8.8.8.8.8",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "193.0.0.1",
    "2a00:1450:4001::1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_inside_of_a_network_is_public_however_it_is_written(address: str):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_let_through(address: str):
    assert is_public(address)


class Names:
    """A resolver that answers what it is told, and counts."""

    def __init__(self, **known: list[str]) -> None:
        self.known = known
        self.asked: list[str] = []

    def __call__(self, host: str, _port: int) -> list[str]:
        self.asked.append(host)
        if host not in self.known:
            raise socket.gaierror(-2, "Name or service not known")
        return self.known[host]


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"], ["fd00:ec2::254"], ["fe80::1%lo"]]
)
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(addresses: list[str]):
    names = Names(inside=addresses)
    with pytest.raises(FetchError, match="no host of the public internet") as refused:
        fetch(SentRequest(url="http://inside/"), guard=AddressGuard(), look_up=names)
    with pytest.raises(FetchError, match="no host of the public internet") as unknown:
        fetch(SentRequest(url="http://absent/"), guard=AddressGuard(), look_up=names)
    # Which names there are inside cannot be learnt either.
    assert str(refused.value).replace("inside", "absent") == str(unknown.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://localhost/",
        "http://[::ffff:7f00:1]/",
    ],
)
def test_addresses_and_their_odd_spellings_are_refused_with_the_systems_resolver(url: str):
    with pytest.raises(FetchError, match="no host of the public internet"):
        fetch(SentRequest(url=url), guard=AddressGuard())


def test_other_ports_are_refused():
    with pytest.raises(FetchError, match="Port 22 is not asked from here, only 80, 443"):
        fetch(SentRequest(url="http://h:22/"), guard=AddressGuard(), look_up=Names(h=["8.8.8.8"]))


class _AllowsLoopback(AddressGuard, frozen=True):
    """A guard to which one address of this machine is public."""

    def allows(self, address: str) -> bool:
        return address == "127.0.0.2" or is_public(address)


def test_each_redirect_is_checked_again_and_names_are_looked_up_once_for_each():
    names = Names(outside=["127.0.0.2"], inside=["127.0.0.1"])
    with misbehaving(says(redirect("http://inside/")), host="127.0.0.2") as server:
        guard = _AllowsLoopback(ports=frozenset({server.port, 80}))
        with pytest.raises(FetchError, match="no host of the public internet"):
            fetch(SentRequest(url=f"http://outside:{server.port}/"), guard=guard, look_up=names, follows=True)
    assert names.asked == ["outside", "inside"]


def test_a_name_that_answers_otherwise_the_second_time_gains_nothing():
    """DNS rebinding: what was checked is what is connected to."""
    answers = [["8.8.8.8"], ["127.0.0.1"]]
    reached: list[str] = []

    class Guard(AddressGuard, frozen=True):
        def allows(self, address: str) -> bool:
            reached.append(address)
            return False

    with pytest.raises(FetchError):
        fetch(SentRequest(url="http://h/"), guard=Guard(), look_up=lambda *_: answers.pop(0))
    assert (reached, answers) == (["8.8.8.8"], [["127.0.0.1"]])


def test_a_public_address_of_this_very_machine_is_refused():
    names = Names(h=["127.0.0.1"])

    class Guard(AddressGuard, frozen=True):
        def allows(self, address: str) -> bool:
            return True

    with misbehaving(says(LOCKED)) as server:
        with pytest.raises(FetchError, match="is the machine that asks"):
            fetch(
                SentRequest(url=f"http://h:{server.port}/"), guard=Guard(ports=frozenset({server.port})), look_up=names
            )
    assert not any(server.heard)


ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100C80B	0003	0	0	0	00000000	0	0	0
eth0	0000C80B	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth0	0000010C	0100C80B	0003	0	0	0	0000FFFF	0	0	0
wg0	00000000	00000000	0001	0	0	0	00000080	0	0	0
"""
ROUTES_V6 = """\
2a000001000200030000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
20000000000000000000000000000000 03 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001      wg0
2a010000000000000000000000000000 20 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000003 00000000 00000003     eth0
2a020000000000000000000000000000 20 00000000000000000000000000000000 00 00000000000000000000000000000000 00000400 00000003 00000000 00000201       lo
"""


def test_the_networks_of_neighbours_are_those_that_no_gateway_leads_to(tmp_path: Path):
    (tmp_path / "route").write_text(ROUTES)
    (tmp_path / "ipv6_route").write_text(ROUTES_V6)
    assert [str(one) for one in read_routes(tmp_path)] == ["11.200.0.0/24", "2a00:1:2:3::/64"]
    assert read_routes(tmp_path / "absent") == ()
    assert own_networks() == own_networks()


@pytest.mark.parametrize("address", ["11.200.0.7", "::ffff:11.200.0.7", "64:ff9b::bc8:7", "2a00:1:2:3::9", "9.9.9.9"])
def test_a_public_address_beside_this_machine_or_on_the_list_is_refused(address: str):
    own = (ip_network("11.200.0.0/24"), ip_network("2a00:1:2:3::/64"))
    guard = AddressGuard(denied=(ip_network("9.9.0.0/16"),), neighbours=lambda: own)
    assert AddressGuard(neighbours=tuple).allows(address)
    assert not guard.allows(address)
    assert guard.allows("8.8.8.8")
    assert guard.allows("2a00:1:2:4::9")
    with pytest.raises(FetchError, match="no host of the public internet"):
        fetch(SentRequest(url="http://h/"), guard=guard, look_up=Names(h=[address]))
