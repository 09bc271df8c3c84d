"""A random walk over all changes, beside a naive model of a folder: same answers, same tree, nothing left over."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.core.paths import ResourcePath
from holdfast.files import FilesError, Folder

PATHS = st.lists(st.sampled_from(["a", "b", "é"]), min_size=1, max_size=3).map(lambda names: "/" + "/".join(names))


class Walk(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.disk = Path(self.home.name)
        self.folder = Folder(self.disk, durable=False)
        self.model: dict[str, bytes | None] = {"/": None}

    def teardown(self) -> None:
        self.folder.close()
        self.home.cleanup()

    def is_collection(self, path: str) -> bool:
        return self.model.get(path, b"") is None

    def below(self, path: str) -> dict[str, bytes | None]:
        return {name: data for name, data in self.model.items() if name == path or name.startswith(path + "/")}

    def has_parent(self, path: str) -> bool:
        return self.is_collection(path.rsplit("/", 1)[0] or "/")

    def drop(self, path: str) -> None:
        for name in self.below(path):
            del self.model[name]

    @rule(path=PATHS, data=st.binary(max_size=3))
    def put(self, path: str, data: bytes) -> None:
        staged = self.folder.staging.new()
        staged.write(data)
        expected = self.has_parent(path) and not self.is_collection(path)
        try:
            created, resource = self.folder.place(staged, ResourcePath(path))
        except FilesError:
            assert not expected
            staged.discard()
            return
        assert expected
        assert created == (path not in self.model)
        assert resource == self.folder.stat(ResourcePath(path))
        self.model[path] = data

    @rule(path=PATHS)
    def make(self, path: str) -> None:
        expected = self.has_parent(path) and path not in self.model
        try:
            self.folder.make_collection(ResourcePath(path))
        except FilesError:
            assert not expected
            return
        assert expected
        self.model[path] = None

    @rule(path=PATHS, restore=st.booleans())
    def delete(self, path: str, *, restore: bool) -> None:
        try:
            detached = self.folder.detach(ResourcePath(path))
        except FilesError:
            assert path not in self.model
            return
        assert path in self.model
        if restore:
            detached.restore()
            return
        detached.purge()
        self.drop(path)

    @rule(source=PATHS, destination=PATHS, overwrite=st.booleans(), verb=st.sampled_from(["move", "copy", "copy-0"]))
    def transfer(self, source: str, destination: str, *, overwrite: bool, verb: str) -> None:
        start, end = ResourcePath(source), ResourcePath(destination)
        inside = end.is_at_or_below(start) if verb != "copy-0" else source == destination
        if verb == "copy" and source != destination and not self.is_collection(source):
            inside = False
        over = verb == "move" and start.is_below(end)
        expected = source in self.model and self.has_parent(destination) and not inside and not over
        expected = expected and (overwrite or destination not in self.model)
        staged = None
        try:
            if verb == "move":
                created, replaced = self.folder.move(start, end, overwrite=overwrite)
            else:
                staged = self.folder.stage_copy(start, depth_infinity=verb == "copy")
                created, replaced = self.folder.place_tree(staged, end, overwrite=overwrite)
        except FilesError:
            assert not expected
            if staged is not None:
                staged.discard()
            return
        assert expected
        assert created == (destination not in self.model)
        if replaced is not None:
            replaced.purge()
        taken = self.below(source) if verb != "copy-0" else {source: self.model[source]}
        if verb == "move":
            self.drop(source)
        self.drop(destination)
        self.model |= {destination + name[len(source) :]: data for name, data in taken.items()}

    @invariant()
    def the_tree_is_the_models(self) -> None:
        found: dict[str, bytes | None] = {"/": None}
        waiting = [ResourcePath("/")]
        while waiting:
            for member in self.folder.members(waiting.pop()):
                found[member.path.text] = None
                if member.is_collection:
                    waiting.append(member.path)
                    continue
                opened = self.folder.open(member.path)
                assert opened is not None
                with opened[0] as file:
                    found[member.path.text] = file.read()
        assert found == self.model
        assert list((self.disk / ".holdfast" / "staging").glob("*/*")) == []


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
