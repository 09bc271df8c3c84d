"""GET /api/events: what happens to locks, as it happens, over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.core.model import EventKind
from holdfast.store.sqlite import SqliteStore
from tests.api.desk import Desk, new_resource
from tests.api.listening import Entry, listening
from tests.live.desk import event_on
from tests.serving import Served, serving


def timeless(events: list[Entry]) -> list[Entry]:
    """Without the instant: it is shown on the wall clock as that stands when it is shown, which is set now and then."""
    return [{name: value for name, value in event.items() if name != "at"} for event in events]


def told(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(entry["event"], entry["data"]["holder"]) for entry in entries]


def history(desk: Desk, query: str, who: str = "root") -> list[Entry]:
    return desk.ask(who, "GET", f"/api/history?limit=1000&{query}")["events"]


def test_each_entry_is_that_of_the_record_and_comes_as_it_happens(desk: Desk, resource: str) -> None:
    with listening(desk.client("rita"), f"under={resource}") as stream:
        lock = desk.granted("alice", resource, reason="first")
        [granted] = stream.take(1)
        desk.release("alice", lock)
        [released] = stream.take(1)
    assert timeless([granted["data"], released["data"]]) == timeless(history(desk, f"under={resource}"))
    assert granted["id"] == str(granted["data"]["seq"])
    assert [granted["event"], released["event"]] == ["granted", "released"]
    assert lock["token"] not in stream.text


def test_the_answer_is_an_event_stream_that_nobody_keeps(desk: Desk) -> None:
    with listening(desk.client("rita")) as stream:
        assert stream.status == 200
        headers = stream.response.headers
    assert headers["Content-Type"] == "text/event-stream"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Content-Length"] is None
    asked = desk.client("rita").request("HEAD", "/api/events")
    assert (asked.status, asked["Content-Type"], asked.body) == (200, "text/event-stream", b"")


def test_a_lock_over_webdav_and_its_break_by_the_api_are_heard_by_two_at_once(desk: Desk) -> None:
    with listening(desk.client("alice"), "under=/dav/heard") as first, listening(desk.client("rita")) as second:
        desk.client("alice").locked("/dav/heard")
        [lock] = desk.ask("rita", "GET", "/api/locks?under=/dav/heard")["locks"]
        desk.break_("root", lock)
        for stream in (first, second):
            assert told(stream.take(2)) == [("granted", "alice"), ("broken", "alice")]


def test_nobody_hears_of_what_it_may_not_see(desk: Desk) -> None:
    """tom may read /team only, and hears of his own locks."""
    with listening(desk.client("tom")) as stream, listening(desk.client("rita")) as other:
        desk.granted("alice", new_resource())
        desk.granted("alice", "/team/plan")
        assert [entry["data"]["root"] for entry in stream.take(1)] == ["/team/plan"]
        assert len(other.take(2)) == 2
    assert desk.ask("nobody", "GET", "/api/events").status == 401


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("kind=granted", ["granted", "granted"]),
        ("kind=released,broken", ["released", "broken"]),
        ("kind=granted&kind=broken", ["granted", "granted", "broken"]),
        ("lock={id}", ["granted", "released"]),
        ("lock={id}&kind=broken", []),
    ],
)
def test_the_stream_and_the_pages_are_filtered_alike(desk: Desk, resource: str, query: str, kinds: list[str]) -> None:
    first = desk.granted("alice", resource)
    desk.release("alice", first)
    desk.break_("root", desk.granted("bob", resource))
    asked = f"under={resource}&{query.format(id=first['id'])}"
    assert [event["kind"] for event in history(desk, asked)] == kinds
    with listening(desk.client("rita"), f"last_event_id=0&{asked}") as stream:
        assert [entry["event"] for entry in stream.take(len(kinds))] == kinds


def test_who_comes_back_goes_on_behind_the_last_that_it_had(desk: Desk, resource: str) -> None:
    client = desk.client("rita")
    with listening(client, f"under={resource}") as stream:
        desk.release("alice", desk.granted("alice", resource))
        assert told(stream.take(1)) == [("granted", "alice")]
    desk.granted("bob", resource)
    # The field comes before the parameter, which a browser sends again and again.
    with listening(client, f"under={resource}&last_event_id=0", stream.last_event_id) as again:
        assert told(again.take(2)) == [("released", "alice"), ("granted", "bob")]


def test_who_heard_nothing_before_it_lost_the_stream_misses_nothing_either(desk: Desk, resource: str) -> None:
    with listening(desk.client("rita"), f"under={resource}") as stream:
        opening = [stream.response.readline().decode() for _ in range(3)]
    desk.granted("alice", resource)
    assert opening[0] == "retry: 2000\n"
    assert opening[2] == "\n"
    seq = opening[1].removeprefix("id: ").strip()
    with listening(desk.client("rita"), f"under={resource}", seq) as again:
        assert told(again.take(1)) == [("granted", "alice")]


@pytest.mark.parametrize("sent", ["x", "-1", "1.5", "0x10", "9223372036854775808", "1" * 40, "1,2", "\u00b2"])
def test_a_last_event_id_that_is_none_of_this_server_is_refused(desk: Desk, sent: str) -> None:
    reply = desk.ask("rita", "GET", "/api/events", headers={"Last-Event-ID": sent})
    assert reply.status == 400
    assert "Last-Event-ID" in reply.problem["detail"]


@pytest.mark.parametrize(
    "query", ["last_event_id=-1", "last_event_id=x", "kind=grant", "kind=", "under=x", "lock=a/b", "limit=1", "under="]
)
def test_a_query_that_does_not_fit_is_refused(desk: Desk, query: str) -> None:
    assert desk.ask("rita", "GET", f"/api/events?{query}").problem["status"] == 400


@pytest.mark.parametrize(
    "query, known", [("kind=brokn", [kind.value for kind in EventKind]), ("order=up", ["newest", "oldest"])]
)
def test_a_value_that_is_none_of_a_few_is_refused_with_those_that_are(desk: Desk, query: str, known: list[str]) -> None:
    detail = desk.ask("rita", "GET", f"/api/history?{query}").problem["detail"]
    assert sorted(detail.partition("; known: ")[2].split(", ")) == sorted(known)


def test_nothing_is_lost_or_told_twice_while_locks_change_and_the_stream_breaks_all_the_time(desk: Desk) -> None:
    resource = new_resource()
    last = f"{resource}/last"

    def work(name: str) -> None:
        for number in range(30):
            desk.release("alice", desk.granted("alice", f"{resource}/{name}/{number}"))

    workers = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c")]
    heard: list[Entry] = []
    with listening(desk.client("rita"), f"under={resource}") as stream:
        for worker in workers:
            worker.start()
        heard += stream.take(3)
    breaks = 0
    while len(heard) < 180:
        breaks += 1
        with listening(desk.client("rita"), f"under={resource}", stream.last_event_id) as stream:
            heard += stream.take(min(breaks % 13, 180 - len(heard)))
    for worker in workers:
        worker.join()
    desk.granted("alice", last)
    with listening(desk.client("rita"), f"under={resource}", stream.last_event_id) as stream:
        heard += stream.take(1)
    assert timeless([entry["data"] for entry in heard]) == timeless(history(desk, f"under={resource}"))


def test_what_another_process_commits_is_heard(desk: Desk) -> None:
    """Another process is another store on the same file."""
    served = desk.served
    path = served.folder / ".holdfast" / "locks.db"
    clock = Clock(read_uptime=served.uptime)
    with closing(SqliteStore(path, clock=clock, durability=Durability.CRASH)) as other:
        with listening(desk.client("rita"), "under=/elsewhere") as stream:
            with other.write() as tx:
                tx.append(event_on("/elsewhere/a", tx.now))
            assert [entry["data"]["root"] for entry in stream.take(1)] == ["/elsewhere/a"]


# -- with a server of their own ---------------------------------------------------------------------


def test_a_gap_is_told_where_the_record_has_been_trimmed(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        desk = Desk(served)
        for _ in range(3):
            desk.release("alice", desk.granted("alice", "/a"))
        with served.application.store.write() as tx:
            tx.trim_events(tx.now + timedelta(microseconds=1))
        desk.granted("bob", "/b")
        with listening(desk.client("rita"), "last_event_id=2&under=/b") as stream:
            gap, granted = stream.take(2)
        assert (gap["event"], gap["data"], gap["id"]) == ("gap", {"after": 2, "first": 7}, "6")
        assert (granted["event"], granted["id"]) == ("granted", "7")


def test_a_long_past_reaches_a_client_that_takes_its_time(tmp_path: Path) -> None:
    """Far more than the server keeps unsent for one client; and somebody else hears what is new meanwhile."""
    with serving(tmp_path) as served:
        desk = Desk(served)
        with served.application.store.write() as tx:
            for number in range(5_000):
                tx.append(event_on(f"/past/{number}", tx.now))
        with listening(desk.client("rita"), "last_event_id=0") as slow:
            slow.take(1)
            with listening(desk.client("rita"), "last_event_id=5000") as quick:
                desk.granted("alice", "/new")
                assert [entry["data"]["root"] for entry in quick.take(1)] == ["/new"]
            assert [int(entry["id"]) for entry in slow.take(5_000)] == list(range(2, 5_002))


def test_a_comment_comes_each_15_seconds_and_after_an_hour_the_end(tmp_path: Path) -> None:
    with serving(tmp_path) as served, listening(served.as_("rita")) as stream:
        for _ in range(3):
            stream.response.readline()
        served.uptime.advance(15)
        assert stream.response.readline() == b":\n"
        served.uptime.advance(3600)
        assert list(stream) == []


def test_all_streams_end_as_they_should_when_the_server_stops(tmp_path: Path) -> None:
    ended: list[list[Entry]] = []

    def hear(served: Served, is_open: Callable[[], object]) -> None:
        with listening(served.as_("rita")) as stream:
            is_open()
            ended.append(list(stream))  # a stream that is cut off raises IncompleteRead

    opened = threading.Barrier(6)
    with serving(tmp_path) as served:
        threads = [threading.Thread(target=hear, args=(served, opened.wait)) for _ in range(5)]
        for thread in threads:
            thread.start()
        opened.wait(20)
    for thread in threads:
        thread.join(20)
    assert ended == [[]] * 5


def test_one_stream_too_many_is_refused_until_another_ends(tmp_path: Path) -> None:
    with serving(tmp_path, max_streams=1) as served:
        desk = Desk(served)
        with listening(desk.client("rita")) as first:
            assert first.status == 200
            refused = desk.ask("alice", "GET", "/api/events")
            assert refused.status == 503
            assert refused.problem["detail"].startswith("Too many event streams")
            assert int(refused.answer["Retry-After"]) > 0
        for _ in range(1000):  # until the server has noticed that the first is gone
            with listening(desk.client("alice")) as second:
                if second.status == 200:
                    break
        else:
            pytest.fail("the place of a stream that ended was not free again")
