"""The page of the example applications in a real Chromium: Edit takes the lock, the other one is told who has it, Save gives it back."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.integrations.running import ROOT, UVICORN, running
from tests.serving import Client

pytestmark = [pytest.mark.process, pytest.mark.tool("chromium")]

EXAMPLE = ROOT / "examples" / "fastapi"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        # Without its sandbox, which is not to be had as root.
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def window(browser: Browser, name: str, password: str, url: str) -> Iterator[Page]:
    context = browser.new_context(http_credentials={"username": name, "password": password})
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


def test_two_people_and_one_order(browser: Browser, tmp_path: Path) -> None:
    environment = {"ORDERS": str(tmp_path / "orders.db"), "LOCKS": f"sqlite:///{tmp_path}/locks.db"}
    command = tuple(part for part in UVICORN if part != "--factory")
    with running(command, "app:app", environment | {"PYTHONPATH": str(EXAMPLE)}, EXAMPLE) as server:
        url = f"http://127.0.0.1:{server.port}/edit/42"
        with window(browser, "ada", "lovelace", url) as ada, window(browser, "bob", "builder", url) as bob:
            ada.get_by_role("button", name="Edit", exact=True).click()
            expect(ada.get_by_role("status")).to_contain_text("You are editing")
            bob.get_by_role("button", name="Edit", exact=True).click()
            expect(bob.get_by_role("status")).to_contain_text("ada has locked /orders/42")
            expect(bob.get_by_role("textbox")).not_to_be_editable()
            ada.get_by_role("textbox").fill("two hundred bolts")
            ada.get_by_role("button", name="Save").click()
            expect(ada.get_by_role("status")).to_have_text("Saved.")
            bob.get_by_role("button", name="Edit", exact=True).click()
            expect(bob.get_by_role("status")).to_contain_text("You are editing")
            expect(bob.get_by_role("textbox")).to_have_value("two hundred bolts")
            _broken_for(server.port)
            bob.get_by_role("textbox").fill("none")
            bob.get_by_role("button", name="Save").click()
            expect(bob.get_by_role("status")).to_contain_text("Your lock was broken by ada")
            assert b"two hundred bolts" in Client("127.0.0.1", server.port).get("/orders/42").body


def _broken_for(port: int) -> None:
    """Ada ends Bob's lock while he is writing."""
    login = "Basic " + base64.b64encode(b"ada:lovelace").decode()
    ada = Client("127.0.0.1", port, login)
    lock_id = ada.get("/locks?resource=/orders/42").body.split(b'"id":"')[1].split(b'"')[0].decode()
    json = {"Content-Type": "application/json"}
    assert ada.request("POST", f"/locks/{lock_id}/break", b'{"reason": "urgent"}', json).status == 200
