"""POST /api/check, and GET /api/check as a gateway's subrequest."""

from __future__ import annotations

import pytest

from tests.api.desk import Desk, Reply


def check(desk: Desk, who: str, resource: str, **members: object) -> int:
    return desk.ask(who, "POST", "/api/check", {"resource": resource, **members}).status


def forwarded(desk: Desk, who: str, method: str, uri: str, query: str = "", **fields: str) -> Reply:
    told = {"X-Forwarded-Method": method, "X-Forwarded-Uri": uri}
    return desk.ask(who, "GET", f"/api/check{query}", headers=told, **fields)


class TestAsked:
    """In JSON."""

    def test_a_change_needs_the_token_and_its_creator(self, desk: Desk, resource: str) -> None:
        assert check(desk, "alice", resource) == 204
        lock = desk.granted("alice", resource)
        assert check(desk, "alice", resource) == 423
        assert check(desk, "alice", resource, tokens=[lock["token"]]) == 204
        assert check(desk, "bob", resource, tokens=[lock["token"]]) == 423
        assert check(desk, "alice", resource, tokens=["urn:uuid:other"]) == 423

    def test_a_423_names_who_is_in_the_way(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        reply = desk.ask("bob", "POST", "/api/check", {"resource": resource})
        assert [item["id"] for item in reply.problem["locks"]] == [lock["id"]]

    def test_how_far_a_change_reaches(self, desk: Desk, resource: str) -> None:
        member = f"{resource}/a/b"
        lock = desk.granted("alice", member)
        assert check(desk, "bob", resource) == 204
        assert check(desk, "bob", resource, effects=[{"resource": resource, "reach": "tree"}]) == 423
        assert check(desk, "bob", f"{member}/c", effects=[{"resource": f"{member}/c"}]) == 204
        assert check(desk, "bob", member, effects=[{"resource": f"{member}/c", "reach": "membership"}]) == 423
        tree = [{"resource": resource, "reach": "tree"}]
        assert check(desk, "alice", resource, effects=tree, tokens=[lock["token"]]) == 204

    def test_several_changes_need_all_their_tokens(self, desk: Desk, resource: str) -> None:
        one, two = (desk.granted("alice", f"{resource}-{number}") for number in (1, 2))
        effects = [{"resource": one["root"]}, {"resource": two["root"]}]
        both = [one["token"], two["token"]]
        assert check(desk, "alice", resource, effects=effects, tokens=both) == 204
        assert check(desk, "alice", resource, effects=effects, tokens=both[:1]) == 423
        assert check(desk, "alice", resource, effects=effects) == 423

    def test_an_administrator_asks_for_somebody_else(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        assert check(desk, "root", resource, tokens=[lock["token"]], principal="alice") == 204
        assert check(desk, "root", resource, tokens=[lock["token"]]) == 423
        assert check(desk, "bob", resource, tokens=[lock["token"]], principal="alice") == 403

    def test_one_asks_about_what_one_may_read(self, desk: Desk, resource: str) -> None:
        assert check(desk, "rita", resource) == 204
        assert check(desk, "tom", resource) == 403
        assert check(desk, "tom", "/team/x") == 204
        assert check(desk, "tom", "/team/x", effects=[{"resource": resource}]) == 403

    def test_it_changes_nothing(self, desk: Desk, resource: str) -> None:
        check(desk, "alice", resource)
        assert desk.ask("alice", "GET", f"/api/history?under={resource}").json["events"] == []

    def test_who_submits_a_broken_token_is_told(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        desk.break_("root", lock, "urgent")
        desk.granted("bob", resource)
        reply = desk.ask("alice", "POST", "/api/check", {"resource": resource, "tokens": [lock["token"]]})
        assert reply.status == 423
        assert "Your lock was broken by root" in reply.problem["detail"]
        assert "urgent" in reply.problem["detail"]


class TestForwarded:
    """For a gateway that holds a request in its hand."""

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"])
    def test_reading_is_let_through(self, desk: Desk, resource: str, method: str) -> None:
        desk.granted("alice", resource)
        assert forwarded(desk, "bob", method, resource).status == 204

    @pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "PROPPATCH", "MKCOL", "MOVE", "NEWER"])
    def test_a_change_is_stopped_by_a_lock(self, desk: Desk, resource: str, method: str) -> None:
        desk.granted("alice", resource)
        reply = forwarded(desk, "bob", method, f"{resource}?draft=1", accept="application/problem+json")
        assert reply.status == 423
        assert reply.problem["locks"][0]["holder"]["name"] == "alice"
        assert int(reply.answer["Retry-After"]) >= 1

    @pytest.mark.parametrize(
        ("method", "form"), [("PUT", "application/problem+json"), ("PROPPATCH", "application/xml; charset=utf-8")]
    )
    def test_where_accept_leaves_it_open_webdav_clients_get_xml(
        self, desk: Desk, resource: str, method: str, form: str
    ) -> None:
        desk.granted("alice", resource)
        assert forwarded(desk, "bob", method, resource).answer["Content-Type"] == form

    def test_the_token_opens_it_in_either_field(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        assert forwarded(desk, "alice", "PUT", resource, lock_token=f"<{lock['token']}>").status == 204
        assert forwarded(desk, "alice", "PUT", resource, If=f"(<{lock['token']}>)").status == 204
        assert forwarded(desk, "bob", "PUT", resource, If=f"(<{lock['token']}>)").status == 423

    def test_a_false_if_header_is_412(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        desk.release("alice", lock)
        assert forwarded(desk, "alice", "PUT", resource, If=f"(<{lock['token']}>)").status == 412

    def test_who_lost_the_lock_is_told_by_whom(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        desk.break_("root", lock, "urgent")
        reply = forwarded(desk, "alice", "PUT", resource, If=f"(<{lock['token']}>)")
        assert reply.status == 412
        assert "Your lock was broken by root" in reply.problem["detail"]

    def test_entity_tags_are_the_applications_to_judge(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        condition = f'(<{lock["token"]}> ["of the application"])'
        assert forwarded(desk, "alice", "PUT", resource, If=condition).status == 204
        assert forwarded(desk, "alice", "PUT", "/dav/none.txt", If='(["e"])').status == 412

    def test_tags_name_the_host_that_the_client_asked(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        condition = f"<https://app.example{resource}> (<{lock['token']}>)"
        told = {"x_forwarded_host": "app.example", "x_forwarded_proto": "https"}
        assert forwarded(desk, "alice", "PUT", resource, If=condition, **told).status == 204
        assert forwarded(desk, "alice", "PUT", resource, If=condition).status == 412

    @pytest.mark.parametrize("method", ["COPY", "MOVE"])
    def test_what_a_copy_or_move_overwrites_is_asked_too(self, desk: Desk, resource: str, method: str) -> None:
        desk.granted("alice", f"{resource}/locked")
        assert forwarded(desk, "bob", method, f"{resource}/x", destination=f"{resource}/locked").status == 423
        assert forwarded(desk, "bob", method, f"{resource}/x", destination=f"{resource}/free").status == 204

    @pytest.mark.parametrize("method", ["COPY", "MOVE"])
    def test_a_destination_is_asked_about_whatever_host_it_names(self, desk: Desk, resource: str, method: str) -> None:
        """An application may go by other names than the gateway's, or look at the path alone."""
        desk.granted("alice", f"{resource}/locked")
        told = {"x_forwarded_host": "app.example", "x_forwarded_proto": "https"}
        for host in ("http://app.internal", "https://app.example:8443", "http://127.0.0.1:9"):
            for fields in ({}, told):
                target = f"{host}{resource}"
                locked = forwarded(desk, "bob", method, f"{resource}/x", destination=f"{target}/locked", **fields)
                assert locked.status == 423
                free = forwarded(desk, "bob", method, f"{resource}/x", destination=f"{target}/free", **fields)
                assert free.status == 204
        assert forwarded(desk, "bob", method, f"{resource}/x", destination="http://a@b/c").status == 400

    def test_a_gateway_that_is_an_administrator_tells_who_asks(self, desk: Desk, resource: str) -> None:
        lock = desk.granted("alice", resource)
        held = f"(<{lock['token']}>)"
        assert forwarded(desk, "root", "PUT", resource, If=held, x_forwarded_user="alice").status == 204
        assert forwarded(desk, "root", "PUT", resource, If=held, x_forwarded_user="bob").status == 423
        assert forwarded(desk, "bob", "PUT", resource, If=held, x_forwarded_user="alice").status == 423

    def test_for_nginx_a_refusal_is_403_and_names_the_real_status(self, desk: Desk, resource: str) -> None:
        desk.granted("alice", resource)
        reply = forwarded(desk, "bob", "PUT", resource, "?refuse=403")
        assert (reply.status, reply.answer["Holdfast-Status"]) == (403, "423")
        false = forwarded(desk, "bob", "PUT", resource, "?refuse=403", If="(<urn:x:y>)")
        assert (false.status, false.answer["Holdfast-Status"]) == (403, "412")
        assert forwarded(desk, "bob", "GET", resource, "?refuse=403").status == 204

    def test_without_the_fields_there_is_nothing_to_check(self, desk: Desk) -> None:
        assert desk.ask("alice", "GET", "/api/check").status == 400
        assert forwarded(desk, "alice", "PUT", "no-path").status == 400
        assert forwarded(desk, "alice", "PUT", "/a/../b").status == 400
        assert forwarded(desk, "alice", "PUT", "/a", If="(").status == 400
        assert forwarded(desk, "alice", "PUT", "/a", lock_token="x y").status == 400

    def test_one_asks_about_what_one_may_read(self, desk: Desk, resource: str) -> None:
        assert forwarded(desk, "tom", "GET", resource).status == 403

    def test_each_refusal_that_nginx_would_not_pass_on_is_403(self, desk: Desk) -> None:
        for fields in ({"If": "("}, {"lock_token": "x y"}):
            reply = forwarded(desk, "alice", "PUT", "/a", "?refuse=403", **fields)
            assert (reply.status, reply.answer["Holdfast-Status"]) == (403, "400")
        assert forwarded(desk, "tom", "GET", "/secret", "?refuse=403").status == 403

    def test_who_must_answer_a_refusal_is_never_told_of_success(self, desk: Desk, resource: str) -> None:
        """Between a gateway's two questions the lock may end; the change was not made all the same."""
        lock = desk.granted("alice", resource)
        assert forwarded(desk, "bob", "PUT", resource, "?refuse=always").status == 423
        desk.release("alice", lock)
        reply = forwarded(desk, "bob", "PUT", resource, "?refuse=always")
        assert (reply.status, reply.answer["Retry-After"]) == (503, "1")
        assert "Nothing was changed" in reply.problem["detail"]

    def test_the_other_names_of_the_fields_are_understood_but_cannot_contradict(
        self, desk: Desk, resource: str
    ) -> None:
        """A client's own field must not make a PUT look like a GET."""
        desk.granted("alice", resource)
        original = {"X-Original-Method": "PUT", "X-Original-Uri": resource}
        assert desk.ask("bob", "GET", "/api/check", headers=original).status == 423
        for name, value in (("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/free")):
            assert desk.ask("bob", "GET", "/api/check", headers=original | {name: value}).status == 400
        both = original | {"X-Forwarded-Method": "PUT", "X-Forwarded-Uri": resource}
        assert desk.ask("bob", "GET", "/api/check", headers=both).status == 423
        assert desk.ask("bob", "GET", "/api/check", headers={**both, "X-Forwarded-Method": "GET"}).status == 400
