"""Sequences and chance: each key goes its own way, looked at and begun anew at will, the turn taken before any delay."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from holdfast.access.unknown import Lack, UnknownAnswer, answer_unknown
from holdfast.clock import Clock
from holdfast.core.access import Grant, Principal, Role
from holdfast.faces.simulator.face import SimulatorFace, SimulatorLimits
from holdfast.faces.simulator.options import Caps, Draw, Sequence, parse_options, parse_pattern
from holdfast.faces.simulator.sequences import SequenceStates
from holdfast.wire.exchange import Headers, Request
from tests.serving import serving
from tests.simulator.wire import ask


def statuses(asked, query, count, **kwargs):
    return [asked(f"/api/status/500?{query}", **kwargs).head.status for _ in range(count)]


def test_a_sequence_comes_in_order_and_its_last_stays(asked):
    assert statuses(asked, "seq=423x2,503,200&key=order", 6) == [423, 423, 503, 200, 200, 200]


def test_each_answer_tells_its_turn(asked):
    asked("/api/status/500?seq=423,200&key=told")
    seen = asked("/api/status/500?seq=423,200&key=told")
    assert seen.head["X-Simulated"] == '200;key="told";turn=2'
    assert seen.json["sequence"] == {
        "key": "told", "pattern": "423,200", "turn": 2, "state": "/api/status/sequences/told",
    }  # fmt: skip


def test_keys_do_not_disturb_each_other_and_without_one_each_pattern_has_its_own(asked):
    assert statuses(asked, "seq=423,200&key=one", 2) == [423, 200]
    assert statuses(asked, "seq=423,200&key=two", 2) == [423, 200]
    assert statuses(asked, "seq=423,201", 2) == [423, 201]
    assert statuses(asked, "seq=423,202", 2) == [423, 202]


def test_a_key_with_another_pattern_begins_anew(asked):
    assert statuses(asked, "seq=423,200&key=changed", 2) == [423, 200]
    assert statuses(asked, "seq=503,200&key=changed", 1) == [503]


def test_a_sequence_may_hold_interim_and_bodiless_statuses(asked):
    seen = [asked("/api/status/500?seq=103,204,304&key=mixed") for _ in range(3)]
    assert [one.head.status for one in seen] == [200, 204, 304]
    assert [one.status for one in seen[0].interim] == [103]


def test_a_sequence_by_fields(asked):
    headers = {"X-Simulate-Seq": "423,200", "X-Simulate-Key": "by-field"}
    assert [asked("/api/status/500", headers=headers).head.status for _ in range(2)] == [423, 200]


def test_the_state_is_looked_at_and_begun_anew(asked):
    statuses(asked, "seq=423x2,200&key=looked", 2)
    state = asked("/api/status/sequences/looked").json
    assert state == {
        "key": "looked", "pattern": "423x2,200", "turns": 2, "next": 200, "url": "/api/status/sequences/looked",
    }  # fmt: skip
    assert state in asked("/api/status/sequences").json["sequences"]
    assert asked("/api/status/sequences/looked", "DELETE").head.status == 204
    assert asked("/api/status/sequences/looked").head.status == 404
    assert asked("/api/status/sequences/looked", "DELETE").head.status == 404
    assert statuses(asked, "seq=423x2,200&key=looked", 1) == [423]
    refused = asked("/api/status/sequences/looked", "PUT", b"")
    assert refused.head.status == 405
    assert refused.head["Allow"] == "DELETE, GET, HEAD"


def test_a_refused_request_takes_no_turn(asked):
    statuses(asked, "seq=423,200&key=refused", 1)
    assert asked("/api/status/500?seq=423,200&key=refused&delay=x").head.status == 400
    assert asked("/api/status/sequences/refused").json["turns"] == 1


def test_the_turn_is_taken_before_the_delay(tmp_path):
    """A retry that arrives during the delay must not meet the old state."""
    query = "/api/status/500?seq=423,200&key=delayed"
    with ThreadPoolExecutor(1) as pool:
        with serving(tmp_path, users=None, simulator_max_delay_s=3600.0) as served:
            first = pool.submit(ask, served.port, f"{query}&delay=3000s")
            while ask(served.port, "/api/status/sequences/delayed").head.status != 200:
                pass
            assert ask(served.port, query).head.status == 200
            assert not first.done()
        assert first.result(20).head.status == 423


def test_each_turn_is_taken_once_by_requests_that_come_together(open_server):
    with ThreadPoolExecutor(8) as pool:
        codes = list(
            pool.map(
                lambda _: ask(open_server.port, "/api/status/500?seq=423x20,503x5,200&key=race").head.status, range(40)
            )
        )
    assert Counter(codes) == {423: 20, 503: 5, 200: 15}


def test_chance_without_a_seed_has_all_and_only_what_has_weight(asked):
    assert set(statuses(asked, "random=423:1,200:1,500:0", 60)) == {423, 200}


def test_a_seed_makes_chance_the_same_again(asked):
    query = "random=423:0.3,200:0.7&seed=7&key="
    one, two = (statuses(asked, f"{query}{key}", 40) for key in ("r1", "r2"))
    assert one == two
    assert set(one) == {423, 200}
    assert one.count(200) > one.count(423)
    asked("/api/status/sequences/r1", "DELETE")
    assert statuses(asked, f"{query}r1", 5) == one[:5]
    assert statuses(asked, "random=423:0.3,200:0.7&seed=8&key=r3", 40) != one


def test_one_user_does_not_see_or_move_the_sequences_of_another(server_with_users):
    alice, bob = server_with_users.as_("alice"), server_with_users.as_("bob")
    query = "/api/status/500?seq=423,200&key=same"
    assert [alice.get(query).status, bob.get(query).status, alice.get(query).status] == [423, 423, 200]
    assert alice.request("DELETE", "/api/status/sequences").status == 204
    assert alice.get("/api/status/sequences/same").status == 404
    assert bob.get("/api/status/sequences/same").status == 200


def test_the_state_used_longest_ago_is_forgotten_first(tmp_path):
    with serving(tmp_path, users=None, simulator_max_sequences=3) as served:
        for key in ("a", "b", "c", "a", "d"):
            ask(served.port, f"/api/status/500?seq=423,200&key={key}")
        listed = ask(served.port, "/api/status/sequences").json["sequences"]
        assert [state["key"] for state in listed] == ["d", "a", "c"]


def test_workers_share_their_states(tmp_path):
    """Two processes on one folder: a file in the state folder is what they meet in."""
    place = tmp_path / "sequences.db"
    SequenceStates.begin(place)
    one, two = SequenceStates(place, most=10), SequenceStates(place, most=10)
    try:
        with ThreadPoolExecutor(4) as pool:
            turns = list(pool.map(lambda n: (one, two)[n % 2].take_turn("o", "k", "423,200"), range(60)))
        assert sorted(turns) == list(range(60))
        assert two.forget("o") == 1
        assert one.find("o") == []
        assert place.stat().st_mode & 0o077 == 0
    finally:
        one.close()
        two.close()
    place.write_bytes(b"no database")
    SequenceStates.begin(place)
    again = SequenceStates(place, most=10)
    assert again.find("o") == []
    again.close()


@pytest.mark.parametrize("text", ["423x2,200", "423", "423:0.3,200:0.7;7", "200:1"])
def test_a_pattern_is_read_as_it_is_written(text):
    assert parse_pattern(text).text == text


WEIGHTS = st.one_of(
    st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,6})?", fullmatch=True),
    st.sampled_from(["0.00001", "0.000001", "999999.999999", "123456.7", "0", "1.10"]),
)
SEEDS = st.none() | st.from_regex(r"[A-Za-z0-9._~-]{1,64}", fullmatch=True)


@given(st.lists(st.tuples(st.integers(100, 599), WEIGHTS), min_size=1, max_size=5), SEEDS)
def test_any_draw_that_can_be_asked_for_reads_back_the_same(chances, seed):
    assume(any(float(weight) for _, weight in chances))
    query = urlencode(
        {
            "random": ",".join(f"{code}:{weight}" for code, weight in chances),
            **({} if seed is None else {"seed": seed}),
        }
    )
    pattern = parse_options(query, Headers(), Caps(delay_s=1, size_bytes=1), wall_now=datetime.now(UTC)).pattern
    assert pattern is not None
    assert parse_pattern(pattern.text) == pattern


@given(st.lists(st.tuples(st.integers(100, 599), st.integers(1, 10_000)), min_size=1, max_size=5))
def test_any_sequence_reads_back_the_same(steps):
    assert parse_pattern(Sequence(tuple(steps)).text) == Sequence(tuple(steps))


def test_a_small_weight_is_told_of_as_any(asked):
    assert statuses(asked, "random=423:0.00001,200:1&seed=a&key=small", 1) == [200]
    state = asked("/api/status/sequences/small")
    assert state.head.status == 200
    assert state.json["pattern"] == "423:0.00001,200:1;a"
    assert state.json in asked("/api/status/sequences").json["sequences"]


def test_a_state_that_cannot_be_read_hides_no_other():
    states = SequenceStates(None, most=10)
    try:
        states.take_turn("ada", "good", "423,200")
        states.take_turn("ada", "bad", "423:1e-05,200:1;a")
        face = SimulatorFace(states, limits=SimulatorLimits(), clock=Clock(), unknown=_nobody_is_unknown)
        answer = face(Request("GET", "/api/status/sequences", Headers(), Principal("ada", (Grant(Role.READER),))))
        assert answer.status == 200
        listed = json.loads(cast("bytes", answer.body))["sequences"]
        assert [(state["key"], state["next"]) for state in listed] == [("bad", None), ("good", 200)]
    finally:
        states.close()


ESCAPED = ["l%6Fck=zz", "%6cock=zz", "%6Coc%6B=zz", "a=b&%73eq=423", "se%65d=1&random=200:1", "seq", "lock="]


@pytest.mark.parametrize("query", [*ESCAPED, "lock=zz", "seq=423,200", "random=200:1&seed=a"])
def test_what_is_kept_is_no_brief_work_however_its_option_is_written(query):
    """What is brief is done on the event loop, where nothing may be stored or waited for."""
    assert not is_brief("/api/status/423", query)


def test_where_nothing_is_kept_it_is_brief():
    assert is_brief("/api/status/405", "header=Allow:%20GET,+PUT&body=xml&random=200:1")
    assert not is_brief("/api/status/locks", "")
    assert not is_brief("/api/status/sequences/a", "")
    for name in (b"x-simulate-lock", b"x-simulate-seq", b"x-simulate-seed"):
        assert not is_brief("/api/status/423", "", (name, b"a"))


def is_brief(target: str, query: str, *fields: tuple[bytes, bytes]) -> bool:
    states = SequenceStates(None, most=1)
    try:
        face = SimulatorFace(states, limits=SimulatorLimits(), clock=Clock(), unknown=_nobody_is_unknown)
        return face.is_brief(Request("GET", target, Headers(fields), None, query=query))
    finally:
        states.close()


def _nobody_is_unknown(_request: Request) -> UnknownAnswer:
    return answer_unknown(Lack.NOTHING_SENT)


def test_a_sequence_counts_each_status_as_often_as_it_says():
    pattern = Sequence(((423, 2), (503, 1), (200, 3)))
    assert [pattern.code_at(number) for number in range(8)] == [423, 423, 503, 200, 200, 200, 200, 200]


def test_a_draw_gives_each_status_its_part_and_none_without_weight():
    draw = Draw(((423, 1.0), (500, 0.0), (200, 3.0)))
    drawn = Counter(draw.code_at(number / 1000) for number in range(1000))
    assert drawn == {423: 250, 200: 750}
    assert Draw(((200, 1.0), (423, 0.0))).code_at(1 - 2**-53) == 200
