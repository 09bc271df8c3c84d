"""Orders that several people edit, one at a time, in FastAPI. The README beside it says how to start and try it."""

from __future__ import annotations

import base64
import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, RedirectResponse
from pydantic import BaseModel

from holdfast.integrations.fastapi import Locks, install, install_database_errors, lock, require_lock

DATABASE = os.environ.get("ORDERS", "orders.db")
EDITOR = Path(__file__).with_name("editor.html")
PEOPLE = {"ada": "lovelace", "bob": "builder"}  # an application of yours keeps hashes, in a database


def user(request: Request) -> str:
    """The name of whoever sends the request, once the password is right; 401 else."""
    encoded = request.headers.get("authorization", "").removeprefix("Basic ")
    try:
        name, _, password = base64.b64decode(encoded).decode().partition(":")
    except ValueError:
        name = password = ""
    if name not in PEOPLE or not secrets.compare_digest(password.encode(), PEOPLE[name].encode()):
        raise HTTPException(401, "Who are you?", {"WWW-Authenticate": 'Basic realm="orders"'})
    return name


app = FastAPI(title="Orders")
locks = install(
    app,
    # A file, a Holdfast server, or an SQLAlchemy engine: nothing else in here changes with it.
    Locks(os.environ.get("LOCKS", "sqlite:///locks.db"), address="/locks", token=os.environ.get("LOCKS_TOKEN", "")),
    principal=user,
    may_lock=lambda _who, resource, _depth: resource.text.startswith("/orders/"),
    may_break=lambda who: who == "ada",
)
install_database_errors(app, f"sqlite:///{DATABASE}")


def opened() -> sqlite3.Connection:
    """The orders' database; its table is made where there is none."""
    connection = sqlite3.connect(DATABASE, timeout=2)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, text TEXT, bills INTEGER DEFAULT 0)"
    )
    return connection


class Order(BaseModel):
    """What is in an order."""

    text: str


@app.get("/")
def front() -> RedirectResponse:
    """Begin with some order."""
    return RedirectResponse("/edit/42")


@app.get("/edit/{number}")
def editor(_: Annotated[str, Depends(user)]) -> FileResponse:
    """The page on which an order is edited."""
    return FileResponse(EDITOR)


@app.get("/orders/{number}")
def read(number: int) -> Order:
    """Everybody may read, whoever has locked it."""
    with closing(opened()) as connection:
        row = connection.execute("SELECT text FROM orders WHERE number = ?", (number,)).fetchone()
    return Order(text=row[0] if row else "")


@app.put("/orders/{number}", dependencies=[Depends(require_lock("/orders/{number}"))])
def write(number: int, order: Order) -> Order:
    """Only who has locked it may write, while somebody has."""
    with closing(opened()) as connection, connection:
        connection.execute(
            "INSERT INTO orders (number, text) VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET text = excluded.text",
            (number, order.text),
        )
    return order


@app.post("/orders/{number}/bill", dependencies=[Depends(lock("/orders/{number}", wait=5), scope="function")])
def bill(number: int) -> dict[str, int]:
    """Nobody edits an order while it is billed, and no two bills are made at once."""
    with closing(opened()) as connection, connection:
        connection.execute("UPDATE orders SET bills = bills + 1 WHERE number = ?", (number,))
        row = connection.execute("SELECT bills FROM orders WHERE number = ?", (number,)).fetchone()
    return {"bills": row[0] if row else 0}
