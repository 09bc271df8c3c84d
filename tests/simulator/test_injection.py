"""Nothing that a request says becomes a field, a line or markup of an answer that it may not; secrets are not repeated."""

from __future__ import annotations

import html.parser
import json
import re

import pytest

MARKUP = "<script>alert(1)</script>"
QUOTED = "%3Cscript%3Ealert(1)%3C/script%3E"
FORBIDDEN = [
    # framing, and the server's own
    "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade", "TE", "Trailer", "Proxy-Connection", "Date",
    "Server", "X-Simulated", "X-Simulate-Seq", "X-Request-Id", "Content-Security-Policy",
    "Content-Security-Policy-Report-Only", "X-Content-Type-Options", "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    # what a browser keeps
    "Set-Cookie", "set-cookie2", "Strict-Transport-Security", "Clear-Site-Data", "Alt-Svc", "NEL", "Report-To",
    "Reporting-Endpoints", "Service-Worker-Allowed", "Accept-CH", "Critical-CH", "Use-As-Dictionary", "Set-Login",
    "Attribution-Reporting-Register-Source", "Attribution-Reporting-Register-Trigger", "Sec-Session-Registration",
    "Sec-Session-Challenge", "Secure-Session-Registration", "Origin-Trial", "No-Vary-Search", "Public-Key-Pins",
    "X-Permitted-Cross-Domain-Policies", "Origin-Agent-Cluster", "Observe-Browsing-Topics", "Activate-Storage-Access",
    # what a browser does
    "Refresh", "Content-Disposition", "SourceMap", "X-SourceMap", "Speculation-Rules", "X-DNS-Prefetch-Control",
    "Permissions-Policy", "Referrer-Policy", "X-Frame-Options", "Cross-Origin-Resource-Policy", "X-UA-Compatible",
    # what a proxy or a cache in front does
    "X-Accel-Redirect", "X-Accel-Buffering", "X-Accel-Expires", "X-Accel", "X-Sendfile", "X-Sendfile2", "X-SendFile-Temporary",
    "X-LIGHTTPD-send-file", "X-LIGHTTPD-send-tempfile", "X-LiteSpeed-Location", "X-LiteSpeed-Cache-Control",
    "X-LiteSpeed-Purge", "X-Reproxy-URL", "X-Reproxy-Expected-Size", "Surrogate-Control", "Surrogate-Key",
    "Surrogate-Capability", "CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Vercel-CDN-Cache-Control",
    "Edge-Control", "Cache-Tag", "X-Varnish", "X-Varnish-TTL", "X-VarnishTTL", "X-Cache-Control", "X-Cache-Tags", "xkey",
    "X-Surrogate-Key", "X-Middleware-Rewrite", "X-Middleware-Next", "X-Envoy-Immediate-Health-Check-Fail",
    "X-Mod-Pagespeed", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Host", "X-HTTP-Method-Override", "X_Accel_Redirect",
    "X-Accel_Redirect", "X-Drupal-Cache", "X-Do-ESI", "Proxy", "Proxy-Location", "Variant-Vary", "Unheard-Of",
]  # fmt: skip


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_field_that_would_do_more_than_tell_cannot_be_chosen(asked, name):
    for seen in (
        asked(f"/api/status/200?header={name}:+x"),
        asked(f"/api/status/200?header={name.upper()}:x"),
        asked("/api/status/200", headers={f"X-Simulate-Header-{name}": "x"}),
        asked("/api/status/200", headers={"X-Simulate-Header": f"{name}: x"}),
    ):
        assert seen.head.status == 400


TELLING = [
    "Allow", "Accept-Patch", "Age", "Cache-Control", "Content-Encoding", "Content-Language", "DAV", "Deprecation", "ETag",
    "Expires", "Last-Modified", "Link", "Lock-Token", "MS-Author-Via", "Preference-Applied", "RateLimit",
    "RateLimit-Remaining", "Retry-After", "Server-Timing", "Sunset", "Vary", "Via", "Warning", "WWW-Authenticate",
    "X-Mine", "X-RateLimit-Remaining", "X-Rate-Limit-Reset", "X-Total-Count", "X-Correlation-Id", "X-Trace-Id",
    "X-Powered-By", "X-Version", "X-Error-Code", "X-Modified-By", "X-Sender",
]  # fmt: skip


@pytest.mark.parametrize("name", TELLING)
def test_a_field_that_only_tells_can_be_chosen(asked, name):
    assert asked(f"/api/status/200?header={name}:+x").head[name] == "x"


def test_a_refused_field_is_told_what_could_be_had(asked):
    assert "X-Mine" in asked("/api/status/200?header=Mine:+x").json["detail"]


BREAKS = ["%0D%0ASet-Cookie:+a%3Db", "%0ASet-Cookie:+a%3Db", "%0DSet-Cookie:+a%3Db", "%00", "%0B", "%E5%98%8A%E5%98%8DSet-Cookie:x",
          "%C2%85Set-Cookie:x", "%E2%80%A8Set-Cookie:x"]  # fmt: skip


@pytest.mark.parametrize("breaking", BREAKS)
@pytest.mark.parametrize("option", ["header=A:+b{}", "header=A{}:+b", "omit=A{}", "retry_after=1{}", "body=json{}",
                                    "seq=200{}", "seq=200&key=a{}", "random=200:1{}", "random=200:1&seed=a{}", "{}=1",
                                    "header=Location:/a{}", "header=Content-Type:text/plain{}", "delay=1{}"])  # fmt: skip
def test_no_line_break_gets_into_the_head(asked, option, breaking):
    seen = asked(f"/api/status/200?{option.format(breaking)}")
    assert seen.head.status == 400
    assert "set-cookie" not in seen.head


def test_a_line_break_after_the_path_is_no_field(asked):
    for target in ("/api/status/200%0D%0AA:b", "/api/status/200%0d%0a%0d%0a<script>"):
        seen = asked(target)
        assert seen.head.status == 404
        assert b"<" not in seen.body


LEADING_AWAY = ["https://evil.example/", "//evil.example/", "/%5Cevil.example", "%5C%5Cevil.example", "javascript:alert(1)",
                "evil", "", "/%09/evil.example", "%20//evil.example", "/..//evil.example%00", "http:/evil.example"]  # fmt: skip


@pytest.mark.parametrize("location", LEADING_AWAY)
@pytest.mark.parametrize("name", ["Location", "Content-Location"])
def test_no_answer_leads_away_from_this_server(asked, name, location):
    seen = asked(f"/api/status/302?header={name}:{location}")
    assert seen.head.status == 400


@pytest.mark.parametrize(
    "kind",
    ["text/html", "TEXT/HTML", "application/xhtml%2Bxml", "image/svg%2Bxml", "text/xml", "text/javascript",
     "application/javascript", "multipart/x-mixed-replace", "text/plain;+a%3Db,text/html", "*/*", "", "application/pdf"],
)  # fmt: skip
def test_no_type_that_a_browser_runs_can_be_put_over_a_body(asked, kind):
    assert asked(f"/api/status/200?body=json&header=Content-Type:+{kind}").head.status == 400


class Tags(html.parser.HTMLParser):
    """The names of all elements in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]


@pytest.mark.parametrize("code", [103, 200, 206, 207, 404, 423, 507])
@pytest.mark.parametrize("form", ["json", "problem", "xml", "html", "text"])
def test_markup_in_a_request_is_none_in_its_answer(asked, form, code):
    evil = f"\"'>{MARKUP}<img src=x onerror=alert(1)>]]>&amp;"
    seen = asked(
        f"/api/status/{code}?body={form}&header=X-Mine:+{QUOTED}",
        "PUT",
        evil.encode(),
        {"User-Agent": evil, "Referer": evil},
    )
    assert seen.head.status == max(code, 200)
    assert MARKUP.encode() not in seen.body
    assert b"<img" not in seen.body
    if form == "html":
        tags = Tags()
        tags.feed(seen.body.decode())
        assert tags.names.count("script") == (1 if code == 423 else 0)
        assert "img" not in tags.names
        assert "onerror" not in tags.attributes
    elif form in {"json", "problem"}:
        assert not re.search(rb"[<>&]", seen.body)
        assert json.loads(seen.body)["request"]["fields"]["user-agent"] == evil
    elif form == "text":
        assert b"<" not in seen.body


@pytest.mark.parametrize("target", [f"/api/status/{MARKUP}", f"/api/status/200?{MARKUP}=1", f"/api/status/200?delay={MARKUP}",
                                    f"/api/status/200?header={MARKUP}", f"/api/status/sequences/{MARKUP}",
                                    f"/api/status/200?body=text&key={MARKUP}", f"/api/status/{QUOTED}"])  # fmt: skip
def test_markup_in_what_is_refused_is_not_repeated(asked, target):
    seen = asked(target.replace(" ", "%20"), headers={"Accept": "text/html"})
    assert seen.head.status in {400, 404}
    assert seen.head["Content-Type"] == "application/problem+json"
    assert b"script" not in seen.body
    assert b"alert" not in seen.body


def test_a_page_of_the_simulator_can_run_nothing(asked):
    policy = asked("/api/status/404?body=html").head["Content-Security-Policy"]
    assert "sandbox" in policy
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    for form in ("json", "xml", "text"):
        assert "sandbox" in asked(f"/api/status/404?body={form}").head["Content-Security-Policy"]


SECRETS = ["Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "X-Auth-Token", "X-Amz-Security-Token",
           "X-Forwarded-Access-Token", "Cf-Access-Jwt-Assertion", "X-Session-Id", "X-Client-Secret", "ApiKey"]  # fmt: skip


@pytest.mark.parametrize("form", ["json", "problem", "xml", "html", "text"])
@pytest.mark.parametrize("name", SECRETS)
def test_credentials_are_not_repeated(asked, name, form):
    seen = asked(f"/api/status/404?body={form}", headers={name: "opensesame"})
    assert b"opensesame" not in seen.body
    assert b"(withheld)" in seen.body


def test_what_a_client_says_about_locks_is_shown(asked):
    fields = asked("/api/status/404", "PUT", b"", {"If": "(<urn:x:1>)", "Lock-Token": "<urn:x:1>"}).json["request"][
        "fields"
    ]
    assert fields["if"] == "(<urn:x:1>)"
    assert fields["lock-token"] == "<urn:x:1>"


def test_control_characters_and_other_bytes_of_fields_are_harmless_in_each_form(asked):
    odd = "tab\there \xe4\xff \x80"
    for form in ("json", "problem", "xml", "html", "text"):
        seen = asked(f"/api/status/404?body={form}", headers={"User-Agent": odd})
        assert seen.head.status == 404
        seen.body.decode()
