"""Every SQL write of ingest; takes and returns model values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from dunwell_gateways.join import Told
from dunwell_gateways.port import Observation
from dunwell_ingest.model import Arrived, Endpoint, Stored, token_hash
from dunwell_ingest.translate import observation_document, observation_from
from dunwell_kit.database import Database, Tx

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


async def add_deliveries(database: Database, group: Sequence[Arrived]) -> None:
    """Commit deliveries by one statement; a known event of the same account, type and object changes nothing."""
    await database.read(
        """INSERT INTO deliveries (delivery_id, endpoint_id, tenant_id, gateway, account, event_id, event_type,
             object_id, received_at, body, state, detail, traceparent)
           SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:endpoints AS text[]), CAST(:tenants AS text[]),
             CAST(:gateways AS text[]), CAST(:accounts AS text[]), CAST(:events AS text[]), CAST(:types AS text[]),
             CAST(:objects AS text[]), CAST(:times AS timestamptz[]), CAST(:bodies AS bytea[]), CAST(:states AS text[]),
             CAST(:details AS text[]), CAST(:traces AS text[]))
           ON CONFLICT DO NOTHING""",
        ids=[a.delivery_id for a in group],
        endpoints=[a.endpoint.endpoint_id for a in group],
        tenants=[a.endpoint.tenant_id for a in group],
        gateways=[a.endpoint.gateway for a in group],
        accounts=[a.endpoint.account for a in group],
        events=[a.event_id for a in group],
        types=[a.event_type for a in group],
        objects=[a.object_id for a in group],
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


async def set_states(tx: Tx, states: Mapping[str, tuple[str, str]]) -> None:
    """Write where deliveries ended: by id, the state and what is to be said about it."""
    await tx.execute(
        """UPDATE deliveries d SET state=m.state, detail=m.detail
           FROM unnest(CAST(:ids AS text[]), CAST(:states AS text[]), CAST(:details AS text[])) AS m(id, state, detail)
           WHERE d.delivery_id=m.id""",
        ids=list(states),
        states=[state for state, _ in states.values()],
        details=[detail for _, detail in states.values()],
    )


async def requeue(tx: Tx, delivery_id: str) -> bool:
    """Let a quarantined delivery be read again; False if there is none of that id."""
    done = await tx.execute(
        "UPDATE deliveries SET state='new', detail='' WHERE delivery_id=:id AND state='quarantined'", id=delivery_id
    )
    return bool(done.rowcount)


async def keep(tx: Tx, halves: Sequence[tuple[Stored, Observation, Sequence[str]]]) -> None:
    """Keep halves of outcomes, each with its references."""
    if not halves:
        return
    await tx.execute(
        # References travel as JSON, since unnest would flatten an array of arrays.
        """INSERT INTO observations (delivery_id, tenant_id, gateway, account, refs, event_id, received_at, observation)
           SELECT d, t, g, a, ARRAY(SELECT jsonb_array_elements_text(r)), e, at, o
           FROM unnest(CAST(:deliveries AS text[]), CAST(:tenants AS text[]), CAST(:gateways AS text[]),
             CAST(:accounts AS text[]), CAST(:refs AS jsonb[]), CAST(:events AS text[]), CAST(:times AS timestamptz[]),
             CAST(:facts AS jsonb[])) WITH ORDINALITY AS h(d, t, g, a, r, e, at, o, n) ORDER BY n""",
        deliveries=[delivery.delivery_id for delivery, _, _ in halves],
        tenants=[delivery.tenant_id for delivery, _, _ in halves],
        gateways=[delivery.gateway for delivery, _, _ in halves],
        accounts=[delivery.account for delivery, _, _ in halves],
        refs=[json.dumps(list(refs)) for _, _, refs in halves],
        events=[delivery.event_id for delivery, _, _ in halves],
        times=[delivery.received_at for delivery, _, _ in halves],
        facts=[json.dumps(observation_document(fact)) for _, fact, _ in halves],
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept under some references: halves as (row, delivery, half), and links from payment to invoice."""

    halves: list[tuple[int, str, Told]]
    links: dict[str, str]


async def kept(tx: Tx, gateway: str, account: str, refs: Sequence[str], but: Sequence[int]) -> Kept:
    """Return every half under any of the references, but for some rows known already, and the links they name.

    Args:
        refs: As `translate.references_text` writes them: `gateway|account|kind:id`.
    """
    named = [reference.removeprefix(f"{gateway}|{account}|").partition(":") for reference in refs]
    rows = await tx.rows(
        """SELECT id, delivery_id, event_id, received_at, published, observation::text AS observation,
             NULL AS payment_id, NULL AS invoice_id FROM observations
           WHERE refs && CAST(:refs AS text[]) AND (NOT published OR received_at > CAST(:since AS timestamptz))
             AND id <> ALL(CAST(:but AS bigint[]))
           UNION ALL
           SELECT NULL, NULL, NULL, NULL, NULL, NULL, payment_id, invoice_id FROM payment_links
           WHERE gateway=:gateway AND account=:account
             AND (payment_id = ANY(CAST(:payments AS text[])) OR invoice_id = ANY(CAST(:invoices AS text[])))""",
        refs=list(refs),
        but=list(but),
        since=tx.now - PUBLISHED_LOOK_BACK,
        gateway=gateway,
        account=account,
        payments=[value for kind, _, value in named if kind == "payment"],
        invoices=[value for kind, _, value in named if kind == "invoice"],
    )
    halves = [
        (
            row["id"],
            row["delivery_id"],
            Told(
                observation_from(json.loads(row["observation"])), row["event_id"], row["received_at"], row["published"]
            ),
        )
        for row in rows
        if row["id"] is not None
    ]
    return Kept(halves, {row["payment_id"]: row["invoice_id"] for row in rows if row["id"] is None})


async def mark_published(tx: Tx, ids: Sequence[int]) -> None:
    """Say of kept halves that their outcome is an event."""
    await tx.execute("UPDATE observations SET published=true WHERE id = ANY(CAST(:ids AS bigint[]))", ids=list(ids))


async def add_links(tx: Tx, gateway: str, account: str, links: dict[str, str]) -> None:
    """Remember which payment belongs to which invoice; an empty invoice means the gateway says: to none."""
    if not links:
        return
    # In one order, so that two readers never wait for each other.
    links = dict(sorted(links.items()))
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


async def claim_facts(tx: Tx, keys: Sequence[tuple[str, str, str]]) -> list[bool]:
    """Claim facts' natural keys (gateway, account, key) for events; False where a fact was told before."""
    if not keys:
        return []
    # Claimed with ids of their own, since an event's id is minted when it is written.
    ids = [str(tx.ids.uuid()) for _ in keys]
    rows = await tx.rows(
        """INSERT INTO published_facts (gateway, account, fact_key, event_id)
           SELECT g, a, k, e FROM unnest(CAST(:gateways AS text[]), CAST(:accounts AS text[]), CAST(:keys AS text[]),
             CAST(:ids AS uuid[])) WITH ORDINALITY AS f(g, a, k, e, n) ORDER BY g, a, k, n
           ON CONFLICT DO NOTHING RETURNING event_id::text AS event_id""",
        gateways=[gateway for gateway, _, _ in keys],
        accounts=[account for _, account, _ in keys],
        keys=[key for _, _, key in keys],
        ids=ids,
    )
    claimed = {row["event_id"] for row in rows}
    return [each in claimed for each in ids]


async def known_payer(tx: Tx, gateway: str, account: str, fact: Observation) -> str:
    """Return the payer that other facts told of the same invoice or payment, newest first; empty if none did."""
    refs = [f"{gateway}|{account}|invoice:{fact.invoice_id}", f"{gateway}|{account}|payment:{fact.payment_id}"]
    # Aggregated, so that the references' index is used: ordered with a limit, the planner would walk the table.
    found = await tx.value(
        """SELECT (array_agg(observation->>'payer_id' ORDER BY id DESC))[1] FROM observations
           WHERE refs && CAST(:refs AS text[]) AND observation->>'payer_id' <> ''""",
        refs=refs,
    )
    return str(found or "")
