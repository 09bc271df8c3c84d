"""Settings: each is described, each number has a range, and a wrong value is a plain sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast.config import Durability, Settings, SettingsError, describe_settings

FOLDER = Path("/srv/documents")
NUMBERS = [setting for setting in describe_settings() if setting.least is not None]


def test_the_defaults_hold_together():
    settings = Settings(folder=FOLDER)
    assert settings.durability is Durability.POWER
    assert settings.state_folder == FOLDER / ".holdfast"
    assert settings.scheme == "http"


@pytest.mark.parametrize("setting", describe_settings(), ids=lambda setting: setting.name)
def test_each_setting_is_described(setting):
    assert setting.description.endswith(".")


@pytest.mark.parametrize("setting", describe_settings(), ids=lambda setting: setting.name)
def test_each_number_has_a_range_and_says_its_unit(setting):
    if isinstance(setting.default, int | float) and not isinstance(setting.default, bool):
        assert setting.least is not None
        assert setting.least <= setting.default <= setting.most
    unit = {"_s": "Seconds", "_bytes": "Bytes"}.get("_" + setting.name.rpartition("_")[2])
    assert unit is None or setting.description.startswith(unit)


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_a_value_out_of_range_is_refused_by_name(setting):
    for value in (setting.least - 1, setting.most + 1, "many"):
        with pytest.raises(SettingsError, match=f"^{setting.name} must be a number from "):
            Settings(folder=FOLDER, **{setting.name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"host": " "},
        {"tls_cert": Path("c.pem")},
        {"tls_key": Path("k.pem")},
        {"min_timeout_s": 60, "default_timeout_s": 30},
        {"default_timeout_s": 90_000},
    ],
)
def test_values_that_do_not_fit_together_are_refused(values):
    with pytest.raises(SettingsError):
        Settings(folder=FOLDER, **values)


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Settings(folder=FOLDER).port = 1


@pytest.mark.parametrize("setting", describe_settings(), ids=lambda setting: setting.name)
def test_each_setting_is_used(setting):
    """A setting without an effect would promise what nothing keeps."""
    package = Path(holdfast.__file__).parent
    sources = [path.read_text() for path in package.rglob("*.py")]
    assert any(f"settings.{setting.name}" in source or f"self.{setting.name}" in source for source in sources)


def test_networks_that_are_never_asked_are_networks(tmp_path: Path):
    settings = Settings(folder=tmp_path, inspect_deny=("9.9.9.0/24", "2a00::/16", "8.8.8.8"))
    assert [str(one) for one in settings.inspect_denied] == ["9.9.9.0/24", "2a00::/16", "8.8.8.8/32"]
    with pytest.raises(SettingsError, match="inspect_deny takes networks such as"):
        Settings(folder=tmp_path, inspect_deny=("9.9.9.9/24",))
