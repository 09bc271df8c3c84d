"""One resource has one path; whatever could mean two things is refused, never repaired."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.paths import MAX_PATH_BYTES, MAX_SEGMENT_BYTES, ROOT, InvalidPathError, ResourcePath

SEGMENTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="/\\\x7f", min_codepoint=0x20), min_size=1, max_size=20
).filter(lambda name: name not in {".", ".."} and len(name.encode()) <= MAX_SEGMENT_BYTES)
PATHS = st.lists(SEGMENTS, max_size=6).map(lambda names: ResourcePath.from_text("/" + "/".join(names)))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a"),
        ("/a/b/", "/a/b"),
        ("/%61", "/a"),
        ("/%7Euser", "/~user"),
        ("/%7euser", "/~user"),
        ("/caf%C3%A9", "/café"),
        ("/caf%c3%a9/", "/café"),
        ("/a%20b", "/a b"),
        ("/a+b", "/a+b"),
        ("/a%2Bb", "/a+b"),
        ("/100%25", "/100%"),
        ("/%252e%252e", "/%2e%2e"),
        ("/%252f", "/%2f"),
        ("/.hidden", "/.hidden"),
        ("/...", "/..."),
        ("/a..b", "/a..b"),
        ("/..a", "/..a"),
        ("/a%3Fb%23c", "/a?b#c"),
        ("/a%5Bb", "/a[b"),
        ("/%F0%9F%93%84.txt", "/📄.txt"),
        ("/!$&'()*+,;=:@-._~", "/!$&'()*+,;=:@-._~"),
    ],
)
def test_spellings_of_one_resource_give_one_path_decoded_once(target: str, text: str):
    assert ResourcePath.from_target(target).text == text


@pytest.mark.parametrize(
    "target",
    [
        "",
        "a",
        "*",
        "http://host/a",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/./a",
        "/a/..",
        "/a/../b",
        "/a/./b",
        "/%2e",
        "/%2e%2e",
        "/%2E%2e/etc/passwd",
        "/.%2e/etc",
        "/a/%2e%2e/",
        "/a%2fb",
        "/a%2Fb",
        "/.cpr/%2Fetc%2Fpasswd",
        "/a\\b",
        "/a%5cb",
        "/..%5c..%5cetc",
        "/%00",
        "/a%00.txt",
        "/a\x00b",
        "/a%0d%0aSet-Cookie:x",
        "/a%1fb",
        "/a%7fb",
        "/a\tb",
        "/a b",
        "/café",
        "/%",
        "/%4",
        "/%zz",
        "/a%2",
        "/%ff",
        "/%c0%ae%c0%ae",
        "/%c0%af",
        "/%ed%a0%80",
        "/%e2%82",
        "/a?b",
        "/a#b",
    ],
)
def test_a_target_that_could_mean_two_things_is_refused(target: str):
    with pytest.raises(InvalidPathError):
        ResourcePath.from_target(target)


@pytest.mark.parametrize("text", ["", "a", "//", "/a//b", "/.", "/a/..", "/a\\b", "/a\x00", "/a\n", "/\x7f", "/\ud800"])
def test_a_decoded_path_is_checked_as_strictly(text: str):
    with pytest.raises(InvalidPathError):
        ResourcePath.from_text(text)


def test_the_longest_name_and_path_pass_and_one_byte_more_does_not():
    name = "n" * MAX_SEGMENT_BYTES
    assert ResourcePath.from_target("/" + name).name == name
    assert ResourcePath.from_target("/é".replace("é", "%C3%A9" * 127)).name == "é" * 127
    with pytest.raises(InvalidPathError, match="longer than 255"):
        ResourcePath.from_target("/" + name + "n")
    with pytest.raises(InvalidPathError, match="longer than 255"):
        ResourcePath.from_target("/" + "%C3%A9" * 128)
    longest = "/" + "/".join(["a" * 127] * 32)
    assert len(longest) == MAX_PATH_BYTES
    assert ResourcePath.from_target(longest).text == longest
    with pytest.raises(InvalidPathError, match="longer than 4096"):
        ResourcePath.from_target(longest + "a")
    with pytest.raises(InvalidPathError, match="longer than 4096"):
        ResourcePath.from_target("/" + "a/" * 1_000_000)


def test_a_name_of_255_characters_but_more_bytes_is_refused():
    with pytest.raises(InvalidPathError):
        ROOT.child("é" * 128)


@given(PATHS)
def test_an_href_leads_back_to_its_path(path: ResourcePath):
    assert ResourcePath.from_target(path.href()) == path
    assert ResourcePath.from_target(path.href(collection=True)) == path
    assert path.href().isascii()
    assert path.href(collection=True).endswith("/")


@given(st.text(max_size=60))
def test_any_text_is_a_canonical_path_or_an_invalid_path_error(text: str):
    for make in (ResourcePath.from_target, ResourcePath.from_text):
        for candidate in (text, "/" + text):
            try:
                path = make(candidate)
            except InvalidPathError:
                continue
            assert ResourcePath.from_text(path.text) == path
            assert not {".", "..", ""} & set(path.segments)


@given(st.binary(max_size=40))
def test_any_percent_encoded_bytes_are_a_path_or_an_invalid_path_error(data: bytes):
    target = "/" + "".join(f"%{byte:02x}" for byte in data)
    try:
        path = ResourcePath.from_target(target)
    except InvalidPathError:
        return
    assert path.text.encode() == (b"/" + data if not data.endswith(b"/") else data)


@given(PATHS)
def test_lineage_parent_and_segments_agree(path: ResourcePath):
    lineage = path.lineage
    assert lineage[0] == "/"
    assert lineage[-1] == path.text
    assert len(lineage) == len(path.segments) + 1
    assert len(set(lineage)) == len(lineage)
    if not path.is_root:
        assert path.parent.text == lineage[-2]
        assert path.parent.child(path.name) == path
        assert path.is_below(path.parent)
    for text in lineage:
        assert path.is_at_or_below(ResourcePath(text))


@given(PATHS, PATHS)
def test_below_is_a_matter_of_segments_not_of_letters(one: ResourcePath, other: ResourcePath):
    assert one.is_at_or_below(other) == (one.segments[: len(other.segments)] == other.segments)
    assert one.is_below(other) == (one != other and one.is_at_or_below(other))


def test_a_sibling_whose_name_starts_alike_is_not_below():
    assert not ResourcePath("/ab").is_at_or_below(ResourcePath("/a"))
    assert ResourcePath("/a/b").is_below(ResourcePath("/a"))
    assert ResourcePath("/a").is_below(ROOT)
    assert not ROOT.is_below(ROOT)


@pytest.mark.parametrize("name", ["", "a/b", "b/", "/b", ".", "..", "a\\b", "a\x00", "\ud800", "n" * 256])
def test_a_member_has_a_name_of_one_segment(name: str):
    with pytest.raises(InvalidPathError):
        ResourcePath("/a").child(name)


@pytest.mark.parametrize(
    ("path", "source", "destination", "moved"),
    [
        ("/a", "/a", "/b", "/b"),
        ("/a/x/y", "/a", "/b", "/b/x/y"),
        ("/a/x", "/a", "/", "/x"),
        ("/a", "/a", "/", "/"),
        ("/", "/", "/b", "/b"),
        ("/x", "/", "/b", "/b/x"),
        ("/x", "/", "/", "/x"),
    ],
)
def test_what_lies_below_a_moved_resource_moves_with_it(path: str, source: str, destination: str, moved: str):
    assert ResourcePath(path).moved(ResourcePath(source), ResourcePath(destination)) == ResourcePath(moved)


def test_the_root_is_its_own_parent_and_has_no_name():
    assert ROOT.parent == ROOT
    assert ROOT.name == ""
    assert ROOT.segments == ()
    assert ROOT.lineage == ["/"]
    assert ROOT.href(collection=True) == "/"


@given(PATHS)
def test_a_path_can_be_a_key_and_be_sent_to_another_process(path: ResourcePath):
    again: object = pickle.loads(pickle.dumps(path))
    assert again == path
    assert len({path, again}) == 1
    assert path != path.text


@given(st.lists(PATHS, max_size=8))
def test_paths_sort_as_utf_8_bytes_do(paths: list[ResourcePath]):
    assert [path.text for path in sorted(paths)] == sorted((path.text for path in paths), key=str.encode)
