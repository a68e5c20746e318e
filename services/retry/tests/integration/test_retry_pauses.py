"""Cases that were paused before a pause had an end get one with the migration."""

from __future__ import annotations

import secrets
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from dunwell_kit.migrate import migrate
from dunwell_retry.policy import PAUSE_DAYS

pytestmark = pytest.mark.integration
PAUSED_AND_WAITING = """
INSERT INTO cases (case_id, tenant_id, gateway, account, payer_id, invoice_id, payer_key, currency, amount_minor, state,
  failed_at, opened_at, held_by)
SELECT 'rec_' || state, 't', 'stripe', 'acct', 'cus_1', 'in_' || state, 't:cus_1', 'EUR', 100, state, now(), now(), 'ada'
FROM unnest(ARRAY['paused', 'waiting']) state;
INSERT INTO decisions (decision_id, case_id, at, kind, rule, sentence, inputs, outputs, editions)
VALUES ('dec_1', 'rec_paused', '2026-03-02T06:00:00Z', 'paused', 'retry.paused', 'Paused by ada.', '{}', '{}', '{}');
"""


async def test_a_pause_from_before_ends_too(postgres_dsn: str, retry_urls: tuple[str, str]) -> None:
    name = f"retry_{secrets.token_hex(6)}"
    admin = urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
    server = await asyncpg.connect(postgres_dsn)
    await server.execute(f'CREATE DATABASE "{name}"')
    try:
        await migrate(admin, "retry", "0003")
        connection = await asyncpg.connect(admin)
        await connection.execute(PAUSED_AND_WAITING)
        await migrate(admin, "retry")
        held = await connection.fetch("SELECT case_id, held_since, held_until FROM cases WHERE held_until IS NOT NULL")
        timers = await connection.fetch("SELECT case_id, kind, due_at, state FROM timers")
        now = await connection.fetchval("SELECT now()")
        await connection.close()
    finally:
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.close()
    (case,), (timer,) = held, timers
    assert (case["case_id"], case["held_since"].isoformat()) == ("rec_paused", "2026-03-02T06:00:00+00:00")
    assert timedelta(0) <= now + timedelta(days=PAUSE_DAYS) - case["held_until"] < timedelta(minutes=5)
    assert tuple(timer) == ("rec_paused", "pause_end", case["held_until"], "pending")
