"""Which fields pass a guard, and which it writes itself."""

from __future__ import annotations

import pytest

from holdfast.edge.forwarding import BadFieldsError, ForwardingRules, request_fields, response_fields
from holdfast.wire.exchange import Headers, Request

RULES = ForwardingRules(user_field=b"x-remote-user", trusted=frozenset({"127.0.0.1"}), pseudonym=b"guard")


def passed(
    *fields: tuple[bytes, bytes], client: str = "127.0.0.1", length: int | None = 0, rules: ForwardingRules = RULES
) -> dict[bytes, bytes]:
    """What the application gets; each field once."""
    sent = [(b"host", b"app.example"), *fields]
    request = Request("GET", "/", Headers(sent), None, client=client)
    pairs = request_fields(request, sent, rules, length=length, authority=b"upstream:80")
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize(
    "name",
    [
        b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"upgrade", b"proxy",
    ],
)  # fmt: skip
def test_fields_of_one_connection_end_here(name):
    """RFC 9110 section 7.6.1, and Proxy, which CGI would make an environment variable of."""
    assert name not in passed((name, b"x"))


def test_what_connection_names_ends_here_too():
    assert b"x-mine" not in passed((b"connection", b"close, X-Mine"), (b"x-mine", b"1"))


@pytest.mark.parametrize(
    "name", [b"host", b"content-length", b"authorization", b"cookie", b"if", b"x-forwarded-for", b"via"]
)
def test_connection_cannot_take_away_what_the_application_relies_on(name):
    sent = [
        (b"connection", name),
        (b"content-length", b"3"),
        (b"authorization", b"a"),
        (b"cookie", b"c"),
        (b"if", b"i"),
    ]
    assert name in passed(*sent, length=3)


def test_the_framing_is_the_guards_own():
    assert passed((b"content-length", b"3"), length=3)[b"content-length"] == b"3"
    assert b"content-length" not in passed()
    chunked = passed((b"transfer-encoding", b"chunked"), length=None)
    assert chunked[b"transfer-encoding"] == b"chunked"
    assert b"content-length" not in chunked


@pytest.mark.parametrize(
    ("coding", "status"), [(b"gzip, chunked", 501), (b"xchunked", 501), (b"chunked, chunked", 501)]
)
def test_a_coding_that_is_not_understood_is_refused(coding, status):
    with pytest.raises(BadFieldsError) as caught:
        passed((b"transfer-encoding", coding), length=None)
    assert caught.value.status == status


def test_a_length_and_a_coding_together_are_refused():
    with pytest.raises(BadFieldsError) as caught:
        passed((b"transfer-encoding", b"chunked"), (b"content-length", b"3"), length=None)
    assert caught.value.status == 400


def test_who_asked_is_told_and_what_a_trusted_proxy_told_stays_in_front():
    told = passed(
        (b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https"), (b"forwarded", b"for=203.0.113.9")
    )
    assert told[b"x-forwarded-for"] == b"203.0.113.9, 127.0.0.1"
    assert told[b"x-forwarded-proto"] == b"https"
    assert told[b"x-forwarded-host"] == b"app.example"
    assert told[b"forwarded"] == b'for=203.0.113.9, for=127.0.0.1;host="app.example";proto=http'
    assert told[b"via"] == b"1.1 guard"


def test_a_stranger_tells_nothing_of_others():
    told = passed(
        (b"x-forwarded-for", b"10.0.0.1"), (b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"evil"), (b"forwarded", b"for=10.0.0.1"),
        (b"x-real-ip", b"10.0.0.1"), (b"x-forwarded-port", b"1"), (b"x-remote-user", b"root"), client="2001:db8::7",
    )  # fmt: skip
    assert told[b"x-forwarded-for"] == b"2001:db8::7"
    assert told[b"x-forwarded-proto"] == b"http"
    assert told[b"x-forwarded-host"] == b"app.example"
    assert told[b"forwarded"] == b'for="[2001:db8::7]";host="app.example";proto=http'
    assert not {b"x-real-ip", b"x-forwarded-port", b"x-remote-user"} & set(told)


@pytest.mark.parametrize("what", [b"user", b"email", b"prefix", b"ssl", b"scheme", b"uri", b"port", b"anything"])
def test_what_proxies_tell_passes_from_a_trusted_one_alone(what):
    for name in (b"x-forwarded-" + what, b"x_forwarded_" + what, b"x-forwarded_" + what):
        assert name not in passed((name, b"1"), client="2001:db8::7")
        assert (name in passed((name, b"1"))) == (b"_" not in name)


@pytest.mark.parametrize("client", ["127.0.0.1", "2001:db8::7"])
@pytest.mark.parametrize(
    "name", [b"x-original-url", b"x-rewrite-url", b"x-original-uri", b"x-original-method", b"x_original_url"]
)
def test_no_other_target_than_the_one_that_was_asked_about_is_named(client, name):
    assert name not in passed((name, b"/orders/42"), client=client)


def test_a_name_that_cgi_would_take_for_the_guards_own_does_not_pass():
    told = passed(
        (b"x_remote_user", b"root"), (b"x_forwarded_for", b"10.0.0.1"), (b"content_length", b"9"), (b"my_field", b"1")
    )
    assert set(told) & {b"x_remote_user", b"x_forwarded_for", b"content_length"} == set()
    assert told[b"my_field"] == b"1"


def test_the_persons_name_passes_from_a_trusted_proxy():
    assert passed((b"x-remote-user", b"ada"))[b"x-remote-user"] == b"ada"


def test_cookies_are_one_field():
    """RFC 6265 section 5.4: a comma is no separator of cookies."""
    assert passed((b"cookie", b"a=1"), (b"cookie", b"b=2"))[b"cookie"] == b"a=1; b=2"


def test_a_request_that_was_here_before_goes_round_no_more():
    with pytest.raises(BadFieldsError) as caught:
        passed((b"via", b"1.1 guard, 1.1 other"))
    assert caught.value.status == 508
    assert passed((b"via", b"1.0 other"))[b"via"] == b"1.0 other, 1.1 guard"


def test_the_host_is_the_clients_or_the_one_that_was_set_or_the_applications():
    assert passed()[b"host"] == b"app.example"
    assert passed(rules=ForwardingRules(host=b"inner"))[b"host"] == b"inner"
    request = Request("GET", "/", Headers([]), None)
    assert request_fields(request, [], RULES, length=0, authority=b"up:80")[0] == (b"host", b"up:80")


def test_an_answers_fields_pass_in_their_order_but_for_those_of_the_connection():
    fields, length = response_fields(
        [
            (b"Content-Length", b"5"), (b"Set-Cookie", b"a"), (b"Connection", b"X-Hop"), (b"X-Hop", b"1"), (b"Keep-Alive", b"5"),
            (b"Set-Cookie", b"b"), (b"Server", b"app"),
        ],
        RULES,
    )  # fmt: skip
    assert length == 5
    assert fields == [("Set-Cookie", "a"), ("Set-Cookie", "b"), ("Server", "app"), ("via", "1.1 guard")]


def test_an_answers_length_counts_for_nothing_beside_a_transfer_coding():
    """RFC 9112 section 6.3: a reader that went by the length would take the rest for another answer."""
    _, length = response_fields([(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], RULES)
    assert length is None
