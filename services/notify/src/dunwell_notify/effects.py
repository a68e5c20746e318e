"""What notify does to the outside: ask for a contact, send a message. Outcomes go back as messages.

A message is handed over at most once: `sending` is committed before the first byte, and a row found in that
state again means that an earlier try may have got through, so its outcome is unknown for good.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from dunwell.notice.v1 import notice_pb2
from dunwell_contracts.values import stamp
from dunwell_kit import metrics
from dunwell_kit.database import Database, Tx
from dunwell_kit.effects import Done, Effect, Postponed
from dunwell_kit.errors import Unavailable
from dunwell_kit.failpoints import failpoint
from dunwell_kit.outputs import TimerSet
from dunwell_notify import letters, store, translate
from dunwell_notify.channels import Channel, Outcome, Outgoing
from dunwell_notify.contacts import GatewayContacts
from dunwell_notify.decide import unreachable
from dunwell_notify.letters import Brand, Letter
from dunwell_notify.model import CaseView, Contact, Payer, Step, Suppress, Tone

# A gateway that does not answer is asked again after this much business time, until the step goes on without it.
ASK_AGAIN = timedelta(minutes=2)
# A mail server that is away for now is tried again so soon, and so long that the message still leaves in its hour.
DEFER = timedelta(minutes=10)
DEFER_MAX = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Forgotten:
    """Nobody knows any more how the payer of a queued message is reached."""

    payer: Payer
    due_at: datetime


_NOTHING_LEFT = Suppress(
    "notify.settled_before_dispatch", "When the message was to be handed over nothing was left to say."
)


class Messenger:
    """Performs notify's effects."""

    def __init__(
        self, database: Database, channel: Channel, contacts: GatewayContacts, brand: Brand, secret: bytes
    ) -> None:
        self._database, self._channel, self._contacts = database, channel, contacts
        self._brand, self._secret = brand, secret

    async def fetch_contact(self, effect: Effect) -> Done | Postponed:
        """Ask the gateway who the payer is, and let the step that waits go on."""
        fields = effect.payload
        payer = Payer(fields["tenant"], fields["gateway"], fields["account"], fields["payer"])
        case_id, _, step = effect.idem_key.rpartition(":")
        try:
            contact = await self._contacts.fetch(payer)
        except Unavailable:
            again = self._database.clock.now() + ASK_AGAIN
            if again < datetime.fromisoformat(fields["until"]):
                return Postponed(again)
            contact = None

        async def apply(tx: Tx) -> None:
            if contact is not None:
                await store.save_contact(tx, payer, contact, "gateway")
            waiting = await tx.row(
                "SELECT 1 FROM timers WHERE case_id=:c AND kind='notice' AND step=:s AND state='pending'",
                c=case_id,
                s=step,
            )
            if waiting:
                tx.set_timer(TimerSet(case_id, "notice", tx.now, step, {"asked": True}))

        return Done("found" if contact else "unknown", apply)

    async def send_notice(self, effect: Effect) -> Done | Postponed:
        """Hand one message over, unless the payer has paid in the meantime."""
        notice_id = effect.payload["notice_id"]
        prepared = await self._database.transact(lambda tx: self._prepare(tx, notice_id))
        if isinstance(prepared, _Forgotten):
            # He changed something at the gateway after the message was queued, so what was known may be stale.
            postponed = await self._ask_anew(prepared)
            if postponed is not None:
                return postponed
            prepared = await self._database.transact(lambda tx: self._prepare(tx, notice_id, asked=True))
        assert not isinstance(prepared, _Forgotten), "whoever was asked for is not forgotten"
        if isinstance(prepared, Done):
            return prepared
        letter, raw, contact, identity = prepared
        failpoint("notify.before_send")
        outcome = await self._channel.send(Outgoing(contact.email or "", raw, identity))
        failpoint("notify.after_send")
        metrics.NOTICES.labels("email", outcome.state).inc()
        if outcome.state == "deferred":
            if await self._database.transact(lambda tx: _back_in_queue(tx, notice_id, outcome.detail)):
                return Postponed(self._database.clock.now() + DEFER)
            outcome = Outcome("failed", outcome.detail)

        async def apply(tx: Tx) -> None:
            await _record_outcome(tx, notice_id, letter, outcome, hashlib.sha256(raw).hexdigest())

        return Done(outcome.state, apply)

    async def _ask_anew(self, forgotten: _Forgotten) -> Postponed | None:
        """Ask the gateway who the payer is now; None when the message need not wait any longer for the answer."""
        try:
            contact = await self._contacts.fetch(forgotten.payer)
        except Unavailable:
            again = self._database.clock.now() + ASK_AGAIN
            return Postponed(again) if again - forgotten.due_at < DEFER_MAX else None
        if contact is not None:
            await self._database.transact(lambda tx: store.save_contact(tx, forgotten.payer, contact, "gateway"))
        return None

    async def _prepare(
        self, tx: Tx, notice_id: str, *, asked: bool = False
    ) -> Done | _Forgotten | tuple[Letter, bytes, Contact, str]:
        row = await store.notice_for_update(tx, notice_id)
        if row["state"] == "sending":
            lost = Outcome("unknown", "an earlier try ended before its outcome was known")
            return Done("unknown", lambda tx: _record_outcome(tx, notice_id, None, lost, ""))
        if row["state"] != "queued":
            return Done("nothing", _nothing)
        cases, settled, contact = await store.addressed(tx, row["case_ids"])
        step = Step(row["step"])
        open_cases = [c for c in cases if step is Step.RECEIPT or (c.state == "open" and not settled[c.case_id])]
        if not open_cases:
            evidence = [settled[c.case_id] or c.evidence for c in cases]
            return Done("suppressed", lambda tx: _suppressed(tx, row, cases, _NOTHING_LEFT, evidence))
        if contact is None and not asked:
            return _Forgotten(cases[0].payer, row["due_at"])
        silent = unreachable(contact, step)
        if silent is not None:
            return Done("suppressed", lambda tx: _suppressed(tx, row, cases, silent, []))
        assert contact is not None, "nobody is unreachable"
        lead = replace(
            open_cases[0], deadline_at=min((c.deadline_at for c in open_cases if c.deadline_at), default=None)
        )
        letter = letters.render(step, [lead, *open_cases[1:]], contact, self._brand)
        identity = letters.message_id(self._secret, notice_id, self._brand.sender_email.rpartition("@")[2])
        raw = letters.build_message(
            letter,
            contact,
            self._brand,
            identity=identity,
            tone=Tone(row["tone"]),
            step=step,
            invoices=[c.invoice_id for c in open_cases],
            at=tx.now,
        )
        await store.set_notice(tx, notice_id, "sending", message_id=identity)
        return letter, raw, contact, identity


async def _nothing(_: Tx) -> None:
    """The notice has its end already."""


async def _back_in_queue(tx: Tx, notice_id: str, detail: str) -> bool:
    """Let a message that was certainly not taken be handed over later; False when it has waited long enough."""
    row = await store.notice_for_update(tx, notice_id)
    if tx.now - row["due_at"] >= DEFER_MAX:
        return False
    await store.set_notice(tx, notice_id, "queued", error=detail)
    return True


async def _suppressed(tx: Tx, row: Any, cases: list[CaseView], why: Suppress, evidence: list[str]) -> None:
    await store.set_notice(tx, row["notice_id"], "suppressed", rule=why.rule)
    ref = translate.notice_ref(row["notice_id"], cases[0].payer, cases, row["step"], row["tone"])
    reason = translate.reason(why.rule, why.why, *evidence)
    tx.emit(
        notice_pb2.NoticeSuppressed(notice=ref, reason=reason), key=cases[0].payer_key, correlation_id=cases[0].case_id
    )


async def _record_outcome(tx: Tx, notice_id: str, letter: Letter | None, outcome: Outcome, digest: str) -> None:
    row = await store.notice_for_update(tx, notice_id)
    cases = await store.cases_of(tx, row["case_ids"])
    ref = translate.notice_ref(notice_id, cases[0].payer, cases, row["step"], row["tone"])
    key, case_id = cases[0].payer_key, cases[0].case_id
    if outcome.state == "sent" and letter is not None:
        await store.set_notice(
            tx,
            notice_id,
            "sent",
            sent_at=tx.now,
            template_id=letter.template_id,
            template_version=letter.template_version,
            language=letter.language,
            content_sha256=digest,
        )
        event = notice_pb2.NoticeSent(
            notice=ref,
            template_id=letter.template_id,
            template_version=letter.template_version,
            language=letter.language,
            content_sha256=digest,
            sent_at=stamp(tx.now),
            reason=translate.reason(
                f"notify.{row['step']}", f"The {row['step']} notice was due and nothing spoke against it."
            ),
        )
        tx.emit(event, key=key, correlation_id=case_id, subject=notice_id)
        return
    await store.set_notice(tx, notice_id, outcome.state, error=outcome.detail, sent_at=tx.now)
    why = translate.reason(f"notify.{outcome.state}", outcome.detail or "The provider refused the message.")
    failed = notice_pb2.NoticeFailed(notice=ref, outcome_unknown=outcome.state == "unknown", reason=why)
    tx.emit(failed, key=key, correlation_id=case_id, subject=notice_id)
