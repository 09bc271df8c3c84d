"""Write docs/rules/<ID>.md for each rule of the inspector, and their index, from the rules and their examples.

    .venv/bin/python docs/rules.py [ID ...]

With ids, only their pages and the index. `tests/inspector/test_rules.py` fails while a page differs from what this
would write, or where a rule's examples do not show what they should.
"""

# ruff: noqa: INP001 (a script beside the pages that it writes)
from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from holdfast.inspector.notes import Rule, Source
from holdfast.inspector.rules import RULES

PAGES: Final = Path(__file__).parent / "rules"
EXAMPLES: Final = PAGES / "examples"

FAMILIES: Final = {
    "L": "Bodies of a 423: what they say of the lock",
    "P": "Problem details (RFC 9457)",
    "H": "Fields",
    "S": "Semantics: whether 423 is the answer, and what else the exchange shows",
    "R": "What each status must carry",
    "G": "Done well",
}
"""The rules by the letter that their ids begin with."""

_LEVELS: Final = {
    "bad": "bad: breaks a requirement, or clients",
    "warn": "warn: breaks a recommendation, or some clients",
    "info": "info: worth knowing",
    "good": "good: praise",
}
_INTRODUCTION: Final = (
    "What `holdfast inspect` looks for in an exchange, each with a page of its own: why it matters, how to mend it, where it\n"
    "is written, an exchange that it finds fault with and one that is right. Tests run both. Made by `docs/rules.py`."
)
_REMARK: Final = re.compile(r"#+ ?(.*)")


def rule_page(found: Rule) -> str:
    """The page of one rule."""
    praise = found.level == "good"
    parts = [
        f"# {found.id}: {found.title}",
        _LEVELS[found.level.value].capitalize() + ".",
        f"## Why it matters\n\n{found.why}",
        f"## {'How to get it' if praise else 'How to mend it'}\n\n{found.mend}",
        "## Where it is written\n\n" + "\n".join(f"- {_link(source)}" for source in found.sources),
        f"## {'An exchange that earns it' if praise else 'An exchange that it finds fault with'}\n\n"
        + _example(found.id, "fires"),
        f"## {'One that does not' if praise else 'One that is right'}\n\n" + _example(found.id, "passes"),
        "[All rules](README.md). Made by `docs/rules.py`.",
    ]
    return "\n\n".join(parts) + "\n"


def index_page() -> str:
    """docs/rules/README.md: every rule on a line."""
    parts = [
        "# Rules of the inspector",
        _INTRODUCTION,
    ]
    for letter, title in FAMILIES.items():
        known = [found for found in sorted(RULES.values(), key=lambda one: one.id) if found.id[0] == letter]
        if known:
            rows = "".join(f"| [{one.id}]({one.id}.md) | {one.level} | {_cell(one.title)} |\n" for one in known)
            parts.append(f"## {title}\n\n| rule | level | what is asked |\n|---|---|---|\n{rows}".rstrip("\n"))
    return "\n\n".join(parts) + "\n"


def _link(source: Source) -> str:
    return f"[{source}]({source.link})" if source.link else str(source)


def _example(rule_id: str, name: str) -> str:
    """The example as it stands in its file: remarks as prose, the exchange as a block."""
    lines = (EXAMPLES / rule_id / f"{name}.http").read_text(encoding="utf-8").rstrip("\n").split("\n")
    remarks: list[str] = []
    while lines and (remark := _REMARK.fullmatch(lines[0])):
        remarks.append(remark[1])
        lines.pop(0)
    text = "\n".join(lines).strip("\n")
    fence = "~~~~" if "```" in text else "```"
    shown = f"{fence}http\n{text}\n{fence}"
    return "\n".join(remarks) + "\n\n" + shown if remarks else shown


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(wanted: list[str]) -> None:
    """Write the pages of these rules, or of all, and the index."""
    PAGES.mkdir(exist_ok=True)
    for rule_id, found in RULES.items():
        if not wanted or rule_id in wanted:
            (PAGES / f"{rule_id}.md").write_text(rule_page(found), encoding="utf-8")
    (PAGES / "README.md").write_text(index_page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
