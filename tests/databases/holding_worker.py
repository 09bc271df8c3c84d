"""A process of its own that holds the write lock of a SQLite file until it is killed: python -m tests.databases.holding_worker PATH."""

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
