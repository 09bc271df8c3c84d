"""Logging in and out by the form, what the cookie counts for, and who is led to the form: on a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from holdfast.access.passwords import Passwords
from holdfast.access.throttle import FREE_FAILURES
from holdfast.access.users_file import UserRecord, UsersFile
from holdfast.config import Settings
from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from holdfast.faces.dashboard.login import LoginForm, local_target
from holdfast.wire.staticfiles import POLICY
from tests.serving import Answer, Client, Served, serving
from tests.survival.processes import ServerProcess

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
OURS = {"Sec-Fetch-Site": "same-origin"}
PAGES = ("/", "/history", "/locks/some-lock")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("open"), users=None) as running:
        yield running


def log_in(
    client: Client, name: str, password: str | None = None, /, next_: str | None = None, **fields: str
) -> Answer:
    said = {"name": name, "password": f"{name}-secret" if password is None else password}
    body = urlencode(said | ({} if next_ is None else {"next": next_})).encode()
    return client.request("POST", "/login", body, {"Content-Type": FORM}, **fields)


def cookie_of(answer: Answer) -> str:
    """The pair that a browser sends back."""
    return answer["Set-Cookie"].partition(";")[0]


def session(served: Served, name: str = "alice") -> str:
    answer = log_in(served.anonymous, name)
    assert answer.status == 303, answer.body
    return cookie_of(answer)


def who(served: Served, cookie: str, **fields: str) -> str | None:
    answer = served.anonymous.get("/api/session", cookie=cookie, **fields)
    return json.loads(answer.body)["name"] if answer.status == 200 else None


# -- logging in ------------------------------------------------------------------------------------


def test_the_right_password_gives_a_cookie_that_scripts_and_other_sites_cannot_use(served: Served):
    answer = log_in(served.anonymous, "alice")
    assert (answer.status, answer["Location"], answer["Cache-Control"]) == (303, "/", "no-store")
    pair, *attributes = answer["Set-Cookie"].split("; ")
    assert re.fullmatch(r"holdfast_session=[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", pair)
    assert attributes == ["Max-Age=43200", "Path=/", "HttpOnly", "SameSite=Strict"]
    assert who(served, pair) == "alice"


def test_behind_a_proxy_with_https_the_cookie_is_for_https_and_this_host_alone(served: Served):
    """What Origin says of the browser's own connection is all that can be seen of it."""
    origin = f"https://127.0.0.1:{served.port}"
    answer = log_in(served.anonymous, "alice", origin=origin)
    pair, *attributes = answer["Set-Cookie"].split("; ")
    assert pair.startswith("__Host-holdfast_session=")
    assert {"Secure", "Path=/", "HttpOnly", "SameSite=Strict"} < set(attributes)
    assert not [attribute for attribute in attributes if attribute.startswith("Domain")]
    assert who(served, pair) == "alice"


def test_the_session_lasts_as_long_as_the_setting_says(tmp_path: Path):
    with serving(tmp_path, session_s=600.0) as served:
        cookie = session(served)
        served.uptime.advance(590)
        assert who(served, cookie) == "alice"
        served.uptime.advance(10)
        assert who(served, cookie) is None
        answer = served.anonymous.get("/api/session", cookie=cookie)
        assert json.loads(answer.body)["detail"] == "The session has ended; log in again."


def test_json_logs_in_as_the_form_does(served: Served):
    body = json.dumps({"name": "alice", "password": "alice-secret", "next": "/history"}).encode()
    answer = served.anonymous.request("POST", "/login", body, {"Content-Type": JSON})
    assert (answer.status, json.loads(answer.body)) == (200, {"next": "/history"})
    assert who(served, cookie_of(answer)) == "alice"


def test_a_wrong_password_leads_back_to_the_form_and_says_so(served: Served):
    answer = log_in(served.anonymous, "bob", "no", next_="/locks/a?b=c")
    assert answer.status == 303
    assert answer["Location"] == "/login?failed=1&next=/locks/a%3Fb%3Dc"
    assert "Set-Cookie" not in answer.headers
    assert parse_qs(urlsplit(answer["Location"]).query)["next"] == ["/locks/a?b=c"]


def test_the_answer_to_a_wrong_name_is_that_to_a_wrong_password(served: Served):
    wrong_name, wrong_password = (log_in(served.anonymous, name, "x") for name in ("nobody", "rita"))
    assert wrong_name.status == wrong_password.status == 303
    assert wrong_name["Location"] == wrong_password["Location"]


def test_a_wrong_password_in_json_is_401_without_a_challenge_that_opens_a_box(served: Served):
    body = json.dumps({"name": "bob", "password": "wrong"}).encode()
    answer = served.anonymous.request("POST", "/login", body, {"Content-Type": JSON})
    assert answer.status == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="Holdfast"'
    assert answer["Content-Type"] == "application/problem+json"


def test_guesses_by_the_form_are_slowed_with_those_by_basic_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with serving(tmp_path) as served:
        for number in range(FREE_FAILURES):
            if number % 2:
                log_in(served.anonymous, "alice", f"guess {number}")
            else:
                served.as_("alice", f"guess {number}").get("/dav/")
        assert "wrong name or password: name 'alice'" in caplog.text
        assert "guess" not in caplog.text
        slowed = log_in(served.anonymous, "alice")
        assert re.fullmatch(r"/login\?slowed=\d+", slowed["Location"])
        body = json.dumps({"name": "alice", "password": "alice-secret"}).encode()
        refused = served.anonymous.request("POST", "/login", body, {"Content-Type": JSON})
        assert refused.status == 429
        assert int(refused["Retry-After"]) > 0
        assert served.as_("alice").get("/dav/").status == 429
        served.uptime.advance(61)
        assert log_in(served.anonymous, "alice")["Location"] == "/"


@pytest.mark.parametrize("name", ["", "alice:x", "a" * 3000, "\0", "alice\n"])
def test_names_that_cannot_be_are_wrong_names(served: Served, name: str):
    assert log_in(served.anonymous, name, "x")["Location"] == "/login?failed=1"


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (FORM, b"", 400),
        (FORM, b"name=alice", 400),
        (FORM, b"name=%ff&password=x", 400),
        (FORM, b"name=\xff&password=x", 400),
        (FORM, b"&".join(b"a=b" for _ in range(50)), 400),
        (JSON, b"[]", 400),
        (JSON, b"[" * 5000, 400),
        (JSON, b'{"name": 1, "password": 2}', 400),
        (JSON, b'{"name": "\xff"}', 400),
        ("multipart/form-data; boundary=x", b"x", 415),
        ("", b"name=alice&password=alice-secret", 415),
        (FORM, b"name=alice&password=" + b"x" * 9_000, 413),
        (FORM, b"name=alice&password=" + b"x" * 200_000, 413),
    ],
)
def test_what_is_no_login_is_refused_in_plain_words(served: Served, kind: str, body: bytes, status: int):
    answer = served.anonymous.request("POST", "/login", body, {"Content-Type": kind})
    assert answer.status == status
    assert json.loads(answer.body)["detail"]


def test_a_chunked_login_of_any_size_is_refused(served: Served):
    chunk = b"%x\r\n%b\r\n" % (100_000, b"x" * 100_000)
    headers = {"Content-Type": FORM, "Transfer-Encoding": "chunked"}
    assert served.anonymous.request("POST", "/login", chunk + b"0\r\n\r\n", headers).status == 413


def test_a_password_stands_in_no_representation():
    assert "secret" not in repr(LoginForm("alice", "secret"))


# -- where a login leads ---------------------------------------------------------------------------

ELSEWHERE = (
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "evil.example",
    "javascript:alert(1)", "/\t/evil.example", "\t//evil.example", "/ /evil.example", " /", "", "/a\r\nSet-Cookie: x=y",
    "/\u2028", "/é", "/" + "a" * 5000, "/a\\b",
)  # fmt: skip


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_login_leads_to_no_other_server(served: Served, target: str):
    assert local_target(target) == "/"
    assert log_in(served.anonymous, "alice", next_=target)["Location"] == "/"
    failed = log_in(served.anonymous, "alice", "no", next_=target)
    assert failed["Location"] == "/login?failed=1"
    already = served.anonymous.get("/login?next=" + quote(target, safe=""), cookie=session(served))
    assert (already.status, already["Location"]) == (303, "/")


@pytest.mark.parametrize(
    "target", ["/", "/history", "/locks/a-b_1", "/dav/a%20b/?x=y&z=%2F", "/%2f/evil.example", "/a//b"]
)
def test_a_login_leads_to_any_path_of_this_server(served: Served, target: str):
    assert log_in(served.anonymous, "alice", next_=target)["Location"] == target


def test_who_is_logged_in_is_led_on_from_the_form(served: Served):
    answer = served.anonymous.get("/login?next=/history", cookie=session(served))
    assert (answer.status, answer["Location"]) == (303, "/history")


# -- requests of other sites -----------------------------------------------------------------------

FOREIGN = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "own"},
)


def fields_of(fields: dict[str, str], served: Served) -> dict[str, str]:
    return {name: served.url if value == "own" else value for name, value in fields.items()}


@pytest.mark.parametrize("fields", FOREIGN)
@pytest.mark.parametrize("target", ["/login", "/logout"])
def test_another_site_can_log_nobody_in_or_out(served: Served, target: str, fields: dict[str, str]):
    body = b"name=alice&password=alice-secret"
    headers = {"Content-Type": FORM} | fields_of(fields, served)
    answer = served.anonymous.request("POST", target, body, headers, cookie=session(served, "bob"))
    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers
    assert "page of this server" in json.loads(answer.body)["detail"]


CHANGES = (
    ("POST", "/api/locks", b'{"resource": "/x"}'),
    ("POST", "/api/locks/none/break", b'{"reason": "x"}'),
    ("DELETE", "/api/locks/none", None),
    ("POST", "/api/check", b'{"resource": "/x"}'),
    ("PUT", "/dav/new.txt", b"x"),
    ("DELETE", "/dav/new.txt", None),
    ("MKCOL", "/dav/new", None),
    ("LOCK", "/dav/new.txt", b"<x/>"),
    ("UNLOCK", "/dav/new.txt", None),
    ("PROPPATCH", "/dav/new.txt", b"<x/>"),
    ("MOVE", "/dav/new.txt", None),
    ("COPY", "/dav/new.txt", None),
)


@pytest.mark.parametrize("fields", [{}, *FOREIGN])
@pytest.mark.parametrize(("method", "target", "body"), CHANGES)
def test_the_cookie_counts_for_no_change_that_a_page_of_this_server_did_not_ask_for(
    served: Served, method: str, target: str, body: bytes | None, fields: dict[str, str]
):
    headers = {"Content-Type": JSON, "Cookie": session(served)} | fields_of(fields, served)
    answer = served.anonymous.request(method, target, body, headers)
    assert answer.status == 401
    assert b"A session counts only for what a page of this server asks for" in answer.body
    assert not (served.folder / "new.txt").exists()


@pytest.mark.parametrize("fields", [OURS, {"Origin": "own"}])
def test_the_cookie_counts_for_what_a_page_of_this_server_asks_for(served: Served, fields: dict[str, str]):
    headers = {"Content-Type": JSON, "Cookie": session(served)} | fields_of(fields, served)
    answer = served.anonymous.request("POST", "/api/locks", b'{"resource": "/mine", "scope": "shared"}', headers)
    assert answer.status == 201
    assert json.loads(answer.body)["holder"]["name"] == "alice"
    assert served.anonymous.request("PUT", "/dav/by-cookie.txt", b"x", headers).status in {201, 204}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PROPFIND", "OPTIONS"])
def test_the_cookie_counts_for_reading_wherever_it_comes_from(served: Served, method: str):
    """SameSite keeps it from other sites' requests; an address that is typed has no field to prove anything by."""
    answer = served.anonymous.request(method, "/dav/", headers={"Depth": "0"}, cookie=session(served))
    assert answer.status in {200, 207}


# -- who asks --------------------------------------------------------------------------------------


def test_authorization_comes_before_the_cookie(served: Served):
    cookie = session(served, "alice")
    answer = served.as_("bob").get("/api/session", cookie=cookie)
    assert json.loads(answer.body)["name"] == "bob"
    assert served.as_("bob", "wrong").get("/api/session", cookie=cookie).status == 401


def test_the_cookie_is_found_among_others(served: Served):
    cookie = session(served)
    assert who(served, f"a=b; {cookie}; theme=dark") == "alice"
    assert who(served, f"a=b;{cookie}") == "alice"


@pytest.mark.parametrize("cookie", ["holdfast_session=", "holdfast_session=x.y", "holdfast_session", "=;=", "x" * 9000])
def test_any_other_cookie_is_nobody(served: Served, cookie: str):
    assert who(served, cookie) is None


def test_rights_are_those_of_now_and_a_new_password_or_no_user_ends_the_session(tmp_path: Path):
    """None of them waits for the session's end; the users file is looked at once a second."""
    file = UsersFile(tmp_path / "users.json")
    for name in ("ann", "ben"):
        file.add(UserRecord(name, Passwords().hash(f"{name}-secret"), (Grant(Role.READER),)))
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", users=None, users_file=file.path) as served:
        ann, ben = session(served, "ann"), session(served, "ben")
        put = {"Cookie": ann} | OURS
        assert served.anonymous.request("PUT", "/dav/a", b"x", put).status == 403
        file.set_grants("ann", (Grant(Role.WRITER),))
        served.uptime.advance(2)
        assert served.anonymous.request("PUT", "/dav/a", b"x", put).status == 201
        file.set_password("ann", Passwords().hash("another"))
        file.remove("ben")
        served.uptime.advance(2)
        assert who(served, ann) is None
        assert who(served, ben) is None
        assert cookie_of(log_in(served.anonymous, "ann", "another"))
        file.add(UserRecord("ben", Passwords().hash("ben-secret"), (Grant(Role.READER),)))
        served.uptime.advance(2)
        assert who(served, ben) is None


def test_every_process_and_the_next_start_know_the_session(tmp_path: Path):
    with serving(tmp_path) as first:
        cookie = session(first)
        state = Settings(folder=tmp_path).state_folder
        assert (state / "session.key").stat().st_mode & 0o777 == 0o600
    with serving(tmp_path) as second:
        assert who(second, cookie) == "alice"


@pytest.mark.process
def test_every_worker_knows_a_session_that_one_of_them_began(tmp_path: Path):
    folder = tmp_path / "served"
    folder.mkdir()
    with ServerProcess.start(folder, tmp_path / "log", "--workers", "2", "--durability", "crash") as server:
        client = Client(*server.address)
        cookie = cookie_of(log_in(client, "alice"))
        for _ in range(20):  # a new connection each; the system gives it to either process
            assert client.get("/api/session", cookie=cookie).status == 200
        assert server.stop() == 0
        assert cookie.partition("=")[2] not in server.log.read_text()


def test_without_users_there_is_no_key_and_no_session(unguarded: Served):
    assert not (Settings(folder=unguarded.folder).state_folder / "session.key").exists()
    assert "Set-Cookie" not in log_in(unguarded.anonymous, "alice").headers


# -- logging out -----------------------------------------------------------------------------------


def test_logging_out_makes_the_browser_forget_and_leads_to_the_form(served: Served):
    answer = served.anonymous.request("POST", "/logout", b"", OURS, cookie=session(served))
    assert (answer.status, answer["Location"]) == (303, "/login")
    assert answer["Set-Cookie"] == "holdfast_session=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict"


def test_a_script_that_logs_out_is_not_led_anywhere(served: Served):
    answer = served.anonymous.request("POST", "/logout", b"", OURS, X_Requested_With="holdfast")
    assert answer.status == 204
    assert "Max-Age=0" in answer["Set-Cookie"]


def test_over_https_both_cookies_are_forgotten(served: Served):
    origin = f"https://127.0.0.1:{served.port}"
    answer = served.anonymous.request("POST", "/logout", b"", origin=origin)
    assert [text.partition("=")[0] for text in answer.headers.get_all("Set-Cookie")] == [
        "holdfast_session", "__Host-holdfast_session",
    ]  # fmt: skip


def test_nobody_is_logged_out_by_a_link(served: Served):
    answer = served.anonymous.get("/logout", cookie=session(served))
    assert (answer.status, answer["Allow"]) == (405, "OPTIONS, POST")
    assert "Set-Cookie" not in answer.headers


# -- who is led to the form ------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_a_browser_without_a_session_is_led_to_the_form_and_back(served: Served, page: str):
    answer = served.anonymous.get(f"{page}?a=b", accept=HTML, sec_fetch_mode="navigate")
    assert answer.status == 303
    assert answer["Cache-Control"] == "no-store"
    address = urlsplit(answer["Location"])
    assert address.path == "/login"
    assert parse_qs(address.query)["next"] == [f"{page}?a=b"]
    assert served.anonymous.get("/", accept=HTML)["Location"] == "/login"


@pytest.mark.parametrize("page", PAGES)
def test_a_link_on_another_site_leads_to_the_page_itself_since_its_request_has_no_cookie(served: Served, page: str):
    """SameSite=Strict keeps the cookie from it. The page, the same for everybody, asks the API with it."""
    answer = served.anonymous.get(page, accept=HTML, sec_fetch_site="cross-site", sec_fetch_mode="navigate")
    assert (answer.status, answer.body) == (200, served.anonymous.get(page, cookie=session(served)).body)
    assert served.anonymous.get("/api/session", sec_fetch_site="cross-site").status == 401


@pytest.mark.parametrize("page", PAGES)
def test_other_clients_get_401_with_the_challenges(served: Served, page: str):
    for client, fields in ((served.anonymous, {}), (served.as_("alice", "wrong"), {"accept": HTML})):
        answer = client.get(page, **fields)
        assert answer.status == 401
        assert answer["WWW-Authenticate"].startswith('Basic realm="Holdfast"')


@pytest.mark.parametrize("target", ["/api/locks", "/api/session", "/dav/", "/dav/x"])
def test_api_and_webdav_keep_their_401_for_browsers_too(served: Served, target: str):
    answer = served.anonymous.get(target, accept=HTML)
    assert answer.status == 401
    assert answer["WWW-Authenticate"].startswith('Basic realm="Holdfast"')


@pytest.mark.parametrize(
    "fields",
    [
        {"X-Requested-With": "holdfast"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Mode": "same-origin"},
        {"Accept": "text/event-stream"},
    ],
)
@pytest.mark.parametrize("target", ["/api/locks", "/api/session", "/dav/", "/"])
def test_a_script_s_401_opens_no_box_of_the_browser(served: Served, target: str, fields: dict[str, str]):
    answer = served.anonymous.get(target, **{name.replace("-", "_"): value for name, value in fields.items()})
    assert answer.status == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="Holdfast"'


# -- the pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, "/login"])
def test_each_page_is_guarded_and_says_whether_it_changed(unguarded: Served, served: Served, page: str):
    fields = {} if page == "/login" else {"cookie": session(served)}
    answer = served.anonymous.get(page, **fields)
    assert answer.status == 200
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert answer["Content-Security-Policy"] == POLICY
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cache-Control"] == "no-cache"
    assert re.fullmatch(r'"[0-9a-f]+"', answer["ETag"])
    again = served.anonymous.get(page, if_none_match=answer["ETag"], **fields)
    assert (again.status, again.body, again["ETag"]) == (304, b"", answer["ETag"])
    assert again["Content-Security-Policy"] == POLICY
    head = served.anonymous.request("HEAD", page, **fields)
    assert (head.status, head.body, head["ETag"]) == (200, b"", answer["ETag"])


def test_the_pages_name_no_other_host_and_no_script_or_style_of_their_own(served: Served):
    cookie = session(served)
    for page in (*PAGES, "/login"):
        fields = {} if page == "/login" else {"cookie": cookie}
        text = served.anonymous.get(page, **fields).body.decode()
        assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", text)
        assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)", text)


def test_everything_that_the_pages_load_is_there_without_a_login(served: Served):
    cookie = session(served)
    seen: set[str] = set()
    for page in (*PAGES, "/login"):
        fields = {} if page == "/login" else {"cookie": cookie}
        text = served.anonymous.get(page, **fields).body.decode()
        seen |= set(re.findall(r"""["'](/assets/[^"']+)["']""", text))
    for address in seen:
        answer = served.anonymous.get(address)
        assert answer.status == 200, address
        assert answer["Content-Type"].split(";")[0] in {"text/css", "text/javascript", "image/svg+xml"}
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert served.anonymous.get(address, if_none_match=answer["ETag"]).status == 304


@pytest.mark.parametrize(
    "target",
    ["/assets", "/assets/", "/assets/none.js", "/assets/index.html", "/assets/../face.py", "/assets/%2e%2e/face.py", "/locks", "/locks/",
     "/locks/a/b", "/locks/" + "a" * 65, "/locks/a%20b", "/history/", "/login/", "/logout/x"],
)  # fmt: skip
def test_what_is_no_page_is_404(unguarded: Served, target: str):
    assert unguarded.anonymous.get(target).status == 404


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PROPFIND", "LOCK"])
def test_a_page_can_only_be_read(unguarded: Served, page: str, method: str):
    answer = unguarded.anonymous.request(method, page, b"x" * 100_000)
    assert (answer.status, answer["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_options_of_the_front_page_answers_as_webdav(served: Served):
    """The Windows client asks there, without credentials, before it asks anywhere else."""
    answer = served.anonymous.request("OPTIONS", "/")
    assert (answer.status, answer["DAV"].split(",")[0]) == (200, "1")
    assert served.anonymous.request("OPTIONS", "/history")["Allow"] == "GET, HEAD, OPTIONS"


def test_without_users_the_pages_need_no_login(unguarded: Served):
    for page in PAGES:
        assert unguarded.anonymous.get(page, accept=HTML).status == 200
    for answer in (unguarded.anonymous.get("/login", accept=HTML), log_in(unguarded.anonymous, "alice")):
        assert (answer.status, answer["Location"]) == (303, "/")
    assert unguarded.anonymous.request("POST", "/logout", b"", OURS)["Location"] == "/"


def test_what_needs_no_credentials_is_where_it_was(served: Served):
    for address in ("/problems/locked", "/healthz", "/openapi.json", "/docs"):
        assert served.anonymous.get(address).status == 200


# -- what a page is told ---------------------------------------------------------------------------


def test_a_page_is_told_who_looks_at_it(tmp_path: Path):
    grants = (Grant(Role.READER), Grant(Role.ADMIN, ResourcePath("/dav/a b")))
    with serving(tmp_path, users={"alice": grants}) as served:
        cookie = session(served)
        told = json.loads(served.anonymous.get("/api/session", cookie=cookie).body)
        assert told.pop("version")
        assert told == {
            "name": "alice",
            "grants": [{"role": "reader", "path": "/"}, {"role": "admin", "path": "/dav/a%20b"}],
            "open": False,
            "session": True,
            "mount": "/dav",
        }
        assert json.loads(served.as_("alice").get("/api/session").body)["session"] is False


def test_without_users_a_page_is_told_so(unguarded: Served):
    told = json.loads(unguarded.anonymous.get("/api/session").body)
    assert (told["name"], told["open"], told["session"]) == ("anonymous", True, False)
    assert told["grants"] == [{"role": "admin", "path": "/"}]
