"""Every SQL check runs on its real store, finds nothing in an empty one, and the gravest find what is wrong."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from dunwell_cli.invariants import checks
from dunwell_kit.settings import SERVICES
from dunwell_kit.testing import migrated

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 1, tzinfo=UTC)
BAD = {
    "I1_deliveries_end": "INSERT INTO deliveries (delivery_id, endpoint_id, tenant_id, gateway, account, event_id,"
    " event_type, received_at, body, state) VALUES ('d', 'e', 't', 'g', 'a', 'evt', 'x', $1, '', 'new')",
    "I4_journals_balance": "INSERT INTO journals (id, tenant_id, kind, source_id, currency, effective_on, booked_at, rule)"
    " VALUES ('00000000-0000-0000-0000-000000000001', 't', 'payment', 's', 'USD', '2026-01-01', $1, 'r')",
    "I6_timers_bounded_retry": "INSERT INTO timers (case_id, kind, due_at) VALUES ('c', 'attempt', $1)",
    "I7_sequences_without_gap": "INSERT INTO facts (event_id, type, tenant_id, case_ids, invoice_id, payer_key,"
    " occurred_at, causation_id, sequence, source, payload) VALUES ('00000000-0000-0000-0000-000000000001', 'x', 't',"
    " '{}', '', 'k', $1, '', 2, 's', '')",
    "I5_one_message_per_step": "INSERT INTO notices (notice_id, tenant_id, gateway, account, payer_id, channel, step,"
    " tone, case_ids, state, due_at) VALUES ('n', 't', 'g', 'a', 'p', 'email', 'failed', 'friendly', '{c}', 'sent', $1)",
}


async def test_every_check_is_silent_on_an_empty_store_and_bites_on_a_bad_row(postgres_dsn: str) -> None:
    async with AsyncExitStack() as opened:
        connections: dict[str, asyncpg.Connection] = {}
        for service in SERVICES:
            _, url = await opened.enter_async_context(migrated(postgres_dsn, service))
            connections[service] = await asyncpg.connect(url)
            opened.push_async_callback(connections[service].close)
        for check in checks():
            values = (NOW,) if "$1" in check.statement else ()
            assert await connections[check.service].fetch(check.statement, *values) == [], check.name
        for check in checks():
            if check.name in BAD:
                store = connections[check.service]
                # `replica` leaves foreign keys and triggers aside, as damage would.
                await store.execute("SET session_replication_role = replica")
                await store.execute(BAD[check.name], NOW - timedelta(days=2))
                values = (NOW,) if "$1" in check.statement else ()
                assert len(await store.fetch(check.statement, *values)) == 1, check.name
