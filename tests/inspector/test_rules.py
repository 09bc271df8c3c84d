"""Every rule has a page that is up to date, an exchange that makes it fire, and one done right that does not."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from holdfast.inspector.inspected import Inspected
from holdfast.inspector.rules import RULES
from tests.inspector.examples import EXAMPLES, ROOT, example

PAGES = ROOT / "docs" / "rules"
by_rule = pytest.mark.parametrize("rule_id", sorted(RULES))


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rules_pages", ROOT / "docs" / "rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@by_rule
def test_an_exchange_makes_it_fire(rule_id):
    findings = list(RULES[rule_id].check(Inspected(example(rule_id, "fires"))))
    assert findings
    assert all(finding.summary for finding in findings)


@by_rule
def test_the_same_done_right_does_not(rule_id):
    assert list(RULES[rule_id].check(Inspected(example(rule_id, "passes")))) == []


@by_rule
def test_its_page_is_up_to_date(writer, rule_id):
    """Where this fails, `.venv/bin/python docs/rules.py` writes the pages anew."""
    assert (PAGES / f"{rule_id}.md").read_text(encoding="utf-8") == writer.rule_page(RULES[rule_id])


def test_the_index_lists_every_rule(writer):
    """Where this fails, `.venv/bin/python docs/rules.py` writes it anew."""
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert index == writer.index_page()
    assert all(f"[{rule_id}]({rule_id}.md)" in index for rule_id in RULES)


def test_no_page_or_example_is_left_of_a_rule_that_is_gone():
    assert {page.stem for page in PAGES.glob("*.md")} == {*RULES, "README"}
    assert {folder.name for folder in EXAMPLES.iterdir()} == set(RULES)


@by_rule
def test_it_says_what_to_do_and_where_that_is_written(rule_id):
    found = RULES[rule_id]
    assert rule_id[0].isupper()
    assert rule_id[1:].isdigit()
    assert len(rule_id) == 3
    assert all(text and text == text.strip() for text in (found.title, found.why, found.mend))
    assert found.title[-1] != "."
    assert found.why.endswith(".")
    assert found.mend.endswith(".")
    assert found.sources
    assert all(source.link.startswith("https://") for source in found.sources)
