"""What a unit of work puts out besides state: timers, effects and events, written by one statement at its end.

Owns: that statement. Refuses: running it, and state; both are the unit of work's.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from dunwell_contracts.envelope import SEQUENCE_WIDTH, Envelope

# Payers' keys spread over so many independent orders; more would only help more than 16 relays. A database's
# cursor rows are made with it, so it cannot be changed by a setting.
SHARD_COUNT = 16


def shard_of(key: str) -> int:
    """Return the outbox shard of a key, in [0, SHARD_COUNT)."""
    return zlib.crc32(key.encode()) % SHARD_COUNT


@dataclass(frozen=True, slots=True)
class TimerSet:
    """One timer to arm; the same (case, kind, step) again moves it."""

    case_id: str
    kind: str
    due_at: datetime
    step: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    first_span: str = ""


@dataclass(frozen=True, slots=True)
class EffectRecorded:
    """One command to perform after the commit; the same (kind, key) again is ignored."""

    kind: str
    idem_key: str
    case_id: str
    payload: Mapping[str, Any]
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Emitted:
    """One record to publish: an event, whose headers come from its envelope, or a record as it is."""

    event_id: str
    topic: str
    key: str
    headers: Envelope | Mapping[str, str]
    payload: bytes


@dataclass(slots=True)
class Outputs:
    """What a unit of work has collected so far; timers and effects each with the span that armed or recorded it."""

    timers: dict[tuple[str, str, str], tuple[TimerSet, str]] = field(default_factory=dict)
    effects: list[tuple[EffectRecorded, str]] = field(default_factory=list)
    events: list[Emitted] = field(default_factory=list)

    def statement(self) -> tuple[str, dict[str, list[Any]]] | None:
        """Return the statement that writes all of it, and its parameters; None where there is nothing to write."""
        if not (self.timers or self.effects or self.events):
            return None
        parameters: dict[str, list[Any]] = {}
        if self.timers:
            parameters |= _timer_columns([self.timers[identity] for identity in sorted(self.timers)])
        if self.effects:
            # In one order, so that two units of work never wait for each other.
            parameters |= _effect_columns(sorted(self.effects, key=lambda each: (each[0].kind, each[0].idem_key)))
        if self.events:
            parameters |= _event_columns(self.events)
        return _statement(bool(self.timers), bool(self.effects), bool(self.events)), parameters


_TIMERS = """timers_written AS (
  INSERT INTO timers (case_id, kind, step, due_at, payload, first_span, armed_by)
  SELECT * FROM unnest(CAST(:t_cases AS text[]), CAST(:t_kinds AS text[]), CAST(:t_steps AS text[]),
    CAST(:t_dues AS timestamptz[]), CAST(:t_payloads AS jsonb[]), CAST(:t_firsts AS text[]), CAST(:t_armed AS text[]))
  ON CONFLICT (case_id, kind, step) DO UPDATE SET due_at = excluded.due_at, payload = excluded.payload,
    state = 'pending', tries = 0, fence = timers.fence + 1, armed_by = excluded.armed_by, changed_at = now()
  RETURNING 1)"""
_EFFECTS = """effects_written AS (
  INSERT INTO effects (kind, idem_key, case_id, payload, not_before, traceparent)
  SELECT k, i, c, p, coalesce(n, '-infinity'), s
  FROM unnest(CAST(:f_kinds AS text[]), CAST(:f_keys AS text[]), CAST(:f_cases AS text[]),
    CAST(:f_payloads AS jsonb[]), CAST(:f_starts AS timestamptz[]), CAST(:f_spans AS text[])) AS t(k, i, c, p, n, s)
  -- One that is being finished would be waited for by the conflict, and it may wait for us.
  WHERE NOT EXISTS (SELECT 1 FROM effects e WHERE e.kind = k AND e.idem_key = i){after}
  ON CONFLICT (kind, idem_key) DO NOTHING
  RETURNING 1)"""
# The row lock taken here keeps events of one key in commit order; sorted, so that no two units deadlock.
_KEYS = """locked AS (
  INSERT INTO aggregates AS a (agg_key, version)
  SELECT k, n FROM unnest(CAST(:keys AS text[]), CAST(:counts AS bigint[])) AS t(k, n) WHERE true{after} ORDER BY k
  ON CONFLICT (agg_key) DO UPDATE SET version = a.version + excluded.version
  RETURNING agg_key, version)"""
# Sorted before the first is written, and therefore after the last lock: ids follow the order in which they were told.
_EVENTS = f"""INSERT INTO outbox (shard, event_id, agg_key, agg_version, topic, headers, payload)
SELECT shard, id, e.agg_key, version - behind, topic,
  CASE WHEN numbered THEN headers || jsonb_build_object('ce_sequence',
    lpad((version - behind)::text, {SEQUENCE_WIDTH}, '0')) ELSE headers END, payload
FROM unnest(CAST(:shards AS smallint[]), CAST(:ids AS uuid[]), CAST(:of_keys AS text[]), CAST(:behind AS bigint[]),
    CAST(:topics AS text[]), CAST(:headers AS jsonb[]), CAST(:numbered AS boolean[]), CAST(:payloads AS bytea[]))
  WITH ORDINALITY AS e(shard, id, agg_key, behind, topic, headers, numbered, payload, place)
JOIN locked USING (agg_key) ORDER BY place"""  # noqa: S608 - a constant


@lru_cache(maxsize=8)
def _statement(timers: bool, effects: bool, events: bool) -> str:
    """Return the statement; its parts take their locks in one order: timers, effects, keys."""
    parts, before = [], ""
    for wanted, name, part in (
        (timers, "timers_written", _TIMERS),
        (effects, "effects_written", _EFFECTS),
        (events, "locked", _KEYS),
    ):
        if wanted:
            # Asked of the part before, so that it is written to its end first.
            after = f" AND (SELECT count(*) FROM {before}) >= 0" if before else ""  # noqa: S608 - constants
            parts.append(part.format(after=after))
            before = name
    return f"WITH {', '.join(parts)}\n{_EVENTS if events else f'SELECT count(*) FROM {before}'}"  # noqa: S608 - constants


def _timer_columns(rows: Sequence[tuple[TimerSet, str]]) -> dict[str, list[Any]]:
    return {
        "t_cases": [t.case_id for t, _ in rows],
        "t_kinds": [t.kind for t, _ in rows],
        "t_steps": [t.step for t, _ in rows],
        "t_dues": [t.due_at for t, _ in rows],
        "t_payloads": [json.dumps(dict(t.payload)) for t, _ in rows],
        "t_firsts": [t.first_span for t, _ in rows],
        "t_armed": [armed for _, armed in rows],
    }


def _effect_columns(rows: Sequence[tuple[EffectRecorded, str]]) -> dict[str, list[Any]]:
    return {
        "f_kinds": [e.kind for e, _ in rows],
        "f_keys": [e.idem_key for e, _ in rows],
        "f_cases": [e.case_id for e, _ in rows],
        "f_payloads": [json.dumps(dict(e.payload)) for e, _ in rows],
        "f_starts": [e.not_before for e, _ in rows],
        "f_spans": [recorded for _, recorded in rows],
    }


def _event_columns(events: Sequence[Emitted]) -> dict[str, list[Any]]:
    counts = Counter(event.key for event in events)
    keys, left, behind = sorted(counts), Counter(counts), []
    for event in events:
        # How many of its key follow it in this unit of work: the key's version, less these, is its own.
        left[event.key] -= 1
        behind.append(left[event.key])
    numbered = [isinstance(event.headers, Envelope) for event in events]
    return {
        "keys": keys,
        "counts": [counts[key] for key in keys],
        "shards": [shard_of(event.key) for event in events],
        "ids": [event.event_id for event in events],
        "of_keys": [event.key for event in events],
        "behind": behind,
        "topics": [event.topic for event in events],
        "headers": [json.dumps(_headers(event)) for event in events],
        "numbered": numbered,
        "payloads": [event.payload for event in events],
    }


def _headers(event: Emitted) -> Mapping[str, str]:
    return event.headers.attributes() if isinstance(event.headers, Envelope) else event.headers
