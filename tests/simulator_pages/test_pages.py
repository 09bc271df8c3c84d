"""The pages as they are given: for each code one, each text of its own, each link leading somewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

import holdfast
from holdfast.faces.simulator.pages.face import PagesFace
from holdfast.faces.simulator.pages.locked_example import example_problem, example_xml
from holdfast.faces.simulator.pages.texts import marked, text_of
from holdfast.wire.exchange import Headers, Request, Response
from holdfast.wire.problem_json import parse_locked_problem
from holdfast.wire.statuses import REGISTERED_CODES, status_info
from tests.serving import Served

SIMULATOR = Path(holdfast.__file__).parent / "faces" / "simulator"
VOID = {"meta", "link", "input", "img", "br", "option", "path", "circle"}


@pytest.fixture(scope="module")
def face() -> PagesFace:
    return PagesFace(beside_dashboard=True)


def ask(face: PagesFace, target: str, method: str = "GET", **fields: str) -> Response:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    request = Request(method=method, target=target, headers=Headers(headers), principal=None)
    return face.admit(request) or face(request)


def body(response: Response) -> str:
    assert isinstance(response.body, bytes)
    return response.body.decode()


class Reading(HTMLParser):
    """What a page links to, its ids, its text, and whether its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += self._open

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src"}:
                self.links.append(value or "")
            elif name == "id":
                self.ids.append(value or "")
            elif name.startswith("on") or name == "style":
                self.wrong.append(f"{name} in {tag}")
        if tag not in VOID or tag in {"path", "circle"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag == "option":
            return
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_every_code_has_a_page_that_is_in_order_and_leads_nowhere_wrong(face: PagesFace) -> None:
    known: dict[str, int] = {}
    for code in range(100, 600):
        answer = ask(face, f"/simulator/{code}")
        assert answer.status == 200
        page = Reading(body(answer))
        assert page.wrong == [], code
        assert len(set(page.ids)) == len(page.ids), code
        assert status_info(code).meaning in page.text.replace("\u00a0", " "), code
        for link in page.links:
            if link.startswith("#"):
                assert link[1:] in page.ids, (code, link)
            elif link.startswith("/simulator") and link not in known:
                known[link] = ask(face, link.partition("?")[0].partition("#")[0]).status
            elif not link.startswith("/"):
                assert re.match(r"https://(www\.rfc-editor|datatracker\.ietf)\.org/", link), (code, link)
    assert set(known.values()) == {200}, known


def test_every_registered_code_has_a_text_of_its_own_and_no_text_is_of_another() -> None:
    named = {int(path.stem) for path in (SIMULATOR / "texts").iterdir()}
    assert named == set(REGISTERED_CODES)


@pytest.mark.parametrize("code", [code for code in REGISTERED_CODES if code != 423])
def test_a_text_tells_who_sends_a_code_and_what_to_do(code: int) -> None:
    text = text_of(code)
    assert text is not None
    sentences = [
        *text.means,
        *text.senders,
        *text.client,
        *text.caches,
        *text.mistakes,
        *(when for _, when in text.also),
    ]
    assert text.means
    assert text.senders
    assert text.client
    assert text.caches
    for sentence in sentences:
        assert sentence[-1] in ".:", sentence
        assert sentence.count("`") % 2 == 0, sentence
    mentioned = [int(found) for sentence in sentences for found in re.findall(r"\[(\d{3})\]", sentence)]
    related = [number for number, _ in text.also]
    assert {*mentioned, *related} <= set(REGISTERED_CODES)
    assert code not in related


def test_all_codes_are_listed_on_the_playground(face: PagesFace) -> None:
    page = Reading(body(ask(face, "/simulator")))
    assert page.wrong == []
    for code in REGISTERED_CODES:
        assert f"/simulator/{code}" in page.links


def test_a_mark_in_a_text_becomes_code_or_a_link_and_nothing_else_becomes_markup() -> None:
    said = marked("See [409], `<a>` & <b>, not [999]")
    assert str(said) == ('See <a href="/simulator/409">409</a>, <code>&lt;a&gt;</code> &amp; &lt;b&gt;, not [999]')


def test_the_page_of_423_shows_answers_of_the_real_renderer(face: PagesFace) -> None:
    page = Reading(body(ask(face, "/simulator/423")))
    shown = "".join(page.texts)
    for example in (example_problem(), example_xml()):
        assert example in shown
    problem = parse_locked_problem(example_problem().partition("\n\n")[2].encode())
    assert problem is not None
    assert problem.locks[0].holder.name == "Ada"
    assert problem.locks[0].expires_in == 25 * 60 + 42
    error = ElementTree.fromstring(example_xml().partition("\n\n")[2].encode())
    assert error.findtext("{DAV:}lock-token-submitted/{DAV:}href") == "/dav/plan.odt"
    assert not re.search("urn:uuid|opaquelocktoken", example_problem() + example_xml())


@pytest.mark.parametrize(
    "subject",
    ["holder", "If field", "Retry-After", "Office", "Finder", "rclone", "409", "412", "503", "no-store", "PROPFIND"],
)
def test_the_page_of_423_speaks_of(face: PagesFace, subject: str) -> None:
    assert subject in Reading(body(ask(face, "/simulator/423"))).text


def test_without_a_dashboard_no_page_leads_to_one() -> None:
    alone = PagesFace(beside_dashboard=False)
    for target in ("/simulator", "/simulator/423", "/simulator/404"):
        inner = [link for link in Reading(body(ask(alone, target))).links if link.startswith("/")]
        assert inner
        assert all(link.startswith("/simulator") for link in inner)
        for link in inner:
            assert ask(alone, link.partition("?")[0].partition("#")[0]).status == 200, link


def test_only_what_this_server_gives_may_run(face: PagesFace) -> None:
    for target in ("/simulator", "/simulator/423", "/simulator/assets/playground.js"):
        fields = dict(ask(face, target).headers)
        assert "default-src 'none'; script-src 'self'" in fields["Content-Security-Policy"]
        assert fields["X-Content-Type-Options"] == "nosniff"
        assert fields["Cache-Control"] == "no-cache"


def test_scripts_make_no_markup_of_texts_and_name_no_other_host() -> None:
    for path in (SIMULATOR / "assets").iterdir():
        assert not re.search(r"https?:|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", path.read_text())


def test_a_page_that_has_not_changed_is_not_sent_again(face: PagesFace) -> None:
    tag = dict(ask(face, "/simulator/423").headers)["ETag"]
    assert ask(face, "/simulator/423", if_none_match=tag).status == 304
    assert ask(face, "/simulator/423", if_match='"another"').status == 412


@pytest.mark.parametrize(
    "target",
    [
        "/simulator/99",
        "/simulator/600",
        "/simulator/4230",
        "/simulator/abc",
        "/simulator/423/",
        "/simulator/assets/x.js",
        "/simulator/assets/../face.py",
    ],
)
def test_there_is_nothing_else(face: PagesFace, target: str) -> None:
    answer = ask(face, target)
    assert answer.status == 404
    assert target not in body(answer)


def test_other_methods_are_refused_with_those_that_do(face: PagesFace) -> None:
    answer = ask(face, "/simulator/423", "PUT")
    assert answer.status == 405
    assert dict(answer.headers)["Allow"] == "GET, HEAD, OPTIONS"
    assert ask(face, "/simulator", "OPTIONS").status == 204
    assert dict(ask(face, "/simulator/").headers)["Location"] == "/simulator"


def test_the_pages_need_no_login_and_the_simulator_does(server_with_users: Served) -> None:
    stranger = server_with_users.anonymous
    assert stranger.request("GET", "/simulator").status == 200
    assert stranger.request("GET", "/simulator/423").status == 200
    head = stranger.request("HEAD", "/simulator/423")
    assert (head.status, head.body) == (200, b"")
    assert int(head["Content-Length"]) > 10_000
    assert stranger.request("GET", "/api/status/200").status == 401
