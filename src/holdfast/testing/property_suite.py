"""The part of the store suite about dead properties (RFC 4918 section 4).

Owns: one test for each promise about them in `holdfast.store.protocol`. Must not know: any particular store.
"""

from __future__ import annotations

import pytest

from holdfast.core.model import DeadProperty
from holdfast.core.paths import ROOT, ResourcePath
from holdfast.store.protocol import Store
from holdfast.testing.store_cases import TRICKY_NAMES, StoreCases, property_of

__all__ = ["PropertySuite"]


def _paths(properties: list[DeadProperty]) -> list[str]:
    return [prop.path.text for prop in properties]


class PropertySuite(StoreCases):
    """Dead properties are kept by resource, namespace and name, and follow their resources."""

    def test_properties_come_back_by_namespace_and_name_and_are_replaced_by_them(self, store: Store) -> None:
        path = ResourcePath("/a")
        with store.write() as tx:
            for namespace, name in [("urn:y", "a"), ("", "z"), ("urn:x", "b"), ("urn:x", "a")]:
                tx.put_property(property_of("/a", name, namespace=namespace))
            tx.put_property(property_of("/a", "b", "newer"))
        with store.read() as tx:
            found = tx.properties_on(path)
            assert [(prop.namespace, prop.name) for prop in found] == [
                ("", "z"),
                ("urn:x", "a"),
                ("urn:x", "b"),
                ("urn:y", "a"),
            ]
            assert found[2] == property_of("/a", "b", "newer")
        with store.write() as tx:
            tx.remove_property(path, "urn:x", "b")
            tx.remove_property(path, "urn:x", "b")
            assert len(tx.properties_on(path)) == 3

    @pytest.mark.parametrize("prefix", ["", "/top", "/t op/50%/_"])
    def test_properties_on_members_are_those_one_step_below_in_path_order(self, store: Store, prefix: str) -> None:
        paths = ["/", *(f"{prefix}/{name}" for name in TRICKY_NAMES)]
        with store.write() as tx:
            for path in paths:
                tx.put_property(property_of(path, "p"))
                tx.put_property(property_of(path, "o"))
        with store.read() as tx:
            for text in [*paths, *([prefix] if prefix else [])]:
                path = ResourcePath(text)
                members = sorted(other for other in paths if other != "/" and ResourcePath(other).parent == path)
                assert _paths(tx.properties_on_members(path)) == [member for member in members for _ in range(2)]
                assert [prop.name for prop in tx.properties_on(path)] == (["o", "p"] if text in paths else [])

    @pytest.mark.parametrize("name", TRICKY_NAMES)
    def test_removing_properties_takes_the_tree_and_nothing_beside_it(self, store: Store, name: str) -> None:
        paths = [f"/top/{other}" for other in TRICKY_NAMES]
        gone = ResourcePath(f"/top/{name}")
        with store.write() as tx:
            for path in paths:
                tx.put_property(property_of(path, "p"))
            tx.remove_properties(gone)
            left = [path for path in paths if tx.properties_on(ResourcePath(path))]
        assert left == [path for path in paths if not ResourcePath(path).is_at_or_below(gone)]

    def test_removing_properties_of_the_root_takes_all(self, store: Store) -> None:
        with store.write() as tx:
            for path in ["/", "/a", "/a/b"]:
                tx.put_property(property_of(path, "p"))
            tx.remove_properties(ROOT)
            assert not any(tx.properties_on(ResourcePath(path)) for path in ["/", "/a", "/a/b"])

    @pytest.mark.parametrize("verb", ["move", "copy"])
    @pytest.mark.parametrize("name", TRICKY_NAMES)
    def test_a_tree_of_properties_follows_a_move_or_a_copy(self, store: Store, name: str, verb: str) -> None:
        paths = [f"/from/{other}" for other in TRICKY_NAMES]
        source, destination = ResourcePath(f"/from/{name}"), ResourcePath("/😀/here")
        with store.write() as tx:
            for path in paths:
                tx.put_property(property_of(path, "p", path.encode().hex()))
            for path in ["/😀/here", "/😀/here/old", "/😀/here0"]:
                tx.put_property(property_of(path, "was"))
            if verb == "move":
                tx.move_properties(source, destination)
            else:
                tx.copy_properties(source, destination, tree=True)
        with store.read() as tx:
            for path in map(ResourcePath, paths):
                concerned = path.is_at_or_below(source)
                kept = not (concerned and verb == "move")
                assert tx.properties_on(path) == (
                    [property_of(path.text, "p", path.text.encode().hex())] if kept else []
                )
                if concerned:
                    there = path.moved(source, destination)
                    assert tx.properties_on(there) == [property_of(there.text, "p", path.text.encode().hex())]
            assert tx.properties_on(ResourcePath("/😀/here/old")) == []
            assert len(tx.properties_on(ResourcePath("/😀/here0"))) == 1

    def test_copying_without_the_tree_copies_one_resource_only(self, store: Store) -> None:
        with store.write() as tx:
            for path in ["/a", "/a/b", "/c", "/c/d", "/"]:
                tx.put_property(property_of(path, "p", path))
            tx.copy_properties(ResourcePath("/a"), ResourcePath("/c"), tree=False)
            tx.copy_properties(ResourcePath("/a"), ResourcePath("/a/new"), tree=False)
            tx.copy_properties(ResourcePath("/a"), ResourcePath("/a"), tree=False)
            tx.copy_properties(ROOT, ResourcePath("/r"), tree=False)
        with store.read() as tx:
            assert tx.properties_on(ResourcePath("/c")) == [property_of("/c", "p", "/a")]
            assert tx.properties_on(ResourcePath("/c/d")) == [property_of("/c/d", "p", "/c/d")]
            assert tx.properties_on(ResourcePath("/a/new")) == [property_of("/a/new", "p", "/a")]
            assert tx.properties_on(ResourcePath("/a")) == [property_of("/a", "p", "/a")]
            assert tx.properties_on(ResourcePath("/r")) == [property_of("/r", "p", "/")]

    def test_what_the_destination_had_is_gone_also_when_the_source_has_nothing(self, store: Store) -> None:
        with store.write() as tx:
            for path in ["/c", "/c/d", "/e"]:
                tx.put_property(property_of(path, "p"))
            tx.move_properties(ResourcePath("/none"), ResourcePath("/c"))
            tx.copy_properties(ResourcePath("/none"), ResourcePath("/e"), tree=False)
            assert not any(tx.properties_on(ResourcePath(path)) for path in ["/c", "/c/d", "/e"])

    @pytest.mark.parametrize(
        ("source", "destination"), [("/a", "/a/b"), ("/a/b", "/a"), ("/a", "/a"), ("/", "/a"), ("/a", "/")]
    )
    def test_a_tree_does_not_go_into_itself(self, store: Store, source: str, destination: str) -> None:
        with store.write() as tx:
            tx.put_property(property_of("/a/b", "p"))
            with pytest.raises(ValueError, match="in one another"):
                tx.move_properties(ResourcePath(source), ResourcePath(destination))
            with pytest.raises(ValueError, match="in one another"):
                tx.copy_properties(ResourcePath(source), ResourcePath(destination), tree=True)
            assert tx.properties_on(ResourcePath("/a/b")) == [property_of("/a/b", "p")]
