"""A Datasette as a team has it, at the root unless it is told otherwise: `uvicorn library:app`."""

import os
import sqlite3
from pathlib import Path

from datasette.app import Datasette

BOOKS = Path(os.environ.get("BOOKS", "books.db"))

if not BOOKS.exists():
    with sqlite3.connect(BOOKS) as database:
        database.execute("create table books (title text, year integer)")
        database.executemany(
            "insert into books values (?, ?)", [("The Keeper of Small Hours", 1931), ("Fog", 1947)]
        )

app = Datasette([str(BOOKS)], settings={"base_url": os.environ.get("BASE_URL", "/")}).app()
