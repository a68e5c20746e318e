"""Reading deliveries: one that tells a whole fact becomes its event at once; halves wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from opentelemetry.trace import SpanKind

from dunwell_gateways import registry
from dunwell_gateways.join import (
    Told,
    due_at,
    joins,
    links_of,
    merge,
    missing_link,
    outcome_key,
    partition,
    ready,
    references,
)
from dunwell_gateways.port import Kind, Observation, RawDecline
from dunwell_ingest import store, translate
from dunwell_ingest.model import Stored
from dunwell_kit import tracing
from dunwell_kit.database import Database, EffectRecorded, TimerSet, Tx
from dunwell_kit.errors import Invalid
from dunwell_kit.timers import Fired

DELIVERIES_A_TURN = 100
# The fact goes out when patience ends; an answer that comes much later would help nobody any more.
ASK_WINDOW = timedelta(minutes=10)
Classify = Callable[[RawDecline, str, str, datetime], tuple[str, str]]


class Reader:
    """The normaliser: a consumer of ingest's own store.

    Args:
        classify: (decline, gateway, network, on) -> (canonical reason, data edition).
    """

    def __init__(self, database: Database, inserted: asyncio.Event, classify: Classify, poll_seconds: float) -> None:
        self._database, self._inserted, self._classify = database, inserted, classify
        self._poll = poll_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Read what arrives until told to stop."""
        while not stop.is_set():
            self._inserted.clear()
            if await self._database.transact(self._turn):
                continue
            waiter = asyncio.ensure_future(self._inserted.wait())
            await asyncio.wait([waiter], timeout=self._poll)
            waiter.cancel()

    async def _turn(self, tx: Tx) -> int:
        deliveries = await store.take_new(tx, DELIVERIES_A_TURN)
        halves: list[tuple[Stored, list[str]]] = []
        for delivery in deliveries:
            halves += await self._read(tx, delivery)
        # Joined once for all that came together: three tellings of one failure cost one look.
        for together, refs in _clusters(halves):
            await self._join_new(tx, together, refs)
        return len(deliveries)

    async def _join_new(self, tx: Tx, together: Sequence[Stored], refs: Sequence[str]) -> None:
        first, *others = together
        tx.caused_by("", first.delivery_id)
        with tracing.continuing(
            "join deliveries", SpanKind.INTERNAL, first.traceparent, first.received_at, tx.now,
            {tracing.TENANT: first.tenant_id, tracing.EVENT_ID: first.event_id},
            also=[other.traceparent for other in others],
        ):  # fmt: skip
            await self._join_account(tx, first.tenant_id, first.gateway, first.account, refs)

    async def _read(self, tx: Tx, delivery: Stored) -> list[tuple[Stored, list[str]]]:
        with tracing.continuing(
            "read delivery", SpanKind.CONSUMER, delivery.traceparent, delivery.received_at, tx.now,
            {tracing.TENANT: delivery.tenant_id, tracing.EVENT_ID: delivery.event_id},
        ):  # fmt: skip
            try:
                facts = registry.adapter(delivery.gateway).webhook.translate(delivery.body)
                translate.check_storable(facts)
            except Invalid as error:
                await store.set_state(tx, delivery.delivery_id, "quarantined", str(error)[:500])
                return []
            tx.caused_by("", delivery.delivery_id)
            halves = [(delivery, refs) for fact in facts if (refs := await self._take(tx, delivery, fact))]
            told = any(fact.kind not in translate.KEPT for fact in facts)
            await store.set_state(tx, delivery.delivery_id, "case" if told else "ignored")
            return halves

    async def _take(self, tx: Tx, delivery: Stored, fact: Observation) -> list[str]:
        """Publish a whole fact at once; keep a half and return its references."""
        refs = translate.references_text(references(fact), delivery.gateway, delivery.account)
        learned = links_of([fact])
        if learned:
            await store.add_links(tx, delivery.gateway, delivery.account, learned)
        if joins(fact) or fact.kind is Kind.PAYMENT_LINKED:
            await store.keep(tx, delivery, fact, refs)
            return refs
        source = translate.Source(delivery.tenant_id, delivery.gateway, delivery.account)
        source.add(delivery.event_id, delivery.delivery_id, delivery.received_at)
        await self._publish(tx, source, fact)
        return []

    async def _join_account(self, tx: Tx, tenant: str, gateway: str, account: str, refs: Sequence[str]) -> None:
        rows, links = await self._gather(tx, gateway, account, refs)
        told = [half for _, _, half in rows if half.observation.kind is not Kind.PAYMENT_LINKED]
        places = {(half.event_id, half.observation.kind): (row, delivery) for row, delivery, half in rows}
        for part in partition(told, links):
            mine = [places[half.event_id, half.observation.kind] for half in part]
            if any(half.published for half in part):
                await store.mark_published(tx, [row for row, _ in mine])
            elif _whole(part, links) or ready(part, tx.now):
                source = translate.Source(tenant, gateway, account)
                for half, (_, delivery) in zip(part, mine, strict=True):
                    source.add(half.event_id, delivery, half.received_at)
                merged = _linked(merge([half.observation for half in part]), links)
                await self._publish(tx, source, merged)
                await store.mark_published(tx, [row for row, _ in mine])
            else:
                self._wait(tx, tenant, gateway, account, part, links)

    async def _gather(
        self, tx: Tx, gateway: str, account: str, refs: Sequence[str]
    ) -> tuple[list[tuple[int, str, Told]], dict[str, str]]:
        """Return every half that shares a reference, through the links between payments and invoices."""
        known = set(refs)
        prefix = f"{gateway}|{account}|"
        while True:
            names = [reference.removeprefix(prefix).partition(":") for reference in known]
            payments = [value for kind, _, value in names if kind == "payment"]
            invoices = [value for kind, _, value in names if kind == "invoice"]
            links = await store.links_of(tx, gateway, account, payments, invoices)
            rows = await store.kept(tx, sorted(known))
            more = {f"{prefix}payment:{p}" for p in links} | {f"{prefix}invoice:{i}" for i in links.values() if i}
            for _, _, half in rows:
                more |= set(translate.references_text(references(half.observation), gateway, account))
            if more <= known:
                return rows, links
            known |= more

    def _wait(
        self, tx: Tx, tenant: str, gateway: str, account: str, part: Sequence[Told], links: dict[str, str]
    ) -> None:
        """Ask the gateway for what only it knows, and look again when patience ends."""
        first = translate.references_text(references(part[0].observation), gateway, account)[0]
        fields = {"tenant": tenant, "gateway": gateway, "account": account, "ref": first}
        until = (tx.now + ASK_WINDOW).isoformat()
        missing = missing_link(part, links)
        if missing is not None:
            kind, value = missing
            payload = {**fields, "kind": kind, "id": value, "until": until}
            tx.record_effect(EffectRecorded("fetch_links", f"{gateway}|{account}|{kind}:{value}", first, payload))
        tx.set_timer(TimerSet(first, "join", due_at(part), "", fields))

    async def on_join_due(self, tx: Tx, timer: Fired) -> None:
        """Patience with missing halves has ended: publish what is known."""
        fields = timer.payload
        await self._join_account(tx, fields["tenant"], fields["gateway"], fields["account"], [fields["ref"]])

    async def on_links(self, tx: Tx, tenant: str, gateway: str, account: str, ref: str, links: dict[str, str]) -> None:
        """The gateway told which payment belongs to which invoice: look at the halves again."""
        if links:
            await store.add_links(tx, gateway, account, links)
        await self._join_account(tx, tenant, gateway, account, [ref])

    async def _publish(self, tx: Tx, source: translate.Source, fact: Observation) -> None:
        if fact.payment_id and not fact.invoice_id:
            # Disputes and refunds name their payment alone.
            links = await store.links_of(tx, source.gateway, source.account, [fact.payment_id], [])
            fact = _linked(fact, links)
        if not fact.payer_id and (fact.invoice_id or fact.payment_id):
            known = await store.known_payer(tx, source.gateway, source.account, fact)
            fact = replace(fact, payer_id=known["payer_id"]) if known else fact
        classified = ("", "")
        if fact.kind in (Kind.PAYMENT_FAILED, Kind.PAYMENT_ACTION_REQUIRED):
            classified = self._classify(fact.decline, source.gateway, fact.instrument.network, fact.occurred_at)
        event = translate.event_of(source, fact, classified)
        if event is None:
            return
        # The key is claimed with an id of its own, since the event's id is minted when it is written.
        claimed = str(tx.ids.uuid())
        if not await store.claim_fact(tx, source.gateway, source.account, outcome_key(fact), claimed):
            return
        tracing.annotate(dunwell__fact=fact.kind.value)
        tx.emit(
            event,
            key=translate.key_of(source, fact),
            correlation_id=source.delivery_ids[0],
            causation_id=source.delivery_ids[-1],
            subject=fact.invoice_id or fact.payment_id or fact.subject_id,
        )


def _clusters(halves: Sequence[tuple[Stored, list[str]]]) -> list[tuple[list[Stored], list[str]]]:
    """Return (deliveries, references) for each set of halves that share a reference, in the order of arrival."""
    found: list[tuple[list[Stored], set[str]]] = []
    for delivery, refs in halves:
        mine, together = set(refs), [delivery]
        touching = [cluster for cluster in found if cluster[1] & mine]
        for deliveries, theirs in reversed(touching):
            mine |= theirs
            together = deliveries + together
        found = [cluster for cluster in found if cluster not in touching] + [(together, mine)]
    return [(deliveries, sorted(refs)) for deliveries, refs in found]


def _whole(part: Sequence[Told], links: dict[str, str]) -> bool:
    """True when no later half could add anything that somebody acts on, so that waiting would only cost time."""
    merged = _linked(merge([half.observation for half in part]), links)
    identified = bool(merged.invoice_id and (merged.payment_id or merged.charge_id))
    if merged.kind is Kind.PAYMENT_SUCCEEDED:
        return identified
    return identified and bool(merged.decline) and bool(merged.attempt_count)


def _linked(merged: Observation, links: dict[str, str]) -> Observation:
    """Return the fact with the invoice or payment that only the links know."""
    if not merged.invoice_id and links.get(merged.payment_id):
        return replace(merged, invoice_id=links[merged.payment_id])
    if merged.invoice_id and not merged.payment_id:
        payments = sorted(p for p, i in links.items() if i == merged.invoice_id)
        return replace(merged, payment_id=payments[0]) if len(payments) == 1 else merged
    return merged
