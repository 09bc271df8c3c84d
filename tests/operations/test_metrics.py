"""The numbers of `/metrics`: right, of all workers together, and never falling."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from holdfast.metrics import Answers, Metrics, begin_shared
from holdfast.store.memory import MemoryStore
from tests.serving import USERS, Client, Served, serving

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def values(text: bytes) -> Values:
    """Every sample, by name and labels; the text must parse."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(found: Values, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        yield served


def scrape(served: Served) -> Values:
    answer = served.as_("rita").get("/metrics")
    assert answer.status == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer["Cache-Control"] == "no-store"
    return values(answer.body)


class TestServed:
    def test_requests_are_counted_by_face_method_and_status_and_measured(self, served: Served):
        alice, bob = served.as_("alice"), served.as_("bob")
        token = alice.locked("/dav/a.txt")
        for _ in range(3):
            assert bob.put("/dav/a.txt").status == 423
        assert alice.put("/dav/a.txt", If="(<urn:x:y>)").status == 412
        assert alice.unlock("/dav/a.txt", token).status == 204
        bob.get("/api/locks")
        found = scrape(served)
        name = "holdfast_requests_total"
        assert value(found, name, face="webdav", method="PUT", status="423") == 3
        assert value(found, name, face="webdav", method="PUT", status="412") == 1
        assert value(found, name, face="webdav", method="UNLOCK", status="204") == 1
        assert value(found, name, face="api", method="GET", status="200") == 1
        assert value(found, "holdfast_request_seconds_count", face="webdav", method="PUT") == 4
        assert 0 < value(found, "holdfast_request_seconds_sum", face="webdav", method="PUT") < 60
        assert value(found, "holdfast_request_seconds_bucket", face="webdav", method="PUT", le="+Inf") == 4

    def test_locks_and_what_became_of_them_are_counted_whichever_way_they_came(self, served: Served):
        alice, root = served.as_("alice"), served.as_("root")
        token = alice.locked("/dav/a.txt")
        alice.locked("/dav/b.txt")
        alice.lock("/dav/c.txt", timeout="Second-60")
        made = root.request("POST", "/api/locks", b'{"resource": "/x"}', {"Content-Type": "application/json"})
        assert made.status == 201
        found = scrape(served)
        assert value(found, "holdfast_locks") == 4
        assert value(found, "holdfast_grants_total") == 4
        alice.unlock("/dav/a.txt", token)
        [held] = [lock for lock in _locks(root) if lock[0] == "/dav/b.txt"]
        broken = root.request(
            "POST", f"/api/locks/{held[1]}/break", b'{"reason": "x"}', {"Content-Type": "application/json"}
        )
        assert broken.status < 300
        later = b'{"reason": "x", "after": 600}'
        assert (
            root.request("POST", f"{made['Location']}/break", later, {"Content-Type": "application/json"}).status == 202
        )
        served.uptime.advance(61)
        served.application.service.sweep()
        found = scrape(served)
        assert value(found, "holdfast_locks") == 1
        assert value(found, "holdfast_releases_total") == 1
        assert (value(found, "holdfast_set_breaks_total"), value(found, "holdfast_breaks_total")) == (1, 1)
        assert value(found, "holdfast_expiries_total") == 1
        assert value(found, "holdfast_grants_total") == 4
        assert value(found, "holdfast_store_seconds_count", work="commit") >= 4

    def test_a_wait_and_its_hand_over_are_measured(self, served: Served):
        alice, bob = served.as_("alice"), served.as_("bob")
        token = alice.locked("/dav/a.txt")
        statuses: list[int] = []
        waiting = threading.Thread(
            target=lambda: statuses.append(bob.lock("/dav/a.txt", prefer="wait=60").status), name="waiting"
        )
        waiting.start()
        while value(scrape(served), "holdfast_waiters") != 1:
            pass
        alice.unlock("/dav/a.txt", token)
        waiting.join(30)
        assert statuses == [200]
        found = scrape(served)
        assert value(found, "holdfast_waiters") == 0
        assert value(found, "holdfast_queued_requests_total") == 1
        assert value(found, "holdfast_wait_seconds_count", outcome="granted") == 1
        assert value(found, "holdfast_handover_seconds_count") == 1
        assert value(found, "holdfast_event_delay_seconds_count") >= 1
        assert value(found, "holdfast_requests_total", face="webdav", method="LOCK", status="200") == 1
        assert value(found, "holdfast_request_seconds_count", face="webdav", method="LOCK") == 1  # alice's

    def test_whoever_asks_for_every_status_makes_a_series_for_each_class_alone(self, served: Served):
        rita = served.as_("rita")
        for code in (*range(200, 600, 7), 102):
            rita.get(f"/api/status/{code}")
        statuses = {
            dict(labels)["status"]: count
            for (name, labels), count in scrape(served).items()
            if name == "holdfast_requests_total" and ("face", "simulator") in labels
        }
        assert set(statuses) == {"2xx", "3xx", "4xx", "5xx"}
        assert sum(statuses.values()) == 59

    def test_no_label_tells_a_path_or_a_name(self, served: Served):
        served.as_("alice").locked("/dav/secret-plan.txt")
        served.as_("alice").get("/nowhere/secret-plan.txt")
        text = served.as_("rita").get("/metrics").body
        assert b"secret" not in text
        assert b"alice" not in text


def _locks(client: Client) -> list[tuple[str, str]]:
    """Root and id of each."""
    return [(lock["root"], lock["id"]) for lock in json.loads(client.get("/api/locks").body)["locks"]]


class TestWhoMayRead:
    def test_a_reader_at_the_root_and_nobody_else(self, tmp_path: Path):
        users = {**USERS, "tom": (Grant(Role.ADMIN, ResourcePath("/team")),)}
        with serving(tmp_path, users=users) as served:
            refused = served.anonymous.get("/metrics")
            assert refused.status == 401
            assert "Basic" in refused["WWW-Authenticate"]
            assert served.as_("tom").get("/metrics").status == 403
            assert served.as_("rita").get("/metrics").status == 200
            assert served.as_("rita").request("POST", "/metrics").status == 405
            assert served.anonymous.request("OPTIONS", "/metrics").status == 204

    def test_everybody_where_they_are_public(self, tmp_path: Path):
        with serving(tmp_path, metrics_public=True) as served:
            assert served.anonymous.get("/metrics").status == 200


class TestWorkers:
    """Processes that share a state folder, here as several Metrics over one folder."""

    @pytest.fixture
    def store(self) -> Iterator[MemoryStore]:
        with contextlib.closing(MemoryStore()) as store:
            yield store

    @pytest.fixture
    def folder(self, tmp_path: Path, store: MemoryStore) -> Path:
        folder = tmp_path / "metrics"
        begin_shared(folder, store)
        return folder

    def test_whoever_is_asked_tells_of_all_and_never_of_less(self, store: MemoryStore, folder: Path):
        workers = [Metrics(store, folder) for _ in range(3)]
        total = 0
        for turn in range(30):
            asked = workers[turn % 3]
            for number, worker in enumerate(workers):
                for _ in range(number + turn % 2):
                    worker.answers_of("webdav").add("PUT", 423, 0.01)
                    total += 1
            for worker in workers:
                if worker is not asked:
                    worker.publish()
            found = values(asked.render())
            assert value(found, "holdfast_requests_total", face="webdav", method="PUT", status="423") == total
            asked.answers_of("webdav").add("PUT", 423, 0.01)
            total += 1

    def test_what_one_has_told_no_other_forgets(self, store: MemoryStore, folder: Path):
        """Without a publication in between: what an answer tells is published before it."""
        one, two = Metrics(store, folder), Metrics(store, folder)
        seen = 0.0
        for turn in range(20):
            (one if turn % 3 else two).answers_of("api").add("GET", 200, 0.001)
            found = values((one if turn % 2 else two).render())
            told = value(found, "holdfast_requests_total", face="api", method="GET", status="200")
            assert told >= seen
            seen = told

    def test_a_worker_that_died_still_counts_until_the_next_start(self, store: MemoryStore, folder: Path):
        dead = Metrics(store, folder)
        dead.answers_of("api").add("GET", 200, 0.001)
        dead.waited(3.0, granted=True)
        dead.publish()
        found = values(Metrics(store, folder).render())
        assert value(found, "holdfast_requests_total", face="api", method="GET", status="200") == 1
        assert value(found, "holdfast_wait_seconds_count", outcome="granted") == 1
        begin_shared(folder, store)
        fresh = values(Metrics(store, folder).render())
        assert value(fresh, "holdfast_requests_total", face="api", method="GET", status="200") == 0

    def test_a_spoiled_file_spoils_no_answer(self, store: MemoryStore, folder: Path):
        (folder / "1-2.json").write_bytes(b"\0\0")
        (folder / "events.json").write_bytes(b"")
        assert Metrics(store, folder).render()

    def test_buckets_are_cumulative_and_end_with_all(self, store: MemoryStore, folder: Path):
        metrics = Metrics(store, folder)
        for seconds in (0.00005, 0.0001, 0.003, 100.0):
            metrics.handed_over(seconds)
        found = values(metrics.render())
        name = "holdfast_handover_seconds"
        assert value(found, f"{name}_bucket", le="0.0001") == 2
        assert value(found, f"{name}_bucket", le="0.005") == 3
        assert value(found, f"{name}_bucket", le="10.0") == 3
        assert value(found, f"{name}_bucket", le="+Inf") == value(found, f"{name}_count") == 4
        assert value(found, f"{name}_sum") == pytest.approx(100.00315)


def test_methods_that_nobody_knows_share_one_series() -> None:
    answers = Answers()
    for number in range(1000):
        answers.add(f"FROB-{number}", 405, 0.01)
    answers.add("LOCK", 200, 0.01)
    assert set(answers.cells) == {("other", 405), ("LOCK", 200)}
