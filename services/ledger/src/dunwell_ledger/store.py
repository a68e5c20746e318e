"""Every SQL write of the ledger; takes and returns model values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from dunwell_kit.database import Tx
from dunwell_kit.money import Money
from dunwell_ledger.model import DISPUTE_FACTS, Fact, Journal, Kind, Leg, Subject


@dataclass(frozen=True, slots=True)
class Item:
    """What an invoice's open item says beside its sums.

    Args:
        due: The day from which it ages, and whether another day was valid before.
    """

    currency: str
    due: tuple[date, bool]


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of one thread of facts, locked for the rest of the transaction.

    Args:
        item: The open item; None for a thread without an invoice.
    """

    thread: str
    subject: Subject
    item: Item | None
    facts: list[Fact]
    journals: list[Journal]


async def note(tx: Tx, fact: Fact) -> Known:
    """Keep a dated fact and return all that is known of its thread.

    A payment may be told without its invoice before or after it is told with it: both tellings are the invoice's.
    """
    subject, threads = fact.subject, [fact.thread]
    if fact.thread == subject.item:
        fresh = await _note_of_invoice(tx, fact)
        if fresh and fact.what != "payment":
            return Known(fact.thread, subject, Item(fact.currency, (fact.due_on or _noted(fact), False)), [fact], [])
        threads = [fact.thread, fact.source_id] if fact.what == "payment" else threads
    else:
        await _note_of_object(tx, fact)
        if fact.what == "payment" and (owner := await _item_of_payment(tx, fact)):
            subject, threads = owner, [owner.item, fact.source_id]
    known = await _known(tx, subject, threads)
    if len(threads) > 1 and known.stray:
        await tx.execute(
            "UPDATE facts SET thread=:thread WHERE tenant_id=:tenant AND thread=:stray",
            tenant=subject.tenant_id,
            thread=threads[0],
            stray=fact.source_id,
        )
    return known.known


def _noted(fact: Fact) -> date:
    assert fact.effective_on is not None, "only a dated fact is kept"
    return fact.effective_on


async def _note_of_invoice(tx: Tx, fact: Fact) -> bool:
    """Make the invoice's open item if it is new, lock it, note the case and payer learned later, and keep the fact.

    Returns:
        Whether the item is new, so that nothing else is known of the invoice.
    """
    subject = fact.subject
    return bool(
        await tx.value(
            f"""WITH {_LOCK}, item AS (
             INSERT INTO open_items AS o
               (tenant_id, item, gateway, account, invoice_id, payer_id, case_id, currency, due_on)
             SELECT :tenant, :item, :gateway, :account, :invoice, :payer, :case_id, :currency, CAST(:due AS date)
             FROM locked
             ON CONFLICT (tenant_id, item) DO UPDATE SET
               case_id = CASE WHEN excluded.case_id <> '' THEN excluded.case_id ELSE o.case_id END,
               payer_id = CASE WHEN excluded.payer_id <> '' THEN excluded.payer_id ELSE o.payer_id END
             RETURNING o.xmax = 0 AS fresh)
           {_INSERT} FROM item {_ONCE} RETURNING (SELECT fresh FROM item)""",  # noqa: S608 - constant parts
            **_row(tx, fact),
            gateway=subject.gateway,
            account=subject.account,
            invoice=subject.invoice_id,
            payer=subject.payer_id,
            case_id=subject.case_id,
            due=fact.due_on or _noted(fact),
        )
    )


async def _note_of_object(tx: Tx, fact: Fact) -> None:
    await tx.execute(f"WITH {_LOCK} {_INSERT} FROM locked {_ONCE}", **_row(tx, fact))


# Serialises what concerns one gateway object: its tellings may come by two topics at once, one without the invoice.
# Always before the invoice's row, or two tellings would wait for each other.
_LOCK = "locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0)))"
_INSERT = """INSERT INTO facts (tenant_id, thread, what, event_id, item, source_id, paid_by, at, effective_on, due_on,
               currency, minor, won, evidence, noted_at)
             SELECT :tenant, :thread, :what, :event, :item, :source, :paid_by, :at, :effective, CAST(:due_told AS date),
               :currency, CAST(:minor AS bigint), CAST(:won AS boolean), CAST(:evidence AS jsonb), :now"""
_ONCE = "ON CONFLICT DO NOTHING"


def _row(tx: Tx, fact: Fact) -> dict[str, Any]:
    return {
        "tenant": fact.subject.tenant_id,
        "thread": fact.thread,
        "lock": f"{fact.subject.tenant_id}|{fact.thread if fact.what in DISPUTE_FACTS else fact.source_id}",
        "what": fact.what,
        "event": fact.evidence[0],
        "item": fact.subject.item,
        "source": fact.source_id,
        "paid_by": fact.paid_by,
        "at": fact.at,
        "effective": fact.effective_on,
        "due_told": fact.due_on,
        "currency": fact.currency,
        "minor": fact.minor,
        "won": fact.won,
        "evidence": json.dumps(fact.evidence),
        "now": tx.now,
    }


async def _item_of_payment(tx: Tx, fact: Fact) -> Subject | None:
    """Return whose invoice another telling of the payment names, its item locked; None if none does."""
    row = await tx.row(
        "SELECT o.payer_id, o.invoice_id, o.case_id FROM open_items o WHERE o.tenant_id=:tenant AND o.item = (SELECT"
        " min(f.item) FROM facts f WHERE f.tenant_id=:tenant AND f.what='payment' AND f.source_id=:source"
        " AND f.item <> '') FOR UPDATE",
        tenant=fact.subject.tenant_id,
        source=fact.source_id,
    )
    if row is None:
        return None
    return replace(fact.subject, payer_id=row["payer_id"], invoice_id=row["invoice_id"], case_id=row["case_id"])


@dataclass(frozen=True, slots=True)
class _Read:
    known: Known
    stray: bool


async def _known(tx: Tx, subject: Subject, threads: Sequence[str]) -> _Read:
    row = await tx.row(
        """SELECT o.item IS NOT NULL AS known, o.payer_id, o.case_id, o.currency, o.due_on, o.due_moved,
             (SELECT jsonb_agg(jsonb_build_array(f.thread, f.what, f.item, f.currency, f.minor, f.source_id, f.at, f.evidence,
                       f.won, f.paid_by, f.effective_on, f.due_on))::text FROM facts f
              WHERE f.tenant_id=:tenant AND f.thread = ANY(CAST(:threads AS text[]))) AS facts,
             (SELECT jsonb_agg(jsonb_build_array(j.id, j.kind, j.source_id, j.currency, j.effective_on, j.rule,
                       j.reverses, (SELECT jsonb_agg(jsonb_build_array(a.name, p.amount, p.item) ORDER BY p.leg)
                                    FROM postings p JOIN accounts a USING (account_id) WHERE p.journal_id=j.id))
                     ORDER BY j.seq)::text
              FROM journals j WHERE j.tenant_id=:tenant AND j.thread = ANY(CAST(:threads AS text[]))) AS journals
           FROM (SELECT 1) one LEFT JOIN open_items o ON o.tenant_id=:tenant AND o.item=:item""",
        tenant=subject.tenant_id,
        threads=list(threads),
        item=subject.item,
    )
    assert row is not None, "a row for one"
    told, item = subject, None
    if row["known"]:
        told = replace(subject, payer_id=row["payer_id"] or subject.payer_id, case_id=subject.case_id or row["case_id"])
        # A refund or dispute of the invoice is a thread of its own and leaves the open item alone.
        item = Item(row["currency"], (row["due_on"], row["due_moved"])) if threads[0] == subject.item else None
    rows = json.loads(row["facts"] or "[]")
    journals = [_journal(each, told) for each in json.loads(row["journals"] or "[]")]
    facts = [_fact(each, told) for each in rows]
    return _Read(Known(threads[0], told, item, facts, journals), any(each[0] != threads[0] for each in rows))


def _fact(row: Sequence[Any], subject: Subject) -> Fact:
    _, what, item, currency, minor, source_id, at, evidence, won, paid_by, effective_on, due_on = row
    return Fact(
        what=what,
        subject=subject if item else replace(subject, invoice_id=""),
        money=Money(currency, minor) if currency else None,
        source_id=source_id,
        at=datetime.fromisoformat(at),
        evidence=tuple(evidence),
        won=won,
        paid_by=paid_by,
        effective_on=date.fromisoformat(effective_on),
        due_on=date.fromisoformat(due_on) if due_on else None,
    )


def _journal(row: Sequence[Any], subject: Subject) -> Journal:
    journal_id, kind, source_id, currency, effective_on, rule, reverses, legs = row
    made = Journal(
        subject=subject,
        kind=Kind(kind),
        source_id=source_id,
        currency=currency,
        effective_on=date.fromisoformat(effective_on),
        legs=tuple(Leg(account, amount, item) for account, amount, item in legs),
        rule=rule,
        reverses=UUID(reverses) if reverses else None,
    )
    assert str(made.id) == journal_id, f"journal {journal_id!r} is not the one of its source"
    return made


async def settle_item(tx: Tx, known: Known, item: Item) -> None:
    """Write what the facts say of an open item, where that has changed."""
    if item == known.item:
        return
    await tx.execute(
        "UPDATE open_items SET currency=:currency, due_on=:due, due_moved=:moved WHERE tenant_id=:tenant AND item=:item",
        currency=item.currency,
        due=item.due[0],
        moved=item.due[1],
        tenant=known.subject.tenant_id,
        item=known.thread,
    )


async def post(tx: Tx, thread: str, journals: Sequence[Journal], case_id: str) -> list[Journal]:
    """Post journals of one thread in one statement; returns those that were new."""
    batch = [
        {
            "id": str(journal.id),
            "tenant_id": journal.subject.tenant_id,
            "thread": thread,
            "kind": journal.kind.value,
            "source_id": journal.source_id,
            "currency": journal.currency,
            "effective_on": journal.effective_on.isoformat(),
            "booked_at": tx.now.isoformat(),
            "payer_id": journal.subject.payer_id,
            "invoice_id": journal.subject.invoice_id,
            "case_id": case_id,
            "reverses": str(journal.reverses) if journal.reverses else None,
            "rule": journal.rule,
            "evidence": list(journal.evidence),
            "legs": [{"account": leg.account, "amount": leg.amount, "item": leg.item} for leg in journal.legs],
        }
        for journal in journals
    ]
    rows = await tx.rows("SELECT post_journals(CAST(:batch AS jsonb))::text AS id", batch=json.dumps(batch))
    new = {row["id"] for row in rows}
    return [journal for journal in journals if str(journal.id) in new]
