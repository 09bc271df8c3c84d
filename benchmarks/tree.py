"""The tree that every server gets a copy of, and the paths in it.

Owns the layout on disk; knows no server. Collections are writable by anyone, since Apache drops its privileges.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["LARGE", "LARGE_COUNT", "PROPFIND_SIZES", "SMALL", "SMALL_COUNT", "make_tree"]

SMALL = b"Holdfast!\n" * 102 + b"1KiB"
"""The body of a small document: 1 KiB."""
LARGE = SMALL * 10 * 1024
"""The body of a large document: 10 MiB."""
SMALL_COUNT = 1000
LARGE_COUNT = 4
PROPFIND_SIZES = (10, 1000, 10_000)


def make_tree(root: Path, *, held: int, is_whole: bool) -> None:
    """Fills an empty folder: documents to lock and ``held`` more to hold locks on; all the rest only if ``is_whole``.

    ``small/``, ``over/``, ``locks/``: SMALL_COUNT documents of 1 KiB. ``large/``: LARGE_COUNT of 10 MiB. ``p10/``,
    ``p1000/``, ``p10000/``: as many members. ``held/NNN/``: empty documents, a thousand in each. ``new/`` is empty.
    """
    _fill(root / "locks", SMALL_COUNT, SMALL)
    for first in range(0, held, 1000):
        _fill(root / "held" / f"{first // 1000:03d}", min(1000, held - first), b"", first)
    if is_whole:
        _fill(root / "small", SMALL_COUNT, SMALL)
        _fill(root / "over", SMALL_COUNT, SMALL)
        _fill(root / "large", LARGE_COUNT, LARGE)
        _fill(root / "new", 0, b"")
        for size in PROPFIND_SIZES:
            _fill(root / f"p{size}", size, b"A member.\n")
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o777)


def _fill(folder: Path, count: int, body: bytes, first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number:06d}.txt").write_bytes(body)
