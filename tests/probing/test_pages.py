"""The pages about probes name every probe as it is, and what is said of other servers is what the tests see of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.inspector.probing import PROBES, Need
from tests.probing.test_servers import FOUND

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("probe_id", PROBES)
def test_each_probe_stands_in_the_list_with_its_level_source_and_promise(probe_id):
    probe = PROBES[probe_id]
    marks = (
        (" ⏱" if probe.waits else "") + (" ⚠" if probe.is_rough else "") + (" ②" if Need.SECOND in probe.needs else "")
    )
    row = f"| {probe_id}{marks} | {probe.level} | [{probe.source}]({probe.source.link}) | {probe.title} |"
    assert row in (DOCS / "probing.md").read_text(encoding="utf-8").splitlines()


def test_no_probe_is_listed_that_there_is_not():
    pages = {page: (DOCS / page).read_text(encoding="utf-8") for page in ("probing.md", "probe-results.md")}
    listed = set(re.findall(r"^\| ([a-z]+(?:-[a-z]+)+)[^|]*\| \w+ \| \[RFC", pages["probing.md"], re.MULTILINE))
    assert {name for name in PROBES if "-" in name} == listed
    table = pages["probe-results.md"].partition("## Side by side")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| ([a-z-]+) \| (?:ok|–)", table, re.MULTILINE)) <= set(PROBES)


@pytest.mark.parametrize("server", FOUND)
def test_what_the_tests_find_in_a_server_is_in_the_results(server):
    table = (
        (DOCS / "probe-results.md").read_text(encoding="utf-8").partition("## Side by side")[2].partition("\n## ")[0]
    )
    column = ["apache", "wsgidav", "rclone"].index(server) + 2
    found = {
        cells[0]
        for line in table.splitlines()
        if (cells := [cell.strip(" *") for cell in line.strip("| ").split("|")])[1:]
        and cells[column] in {"bad", "warn", "info"}
    }
    assert set(FOUND[server].split()) <= found
