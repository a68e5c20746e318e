"""Every SQL write about cases, the attempt ledger and decisions; takes and returns model values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dunwell_kit.database import Tx
from dunwell_retry.governing import in_force
from dunwell_retry.machines.case import CaseState
from dunwell_retry.model import Assignment, Case, Decline, Method, Place, Situation, flat, plan_document, plan_from
from dunwell_retry.rules.model import Initiator, Origin, PastAttempt

# Rules look back 30 days and pay cycles about a year; a payer with more attempts than this is cut at the old end.
HISTORY_MAX = 400
# The evidence of attempts that were read from the gateway's list and not told by an event.
FETCHED = "fetched"


def case_from(row: Any) -> Case:
    """Build a case from its row."""
    place = Place(
        row["tenant_id"], row["gateway"], row["account"], row["payer_id"], row["invoice_id"], row["subscription_id"]
    )
    return Case(
        case_id=row["case_id"],
        place=place,
        payer_key=row["payer_key"],
        currency=row["currency"],
        amount_minor=row["amount_minor"],
        state=CaseState(row["state"]),
        failed_at=row["failed_at"],
        opened_at=row["opened_at"],
        decline=Decline(**_json(row["decline"])),
        method=Method(**_json(row["instrument"])),
        assignment=Assignment(**_json(row["assignment"])),
        deadline_at=row["deadline_at"],
        ended_at=row["ended_at"],
        attempts=row["attempts"],
        attempt_numbers=row["attempt_numbers"],
        plan_number=row["plan_number"],
        plan=plan_from(_json(row["plan"])),
        timezone=row["timezone"],
        plan_name=row["plan_name"],
        segment=row["segment"],
        payer_fixed=row["payer_fixed"],
        fixed_at=row["fixed_at"],
        held_by=row["held_by"],
        held_since=row["held_since"],
        held_until=row["held_until"],
        settlement=_json(row["settlement"]),
        first_span=row["first_span"],
    )


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


async def open_case(tx: Tx, place: Place) -> Case | None:
    """Return the open case of an invoice, locked."""
    row = await tx.row(
        """SELECT * FROM cases WHERE tenant_id=:t AND gateway=:g AND account=:a AND invoice_id=:i
             AND state NOT IN ('recovered', 'exhausted', 'canceled') FOR UPDATE""",
        t=place.tenant_id,
        g=place.gateway,
        a=place.account,
        i=place.invoice_id,
    )
    return case_from(row) if row else None


async def had_case(tx: Tx, place: Place) -> bool:
    """True when an invoice has or had a case; locks nothing."""
    return bool(
        await tx.value(
            """SELECT EXISTS (SELECT 1 FROM cases
                 WHERE tenant_id=:t AND gateway=:g AND account=:a AND invoice_id=:i)""",
            t=place.tenant_id,
            g=place.gateway,
            a=place.account,
            i=place.invoice_id,
        )
    )


async def last_ended(tx: Tx, place: Place) -> Case | None:
    """Return the case of an invoice that ended last."""
    row = await tx.row(
        """SELECT * FROM cases WHERE tenant_id=:t AND gateway=:g AND account=:a AND invoice_id=:i
             AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 1""",
        t=place.tenant_id,
        g=place.gateway,
        a=place.account,
        i=place.invoice_id,
    )
    return case_from(row) if row else None


async def lock_cases(tx: Tx, case_ids: Sequence[str]) -> None:
    """Lock cases in the order of their ids; ids of anything else are passed over."""
    await tx.execute(
        "SELECT 1 FROM cases WHERE case_id = ANY(CAST(:ids AS text[])) ORDER BY case_id FOR UPDATE", ids=list(case_ids)
    )


async def case_for_update(tx: Tx, case_id: str) -> Case | None:
    """Return a case, locked."""
    row = await tx.row("SELECT * FROM cases WHERE case_id=:id FOR UPDATE", id=case_id)
    return case_from(row) if row else None


async def open_cases_of(tx: Tx, place: Place, *, subscription: bool) -> list[Case]:
    """Return the open cases of a payer, or of a subscription, locked."""
    column, value = ("subscription_id", place.subscription_id) if subscription else ("payer_id", place.payer_id)
    if not value:
        return []
    rows = await tx.rows(
        f"""SELECT * FROM cases WHERE tenant_id=:t AND gateway=:g AND account=:a AND {column}=:value
             AND state NOT IN ('recovered', 'exhausted', 'canceled') ORDER BY case_id FOR UPDATE""",  # noqa: S608
        t=place.tenant_id,
        g=place.gateway,
        a=place.account,
        value=value,
    )
    return [case_from(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a case, on what, by which data."""

    kind: str
    rule: str
    sentence: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    editions: Mapping[str, Any]
    evidence: Sequence[str]
    shadow: Mapping[str, Any] | None = None


async def save(tx: Tx, case: Case, decisions: Sequence[Decision] = ()) -> None:
    """Write a case, new or changed, and what was decided about it."""
    place = case.place
    told = _decision_columns(tx, decisions) if decisions else {}
    await tx.execute(
        f"WITH told AS ({_TELL}) {_SAVE}" if decisions else _SAVE,
        **told,
        case_id=case.case_id,
        t=place.tenant_id,
        g=place.gateway,
        a=place.account,
        payer=place.payer_id,
        invoice=place.invoice_id,
        subscription=place.subscription_id,
        key=case.payer_key,
        currency=case.currency,
        amount=case.amount_minor,
        state=case.state.value,
        failed_at=case.failed_at,
        opened_at=case.opened_at,
        ended_at=case.ended_at,
        deadline_at=case.deadline_at,
        attempts=case.attempts,
        numbers=case.attempt_numbers,
        plan_number=case.plan_number,
        plan=json.dumps(plan_document(case.plan)),
        decline=json.dumps(flat(case.decline)),
        instrument=json.dumps(flat(case.method)),
        assignment=json.dumps(flat(case.assignment)),
        timezone=case.timezone,
        plan_name=case.plan_name,
        segment=case.segment,
        fixed=case.payer_fixed,
        fixed_at=case.fixed_at,
        held=case.held_by,
        held_since=case.held_since,
        held_until=case.held_until,
        settlement=json.dumps(dict(case.settlement)),
        first_span=case.first_span,
    )


_SAVE = """
INSERT INTO cases (case_id, tenant_id, gateway, account, payer_id, invoice_id, subscription_id, payer_key, currency,
  amount_minor, state, failed_at, opened_at, ended_at, deadline_at, attempts, attempt_numbers, plan_number, plan, decline,
  instrument, assignment, timezone, plan_name, segment, payer_fixed, fixed_at, held_by, held_since,
  held_until, settlement, first_span)
VALUES (:case_id, :t, :g, :a, :payer, :invoice, :subscription, :key, :currency, :amount, :state, :failed_at, :opened_at,
  :ended_at, :deadline_at, :attempts, :numbers, :plan_number, CAST(:plan AS jsonb), CAST(:decline AS jsonb),
  CAST(:instrument AS jsonb), CAST(:assignment AS jsonb), :timezone, :plan_name, :segment, :fixed, :fixed_at, :held,
  :held_since, :held_until, CAST(:settlement AS jsonb), :first_span)
ON CONFLICT (case_id) DO UPDATE SET amount_minor=excluded.amount_minor, state=excluded.state, ended_at=excluded.ended_at,
  deadline_at=excluded.deadline_at, attempts=excluded.attempts, attempt_numbers=excluded.attempt_numbers,
  plan_number=excluded.plan_number, plan=excluded.plan, decline=excluded.decline, instrument=excluded.instrument,
  timezone=excluded.timezone, plan_name=excluded.plan_name, segment=excluded.segment, payer_fixed=excluded.payer_fixed,
  fixed_at=excluded.fixed_at, held_by=excluded.held_by, held_since=excluded.held_since,
  held_until=excluded.held_until, settlement=excluded.settlement,
  subscription_id=excluded.subscription_id, changed_at=now()"""
# What a decision is told by, in the order of the decisions of one unit of work.
_TELL = """INSERT INTO decisions (decision_id, case_id, at, kind, rule, sentence, inputs, outputs, editions, evidence, shadow)
  SELECT id, :case_id, CAST(:now AS timestamptz), kind, rule, sentence, inputs, outputs, editions, evidence, shadow
  FROM unnest(CAST(:d_ids AS text[]), CAST(:d_kinds AS text[]), CAST(:d_rules AS text[]), CAST(:d_sentences AS text[]),
    CAST(:d_inputs AS jsonb[]), CAST(:d_outputs AS jsonb[]), CAST(:d_editions AS jsonb[]), CAST(:d_evidence AS jsonb[]),
    CAST(:d_shadows AS jsonb[]))
    WITH ORDINALITY AS d(id, kind, rule, sentence, inputs, outputs, editions, evidence, shadow, place) ORDER BY place"""


def _decision_columns(tx: Tx, decisions: Sequence[Decision]) -> dict[str, Any]:
    return {
        "now": tx.now,
        "d_ids": [tx.ids.new("dec") for _ in decisions],
        "d_kinds": [each.kind for each in decisions],
        "d_rules": [each.rule for each in decisions],
        "d_sentences": [each.sentence for each in decisions],
        "d_inputs": [json.dumps(dict(each.inputs)) for each in decisions],
        "d_outputs": [json.dumps(dict(each.outputs)) for each in decisions],
        "d_editions": [json.dumps(dict(each.editions)) for each in decisions],
        "d_evidence": [json.dumps(list(each.evidence)) for each in decisions],
        "d_shadows": [None if each.shadow is None else json.dumps(dict(each.shadow)) for each in decisions],
    }


# Column of the ledger, its type, and where an attempt keeps it.
_LEDGER: tuple[tuple[str, str, Callable[[PastAttempt], object]], ...] = (
    ("invoice_id", "text", lambda a: a.invoice_id),
    ("instrument_id", "text", lambda a: a.instrument_id),
    ("account_reference", "text", lambda a: a.account_reference),
    ("token", "text", lambda a: a.token),
    ("amount_minor", "bigint", lambda a: a.amount_minor),
    ("currency", "text", lambda a: a.currency),
    ("initiator", "text", lambda a: a.initiator.value),
    ("origin", "text", lambda a: a.origin.value),
    ("at", "timestamptz", lambda a: a.at),
    ("approved", "boolean", lambda a: a.approved),
    ("network_code", "text", lambda a: a.network_code),
    ("advice_code", "text", lambda a: a.advice_code),
    ("gateway_code", "text", lambda a: a.gateway_code),
    ("message", "text", lambda a: a.message),
)
_LOG_ATTEMPTS = f"""INSERT INTO attempt_ledger (entry_id, tenant_id, gateway, account, payer_id, evidence,
     {", ".join(name for name, _, _ in _LEDGER)})
   SELECT entry_id, :t, :g, :a, :payer, :evidence, {", ".join(name for name, _, _ in _LEDGER)}
   FROM unnest(CAST(:entry_ids AS text[]), {", ".join(f"CAST(:{name} AS {kind}[])" for name, kind, _ in _LEDGER)})
     AS e(entry_id, {", ".join(name for name, _, _ in _LEDGER)})
   ON CONFLICT (entry_id) DO NOTHING"""  # noqa: S608 - names of ours


def ledger_entries(place: Place, told: Sequence[tuple[str, PastAttempt]], evidence: str) -> tuple[str, dict[str, Any]]:
    """Return the statement that writes a payer's attempts, by entry id, to the ledger, and its parameters."""
    columns = {name: [value(attempt) for _, attempt in told] for name, _, value in _LEDGER}
    return _LOG_ATTEMPTS, {
        "t": place.tenant_id,
        "g": place.gateway,
        "a": place.account,
        "payer": place.payer_id,
        "evidence": evidence,
        "entry_ids": [entry_id for entry_id, _ in told],
        **columns,
    }


async def log_attempts(tx: Tx, place: Place, told: Sequence[tuple[str, PastAttempt]], evidence: str) -> int:
    """Write a payer's attempts, by entry id, to the ledger; returns how many were not there."""
    if not told:
        return 0
    statement, parameters = ledger_entries(place, told, evidence)
    return (await tx.execute(statement, **parameters)).rowcount


async def log_attempt(tx: Tx, place: Place, entry_id: str, attempt: PastAttempt, evidence: str) -> bool:
    """Write an attempt of anybody to the ledger; False when it was there."""
    return bool(await log_attempts(tx, place, [(entry_id, attempt)], evidence))


async def only_fetched(tx: Tx, entry_id: str) -> bool:
    """True when an attempt is known only from the gateway's list, so that no event has told of it yet."""
    return bool(
        await tx.value("SELECT evidence=:fetched FROM attempt_ledger WHERE entry_id=:id", fetched=FETCHED, id=entry_id)
    )


async def history(tx: Tx, place: Place) -> tuple[PastAttempt, ...]:
    """Return every known attempt on a payer's instruments, oldest first."""
    rows = await tx.rows(
        """SELECT * FROM (SELECT * FROM attempt_ledger WHERE tenant_id=:t AND gateway=:g AND account=:a AND payer_id=:p
             ORDER BY at DESC, entry_id LIMIT :most) h ORDER BY at, entry_id""",
        t=place.tenant_id,
        g=place.gateway,
        a=place.account,
        p=place.payer_id,
        most=HISTORY_MAX,
    )
    return tuple(
        PastAttempt(
            at=row["at"],
            invoice_id=row["invoice_id"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            initiator=Initiator(row["initiator"]),
            instrument_id=row["instrument_id"],
            approved=row["approved"],
            account_reference=row["account_reference"],
            token=row["token"],
            origin=Origin(row["origin"]),
            network_code=row["network_code"],
            advice_code=row["advice_code"],
            gateway_code=row["gateway_code"],
            message=row["message"],
        )
        for row in rows
    )


async def situation(tx: Tx, case: Case) -> Situation:
    """Return all that may be looked at to decide about a case."""
    past = await history(tx, case.place)
    governing, blocks = await in_force(tx, case.place)
    return Situation(case, past, (case.method,), blocks, governing)


async def save_profile(tx: Tx, place: Place, timezone: str, country: str) -> None:
    """Remember what the gateway tells of a payer without naming him."""
    await tx.execute(
        """INSERT INTO payer_profiles (tenant_id, gateway, account, payer_id, timezone, country, fetched_at)
           VALUES (:t, :g, :a, :p, :timezone, :country, :now)
           ON CONFLICT (tenant_id, gateway, account, payer_id) DO UPDATE SET timezone=excluded.timezone,
             country=excluded.country, fetched_at=excluded.fetched_at""",
        t=place.tenant_id,
        g=place.gateway,
        a=place.account,
        p=place.payer_id,
        timezone=timezone,
        country=country,
        now=tx.now,
    )


async def profile(tx: Tx, place: Place) -> Any:
    """Return what is known of a payer."""
    return await tx.row(
        "SELECT timezone, country, fetched_at FROM payer_profiles WHERE tenant_id=:t AND gateway=:g AND account=:a AND payer_id=:p",
        t=place.tenant_id,
        g=place.gateway,
        a=place.account,
        p=place.payer_id,
    )


async def add_block(tx: Tx, block_id: str, scope: Mapping[str, str], kind: str, until: datetime | None) -> None:
    """Forbid charging within a scope; `tenant_id` `*` means everybody."""
    await tx.execute(
        """INSERT INTO blocks (block_id, tenant_id, gateway, payer_id, invoice_id, kind, since, until)
           VALUES (:id, :tenant_id, :gateway, :payer_id, :invoice_id, :kind, :now, :until)""",
        id=block_id,
        kind=kind,
        now=tx.now,
        until=until,
        **scope,
    )


async def lift_block(tx: Tx, block_id: str) -> dict[str, str] | None:
    """Lift a block and return its scope; None if there is none open of that id."""
    row = await tx.row(
        """UPDATE blocks SET lifted_at=:now WHERE block_id=:id AND lifted_at IS NULL
           RETURNING tenant_id, gateway, payer_id, invoice_id""",
        now=tx.now,
        id=block_id,
    )
    return dict(row) if row else None


async def waiting_within(tx: Tx, scope: Mapping[str, str]) -> list[str]:
    """Return the waiting cases within a block's scope."""
    rows = await tx.rows(
        """SELECT case_id FROM cases WHERE state='waiting' AND :tenant_id IN (tenant_id, '*') AND :gateway IN (gateway, '')
             AND :payer_id IN (payer_id, '') AND :invoice_id IN (invoice_id, '') ORDER BY case_id""",
        **scope,
    )
    return [row["case_id"] for row in rows]
