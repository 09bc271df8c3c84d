"""`holdfast serve --settings FILE`: the settings without a flag, each mistake told in words."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from holdfast.cli.settings_file import read_settings_file
from holdfast.cli.terminal import CommandError

FLAGS = {"port": "--port", "folder": "DIR"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.toml"


def test_what_it_says_holds(serve, folder: Path, tmp_path: Path):
    file = tmp_path / "holdfast.toml"
    file.write_text("propfind_infinity = true\nmax_timeout_s = 7200\n")
    server = serve(folder, "--settings", str(file))
    answer = httpx.request("PROPFIND", server.webdav_url, headers={"Depth": "infinity"})
    assert answer.status_code == 207


def test_numbers_are_taken_as_the_setting_has_them(file: Path):
    file.write_text("place_kept_s = 30\nmax_connections = 5000\nmetrics_public = true\n")
    assert read_settings_file(file, FLAGS) == {"place_kept_s": 30.0, "max_connections": 5000, "metrics_public": True}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 80", "port in .* has a flag: give --port instead"),
        ("max_conections = 1", "max_conections in .* is no setting. Did you mean max_connections?"),
        ('max_connections = "many"', "max_connections in .* is of the wrong type: Expected `int`, got `str`"),
        ("max_connections =", "is not TOML"),
        ("[table]\nx = 1", "table in .* is no setting"),
    ],
)
def test_each_mistake_is_told(file: Path, text: str, said: str):
    file.write_text(text)
    with pytest.raises(CommandError, match=said):
        read_settings_file(file, FLAGS)


def test_a_file_that_is_not_there_or_no_text_is_told(file: Path):
    with pytest.raises(CommandError, match=r"cannot be read: No such file"):
        read_settings_file(file, FLAGS)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(CommandError, match="not a text in UTF-8"):
        read_settings_file(file, FLAGS)


def test_a_value_out_of_range_is_refused_before_anything_starts(run, folder: Path, file: Path):
    file.write_text("max_connections = 0\n")
    done = run("serve", folder, "--settings", file)
    assert done.returncode == 2
    assert "max_connections" in done.stderr
