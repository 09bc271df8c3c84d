"""Listening: a port is ours once it was given, and what goes wrong is said in words."""

from __future__ import annotations

import socket

import pytest

from holdfast.listening import ListeningError, base_url, bind, is_loopback_only


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def opened():
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_free_port_is_found_and_can_be_connected_to(opened, host: str):
    opened += bind(host, 0)
    port = opened[0].getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        pass


def test_all_addresses_of_a_name_get_the_same_port(opened):
    opened += bind("localhost", 0)
    assert len({sock.getsockname()[1] for sock in opened}) == 1


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback address")
@pytest.mark.parametrize(("host", "url"), [("::1", "http://[::1]:"), ("::", "http://[::1]:")])
def test_ipv6_is_listened_on(opened, host: str, url: str):
    opened += bind(host, 0)
    assert base_url("http", host, opened).startswith(url)
    with socket.create_connection(("::1", opened[0].getsockname()[1]), timeout=10):
        pass


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback address")
def test_the_ipv6_wildcard_takes_ipv4_too(opened):
    opened += bind("::", 0)
    with socket.create_connection(("127.0.0.1", opened[0].getsockname()[1]), timeout=10):
        pass


def test_a_port_that_one_of_us_has_is_not_given_again(opened):
    opened += bind("127.0.0.1", 0)
    with pytest.raises(ListeningError, match="is in use"):
        bind("127.0.0.1", opened[0].getsockname()[1])


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("no-such-host.invalid", "has no address"),
        ("192.0.2.1", "not one of this machine's"),
        ("a" * 300, "has no address"),
    ],
)
def test_a_host_that_cannot_be_is_a_sentence(host: str, sentence: str):
    with pytest.raises(ListeningError, match=sentence):
        bind(host, 0)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
    ],
)
def test_loopback_is_told_from_all_else(host: str, loopback: bool):
    assert is_loopback_only(host) is loopback


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:{}/"), ("localhost", "http://localhost:{}/"), ("0.0.0.0", "http://127.0.0.1:{}/")],
)
def test_the_url_has_the_real_port(opened, host: str, url: str):
    opened += bind(host, 0)
    assert base_url("http", host, opened) == url.format(opened[0].getsockname()[1])
