"""Reading deliveries: one that tells a whole fact becomes its event at once; halves wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from google.protobuf.message import Message
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
from dunwell_kit.database import Database, Tx, is_transient
from dunwell_kit.errors import Invalid
from dunwell_kit.logging import logger
from dunwell_kit.outputs import EffectRecorded, TimerSet
from dunwell_kit.timers import Fired
from dunwell_kit.waiting import announced

DELIVERIES_A_TURN = 100
# The fact goes out when patience ends; an answer that comes much later would help nobody any more.
ASK_WINDOW = timedelta(minutes=10)
Classify = Callable[[RawDecline, str, str, datetime], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Account:
    """One gateway account of one tenant: what shares references and links."""

    tenant: str
    gateway: str
    account: str


@dataclass(frozen=True, slots=True)
class _Fact:
    """A fact that is to be published, with the span that found it."""

    source: translate.Source
    observation: Observation
    traceparent: str


@dataclass(slots=True)
class _Findings:
    """What one turn read, before any of it is written."""

    states: dict[str, tuple[str, str]] = field(default_factory=dict)
    halves: list[tuple[Stored, Observation, list[str]]] = field(default_factory=list)
    links: dict[_Account, dict[str, str]] = field(default_factory=dict)
    facts: list[_Fact] = field(default_factory=list)

    def learn(self, account: _Account, learned: dict[str, str]) -> None:
        """Remember links; one that names its invoice is never overwritten by one that names none."""
        known = self.links.setdefault(account, {})
        known |= {payment: invoice for payment, invoice in learned.items() if not known.get(payment)}


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
            # Fewer than could be read: what came since is announced.
            if await self.turn() < DELIVERIES_A_TURN:
                await announced(self._inserted, self._poll)

    async def turn(self) -> int:
        """Read what is new in one transaction; what cannot be handled is found alone and quarantined."""
        try:
            return await self._database.transact(lambda tx: self._read_new(tx, DELIVERIES_A_TURN))
        except Exception as error:
            if is_transient(error):
                raise
            logger().error("deliveries are read one by one", error_type=type(error).__name__, error=str(error)[:300])
            # The others are still to be read.
            self._inserted.set()
        try:
            return await self._database.transact(lambda tx: self._read_new(tx, 1))
        except Exception as error:
            if is_transient(error):
                raise
            what = f"cannot be handled: {type(error).__name__}: {error}"[:500]
            return await self._database.transact(lambda tx: self._quarantine_next(tx, what))

    async def _quarantine_next(self, tx: Tx, what: str) -> int:
        deliveries = await store.take_new(tx, 1)
        await store.set_states(tx, {delivery.delivery_id: ("quarantined", what) for delivery in deliveries})
        return len(deliveries)

    async def _read_new(self, tx: Tx, most: int) -> int:
        deliveries = await store.take_new(tx, most)
        if not deliveries:
            return 0
        found = _Findings()
        for delivery in deliveries:
            self._read(found, delivery, tx.now)
        for account, links in found.links.items():
            await store.add_links(tx, account.gateway, account.account, links)
        await store.keep(tx, found.halves)
        # Joined once for all that came together: three tellings of one failure cost one look.
        arrivals = {delivery.event_id: delivery for delivery, _, _ in found.halves}
        refs: dict[_Account, set[str]] = {}
        for delivery, _, references_ in found.halves:
            refs.setdefault(_account_of(delivery), set()).update(references_)
        for account, mine in refs.items():
            found.facts += await self._join(tx, account, sorted(mine), arrivals)
        await self._publish(tx, found.facts)
        await store.set_states(tx, found.states)
        return len(deliveries)

    def _read(self, found: _Findings, delivery: Stored, now: datetime) -> None:
        with tracing.continuing(
            "read delivery", SpanKind.CONSUMER, delivery.traceparent, delivery.received_at, now,
            {tracing.TENANT: delivery.tenant_id, tracing.EVENT_ID: delivery.event_id},
        ):  # fmt: skip
            try:
                facts = registry.adapter(delivery.gateway).webhook.translate(delivery.body)
                translate.check_storable(facts)
            except Invalid as error:
                found.states[delivery.delivery_id] = ("quarantined", str(error)[:500])
                return
            for fact in facts:
                self._take(found, delivery, fact)
            told = any(fact.kind not in translate.KEPT for fact in facts)
            found.states[delivery.delivery_id] = ("case" if told else "ignored", "")

    def _take(self, found: _Findings, delivery: Stored, fact: Observation) -> None:
        """Keep a half; a whole fact is published at once."""
        account = _account_of(delivery)
        found.learn(account, links_of([fact]))
        if joins(fact) or fact.kind is Kind.PAYMENT_LINKED:
            refs = translate.references_text(references(fact), delivery.gateway, delivery.account)
            found.halves.append((delivery, fact, refs))
            return
        source = translate.Source(delivery.tenant_id, delivery.gateway, delivery.account)
        source.add(delivery.event_id, delivery.delivery_id, delivery.received_at)
        found.facts.append(_Fact(source, fact, tracing.carrier()[0]))

    async def _join(
        self, tx: Tx, account: _Account, refs: Sequence[str], arrivals: Mapping[str, Stored]
    ) -> list[_Fact]:
        """Return the outcomes that are whole or have waited long enough; the others go on waiting."""
        rows, links = await self._gather(tx, account, refs)
        told = [half for _, _, half in rows if half.observation.kind is not Kind.PAYMENT_LINKED]
        # By the object, since one event may bring two halves and one id two events.
        places = {id(half): (row, delivery) for row, delivery, half in rows}
        facts: list[_Fact] = []
        published: list[int] = []
        for part in partition(told, links):
            mine = [places[id(half)] for half in part]
            if any(half.published for half in part):
                published += [row for row, half in zip((r for r, _ in mine), part, strict=True) if not half.published]
                continue
            with _joining(part, arrivals, tx.now):
                if _whole(part, links) or ready(part, tx.now):
                    source = translate.Source(account.tenant, account.gateway, account.account)
                    for half, (_, delivery) in zip(part, mine, strict=True):
                        source.add(half.event_id, delivery, half.received_at)
                    merged = _linked(merge([half.observation for half in part]), links)
                    facts.append(_Fact(source, merged, tracing.carrier()[0]))
                    published += [row for row, _ in mine]
                else:
                    self._wait(tx, account, part, links)
        if published:
            await store.mark_published(tx, published)
        return facts

    async def _gather(
        self, tx: Tx, account: _Account, refs: Sequence[str]
    ) -> tuple[list[tuple[int, str, Told]], dict[str, str]]:
        """Return every half that shares a reference, through the links between payments and invoices."""
        gateway, prefix = account.gateway, f"{account.gateway}|{account.account}|"
        asked: set[str] = set()
        ask = set(refs)
        halves: dict[int, tuple[int, str, Told]] = {}
        links: dict[str, str] = {}
        while ask:
            found = await store.kept(tx, gateway, account.account, sorted(ask), but=list(halves))
            links |= found.links
            halves |= {row[0]: row for row in found.halves}
            asked |= ask
            more = {f"{prefix}payment:{payment}" for payment in found.links}
            more |= {f"{prefix}invoice:{invoice}" for invoice in found.links.values() if invoice}
            for _, _, half in found.halves:
                more |= set(translate.references_text(references(half.observation), gateway, account.account))
            ask = more - asked
        return [halves[row] for row in sorted(halves)], links

    def _wait(self, tx: Tx, account: _Account, part: Sequence[Told], links: dict[str, str]) -> None:
        """Ask the gateway for what only it knows, and look again when patience ends."""
        gateway = account.gateway
        first = translate.references_text(references(part[0].observation), gateway, account.account)[0]
        fields = {"tenant": account.tenant, "gateway": gateway, "account": account.account, "ref": first}
        until = (tx.now + ASK_WINDOW).isoformat()
        missing = missing_link(part, links)
        if missing is not None:
            kind, value = missing
            payload = {**fields, "kind": kind, "id": value, "until": until}
            key = f"{gateway}|{account.account}|{kind}:{value}"
            tx.record_effect(EffectRecorded("fetch_links", key, first, payload))
        tx.set_timer(TimerSet(first, "join", due_at(part), "", fields))

    async def on_join_due(self, tx: Tx, timer: Fired) -> None:
        """Patience with missing halves has ended: publish what is known."""
        fields = timer.payload
        account = _Account(fields["tenant"], fields["gateway"], fields["account"])
        await self._publish(tx, await self._join(tx, account, [fields["ref"]], {}))

    async def on_links(self, tx: Tx, tenant: str, gateway: str, account: str, ref: str, links: dict[str, str]) -> None:
        """The gateway told which payment belongs to which invoice: look at the halves again."""
        if links:
            await store.add_links(tx, gateway, account, links)
        await self._publish(tx, await self._join(tx, _Account(tenant, gateway, account), [ref], {}))

    async def _publish(self, tx: Tx, facts: Sequence[_Fact]) -> None:
        """Publish each fact that was not told before, in order."""
        wanted = []
        for fact in await self._completed(tx, facts):
            observation, classified = fact.observation, ("", "")
            if observation.kind in (Kind.PAYMENT_FAILED, Kind.PAYMENT_ACTION_REQUIRED):
                network, at = observation.instrument.network, observation.occurred_at
                classified = self._classify(observation.decline, fact.source.gateway, network, at)
            event = translate.event_of(fact.source, observation, classified)
            if event is not None:
                wanted.append((fact, event, outcome_key(observation)))
        keys = [(fact.source.gateway, fact.source.account, key) for fact, _, key in wanted]
        for (fact, event, _), claimed in zip(wanted, await store.claim_facts(tx, keys), strict=True):
            if claimed:
                self._emit(tx, fact, event)

    async def _completed(self, tx: Tx, facts: Sequence[_Fact]) -> list[_Fact]:
        """Return the facts with the invoice and the payer that only other facts told."""
        found = []
        for fact in facts:
            observation, source = fact.observation, fact.source
            if observation.payment_id and not observation.invoice_id:
                # Disputes and refunds name their payment alone.
                links = await store.links_of(tx, source.gateway, source.account, [observation.payment_id], [])
                observation = _linked(observation, links)
            if not observation.payer_id and (observation.invoice_id or observation.payment_id):
                known = await store.known_payer(tx, source.gateway, source.account, observation)
                observation = replace(observation, payer_id=known) if known else observation
            found.append(replace(fact, observation=observation))
        return found

    def _emit(self, tx: Tx, fact: _Fact, event: Message) -> None:
        source, observation = fact.source, fact.observation
        with tracing.continuing(
            "publish fact", SpanKind.INTERNAL, fact.traceparent, tx.now, tx.now,
            {tracing.TENANT: source.tenant_id, "dunwell.fact": observation.kind.value},
        ):  # fmt: skip
            tx.emit(
                event,
                key=translate.key_of(source, observation),
                correlation_id=source.delivery_ids[0],
                causation_id=source.delivery_ids[-1],
                subject=observation.invoice_id or observation.payment_id or observation.subject_id,
            )


def _account_of(delivery: Stored) -> _Account:
    return _Account(delivery.tenant_id, delivery.gateway, delivery.account)


@contextmanager
def _joining(part: Sequence[Told], arrivals: Mapping[str, Stored], now: datetime) -> Iterator[None]:
    """Open a span that follows the deliveries which brought this outcome together, if any came just now."""
    mine = [arrivals[half.event_id] for half in part if half.event_id in arrivals]
    if not mine:
        yield
        return
    first, *others = mine
    with tracing.continuing(
        "join deliveries", SpanKind.INTERNAL, first.traceparent, first.received_at, now,
        {tracing.TENANT: first.tenant_id, tracing.EVENT_ID: first.event_id},
        also=[other.traceparent for other in others],
    ):  # fmt: skip
        yield


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
