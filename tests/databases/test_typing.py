"""The types of `holdfast.databases`, as the checkers of people who use it see them: a right program is right, wrong ones are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.test_typing import CHECKERS, check

PROGRAM = Path(__file__).with_name("typed") / "program.py"
# What is right -> the slip that a checker must find in its line.
SLIPS = {
    "bare(42, paid=True)": 'bare("42", paid=True)',
    "assert_type(with_engine(42, paid=True)": "assert_type(with_engine(42, paid=3)",
    "assert_type(with_factory(42)": "assert_type(with_factory()",
    "Accounts().add(42)": 'Accounts().add("42")',
    'Accounts.of("ada"), bool': 'Accounts.of("ada"), str',
    "await Accounts().add_async(42)": "Accounts().add_async(42)",
    "def with_scoped(session: OwnSession)": "def with_scoped(session: AsyncSession)",
    "assert_type(run_locked(engine, count, deadline=10), int": "assert_type(run_locked(engine, count, deadline=10), str",
    "who_async(asynchronous, table=": "who_async(asynchronous, tables=",
}
UNKNOWN = "examine_asynchronously"

pytestmark = [pytest.mark.process]


@pytest.mark.parametrize("checker", CHECKERS)
def test_decorated_functions_and_methods_keep_their_signatures(checker: str, tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.read_text())
    done = check(checker, program)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("checker", CHECKERS)
def test_each_slip_of_the_pen_is_found_in_its_line(checker: str, tmp_path: Path):
    program = tmp_path / "program.py"
    text = PROGRAM.read_text()
    slips = {**SLIPS, "    examine_async,": f"    {UNKNOWN},"}
    for right, wrong in slips.items():
        assert text.count(right) == 1, right
        text = text.replace(right, wrong)
    program.write_text(text)
    done = check(checker, program)
    assert done.returncode != 0
    assert UNKNOWN in done.stdout
    lines = text.splitlines()
    for wrong in SLIPS.values():
        [at] = [number for number, line in enumerate(lines, 1) if wrong in line]
        # A decorated function is reported in the decorator's line by some, in its own by others.
        assert any(f"program.py:{number}:" in done.stdout for number in (at, at - 1)), (wrong, done.stdout)
