"""One policy over one world.

Owns: the life of every invoice under a policy, and what it came to. Decisions are made as `planning.plan` makes
them, and asked again at the gate when a charge is sent, as in production. Refuses: comparisons; see `compare`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from dunwell_retry.backtest.cases import case_of, decline_of, recent_of
from dunwell_retry.backtest.violations import judged
from dunwell_retry.planning.model import Case, Decline, Sent, after_charge
from dunwell_retry.planning.parameters import Model
from dunwell_retry.planning.permits import MakeRules, Permits
from dunwell_retry.planning.planner import next_charge
from dunwell_retry.policies.document import Policy
from dunwell_retry.rules import Gate
from dunwell_retry.rules.values import maker
from dunwell_worlds import protocol
from dunwell_worlds.protocol import ActionKind, FailedInvoice
from dunwell_worlds.validate import ValidatedWorld, WorldBroken

# A decision takes a moment after the event that caused it.
_REACTION = timedelta(minutes=1)
# A fix is charged as soon as the gateway has told of it.
_AFTER_FIX = timedelta(minutes=2)
# More plans than this for one invoice mean that gate and plan do not agree.
_PLANS_MAX = 60
# Days of the friendly e-mails when messages are on; an e-mail costs a tenth of a cent.
EMAIL_DAYS = (0.02, 3, 7, 12, 20)
EMAIL_COST_MINOR_USD = 0.1
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a policy is run.

    Args:
        emails: Whether five friendly e-mails go out beside the charges.
        model: Model for `smart` policies; None takes the shipped one.
        seed: Seed of the planner's explorations.
    """

    emails: bool = False
    model: Model | None = None
    seed: int = 0
    rules: MakeRules = Gate


@dataclass(slots=True)
class Attempt:
    """One charge that was sent; `chance` is what the planner expected of it, if it has a model."""

    at: datetime
    instrument_id: str
    route: str
    initiator: str
    approved: bool
    chance: float | None
    cost_minor_usd: int


_attempt, _sent = maker(Attempt), maker(Sent)


@dataclass(slots=True)
class Outcome:
    """What one invoice came to under one policy."""

    invoice_id: str
    amount_minor: int
    currency: str
    failed_at: datetime
    funding: str
    country: str
    observed_code: str | None
    hidden_reason: str | None
    attempts: list[Attempt] = field(default_factory=list)
    recovered_at: datetime | None = None
    paid_at: datetime | None = None
    canceled: bool = False
    complaints: int = 0
    opted_out: bool = False
    contacts: int = 0
    never_retry: int = 0
    over_cap: int = 0


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Let nothing look for cycles in the meantime.

    A run makes millions of small objects and no cycles: looking for them would cost a fifth of its time, and a single
    look at all of them, once it is done, half a second more.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


def run_policy(
    world: ValidatedWorld,
    policy: Policy,
    settings: Settings | None = None,
    progress: Progress | None = None,
    span: slice = slice(None),
) -> list[Outcome]:
    """Return the outcomes of a fresh world's invoices, or of a span of them, under a policy."""
    outcomes: list[Outcome] = []
    settings = settings or Settings()
    with no_search_for_cycles():
        offered = world.failures()[span]
        for number, invoice in enumerate(offered, start=1):
            outcomes.append(_Life(world, invoice, policy, settings).live())
            if progress is not None and number % 200 == 0:
                progress(200)
    if len(outcomes) != len(offered):
        raise WorldBroken(f"world {world.name!r}: {len(outcomes)} invoices were played of {len(offered)} offered")
    if progress is not None:
        progress(len(outcomes) % 200)
    return outcomes


class _Life:
    """One invoice from its failure to its end."""

    def __init__(self, world: ValidatedWorld, invoice: FailedInvoice, policy: Policy, settings: Settings) -> None:
        self.world, self.invoice, self.policy, self.settings = world, invoice, policy, settings
        self.case: Case = case_of(invoice, world.horizon)
        # Until the invoice is recovered, paid or given up by a payer who leaves.
        self.open = True
        self.permits = Permits(self.case, settings.rules, recent_of(invoice))
        self.seen = invoice.failed_at
        self.mails = [invoice.failed_at + timedelta(days=day) for day in EMAIL_DAYS] if settings.emails else []
        first = invoice.instruments[0]
        reveal = world.revealing
        self.outcome = Outcome(
            invoice.invoice_id, invoice.amount_minor, invoice.currency, invoice.failed_at, first.funding,
            first.country, invoice.decline.network_code or invoice.decline.gateway_code,
            reveal.hidden_reason(invoice.invoice_id) if reveal else None,
        )  # fmt: skip
        self.declines: list[protocol.Decline | None] = []
        # What was told last, as the world says it and as the planner does.
        self.told: protocol.Decline | None = invoice.decline
        self.read: Decline | None = self.case.decline

    def live(self) -> Outcome:
        """Charge as the policy plans until the invoice is settled, the plan ends or the horizon is reached."""
        now = self.case.failed_at + _REACTION
        for _ in range(_PLANS_MAX):
            following = next_charge(
                self.case, self.policy, now=now, seed=self.settings.seed, permits=self.permits,
                model=self.settings.model,
            )  # fmt: skip
            if following is None:
                self._wait(self.case.deadline)
                if self.case.fixed_at is None or self.case.fixed_at < now or not self.open:
                    break
                now = self.case.fixed_at + _REACTION + _AFTER_FIX
                continue
            fixed = self.case.fixed_at
            self._wait(following.at)
            if not self.open:
                break
            if self.case.fixed_at != fixed:
                now = max(now, self.case.fixed_at or now) + _AFTER_FIX
                continue
            now = following.at
            initiator = (
                "payer" if fixed is not None and not any(sent.at >= fixed for sent in self.case.sent) else "merchant"
            )
            # The history is the one that the plan was made with: payers' acts were looked at just before.
            if not self.permits.ask(now, following.instrument_id, initiator).permit:
                now += _REACTION
                continue
            self._charge(now, following.instrument_id, following.route, initiator, following.chance)
            if not self.open:
                break
            now += _REACTION
        self._wait(self.case.deadline)
        outcome = self.outcome
        outcome.never_retry, outcome.over_cap = judged(self.invoice, outcome.attempts, self.declines)
        return outcome

    def _charge(self, at: datetime, instrument_id: str, route: str, initiator: str, chance: float | None) -> None:
        outcome = self.outcome
        result = self.world.attempt(outcome.invoice_id, at, instrument_id, route, initiator)
        approved = result.approved
        outcome.attempts.append(_attempt(at, instrument_id, route, initiator, approved, chance, result.cost_minor_usd))
        if approved:
            outcome.recovered_at = at
            self.open = False
            return
        self.declines.append(result.decline)
        if result.decline is not self.told:
            # Banks mostly repeat themselves.
            self.told, self.read = result.decline, decline_of(result.decline)
        sent = _sent(at, instrument_id, route, False, self.read, initiator)
        self.case = after_charge(self.case, sent)
        self.permits.add(self.case)
        if at > self.seen:
            self.seen = at

    def _wait(self, until: datetime) -> None:
        """Let time pass: e-mails go out and the payer acts."""
        while self.mails and self.open and self.mails[0] <= until:
            at, fixed = max(self.mails[0], self.seen), self.case.fixed_at
            self._actions(at)
            if self.case.fixed_at != fixed:
                return
            self.mails.pop(0)
            if self.open and not self.outcome.opted_out:
                self.world.deliver(self.invoice.invoice_id, at, "email", "friendly", "payment_failed")
                self.outcome.contacts += 1
        if self.open:
            self._actions(until)

    def _actions(self, until: datetime) -> None:
        if until <= self.seen:
            return
        for action in self.world.payer_actions(self.outcome.invoice_id, self.seen, until):
            if action.kind == ActionKind.PAID:
                self.outcome.paid_at, self.open = action.at, False
            elif action.kind == ActionKind.CANCELED:
                self.outcome.canceled, self.open = True, False
            elif action.kind == ActionKind.COMPLAINED:
                self.outcome.complaints += 1
            elif action.kind == ActionKind.OPTED_OUT:
                self.outcome.opted_out = True
            elif action.kind == ActionKind.FIXED_METHOD:
                # The charge that answers a fix comes at once, so that time stops here.
                self.case = replace(self.case, fixed_at=action.at)
                self.seen = action.at
                return
            if not self.open:
                break
        self.seen = until
