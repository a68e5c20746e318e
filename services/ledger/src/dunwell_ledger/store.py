"""Every SQL write of the ledger; takes and returns model values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from dunwell_kit.database import Tx
from dunwell_ledger.model import Fact, Journal, Kind, OpenItem, Subject


async def open_item(tx: Tx, subject: Subject) -> OpenItem | None:
    """Return the invoice's open item, locked for the rest of the transaction; None if the books do not know it."""
    if not subject.item:
        return None
    row = await tx.row(
        "SELECT *, (SELECT coalesce(jsonb_agg(jsonb_build_array(j.kind, j.source_id)), '[]')::text FROM journals j"
        " WHERE j.tenant_id=o.tenant_id AND j.invoice_id=o.invoice_id) AS booked,"
        " (SELECT coalesce(jsonb_agg(jsonb_build_array(j.source_id, (SELECT sum(amount) FROM postings p"
        "   WHERE p.journal_id=j.id AND amount > 0))), '[]')::text FROM journals j"
        "   WHERE j.tenant_id=o.tenant_id AND j.invoice_id=o.invoice_id AND j.rule='ledger.paid_out_of_band') AS oob"
        " FROM open_items o WHERE tenant_id=:tenant AND item=:item FOR UPDATE OF o",
        tenant=subject.tenant_id,
        item=subject.item,
    )
    if row is None:
        return None
    known = Subject(
        row["tenant_id"], row["gateway"], row["account"], row["payer_id"], row["invoice_id"], row["case_id"]
    )
    return OpenItem(
        subject=known,
        currency=row["currency"],
        due_on=row["due_on"],
        principal=row["principal"],
        written_off=row["written_off"],
        booked=frozenset((Kind(kind), source) for kind, source in json.loads(row["booked"])),
        paid_out_of_band=tuple((source, int(amount)) for source, amount in json.loads(row["oob"])),
    )


async def with_dispute(tx: Tx, item: OpenItem | None, fact: Fact) -> OpenItem:
    """Return the item knowing what was booked of a dispute: gateways may tell a dispute without its invoice."""
    rows = await tx.rows(
        "SELECT kind, source_id FROM journals WHERE tenant_id=:tenant AND source_id = ANY(CAST(:sources AS text[]))",
        tenant=fact.subject.tenant_id,
        sources=[fact.source_id, fact.withdrawn_source],
    )
    booked = frozenset((Kind(row["kind"]), str(row["source_id"])) for row in rows)
    if item is None:
        return OpenItem(fact.subject, fact.money.currency, fact.at.date(), 0, 0, booked)
    return replace(item, booked=item.booked | booked)


async def ensure_item(tx: Tx, fact: Fact, due_on: date) -> None:
    """Make the invoice's open item if it is new, and note the case and payer that are learned later."""
    subject = fact.subject
    if not subject.item:
        return
    await tx.execute(
        """INSERT INTO open_items AS o
             (tenant_id, item, gateway, account, invoice_id, payer_id, case_id, currency, due_on)
           VALUES (:tenant, :item, :gateway, :account, :invoice, :payer, :case_id, :currency, :due)
           ON CONFLICT (tenant_id, item) DO UPDATE SET
             case_id = CASE WHEN excluded.case_id <> '' THEN excluded.case_id ELSE o.case_id END,
             payer_id = CASE WHEN excluded.payer_id <> '' THEN excluded.payer_id ELSE o.payer_id END,
             due_on = CASE WHEN :told THEN excluded.due_on ELSE o.due_on END""",
        tenant=subject.tenant_id,
        item=subject.item,
        gateway=subject.gateway,
        account=subject.account,
        invoice=subject.invoice_id,
        payer=subject.payer_id,
        case_id=subject.case_id,
        currency=fact.money.currency,
        due=due_on,
        told=fact.due_at is not None,
    )


async def mark_disputed(tx: Tx, subject: Subject, disputed: bool) -> None:
    """Note whether the invoice is in dispute, for ageing."""
    await tx.execute(
        "UPDATE open_items SET disputed=:disputed WHERE tenant_id=:tenant AND item=:item",
        disputed=disputed,
        tenant=subject.tenant_id,
        item=subject.item,
    )


async def post(tx: Tx, journals: Sequence[Journal], case_id: str) -> list[Journal]:
    """Post journals in one statement; returns those that were new."""
    batch = [
        {
            "id": str(journal.id),
            "tenant_id": journal.subject.tenant_id,
            "kind": journal.kind.value,
            "source_id": journal.source_id,
            "currency": journal.currency,
            "effective_on": journal.effective_on.isoformat(),
            "booked_at": tx.now.isoformat(),
            "payer_id": journal.subject.payer_id,
            "invoice_id": journal.subject.invoice_id,
            "case_id": case_id,
            "reverses": None,
            "rule": journal.rule,
            "evidence": list(journal.evidence),
            "legs": [{"account": leg.account, "amount": leg.amount, "item": leg.item} for leg in journal.legs],
        }
        for journal in journals
    ]
    rows = await tx.rows("SELECT post_journals(CAST(:batch AS jsonb))::text AS id", batch=json.dumps(batch))
    new = {row["id"] for row in rows}
    return [journal for journal in journals if str(journal.id) in new]


async def balance(tx: Tx, subject: Subject) -> int:
    """Return what is still owed on the invoice, minor units."""
    value = await tx.value(
        "SELECT principal FROM open_items WHERE tenant_id=:tenant AND item=:item",
        tenant=subject.tenant_id,
        item=subject.item,
    )
    return int(value or 0)
