"""Every SQL write of notify; takes and returns model values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from dunwell_kit.database import Tx
from dunwell_notify.model import CaseView, Contact, NewNotice, Payer, PayerAction, Standing


def _case(row: Any) -> CaseView:
    return CaseView(
        case_id=row["case_id"],
        payer=Payer(row["tenant_id"], row["gateway"], row["account"], row["payer_id"]),
        invoice_id=row["invoice_id"],
        currency=row["currency"],
        amount_minor=row["amount_minor"],
        failed_at=row["failed_at"],
        payer_key=row["payer_key"],
        decline_reason=row["decline_reason"],
        payer_action=list(PayerAction)[row["payer_action"]],
        silent_until=row["silent_until"],
        deadline_at=row["deadline_at"],
        next_attempt_at=row["next_attempt_at"],
        state=row["state"],
        closed_by=row["closed_by"],
        evidence=row["evidence"],
    )


async def add_case(tx: Tx, case: CaseView, subscription_id: str) -> None:
    """Remember a new case; a known one stays as it is."""
    payer = case.payer
    await tx.execute(
        """INSERT INTO cases (case_id, tenant_id, gateway, account, payer_id, invoice_id, subscription_id, currency,
             amount_minor, failed_at, decline_reason, payer_key)
           VALUES (:case_id, :tenant, :gateway, :account, :payer, :invoice, :subscription, :currency, :amount, :failed_at,
             :reason, :key) ON CONFLICT (case_id) DO NOTHING""",
        case_id=case.case_id,
        tenant=payer.tenant_id,
        gateway=payer.gateway,
        account=payer.account,
        payer=payer.payer_id,
        invoice=case.invoice_id,
        subscription=subscription_id,
        currency=case.currency,
        amount=case.amount_minor,
        failed_at=case.failed_at,
        reason=case.decline_reason,
        key=case.payer_key,
    )


async def update_plan(tx: Tx, case: CaseView) -> None:
    """Write what retry plans for a case."""
    await tx.execute(
        """UPDATE cases SET payer_action=:action, silent_until=:silent, deadline_at=:deadline, next_attempt_at=:next,
             decline_reason=:reason, amount_minor=:amount WHERE case_id=:case_id""",
        action=list(PayerAction).index(case.payer_action),
        silent=case.silent_until,
        deadline=case.deadline_at,
        next=case.next_attempt_at,
        reason=case.decline_reason,
        amount=case.amount_minor,
        case_id=case.case_id,
    )


async def set_state(tx: Tx, case_id: str, state: str, closed_by: str, evidence: str) -> None:
    """Close, pause or reopen a case; a closed one stays closed."""
    await tx.execute(
        """UPDATE cases SET state=:state, closed_by=:closed_by, evidence=:evidence
           WHERE case_id=:case_id AND state <> 'closed'""",
        state=state,
        closed_by=closed_by,
        evidence=evidence,
        case_id=case_id,
    )


async def lock_cases(tx: Tx, case_ids: Sequence[str]) -> None:
    """Lock cases in the order of their ids; ids of anything else are passed over."""
    await tx.execute(
        "SELECT 1 FROM cases WHERE case_id = ANY(CAST(:ids AS text[])) ORDER BY case_id FOR UPDATE", ids=list(case_ids)
    )


async def case_for_update(tx: Tx, case_id: str) -> CaseView | None:
    """Return a case, locked."""
    row = await tx.row("SELECT * FROM cases WHERE case_id=:case_id FOR UPDATE", case_id=case_id)
    return _case(row) if row else None


async def cases_of(tx: Tx, case_ids: Sequence[str]) -> list[CaseView]:
    """Return cases in the order asked."""
    rows = await tx.rows("SELECT * FROM cases WHERE case_id = ANY(CAST(:ids AS text[]))", ids=list(case_ids))
    found = {row["case_id"]: _case(row) for row in rows}
    return [found[i] for i in case_ids if i in found]


async def addressed(tx: Tx, case_ids: Sequence[str]) -> tuple[list[CaseView], dict[str, str], Contact | None]:
    """Return what a queued message needs: its cases in the order asked, what settled each, and the payer's contact."""
    rows = await tx.rows(
        """SELECT c.*, coalesce((SELECT event_id FROM settled_invoices s WHERE s.tenant_id=c.tenant_id
             AND s.gateway=c.gateway AND s.account=c.account AND s.invoice_id=c.invoice_id), '') AS settled_by,
             to_jsonb(k)::text AS contact
           FROM cases c LEFT JOIN contacts k USING (tenant_id, gateway, account, payer_id)
           WHERE c.case_id = ANY(CAST(:ids AS text[]))""",
        ids=list(case_ids),
    )
    found = {row["case_id"]: _case(row) for row in rows}
    settled = {row["case_id"]: row["settled_by"] for row in rows}
    known = next((row["contact"] for row in rows if row["case_id"] == case_ids[0]), None)
    return [found[i] for i in case_ids if i in found], settled, _contact(json.loads(known)) if known else None


async def settle(tx: Tx, payer: Payer, invoice_id: str, how: str, event_id: str) -> list[str]:
    """Remember that an invoice is settled; returns its cases."""
    await tx.execute(
        """INSERT INTO settled_invoices (tenant_id, gateway, account, invoice_id, how, event_id)
           VALUES (:tenant, :gateway, :account, :invoice, :how, :event_id) ON CONFLICT DO NOTHING""",
        tenant=payer.tenant_id,
        gateway=payer.gateway,
        account=payer.account,
        invoice=invoice_id,
        how=how,
        event_id=event_id,
    )
    rows = await tx.rows(
        "SELECT case_id FROM cases WHERE tenant_id=:tenant AND gateway=:gateway AND account=:account AND invoice_id=:invoice",
        tenant=payer.tenant_id,
        gateway=payer.gateway,
        account=payer.account,
        invoice=invoice_id,
    )
    return [row["case_id"] for row in rows]


async def unsettle(tx: Tx, payer: Payer, invoice_id: str, how: str) -> None:
    """Forget one way in which an invoice was settled: a dispute that was won or withdrawn."""
    await tx.execute(
        """UPDATE cases SET state='open', closed_by='', evidence='' WHERE tenant_id=:tenant AND gateway=:gateway AND account=:account
             AND invoice_id=:invoice AND state='paused' AND closed_by=:how""",
        tenant=payer.tenant_id,
        gateway=payer.gateway,
        account=payer.account,
        invoice=invoice_id,
        how=how,
    )


async def settled_by(tx: Tx, case: CaseView) -> str:
    """Return the id of the event that settled a case's invoice; empty when it is open."""
    found = await tx.value(
        """SELECT event_id FROM settled_invoices WHERE tenant_id=:tenant AND gateway=:gateway AND account=:account
             AND invoice_id=:invoice""",
        tenant=case.payer.tenant_id,
        gateway=case.payer.gateway,
        account=case.payer.account,
        invoice=case.invoice_id,
    )
    return str(found or "")


def _contact(row: Any) -> Contact:
    return Contact(row["email"], row["name"], row["language"], row["timezone"], row["country"], row["opted_out"])


async def save_contact(tx: Tx, payer: Payer, contact: Contact, source: str) -> None:
    """Write a contact; what came by the API is not overwritten by what the gateway says."""
    await tx.execute(
        """INSERT INTO contacts AS c (tenant_id, gateway, account, payer_id, email, name, language, timezone, country,
             opted_out, source)
           VALUES (:t, :g, :a, :p, :email, :name, :language, :timezone, :country, :opted_out, :source)
           ON CONFLICT (tenant_id, gateway, account, payer_id) DO UPDATE SET email=excluded.email, name=excluded.name,
             language=excluded.language, timezone=excluded.timezone, country=excluded.country,
             opted_out=excluded.opted_out, source=excluded.source, changed_at=now()
           WHERE excluded.source = 'api' OR c.source <> 'api'""",
        t=payer.tenant_id,
        g=payer.gateway,
        a=payer.account,
        p=payer.payer_id,
        email=contact.email,
        name=contact.name,
        language=contact.language,
        timezone=contact.timezone,
        country=contact.country,
        opted_out=contact.opted_out,
        source=source,
    )


async def forget_contact(tx: Tx, payer: Payer, only_fetched: bool) -> None:
    """Erase a contact, or only what was fetched from the gateway so that it is fetched anew."""
    await tx.execute(
        """DELETE FROM contacts WHERE tenant_id=:t AND gateway=:g AND account=:a AND payer_id=:p
             AND (NOT :only_fetched OR source <> 'api')""",
        t=payer.tenant_id,
        g=payer.gateway,
        a=payer.account,
        p=payer.payer_id,
        only_fetched=only_fetched,
    )


async def standing(tx: Tx, case: CaseView, sent_since: datetime) -> Standing:
    """Return what must be known beside a locked case to act on a step of it."""
    payer = case.payer
    row = await tx.row(
        """SELECT ARRAY(SELECT step FROM notice_steps WHERE case_id=:case_id) AS taken,
             -- an outcome that is not known counts as sent
             ARRAY(SELECT coalesce(sent_at, due_at) FROM notices WHERE tenant_id=:t AND gateway=:g AND account=:a
               AND payer_id=:p AND state IN ('queued', 'sending', 'sent', 'unknown') AND step <> 'receipt'
               AND coalesce(sent_at, due_at) >= :since) AS sent,
             coalesce((SELECT event_id FROM settled_invoices WHERE tenant_id=:t AND gateway=:g AND account=:a
               AND invoice_id=:i), '') AS settled_by, k.*
           FROM (SELECT 1) one LEFT JOIN contacts k ON tenant_id=:t AND gateway=:g AND account=:a AND payer_id=:p""",
        case_id=case.case_id,
        t=payer.tenant_id,
        g=payer.gateway,
        a=payer.account,
        p=payer.payer_id,
        i=case.invoice_id,
        since=sent_since,
    )
    assert row is not None
    contact = None if row["payer_id"] is None else _contact(row)
    return Standing(frozenset(row["taken"]), contact, tuple(row["sent"]), row["settled_by"])


async def was_written_to(tx: Tx, case_id: str) -> bool:
    """True when a message about a case went out, or may have."""
    return bool(
        await tx.value(
            """SELECT 1 FROM notice_steps s JOIN notices n USING (notice_id) WHERE s.case_id=:case_id
                 AND n.state IN ('sent', 'unknown', 'sending') LIMIT 1""",
            case_id=case_id,
        )
    )


async def steps_taken(tx: Tx, case_id: str) -> set[str]:
    """Return the steps of a case that were sent, queued or suppressed."""
    rows = await tx.rows("SELECT step FROM notice_steps WHERE case_id=:case_id", case_id=case_id)
    return {row["step"] for row in rows}


async def steps_planned(tx: Tx, case_id: str) -> tuple[set[str], list[str]]:
    """Return the steps of a case that were taken, and those that a timer waits for, the earliest first."""
    row = await tx.row(
        """SELECT ARRAY(SELECT step FROM notice_steps WHERE case_id=:c) AS taken,
             ARRAY(SELECT step FROM timers WHERE case_id=:c AND kind='notice' AND state IN ('pending', 'leased')
               ORDER BY due_at) AS planned""",
        c=case_id,
    )
    assert row is not None
    return set(row["taken"]), list(row["planned"])


async def steps_due(tx: Tx, payer: Payer, until: datetime, but: str) -> list[tuple[str, str]]:
    """Return (case, step) of the payer's other open cases with a step due until an instant."""
    rows = await tx.rows(
        """SELECT t.case_id, t.step FROM timers t JOIN cases c USING (case_id)
           WHERE t.kind='notice' AND t.due_at <= :until AND t.step <> 'receipt'
             AND c.tenant_id=:t AND c.gateway=:g AND c.account=:a AND c.payer_id=:p AND c.state='open'
             -- what fires together is marked as done at once, by this very transaction
             AND (t.state='pending' OR (t.state='done' AND t.changed_at=now()))
             AND t.case_id <> :but ORDER BY t.due_at, t.case_id""",
        until=until,
        t=payer.tenant_id,
        g=payer.gateway,
        a=payer.account,
        p=payer.payer_id,
        but=but,
    )
    return [(row["case_id"], row["step"]) for row in rows]


async def add_notice(tx: Tx, notice: NewNotice) -> None:
    """Write a notice and bind its steps to it, once and for all; UniqueViolation when one is taken already."""
    payer = notice.payer
    await tx.execute(
        """WITH notice AS (
             INSERT INTO notices (notice_id, tenant_id, gateway, account, payer_id, channel, step, tone, case_ids, state,
               due_at, rule)
             VALUES (:id, :t, :g, :a, :p, 'email', :step, :tone, CAST(:cases AS text[]), :state, :due, :rule))
           INSERT INTO notice_steps (case_id, step, channel, notice_id)
           SELECT c, s, 'email', :id FROM unnest(CAST(:cases AS text[]), CAST(:steps AS text[])) AS x(c, s)""",
        id=notice.notice_id,
        t=payer.tenant_id,
        g=payer.gateway,
        a=payer.account,
        p=payer.payer_id,
        step=notice.steps[0][1],
        tone=notice.tone,
        cases=[case_id for case_id, _ in notice.steps],
        steps=[step for _, step in notice.steps],
        state="suppressed" if notice.rule else "queued",
        due=tx.now,
        rule=notice.rule,
    )


async def cancel_steps(tx: Tx, steps: Sequence[tuple[str, str]]) -> None:
    """Cancel what (case, step) wait for, where a timer waits."""
    if not steps:
        return
    await tx.execute(
        """UPDATE timers t SET state='canceled', changed_at=now()
           FROM unnest(CAST(:cases AS text[]), CAST(:steps AS text[])) AS x(c, s)
           WHERE t.case_id=x.c AND t.kind='notice' AND t.step=x.s AND t.state='pending'""",
        cases=[case_id for case_id, _ in steps],
        steps=[step for _, step in steps],
    )


async def notice_for_update(tx: Tx, notice_id: str) -> Any:
    """Return a notice's row, locked."""
    return await tx.row("SELECT * FROM notices WHERE notice_id=:id FOR UPDATE", id=notice_id)


async def set_notice(tx: Tx, notice_id: str, state: str, **values: Any) -> None:
    """Move a notice on, with what is known of it now."""
    allowed = {
        "sent_at",
        "message_id",
        "template_id",
        "template_version",
        "language",
        "content_sha256",
        "rule",
        "error",
    }
    assert set(values) <= allowed
    changes = "".join(f", {name}=:{name}" for name in values)
    await tx.execute(
        f"UPDATE notices SET state=:state, changed_at=now(){changes} WHERE notice_id=:id",  # noqa: S608 - names from a constant
        state=state,
        id=notice_id,
        **values,
    )


async def cases_of_subscription(tx: Tx, payer: Payer, subscription_id: str) -> list[str]:
    """Return the open cases of a subscription."""
    rows = await tx.rows(
        """SELECT case_id FROM cases WHERE tenant_id=:t AND gateway=:g AND account=:a AND subscription_id=:s
             AND state <> 'closed'""",
        t=payer.tenant_id,
        g=payer.gateway,
        a=payer.account,
        s=subscription_id,
    )
    return [row["case_id"] for row in rows]


CAP_LOOK_BACK = timedelta(days=40)
