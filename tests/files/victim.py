"""The process that the kill tests kill: one kind of change over and over, each generation a number.

Arguments: the folder, the verb, how many rounds. Prints a line before each round.
"""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.core.paths import ResourcePath
from holdfast.files import Folder

SIZE = 30_000


def main() -> None:
    disk = Path(sys.argv[1])
    folder = Folder(disk, durable=False)
    verb, rounds = sys.argv[2], int(sys.argv[3])
    source, destination = ResourcePath(sys.argv[4]), ResourcePath(sys.argv[5])
    for generation in range(1, rounds + 1):
        sys.stdout.write(f"{generation}\n")
        sys.stdout.flush()
        if verb == "place":
            write(folder, destination, generation)
            continue
        if verb == "delete":
            build(disk / destination.text[1:], generation)
            folder.detach(destination).purge()
            continue
        build(disk / source.text[1:], generation)
        if verb == "move":
            _, replaced = folder.move(source, destination)
        else:
            _, replaced = folder.place_tree(folder.stage_copy(source), destination)
        if replaced is not None:
            replaced.purge()
        if verb == "copy":
            folder.detach(source).purge()


def write(folder: Folder, path: ResourcePath, generation: int) -> None:
    staged = folder.staging.new()
    staged.write(f"{generation:010}".encode() * (SIZE // 10))
    staged.seal(SIZE)
    folder.place(staged, path)


def build(path: Path, generation: int) -> None:
    """A collection as a person makes it, so that the only renames are the change's own."""
    path.mkdir()
    for name in ("a", "b"):
        (path / name).write_bytes(f"{generation:010}".encode() * (SIZE // 10))


if __name__ == "__main__":
    main()
