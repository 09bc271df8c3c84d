"""A file of settings for `holdfast serve`: those that are too many, or too rarely changed, for flags.

Owns: reading it, and the sentence for each thing that can be wrong with it. Must not know: what a setting does. What
has a flag is given by its flag alone, so that nobody has to know which of the two counts.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from holdfast.cli.terminal import CommandError
from holdfast.config import Settings

__all__ = ["read_settings_file"]


def read_settings_file(path: Path, flags: Mapping[str, str]) -> dict[str, object]:
    """The settings in the TOML file `path`, by name; `flags` has the flag of each setting that has one.

    Raises CommandError, in words, for a file that cannot be read, for what is no setting, and for a value of a wrong type.
    """
    try:
        read = tomllib.loads(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"The settings file {path} cannot be read: {error.strerror}."
        raise CommandError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"The settings file {path} is not a text in UTF-8."
        raise CommandError(msg) from error
    except tomllib.TOMLDecodeError as error:
        msg = f"The settings file {path} is not TOML: {error}."
        raise CommandError(msg) from error
    kinds = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    return {name: _value(path, name, value, kinds, flags) for name, value in read.items()}


def _value(path: Path, name: str, value: object, kinds: Mapping[str, object], flags: Mapping[str, str]) -> object:
    if name in flags:
        msg = f"{name} in {path} has a flag: give {flags[name]} instead."
        raise CommandError(msg)
    if name not in kinds:
        near = difflib.get_close_matches(name, [known for known in kinds if known not in flags], 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        msg = f"{name} in {path} is no setting.{hint}"
        raise CommandError(msg)
    try:
        return msgspec.convert(value, kinds[name])
    except msgspec.ValidationError as error:
        msg = f"{name} in {path} is of the wrong type: {error}."
        raise CommandError(msg) from error
