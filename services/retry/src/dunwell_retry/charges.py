"""SQL writes of charge attempts: permits, intents and what became of them.

Beside `store`, which would grow past its size with it; only handlers and effects call either.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dunwell_gateways.port import ChargeIntent, ChargeRequest
from dunwell_kit.database import Database, Tx
from dunwell_kit.money import Money
from dunwell_retry.decide.outputs import Charge
from dunwell_retry.machines.attempt import AttemptState
from dunwell_retry.model import Case
from dunwell_retry.rules.model import Verdict
from dunwell_retry.store import case_from

_COLUMNS = (
    "attempt_id", "case_id", "gateway", "account", "invoice_id", "attempt_number", "currency", "amount_minor",
    "instrument_id", "initiator", "request", "idem_key", "state", "intended_at", "attempts_before", "sent_at", "looks",
    "clean_look_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One charge attempt as stored: the exact bytes and where it is."""

    attempt_id: str
    case_id: str
    gateway: str
    account: str
    invoice_id: str
    attempt_number: int
    money: Money
    instrument_id: str
    initiator: str
    request: ChargeRequest
    idem_key: str
    state: AttemptState
    intended_at: datetime
    attempts_before: int | None
    sent_at: datetime | None
    looks: int
    clean_look_at: datetime | None

    @property
    def intent(self) -> ChargeIntent:
        """Return the intent its request was built from."""
        return intent_of(
            self.idem_key, self.money, self.invoice_id, self.instrument_id, self.initiator, self.attempts_before
        )


def intent_of(
    idem_key: str, money: Money, invoice_id: str, instrument_id: str, initiator: str, attempts_before: int | None = None
) -> ChargeIntent:
    """Return what the gateway port builds a request from."""
    return ChargeIntent(
        idem_key=idem_key,
        money=money,
        invoice_id=invoice_id,
        instrument_id=instrument_id or None,
        off_session=initiator == "merchant",
        attempts_before=attempts_before,
    )


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON values."""
    fee = verdict.fee_if_sent
    return {
        "permit": verdict.permit,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "not_before": verdict.not_before.isoformat() if verdict.not_before else None,
        "fee_if_sent": {"amount_minor": fee.amount_minor, "currency": fee.currency, "reason": fee.reason}
        if fee
        else None,
        "counters": dict(verdict.counters),
        "sources": list(verdict.sources),
    }


async def add_intent(tx: Tx, case: Case, charge: Charge, request: ChargeRequest) -> str:
    """Write the permit and the intent together; returns the attempt's id."""
    permit_id, attempt_id = tx.ids.new("per"), tx.ids.new("att")
    place = case.place
    await tx.execute(
        """WITH permit AS (INSERT INTO permits (permit_id, case_id, at, verdict)
             VALUES (:permit, :case_id, :now, CAST(:verdict AS jsonb)))
           INSERT INTO charge_attempts (attempt_id, case_id, permit_id, tenant_id, gateway, account, invoice_id,
             attempt_number, amount_minor, currency, instrument_id, initiator, request, idem_key, state, intended_at,
             propensity, score, policy, model_edition, arm, plan_seq)
           VALUES (:id, :case_id, :permit, :t, :g, :a, :invoice, :number, :amount, :currency, :instrument, :initiator,
             CAST(:request AS jsonb), :key, 'intent', :now, :propensity, :score, :policy, :model, :arm,
             (SELECT max(seq) FROM decisions WHERE case_id=:case_id AND kind='plan'))""",
        id=attempt_id,
        case_id=case.case_id,
        permit=permit_id,
        verdict=json.dumps(verdict_document(charge.verdict)),
        t=place.tenant_id,
        g=place.gateway,
        a=place.account,
        invoice=place.invoice_id,
        number=charge.attempt_number,
        amount=case.amount_minor,
        currency=case.currency,
        instrument=charge.method.instrument_id,
        initiator=charge.initiator,
        request=json.dumps(_request_document(request)),
        key=request.idem_key,
        now=tx.now,
        propensity=charge.choice.propensity,
        score=charge.choice.score,
        policy=charge.choice.policy,
        model=charge.choice.model_edition,
        arm=charge.choice.arm,
    )
    return attempt_id


def _request_document(request: ChargeRequest) -> dict[str, Any]:
    body = base64.b64encode(request.body).decode()
    return {"method": request.method, "path": request.path, "body": body, "headers": dict(request.headers)}


def attempt_from(row: Any) -> AttemptRow:
    """Build an attempt from its row."""
    document: Mapping[str, Any] = json.loads(row["request"]) if isinstance(row["request"], str) else row["request"]
    request = ChargeRequest(
        document["method"], document["path"], base64.b64decode(document["body"]), document["headers"], row["idem_key"]
    )
    return AttemptRow(
        attempt_id=row["attempt_id"],
        case_id=row["case_id"],
        gateway=row["gateway"],
        account=row["account"],
        invoice_id=row["invoice_id"],
        attempt_number=row["attempt_number"],
        money=Money(row["currency"], row["amount_minor"]),
        instrument_id=row["instrument_id"],
        initiator=row["initiator"],
        request=request,
        idem_key=row["idem_key"],
        state=AttemptState(row["state"]),
        intended_at=row["intended_at"],
        attempts_before=row["attempts_before"],
        sent_at=row["sent_at"],
        looks=row["looks"],
        clean_look_at=row["clean_look_at"],
    )


async def attempt_now(database: Database, attempt_id: str) -> AttemptRow:
    """Return an attempt as it is at this moment; who acts on it locks it anew."""
    [row] = await database.read("SELECT * FROM charge_attempts WHERE attempt_id=:id", id=attempt_id)
    return attempt_from(row)


async def attempt_for_update(tx: Tx, attempt_id: str) -> AttemptRow:
    """Return an attempt, locked."""
    row = await tx.row("SELECT * FROM charge_attempts WHERE attempt_id=:id FOR UPDATE", id=attempt_id)
    assert row is not None, f"attempt {attempt_id!r} has an effect and no row"
    return attempt_from(row)


# What an attempt is built from, under names that a case has not.
_BESIDE = ", ".join(f"a.{column} AS attempt_{column}" for column in _COLUMNS)


async def case_and_attempt(tx: Tx, attempt_id: str) -> tuple[Case, AttemptRow]:
    """Return an attempt and its case, both locked, the case first as everywhere."""
    row = await tx.row(
        f"SELECT c.*, {_BESIDE} FROM cases c JOIN charge_attempts a USING (case_id)"  # noqa: S608 - names of this file
        " WHERE a.attempt_id=:id FOR UPDATE OF c, a",
        id=attempt_id,
    )
    assert row is not None, f"attempt {attempt_id!r} has an effect and no case"
    return case_from(row), attempt_from({column: row[f"attempt_{column}"] for column in _COLUMNS})


async def open_attempt(tx: Tx, case_id: str) -> AttemptRow | None:
    """Return the case's attempt that has no end yet, locked."""
    row = await tx.row(
        "SELECT * FROM charge_attempts WHERE case_id=:id AND state IN ('intent', 'sent', 'unknown', 'stuck') FOR UPDATE",
        id=case_id,
    )
    return attempt_from(row) if row else None


async def mark_sent(tx: Tx, attempt: AttemptRow, attempts_before: int | None) -> bool:
    """Commit that the request is about to leave.

    False when the attempt is no longer an intent, the case no longer wants it, or a block forbids it.
    """
    # Two statements: the second sees what was committed while the first waited for the case.
    await tx.execute("SELECT 1 FROM cases WHERE case_id=:id FOR UPDATE", id=attempt.case_id)
    done = await tx.execute(
        """UPDATE charge_attempts a SET state='sent', sent_at=:now, attempts_before=:before FROM cases c
           WHERE a.attempt_id=:id AND a.state='intent' AND c.case_id=a.case_id AND c.state='charging'
             AND c.settlement='{}'::jsonb AND NOT EXISTS (
               SELECT 1 FROM blocks b WHERE b.lifted_at IS NULL AND b.tenant_id IN (c.tenant_id, '*')
                 AND b.gateway IN (c.gateway, '') AND b.payer_id IN (c.payer_id, '')
                 AND b.invoice_id IN (c.invoice_id, '') AND (b.until IS NULL OR b.until > :now))""",
        now=tx.now,
        before=attempts_before,
        id=attempt.attempt_id,
    )
    return bool(done.rowcount)


async def set_state(
    tx: Tx, attempt_id: str, state: AttemptState, *, gateway_object_id: str = "", payment_id: str = "",
    detail: str = "", beside: tuple[str, Mapping[str, Any]] | None = None,
) -> None:  # fmt: skip
    """Write where an attempt is, and what the gateway calls it.

    Args:
        beside: Another statement with its parameters, run as part of this one.
    """
    ended = state not in (AttemptState.INTENT, AttemptState.SENT, AttemptState.UNKNOWN, AttemptState.STUCK)
    other, parameters = beside or ("", {})
    await tx.execute(
        f"WITH beside AS ({other}) {_SET_STATE}" if other else _SET_STATE,
        state=state.value,
        object=gateway_object_id,
        payment=payment_id,
        ended=ended,
        now=tx.now,
        detail=detail[:500],
        id=attempt_id,
        **parameters,
    )


_SET_STATE = """UPDATE charge_attempts SET state=:state,
  gateway_object_id=coalesce(nullif(:object, ''), gateway_object_id),
  payment_id=CASE WHEN :payment <> '' THEN :payment ELSE payment_id END,
  ended_at=CASE WHEN :ended THEN CAST(:now AS timestamptz) END,
  outcome=jsonb_build_object('detail', CAST(:detail AS text))
WHERE attempt_id=:id"""


async def note_look(tx: Tx, attempt_id: str, clean: bool) -> None:
    """Count a look of the reconciler; a clean one found no trace of the attempt."""
    await tx.execute(
        """UPDATE charge_attempts SET looks=looks+1, clean_look_at=CASE WHEN :clean
             THEN coalesce(clean_look_at, CAST(:now AS timestamptz)) END WHERE attempt_id=:id""",
        clean=clean,
        now=tx.now,
        id=attempt_id,
    )
