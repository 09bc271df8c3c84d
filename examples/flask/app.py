"""Orders that several people edit, one at a time, in Flask. The README beside it says how to start and try it."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, redirect, request, send_file

from holdfast.integrations.flask import Locks, install, install_database_errors, lock, require_lock

DATABASE = os.environ.get("ORDERS", "orders.db")
EDITOR = Path(__file__).with_name("editor.html")
PEOPLE = {"ada": "lovelace", "bob": "builder"}  # an application of yours keeps hashes, in a database


def user() -> str:
    """The name of whoever sends the request, once the password is right; 401 else."""
    login = request.authorization
    name, password = (login.username or "", login.password or "") if login else ("", "")
    if name not in PEOPLE or not secrets.compare_digest(password.encode(), PEOPLE[name].encode()):
        abort(Response("Who are you?", 401, {"WWW-Authenticate": 'Basic realm="orders"'}))
    return name


app = Flask(__name__)
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


@app.get("/")
def front() -> Any:
    """Begin with some order."""
    return redirect("/edit/42")


@app.get("/edit/<int:number>")
def editor(number: int) -> Any:  # noqa: ARG001 - the page reads it from its address
    """The page on which an order is edited."""
    user()
    return send_file(EDITOR)


@app.get("/orders/<int:number>")
def read(number: int) -> dict[str, str]:
    """Everybody may read, whoever has locked it."""
    with closing(opened()) as connection:
        row = connection.execute("SELECT text FROM orders WHERE number = ?", (number,)).fetchone()
    return {"text": row[0] if row else ""}


@app.put("/orders/<int:number>")
@require_lock("/orders/{number}")
def write(number: int) -> dict[str, str]:
    """Only who has locked it may write, while somebody has."""
    text = str(request.get_json()["text"])
    with closing(opened()) as connection, connection:
        connection.execute(
            "INSERT INTO orders (number, text) VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET text = excluded.text",
            (number, text),
        )
    return {"text": text}


@app.post("/orders/<int:number>/bill")
@lock("/orders/{number}", wait=5)
def bill(number: int) -> dict[str, int]:
    """Nobody edits an order while it is billed, and no two bills are made at once."""
    with closing(opened()) as connection, connection:
        connection.execute("UPDATE orders SET bills = bills + 1 WHERE number = ?", (number,))
        row = connection.execute("SELECT bills FROM orders WHERE number = ?", (number,)).fetchone()
    return {"bills": row[0] if row else 0}
