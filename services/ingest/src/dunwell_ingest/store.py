"""Every SQL write of ingest; takes and returns model values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from dunwell_gateways.join import Told
from dunwell_gateways.port import Observation
from dunwell_ingest.model import Arrived, Endpoint, Stored, token_hash
from dunwell_ingest.translate import observation_document, observation_from
from dunwell_kit.database import Tx

# A late half of an outcome that is an event already must find it; gateways repeat a delivery for three days.
PUBLISHED_LOOK_BACK = timedelta(days=4)


async def add_endpoint(tx: Tx, endpoint: Endpoint, token: str) -> None:
    """Write a new endpoint; only the hash of its token is kept."""
    await tx.execute(
        """INSERT INTO endpoints (endpoint_id, token_sha256, tenant_id, gateway, account, secrets)
           VALUES (:id, :token, :tenant, :gateway, :account, CAST(:secrets AS text[]))""",
        id=endpoint.endpoint_id,
        token=token_hash(token),
        tenant=endpoint.tenant_id,
        gateway=endpoint.gateway,
        account=endpoint.account,
        secrets=list(endpoint.secrets),
    )


async def endpoint_by_token(tx: Tx, token: bytes) -> Endpoint | None:
    """Return the endpoint of a token's hash."""
    row = await tx.row("SELECT * FROM endpoints WHERE token_sha256=:token AND disabled_at IS NULL", token=token)
    if row is None:
        return None
    return Endpoint(row["endpoint_id"], row["tenant_id"], row["gateway"], row["account"], tuple(row["secrets"]))


async def add_deliveries(tx: Tx, group: Sequence[Arrived]) -> None:
    """Write deliveries in one statement; a known (gateway, account, event) changes nothing."""
    await tx.execute(
        """INSERT INTO deliveries (delivery_id, endpoint_id, tenant_id, gateway, account, event_id, event_type,
             received_at, body, state, detail, traceparent)
           SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:endpoints AS text[]), CAST(:tenants AS text[]),
             CAST(:gateways AS text[]), CAST(:accounts AS text[]), CAST(:events AS text[]), CAST(:types AS text[]),
             CAST(:times AS timestamptz[]), CAST(:bodies AS bytea[]), CAST(:states AS text[]), CAST(:details AS text[]),
             CAST(:traces AS text[]))
           ON CONFLICT (gateway, account, event_id) DO NOTHING""",
        ids=[a.delivery_id for a in group],
        endpoints=[a.endpoint.endpoint_id for a in group],
        tenants=[a.endpoint.tenant_id for a in group],
        gateways=[a.endpoint.gateway for a in group],
        accounts=[a.endpoint.account for a in group],
        events=[a.event_id for a in group],
        types=[a.event_type for a in group],
        times=[a.received_at for a in group],
        bodies=[a.body for a in group],
        states=[a.state for a in group],
        details=[a.detail for a in group],
        traces=[a.traceparent for a in group],
    )


async def take_new(tx: Tx, most: int) -> list[Stored]:
    """Return unread deliveries, locked, in order of arrival."""
    rows = await tx.rows(
        "SELECT * FROM deliveries WHERE state='new' ORDER BY seq LIMIT :most FOR UPDATE SKIP LOCKED", most=most
    )
    return [
        Stored(
            row["seq"],
            row["delivery_id"],
            row["tenant_id"],
            row["gateway"],
            row["account"],
            row["event_id"],
            row["received_at"],
            bytes(row["body"]),
            row["traceparent"],
        )
        for row in rows
    ]


async def set_state(tx: Tx, delivery_id: str, state: str, detail: str = "") -> None:
    """Write where a delivery ended."""
    await tx.execute(
        "UPDATE deliveries SET state=:state, detail=:detail WHERE delivery_id=:id",
        state=state,
        detail=detail,
        id=delivery_id,
    )


async def requeue(tx: Tx, delivery_id: str) -> bool:
    """Let a quarantined delivery be read again; False if there is none of that id."""
    done = await tx.execute(
        "UPDATE deliveries SET state='new', detail='' WHERE delivery_id=:id AND state='quarantined'", id=delivery_id
    )
    return bool(done.rowcount)


async def keep(tx: Tx, delivery: Stored, fact: Observation, refs: Sequence[str]) -> None:
    """Keep one half of an outcome."""
    await tx.execute(
        """INSERT INTO observations (delivery_id, tenant_id, gateway, account, refs, event_id, received_at, observation)
           VALUES (:delivery, :tenant, :gateway, :account, CAST(:refs AS text[]), :event_id, :at, CAST(:fact AS jsonb))""",
        delivery=delivery.delivery_id,
        tenant=delivery.tenant_id,
        gateway=delivery.gateway,
        account=delivery.account,
        refs=list(refs),
        event_id=delivery.event_id,
        at=delivery.received_at,
        fact=json.dumps(observation_document(fact)),
    )


async def kept(tx: Tx, refs: Sequence[str]) -> list[tuple[int, str, Told]]:
    """Return (row, delivery, half) of every kept half under any of the references."""
    rows = await tx.rows(
        """SELECT id, delivery_id, event_id, received_at, published, observation::text AS observation FROM observations
           WHERE refs && CAST(:refs AS text[]) AND (NOT published OR received_at > CAST(:since AS timestamptz))
           ORDER BY id""",
        refs=list(refs),
        since=tx.now - PUBLISHED_LOOK_BACK,
    )
    return [
        (
            row["id"],
            row["delivery_id"],
            Told(
                observation_from(json.loads(row["observation"])), row["event_id"], row["received_at"], row["published"]
            ),
        )
        for row in rows
    ]


async def mark_published(tx: Tx, ids: Sequence[int]) -> None:
    """Say of kept halves that their outcome is an event."""
    await tx.execute("UPDATE observations SET published=true WHERE id = ANY(CAST(:ids AS bigint[]))", ids=list(ids))


async def add_links(tx: Tx, gateway: str, account: str, links: dict[str, str]) -> None:
    """Remember which payment belongs to which invoice; an empty invoice means the gateway says: to none."""
    await tx.execute(
        """INSERT INTO payment_links AS l (gateway, account, payment_id, invoice_id)
           SELECT :gateway, :account, p, i FROM unnest(CAST(:payments AS text[]), CAST(:invoices AS text[])) AS x(p, i)
           ON CONFLICT (gateway, account, payment_id) DO UPDATE SET invoice_id = excluded.invoice_id
           WHERE l.invoice_id = ''""",
        gateway=gateway,
        account=account,
        payments=list(links),
        invoices=list(links.values()),
    )


async def links_of(
    tx: Tx, gateway: str, account: str, payments: Sequence[str], invoices: Sequence[str]
) -> dict[str, str]:
    """Return payment -> invoice for the given payments and invoices, as far as known."""
    rows = await tx.rows(
        """SELECT payment_id, invoice_id FROM payment_links WHERE gateway=:gateway AND account=:account
             AND (payment_id = ANY(CAST(:payments AS text[])) OR invoice_id = ANY(CAST(:invoices AS text[])))""",
        gateway=gateway,
        account=account,
        payments=list(payments),
        invoices=list(invoices),
    )
    return {row["payment_id"]: row["invoice_id"] for row in rows}


async def claim_fact(tx: Tx, gateway: str, account: str, fact_key: str, event_id: str) -> bool:
    """Claim a fact's natural key for an event; False when the fact was told before."""
    done = await tx.execute(
        """INSERT INTO published_facts (gateway, account, fact_key, event_id)
           VALUES (:gateway, :account, :key, CAST(:event_id AS uuid)) ON CONFLICT DO NOTHING""",
        gateway=gateway,
        account=account,
        key=fact_key,
        event_id=event_id,
    )
    return bool(done.rowcount)


async def known_payer(tx: Tx, gateway: str, account: str, fact: Observation) -> Any:
    """Return (payer, subscription) that other facts told of the same invoice or payment, newest first; None if none."""
    refs = [f"{gateway}|{account}|invoice:{fact.invoice_id}", f"{gateway}|{account}|payment:{fact.payment_id}"]
    return await tx.row(
        """SELECT observation->>'payer_id' AS payer_id FROM observations
           WHERE refs && CAST(:refs AS text[]) AND observation->>'payer_id' <> '' ORDER BY id DESC LIMIT 1""",
        refs=refs,
    )
