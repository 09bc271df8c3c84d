"""Write docs/settings.md and docs/commands.md from the program itself, so that they cannot say anything else.

    .venv/bin/python docs/reference.py

`tests/docs/test_reference.py` fails while either page differs from what this would write.
"""

# ruff: noqa: INP001 (a script beside the pages that it writes)
from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from cyclopts import App, Parameter

from holdfast.cli.main import app
from holdfast.config import Setting, describe_settings

DOCS: Final = Path(__file__).parent
_FLAG_OF: Final = {"users_file": "--users", "folder": "DIR", "host_names": "--host-name"}
"""Settings whose flag has another name."""


def settings_page() -> str:
    """docs/settings.md."""
    flags = {flag for name, command in commands(app) if name == "holdfast serve" for flag, _ in parameters(command)}
    rows = "".join(_setting_row(setting, flags) for setting in describe_settings())
    return (
        "# Settings\n\n"
        "Made by `docs/reference.py` from `holdfast.config.Settings`. A value outside of its range is refused with a plain\n"
        "sentence before anything starts. Settings without a flag are given to `holdfast serve` in a TOML file, one on a line,\n"
        "as `max_connections = 5000`: `holdfast serve DIR --settings holdfast.toml`.\n\n"
        "| setting | flag | default | range | what it is |\n|---|---|---|---|---|\n" + rows
    )


def commands_page() -> str:
    """docs/commands.md."""
    head = (
        "# Commands\n\n"
        "Made by `docs/reference.py` from the commands themselves; `holdfast COMMAND --help` says the same. Exit codes: 0 done,\n"
        "2 a plain sentence on standard error says why not; a command that has others tells them itself.\n"
    )
    parts = [head]
    for name, command in commands(app):
        known = list(parameters(command))
        arguments = [flag for flag, _ in known if not flag.startswith("-")]
        usage = " ".join([name, *arguments, *(["[FLAGS]"] if len(arguments) < len(known) else [])])
        rows = "".join(f"| `{flag}` | {_cell(text)} |\n" for flag, text in known)
        parts.append(f"## {name}\n\n    {usage}\n\n{inspect.getdoc(command)}\n\n| | |\n|---|---|\n{rows}")
    return "\n".join(parts)


def commands(parent: App, words: str = "holdfast") -> Iterator[tuple[str, Callable[..., object]]]:
    """Each command in full, as typed, with its function."""
    for word in parent:
        if not word.startswith("-"):
            child = parent[word]
            if child.default_command is not None:
                yield f"{words} {word}", child.default_command
            else:
                yield from commands(child, f"{words} {word}")


def parameters(command: Callable[..., object]) -> Iterator[tuple[str, str]]:
    """Each flag or argument as typed, with its help."""
    hints = typing.get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        if is_dataclass(hints[parameter.name]):  # a group of flags
            yield from parameters(hints[parameter.name])
            continue
        (described,) = [extra for extra in hints[parameter.name].__metadata__ if isinstance(extra, Parameter)]
        names = tuple(described.name or ())
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            flag = names[0] if names else "--" + parameter.name.replace("_", "-")
        else:
            flag = names[0] if names else parameter.name.upper()
        yield flag, _with_default(str(described.help), parameter.default)


def _with_default(text: str, default: object) -> str:
    """The help, with the default where the command has one that is worth a word."""
    if isinstance(default, Enum):
        default = default.value
    if isinstance(default, bool) or not isinstance(default, int | str) or default == "":
        return text
    return f"{text} Default: {default}."


def _setting_row(setting: Setting, flags: set[str]) -> str:
    flag = _FLAG_OF.get(setting.name, "--" + setting.name.replace("_", "-"))
    default = setting.default.value if isinstance(setting.default, Enum) else setting.default
    shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    span = "" if setting.least is None or setting.most is None else f"{setting.least:g} to {setting.most:.15g}"
    return f"| `{setting.name}` | {f'`{flag}`' if flag in flags else ''} | {shown} | {span} | {_cell(setting.description)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES: Final = {"settings.md": settings_page, "commands.md": commands_page}


def main() -> None:
    """Write both pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
