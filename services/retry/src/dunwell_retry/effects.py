"""What retry does to gateways: charge, look, ask who the payer is. The charge protocol lives here.

`sent` commits before a byte leaves. An effect that finds its attempt `sent` is the second try of a first that ended
somewhere after that commit, so the outcome is unknown: it is never sent again from here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dunwell_gateways import registry
from dunwell_gateways.charge import ChargeTransport, NoReply, Timeouts, perform
from dunwell_gateways.port import ChargeResult, InvoiceState, InvoiceStatus, Outcome
from dunwell_gateways.witness import Witness
from dunwell_kit import tracing
from dunwell_kit.database import Database, Tx
from dunwell_kit.effects import Done, Effect, Postponed
from dunwell_kit.failpoints import failpoint
from dunwell_retry import charges, profiles
from dunwell_retry.charges import AttemptRow
from dunwell_retry.handlers import Recovery
from dunwell_retry.machines.attempt import AttemptState
from dunwell_retry.outcomes import Outcomes

# Nothing was executed, so the same attempt may be sent again soon; its number is not used up.
NOT_SENT_AGAIN = timedelta(seconds=30)
# An attempt that could not be sent for so long is withdrawn and planned anew: its date was chosen for its hour.
HELD_MAX = timedelta(minutes=15)
# A replay of the key is trusted only well inside the time the gateway remembers it.
KEY_WINDOW_SHARE = 0.8


class Charger:
    """Performs retry's effects."""

    def __init__(
        self,
        database: Database,
        transports: dict[str, ChargeTransport],
        recovery: Recovery,
        outcomes: Outcomes,
        timeouts: Timeouts,
    ) -> None:
        self._database, self._transports, self._timeouts = database, transports, timeouts
        self._recovery, self._outcomes = recovery, outcomes

    async def charge(self, effect: Effect) -> Done | Postponed:
        """Make one attempt, once."""
        attempt_id = effect.payload["attempt_id"]
        attempt = await charges.attempt_now(self._database, attempt_id)
        tracing.annotate(dunwell__gateway=attempt.gateway, dunwell__attempt_number=attempt.attempt_number)
        if attempt.state is AttemptState.SENT:
            return Done(
                "unknown", lambda tx: self._outcomes.on_lost_sight(tx, attempt_id, "an earlier try ended early")
            )
        if attempt.state is not AttemptState.INTENT:
            return Done("nothing", _nothing)
        invoice = await self._invoice(attempt)
        if invoice.status is InvoiceStatus.UNKNOWN:
            return self._again_or_withdraw(attempt, "the biller does not say whether the invoice is open")
        if not _chargeable(invoice, attempt):
            return Done("withdrawn", lambda tx: self._outcomes.on_not_open(tx, attempt_id, invoice))
        if not await self._database.transact(lambda tx: charges.mark_sent(tx, attempt, invoice.attempt_count)):
            return Done("withdrawn", lambda tx: self._outcomes.on_withdrawn(tx, attempt_id, "the case moved on"))
        failpoint("retry.after_sent_commit")
        client = registry.adapter(attempt.gateway).charge
        result = await perform(
            self._transports[attempt.gateway], attempt.request, client.interpret, timeouts=self._timeouts
        )
        failpoint("retry.after_response")
        return await self._answered(attempt, result)

    async def _answered(self, attempt: AttemptRow, result: ChargeResult) -> Done | Postponed:
        limited = result.outcome is Outcome.RATE_LIMITED
        safe = registry.adapter(attempt.gateway).charge.capabilities.safe_on_429
        if result.outcome is Outcome.NOT_SENT or (limited and safe):
            await self._database.transact(lambda tx: charges.set_state(tx, attempt.attempt_id, AttemptState.INTENT))
            return self._again_or_withdraw(attempt, result.detail, result.retry_after_seconds)

        async def apply(tx: Tx) -> None:
            await self._outcomes.on_result(tx, attempt.attempt_id, result)

        return Done(result.outcome.value, apply)

    def _again_or_withdraw(self, attempt: AttemptRow, detail: str, seconds: int | None = None) -> Done | Postponed:
        now = self._database.clock.now()
        held = now - attempt.intended_at
        # Half as long again each time, so that a gateway that is down is not asked every half minute.
        again = now + (timedelta(seconds=seconds) if seconds else NOT_SENT_AGAIN + held / 2)
        if again - attempt.intended_at <= HELD_MAX:
            return Postponed(again)
        return Done("withdrawn", lambda tx: self._outcomes.on_withdrawn(tx, attempt.attempt_id, detail))

    async def _invoice(self, attempt: AttemptRow) -> InvoiceState:
        client = registry.adapter(attempt.gateway).charge
        reply = await self._transports[attempt.gateway].send(
            client.invoice_state(attempt.invoice_id), timeouts=self._timeouts
        )
        if isinstance(reply, NoReply):
            return InvoiceState(InvoiceStatus.UNKNOWN, detail=reply.detail)
        return client.interpret_invoice_state(reply.status, reply.headers, reply.body)

    async def reconcile(self, effect: Effect) -> Done | Postponed:
        """Look at an attempt whose outcome is unknown: by its object, the same bytes and key, the gateway's record."""
        attempt_id, look = effect.payload["attempt_id"], effect.payload["look"]
        attempt = await charges.attempt_now(self._database, attempt_id)
        if attempt.state not in (AttemptState.UNKNOWN, AttemptState.STUCK):
            return Done("nothing", _nothing)
        failpoint("retry.reconciling")
        client = registry.adapter(attempt.gateway).charge
        transport = self._transports[attempt.gateway]
        reply = await transport.send(client.look_up(attempt.intent), timeouts=self._timeouts)
        if isinstance(reply, NoReply):
            result = ChargeResult(Outcome.UNKNOWN, detail=reply.detail)
        else:
            result = client.interpret_look_up(attempt.intent, reply.status, reply.headers, reply.body)
        if result.outcome in (Outcome.UNKNOWN, Outcome.ALREADY_PAID) and self._key_is_fresh(attempt):
            # The key's first answer tells whose payment it was, and never charges a paid invoice again.
            replayed = await perform(transport, attempt.request, client.interpret, timeouts=self._timeouts)
            if replayed.outcome in (Outcome.APPROVED, Outcome.DECLINED, Outcome.ACTION_REQUIRED):
                result = replayed
        if result.outcome is Outcome.ALREADY_PAID and await self._paid_by_us(attempt):
            result = replace(result, outcome=Outcome.APPROVED)

        async def apply(tx: Tx) -> None:
            await self._outcomes.on_looked(tx, attempt_id, look, result)

        return Done(result.outcome.value, apply)

    async def _paid_by_us(self, attempt: AttemptRow) -> bool:
        """Whether the gateway's own record names our key: the replay of an answer of 500 is a 500 again."""
        client = registry.adapter(attempt.gateway).charge
        if not isinstance(client, Witness) or attempt.sent_at is None:
            return False
        asked = client.payments_noted(attempt.sent_at)
        reply = await self._transports[attempt.gateway].send(asked, timeouts=self._timeouts)
        if isinstance(reply, NoReply):
            return False
        return client.paid_by_key(attempt.intent, reply.status, reply.headers, reply.body) == attempt.idem_key

    def _key_is_fresh(self, attempt: AttemptRow) -> bool:
        capabilities = registry.adapter(attempt.gateway).charge.capabilities
        if not capabilities.replays_declines or attempt.sent_at is None:
            return False
        window = timedelta(hours=capabilities.key_window_hours) * KEY_WINDOW_SHARE
        return self._database.clock.now() - attempt.sent_at < window

    async def fetch_payer(self, effect: Effect) -> Done | Postponed:
        """Ask the gateway where the payer lives and what he paid before, then let the case be planned."""
        case_id = effect.payload["case_id"]
        told = await profiles.fetch(self._database, self._transports, self._timeouts, case_id)
        again = self._database.clock.now() + NOT_SENT_AGAIN
        if told is None and again < datetime.fromisoformat(effect.payload["until"]):
            return Postponed(again)

        async def apply(tx: Tx) -> None:
            if told is not None:
                await profiles.remember(tx, case_id, told)
            await self._recovery.on_payer_known(tx, case_id, told or profiles.UNTOLD)

        return Done("known" if told else "unknown", apply)


def _chargeable(invoice: InvoiceState, attempt: AttemptRow) -> bool:
    same = invoice.remaining is None or invoice.remaining == attempt.money
    return invoice.status is InvoiceStatus.OPEN and same


async def _nothing(_: Tx) -> Any:
    """The attempt has its end already."""
