"""Parking: what cannot be handled waits with all that follows it, until an operator decides.

Owns: dead letters, parked keys and their replay. A parked key keeps its later messages in order.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka import ConsumerRecord

from dunwell_contracts.catalogue import dead_letter_topic
from dunwell_contracts.envelope import decode, envelope_of
from dunwell_kit import metrics
from dunwell_kit.database import Database, Tx
from dunwell_kit.errors import NotFound
from dunwell_kit.messages import Handler, Received, event_type, key_of, readable

Record = ConsumerRecord[bytes, bytes]


# Which keys are parked; part of the statement by which a consumer admits a batch. Shared with other consumers, not
# with a replay: it must not free a key while we park behind it.
PARKED_KEYS = "SELECT agg_key FROM parked_keys WHERE grp = :grp AND agg_key = ANY(CAST(:keys AS text[])) FOR SHARE"


async def park_waiting(
    tx: Tx, group: str, records: Sequence[Record], fresh: Sequence[Received], parked: Collection[str]
) -> list[Received]:
    """Park the fresh messages whose key is parked; returns the others, in order."""
    if not parked:
        return list(fresh)
    new = {(item.topic, item.partition, item.offset) for item in fresh}
    for record in records:
        if key_of(record) in parked and (record.topic, record.partition, record.offset) in new:
            await _park(tx, group, record)
    return [item for item in fresh if item.envelope.key not in parked]


async def bury(tx: Tx, group: str, record: Record, error: Exception) -> None:
    """Write a dead letter, park its key with the message itself, and tell the operators' topic."""
    key, reason = key_of(record), readable(f"{type(error).__name__}: {error}"[:2000].encode(errors="replace"))
    event_id = next((readable(v) for n, v in record.headers if n == "ce_id"), "")
    await tx.execute(
        """INSERT INTO dead_letters (grp, agg_key, topic, part, record_offset, event_id, event_type, error)
           VALUES (:grp, :key, :topic, :part, :at, :event_id, :type, :error) ON CONFLICT DO NOTHING""",
        grp=group, key=key, topic=record.topic, part=record.partition, at=record.offset,
        event_id=event_id, type=event_type(record), error=reason,
    )  # fmt: skip
    await tx.execute(
        "INSERT INTO parked_keys (grp, agg_key, reason) VALUES (:grp, :key, :reason) ON CONFLICT DO NOTHING",
        grp=group, key=key, reason=reason,
    )  # fmt: skip
    await _park(tx, group, record)
    service = group.removeprefix("dunwell.")
    tx.emit_raw(
        dead_letter_topic(record.topic, service),
        key,
        {
            **_texts(record),
            "dunwell_error": reason[:500],
            "dunwell_from": f"{record.topic}/{record.partition}/{record.offset}",
        },
        record.value or b"",
    )


async def _park(tx: Tx, group: str, record: Record) -> None:
    await tx.execute(
        """INSERT INTO parked_messages (grp, agg_key, topic, part, record_offset, headers, payload)
           VALUES (:grp, :key, :topic, :part, :at, CAST(:headers AS jsonb), :payload) ON CONFLICT DO NOTHING""",
        grp=group, key=key_of(record), topic=record.topic, part=record.partition, at=record.offset,
        headers=json.dumps(_texts(record)), payload=record.value,
    )  # fmt: skip


def _texts(record: Record) -> dict[str, str]:
    return {name: readable(value) for name, value in record.headers}


async def dead_letters(database: Database) -> list[dict[str, Any]]:
    """List dead letters, newest first, with how many messages wait behind each."""
    rows = await database.read(
        """SELECT d.*, (SELECT count(*) FROM parked_messages p WHERE p.grp=d.grp AND p.agg_key=d.agg_key) AS waiting
           FROM dead_letters d ORDER BY d.id DESC LIMIT 200"""
    )
    return [dict(row) for row in rows]


async def replay(database: Database, group: str, key: str, handlers: Mapping[str, Handler]) -> int:
    """Handle a parked key's messages in order, each in its own transaction, then free the key.

    Returns how many were handled. The first that fails again stops the replay and keeps the rest parked.
    """
    handled = 0
    while await database.transact(lambda tx: _replay_next(tx, group, key, handlers)):
        handled += 1
    return handled


async def _replay_next(tx: Tx, group: str, key: str, handlers: Mapping[str, Handler]) -> bool:
    known = await tx.row("SELECT 1 FROM parked_keys WHERE grp=:grp AND agg_key=:key FOR UPDATE", grp=group, key=key)
    if known is None:
        raise NotFound(f"key {key!r} is not parked in {group!r}")
    row = await tx.row(
        "SELECT id, topic, part, record_offset, headers::text AS headers, payload FROM parked_messages"
        " WHERE grp=:grp AND agg_key=:key ORDER BY id LIMIT 1",
        grp=group, key=key,
    )  # fmt: skip
    if row is None:
        await _free(tx, group, key, "replayed")
        return False
    envelope = envelope_of([(n, v.encode()) for n, v in json.loads(row["headers"]).items()])
    message = decode(envelope, bytes(row["payload"] or b""))
    tx.caused_by(envelope.id, envelope.correlation_id)
    await handlers[envelope.type](tx, Received(envelope, message, row["topic"], row["part"], row["record_offset"]))
    await tx.execute("DELETE FROM parked_messages WHERE id=:id", id=row["id"])
    return True


async def drop(database: Database, group: str, key: str) -> int:
    """Drop the first parked message of a key, the one that failed; the rest can then be replayed. Returns 0 or 1."""

    async def work(tx: Tx) -> int:
        done = await tx.execute(
            """DELETE FROM parked_messages WHERE id = (SELECT id FROM parked_messages WHERE grp=:grp AND agg_key=:key
               ORDER BY id LIMIT 1)""",
            grp=group, key=key,
        )  # fmt: skip
        await tx.execute(
            "UPDATE dead_letters SET state='dropped' WHERE grp=:grp AND agg_key=:key AND state='open'",
            grp=group,
            key=key,
        )
        return done.rowcount

    return await database.transact(work)


async def _free(tx: Tx, group: str, key: str, state: str) -> None:
    await tx.execute("DELETE FROM parked_keys WHERE grp=:grp AND agg_key=:key", grp=group, key=key)
    await tx.execute(
        "UPDATE dead_letters SET state=:state WHERE grp=:grp AND agg_key=:key AND state='open'",
        grp=group, key=key, state=state,
    )  # fmt: skip


async def count_parked(database: Database) -> int:
    """Return how many keys are parked, and set the gauge."""
    rows = await database.read("SELECT count(*) AS n FROM parked_keys")
    count = int(rows[0]["n"])
    metrics.PARKED.set(count)
    return count
