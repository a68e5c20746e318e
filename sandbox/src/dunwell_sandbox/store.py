"""The sandbox's memory: one SQLite file that a SIGKILL cannot hurt.

Owns: every SQL statement. Refuses: rules. One request is one transaction, so truth and state never differ.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS faults (key TEXT PRIMARY KEY, fault TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, type TEXT NOT NULL, created INT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (seq INTEGER PRIMARY KEY, event TEXT NOT NULL, duplicate INT NOT NULL,
  hold_seconds REAL NOT NULL, posts INT NOT NULL DEFAULT 0, rejected INT NOT NULL DEFAULT 0, done INT NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS deliveries_open ON deliveries (seq) WHERE done = 0;
CREATE TABLE IF NOT EXISTS truth (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (seq INTEGER PRIMARY KEY, message_id TEXT UNIQUE NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS world_calls (seq INTEGER PRIMARY KEY, name TEXT NOT NULL, arguments TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS actions (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer stored under an idempotency key."""

    fingerprint: str
    status: int
    body: Json


@dataclass(frozen=True, slots=True)
class Delivery:
    """One post of one event that is not acknowledged yet."""

    seq: int
    body: bytes
    hold_seconds: float


class Store:
    """Opens or makes `state.db` in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "state.db", isolation_level=None)
        # The log survives the death of the process; only a power cut could lose its tail.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything in the block happen together; never awaits inside."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def put(self, kind: str, key: str, body: Json) -> None:
        """Keep a document."""
        self._db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (kind, key, json.dumps(body)))

    def all(self, kind: str) -> list[Json]:
        """Return all documents of a kind."""
        rows = self._db.execute("SELECT body FROM documents WHERE kind = ? ORDER BY id", (kind,))
        return [json.loads(body) for (body,) in rows]

    def one(self, kind: str, key: str) -> Json | None:
        """Return a document, None when there is none."""
        row = self._db.execute("SELECT body FROM documents WHERE kind = ? AND id = ?", (kind, key)).fetchone()
        return json.loads(row[0]) if row else None

    def reply(self, key: str) -> Reply | None:
        """Return the answer stored under an idempotency key."""
        row = self._db.execute("SELECT fingerprint, status, body FROM replies WHERE key = ?", (key,)).fetchone()
        return Reply(row[0], row[1], json.loads(row[2])) if row else None

    def keep_reply(self, key: str, reply: Reply) -> None:
        """Store the answer that the key will always give."""
        self._db.execute(
            "INSERT INTO replies VALUES (?, ?, ?, ?)", (key, reply.fingerprint, reply.status, json.dumps(reply.body))
        )

    def first_fault(self, key: str, fault: str) -> bool:
        """Remember that a key met its fault; False when it already had."""
        return self._db.execute("INSERT OR IGNORE INTO faults VALUES (?, ?)", (key, fault)).rowcount == 1

    def add_event(self, event: Json, *, holds: list[tuple[float, bool]]) -> None:
        """Keep an event and its deliveries, each with a delay in seconds and whether it is a duplicate."""
        row = (event["id"], event["type"], event["created"], json.dumps(event))
        if self._db.execute("INSERT OR IGNORE INTO events VALUES (NULL, ?, ?, ?, ?)", row).rowcount:
            self._db.executemany(
                "INSERT INTO deliveries (event, duplicate, hold_seconds) VALUES (?, ?, ?)",
                [(event["id"], duplicate, hold) for hold, duplicate in holds],
            )

    def events(self, kind: str | None, after: str | None, since: int, limit: int) -> tuple[list[Json], bool]:
        """Return a page of events, newest first, and whether there are more."""
        rows = self._db.execute(
            "SELECT body FROM events WHERE (? IS NULL OR type = ?) AND created >= ? AND "
            "(? IS NULL OR seq < (SELECT seq FROM events WHERE id = ?)) ORDER BY seq DESC LIMIT ?",
            (kind, kind, since, after, after, limit + 1),
        ).fetchall()
        return [json.loads(body) for (body,) in rows[:limit]], len(rows) > limit

    def open_deliveries(self, after: int) -> list[Delivery]:
        """Return deliveries not acknowledged, numbered higher than `after`."""
        rows = self._db.execute(
            "SELECT d.seq, e.body, d.hold_seconds FROM deliveries d JOIN events e ON e.id = d.event "
            "WHERE d.done = 0 AND d.seq > ? ORDER BY d.seq",
            (after,),
        )
        return [Delivery(seq, body.encode(), hold) for seq, body, hold in rows]

    def posted(self, seq: int, *, accepted: bool) -> None:
        """Count one post of a delivery; an accepted one is done."""
        self._db.execute(
            "UPDATE deliveries SET posts = posts + 1, rejected = rejected + ?, done = ? WHERE seq = ?",
            (not accepted, accepted, seq),
        )

    def delivery_stats(self) -> dict[str, int]:
        """Return posts made, duplicates among the deliveries, posts accepted and rejected, deliveries pending."""
        row = self._db.execute(
            "SELECT coalesce(sum(posts), 0), coalesce(sum(duplicate), 0), coalesce(sum(done), 0), "
            "coalesce(sum(rejected), 0), coalesce(sum(1 - done), 0) FROM deliveries"
        ).fetchone()
        return dict(zip(("posted", "duplicates", "accepted", "rejected", "pending"), row, strict=True))

    def pending(self) -> int:
        """Return how many deliveries are not acknowledged; asked by a time-lapse some fifty times a second."""
        return int(self._db.execute("SELECT count(*) FROM deliveries WHERE done = 0").fetchone()[0])

    def append(self, table: str, body: Json) -> None:
        """Add a line to `truth` or `actions`."""
        statement = {
            "truth": "INSERT INTO truth (body) VALUES (?)",
            "actions": "INSERT INTO actions (body) VALUES (?)",
        }[table]
        self._db.execute(statement, (json.dumps(body),))

    def lines(self, table: str) -> list[Json]:
        """Return the lines of `truth`, `actions` or `messages` in order."""
        statement = {
            "truth": "SELECT body FROM truth ORDER BY seq",
            "actions": "SELECT body FROM actions ORDER BY seq",
            "messages": "SELECT body FROM messages ORDER BY seq",
        }[table]
        return [json.loads(body) for (body,) in self._db.execute(statement)]

    def add_message(self, message_id: str, body: Json) -> bool:
        """Keep a message; False when one of that id came before, which its `times` then tells."""
        row = (message_id, json.dumps({"times": 1, **body}))
        if self._db.execute("INSERT OR IGNORE INTO messages VALUES (NULL, ?, ?)", row).rowcount == 1:
            return True
        again = "UPDATE messages SET body = json_set(body, '$.times', json_extract(body, '$.times') + 1) WHERE message_id = ?"
        self._db.execute(again, (message_id,))
        return False

    def add_world_call(self, name: str, arguments: list[str]) -> None:
        """Keep a question that changed the world, to ask it again after a restart."""
        self._db.execute("INSERT INTO world_calls VALUES (NULL, ?, ?)", (name, json.dumps(arguments)))

    def world_calls(self) -> list[tuple[str, list[str]]]:
        """Return those questions in order."""
        rows = self._db.execute("SELECT name, arguments FROM world_calls ORDER BY seq")
        return [(name, json.loads(arguments)) for name, arguments in rows]
