"""The base world: hidden reasons, bank balances and issuers that follow a calibrated model.

Owns: the answer to every charge. Refuses: policies; it never learns who asks.
The model, its parameters and the totals it is calibrated to are described in this package's README.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from dunwell_worlds import paydays, zones
from dunwell_worlds.answers import Answers
from dunwell_worlds.draws import ISSUERS, Population, population
from dunwell_worlds.failures import Failures, filled
from dunwell_worlds.fees import ChargeLog
from dunwell_worlds.hashing import drawn, key, stirred, uniform, uniforms
from dunwell_worlds.instants import second_of
from dunwell_worlds.issuers import Issuers
from dunwell_worlds.latents import Latents, latents
from dunwell_worlds.live import Live
from dunwell_worlds.observed import Codes
from dunwell_worlds.parameters import (
    AUTH,
    BASE,
    BLOCK,
    EXPIRED,
    FUNDINGS,
    HARD,
    LIMIT,
    NETWORKS,
    NSF,
    OUTAGE,
    PLACES,
    REASONS,
    REVOKED,
    RISK,
    TENANTS,
    Parameters,
)
from dunwell_worlds.past import past
from dunwell_worlds.payers import CHANNELS, TONES, Payer
from dunwell_worlds.payments import Columns, Payments
from dunwell_worlds.protocol import AttemptResult, Decline, FailedInvoice, Instrument, PayerAction

HOUR = 3600
_ISSUER_IDS = tuple(f"iss_{number:02d}" for number in range(ISSUERS))
_NEVER = (HARD, REVOKED, AUTH)
# Balances are disturbed anew every twelve hours, for 31 days.
_BLOCK, _BLOCK_LAST = 12 * HOUR, 61
# While the whole issuer is down a charge passes by mistake only.
_DOWN = 0.01
# Chances before and after an obstacle has gone away.
_CLEARED = {LIMIT: (0.02, 0.85), OUTAGE: (0.02, 0.94), EXPIRED: (0.0, 0.9)}


class BaseWorld:
    """A world of failed card renewals; equal arguments make equal worlds.

    Args:
        seed: Any integer.
        invoices: How many failed invoices, >= 0.
        parameters: The variant.
        start: First day on which an invoice may fall due.
        days: Length of the span of due dates.
    """

    horizon = timedelta(days=30)
    # Where an instance has more attributes than it shares keys for, the interpreter looks each of its methods up anew.
    __slots__ = (
        "_amount", "_answers", "_asked", "_asked_index", "_asked_method", "_built", "_codes", "_count", "_drawn_past",
        "_due", "_engagement", "_expiry", "_failed", "_funding", "_funds", "_issuer", "_issuers", "_last_payday",
        "_latents", "_line", "_live", "_luck", "_network", "_noise", "_parameters", "_people", "_place", "_posting",
        "_prefix", "_q", "_reason", "_second_route", "_tau", "_tenant", "_usual", "_variant", "name", "seed",
    )  # fmt: skip

    def __init__(
        self,
        seed: int,
        invoices: int,
        parameters: Parameters = BASE,
        *,
        start: date = date(2025, 7, 1),
        days: int = 365,
    ) -> None:
        if invoices < 0:
            raise ValueError(f"a world needs 0 or more invoices, not {invoices}")
        self.name = parameters.name
        self.seed = seed
        self._count = invoices
        people = population(seed, invoices, parameters, start, days)
        self._people, self._parameters = people, parameters
        self._latents: Latents = latents(seed, people, parameters)
        self._issuers = Issuers(seed, parameters, start, days)
        self._codes = Codes(seed, parameters, start, invoices)
        self._luck = key(seed, "approval")
        self._second_route = key(seed, "second route")
        self._expiry = uniforms(key(seed, "expiry"), invoices)
        self._last_payday = paydays.last_days(parameters.calendar)
        self._take(people)
        self._live: dict[int, Live] = {}
        self._prefix = f"in_{seed}"
        # The invoice that was asked about last: calls about one invoice mostly follow each other.
        self._asked: str | None = None
        self._asked_index, self._asked_method = -1, ""
        self._built: tuple[int, Decline] | None = None
        self._answers = Answers()
        self._drawn_past: Columns | None = None

    def _past(self) -> Columns:
        """Return the pasts, drawn for the first invoice that is read: most of a world's making."""
        if self._drawn_past is None:
            self._drawn_past = past(self.seed, self._people, self._parameters)
        return self._drawn_past

    def _take(self, people: Population) -> None:
        """Keep the population as lists: one element is read far faster than from an array."""
        self._reason: list[int] = people.reason.tolist()
        self._network: list[str] = [NETWORKS[number] for number in people.network.tolist()]
        self._funding: list[int] = people.funding.tolist()
        self._amount: list[int] = people.amount_minor.tolist()
        self._issuer: list[int] = people.issuer.tolist()
        self._place: list[int] = people.place.tolist()
        self._tenant: list[int] = people.tenant.tolist()
        self._due: list[int] = people.due.tolist()
        self._failed: list[int] = people.failed.tolist()
        self._usual: list[int] = people.usual_hour.tolist()
        self._line: list[bool] = people.credit_line.tolist()
        self._variant: list[int] = people.variant.tolist()
        self._posting: list[int] = people.posting_hour.tolist()
        self._funds: list[float] = people.funds.tolist()
        self._tau: list[float] = people.tau_hours.tolist()
        self._noise = people.noise
        self._q: list[float] = people.risk_q.tolist()
        self._engagement: list[float] = people.engagement.tolist()

    # What a policy may see.

    def failures(self) -> Sequence[FailedInvoice]:
        """Return every failed invoice; each is built when it is read."""
        return Failures(self.invoice, range(self._count))

    def invoice(self, index: int) -> FailedInvoice:
        """Return one failed invoice by its number."""
        country, zone, _ = PLACES[self._place[index]]
        tenant, _, routes = TENANTS[self._tenant[index]]
        failed = datetime.fromtimestamp(self._failed[index], UTC)
        self._ask_about(f"{self._prefix}_{index}", index)
        return filled(
            FailedInvoice,
            invoice_id=self._asked,
            payer_id=f"pay_{self.seed}_{index}",
            tenant_id=tenant,
            amount_minor=self._amount[index],
            currency="USD",
            timezone=zone,
            due_at=datetime.fromtimestamp(self._due[index], UTC),
            failed_at=failed,
            gateway="stripe",
            routes=routes,
            instruments=(
                filled(
                    Instrument,
                    instrument_id=self._asked_method,
                    kind="card",
                    network=self._network[index],
                    funding=FUNDINGS[self._funding[index]],
                    issuer_id=_ISSUER_IDS[self._issuer[index]],
                    country=country,
                    expires=self._expires(index, failed),
                ),
            ),
            decline=self._told_first(index),
            history=Payments(self._past(), index, self._amount[index]),
        )

    def _expires(self, index: int, failed: datetime) -> tuple[int, int]:
        """Return a month that has passed when the card expired, else one in the next four years."""
        months = failed.year * 12 + failed.month - 1
        spread = int(self._expiry[index] * 48)
        months += -1 - spread % 2 if self._reason[index] == EXPIRED and spread % 4 else 1 + spread
        return months // 12, months % 12 + 1

    def _told_first(self, index: int) -> Decline:
        """Return the first decline; of the invoice built last it is kept, as its first charge asks for it again."""
        if self._built is None or self._built[0] != index:
            self._built = index, self._first_decline(index)
        return self._built[1]

    def _first_decline(self, index: int) -> Decline:
        second = self._failed[index]
        code = self._codes.repeated(index, self._reason[index], second)
        # Only Mastercard's advice is drawn by the hour.
        stir = stirred(index, second // HOUR) if self._network[index] == "mastercard" else 0
        return self._decline(index, code, second, stir)

    def _decline(self, index: int, code: str, second: int, stir: int) -> Decline:
        clear, network, reason = 0.0, self._network[index], self._reason[index]
        # Only Mastercard's advice on missing funds tells of the next pay day.
        if network == "mastercard" and code == "51":
            funds = reason == NSF and not self._line[index]
            clear = self._next_payday(index, second) if funds else self._latents.clear[index]
        return self._codes.decline(index, code, network, reason, second, clear, stir)

    # What banks answer.

    def attempt(self, invoice_id: str, at: datetime, instrument_id: str, route: str, initiator: str) -> AttemptResult:
        """Charge once.

        Raises:
            ValueError: Unknown invoice, instrument, route or initiator; a naive instant; a step back in time.
        """
        index = self._asked_index if invoice_id == self._asked else self._index(invoice_id)
        if instrument_id != self._asked_method:
            raise ValueError(f"invoice {invoice_id!r} has no instrument {instrument_id!r}")
        live = self._live.get(index) or self._begun(index)
        if route not in live.routes:
            raise ValueError(f"invoice {invoice_id!r} has no route {route!r}")
        if initiator not in ("merchant", "payer"):
            raise ValueError(f"unknown initiator {initiator!r}")
        second, payer = second_of(at), live.payer
        local = live.move(second)
        if live.approved or (payer is not None and payer.paid_at is not None and payer.paid_at <= second):
            return AttemptResult(False, Decline("duplicate_transaction", "94", None, None), live.log.flat())
        hour = second // HOUR
        stir, down = stirred(index, hour), self._issuers.down(live.issuer, hour)
        works = payer is not None and payer.works(second)
        local_hour = local % 86400 // HOUR
        probability = self._probability(live, second, local, local_hour, route, works, down)
        if probability == 0.0:
            luck = 1.0
        elif live.reason == BLOCK and route != "stripe" and not works:
            luck = uniform(self._second_route, index)  # a second processor is accepted once and for all, or never
        else:
            luck = drawn(self._luck, stir)
        if luck < probability:
            live.approved = True
            return self._answers.of(None, live.log.sent(second, live.network, None, None))
        decline = self._refusal(live, second, stir, down or self._issuers.maintained(live.issuer, local_hour))
        if payer is None:
            live.refusals += 1
        else:
            payer.saw_refusal(second)
        return self._answers.of(decline, live.log.sent(second, live.network, decline.network_code, decline.advice_code))

    def _refusal(self, live: Live, second: int, stir: int, maintained: bool) -> Decline:
        """Return what a charge is refused with."""
        index = live.index
        code = "91" if maintained else self._codes.anew(index, live.reason, second, stir)
        if code is None:
            if second >= live.code_ends:
                live.code = self._codes.repeated(index, live.reason, second)
                live.code_ends = self._codes.drift_after(second)
            code = live.code
        decline = live.said.get(code)
        if decline is None:
            decline = self._decline(index, code, second, stir)
            if live.network != "mastercard":
                live.said[code] = decline
        return decline

    def oracle_probability(self, invoice_id: str, at: datetime, instrument_id: str, route: str) -> float:
        """Return the true chance of approval at an instant, given the charges so far."""
        index, second = self._index(invoice_id), second_of(at)
        live, local = self._live.get(index) or self._new(index), self._local(index, second)
        if live.approved:
            return 0.0
        down = self._issuers.down(live.issuer, second // HOUR)
        works = live.payer is not None and live.payer.works(second)
        return self._probability(live, second, local, local % 86400 // HOUR, route, works, down)

    def hidden_reason(self, invoice_id: str) -> str:
        """Return the true reason of the failure."""
        return REASONS[self._reason[self._index(invoice_id)]]

    def _probability(
        self, live: Live, second: int, local: int, local_hour: int, route: str, works: bool, down: bool
    ) -> float:  # fmt: skip
        """Return the chance of a charge; who stands in for an issuer that is down knows a dead card, too.

        Args:
            works: Whether the payer has put his method right.
        """
        if down:
            return 0.0 if live.reason in _NEVER and not works else _DOWN
        chance = 0.97 if works else self._by_reason(live, second, local, local_hour, route)
        if chance == 0.0:
            return 0.0
        chance *= self._issuers.factor(live.issuer, second // HOUR, local_hour)
        return 0.99 if chance > 0.99 and not works else chance

    def _by_reason(self, live: Live, second: int, local: int, local_hour: int, route: str) -> float:
        index, reason = live.index, live.reason
        if reason in _NEVER:
            return 0.0
        if reason == NSF and not self._line[index]:
            return 0.95 if self._balance(index, second, local) >= 1 else 0.0
        if reason == RISK:
            near = min((local_hour - self._usual[index]) % 24, (self._usual[index] - local_hour) % 24) <= 3
            chance = self._q[index] * (1.25 if near else 0.9) * 0.93**live.log.count
            last = live.log.last_second or self._failed[index]
            return chance * (0.35 if second - last < 20 * HOUR else 1.0)
        if reason == BLOCK:
            return 0.25 if route != live.routes[0] else 0.004
        cleared = second >= self._latents.clear[index]
        if reason == NSF:
            return (0.15 if second >= self._latents.refill[index] else 0.93) if cleared else 0.02
        before, after = _CLEARED[reason]
        return after if cleared else before

    def _balance(self, index: int, second: int, local: int) -> float:
        """Return the money on the account, in invoices."""
        day, hour = local // 86400, local % 86400 / HOUR
        posting = self._posting[index]
        effective = day if hour > posting else day - 1
        last = self._last_payday[self._variant[index]][effective - paydays.FIRST_DAY]
        age = (day - last) * 24 + hour - posting
        block = (second - self._failed[index]) // _BLOCK
        block = 0 if block < 0 else _BLOCK_LAST if block > _BLOCK_LAST else block
        return self._funds[index] * math.exp(-age / self._tau[index]) + self._noise.item(index, block)

    def _next_payday(self, index: int, second: int) -> float:
        days = self._last_payday[self._variant[index]]
        today = self._local(index, second) // 86400 - paydays.FIRST_DAY
        ahead = bisect_right(days, days[today], today, today + 40) - today
        return second + ahead * 86400.0

    # What payers do.

    def deliver(self, invoice_id: str, at: datetime, channel: str, tone: str, kind: str) -> None:
        """Let a message reach the payer; ValueError on an unknown channel or tone."""
        if channel not in CHANNELS:
            raise ValueError(f"unknown channel {channel!r}; known: {', '.join(CHANNELS)}")
        if tone not in TONES:
            raise ValueError(f"unknown tone {tone!r}; known: {', '.join(TONES)}")
        index = self._index(invoice_id)
        second = second_of(at)
        live = self._live.get(index) or self._begun(index)
        live.move(second)
        payer = live.payer
        if payer is None:
            payer = live.payer = self._payer(live)
        payer.read(second, channel, tone, kind)

    def payer_actions(self, invoice_id: str, after: datetime, until: datetime) -> Sequence[PayerAction]:
        """Return what the payer does in (after, until], oldest first."""
        live = self._live.get(self._asked_index if invoice_id == self._asked else self._index(invoice_id))
        payer = None if live is None else live.payer
        if live is None or payer is None:
            return ()
        if not live.approved:
            payer.advance(second_of(until))
        return tuple(action for action in payer.actions if after < action.at <= until)

    # Bookkeeping.

    def _index(self, invoice_id: str) -> int:
        if invoice_id == self._asked:
            return self._asked_index
        prefix, _, tail = invoice_id.rpartition("_")
        if prefix != self._prefix or not tail.isdecimal() or int(tail) >= self._count:
            raise ValueError(f"this world has no invoice {invoice_id!r}")
        self._ask_about(invoice_id, int(tail))
        return self._asked_index

    def _ask_about(self, invoice_id: str, index: int) -> None:
        self._asked, self._asked_index, self._asked_method = invoice_id, index, f"pm_{self.seed}_{index}"

    def _new(self, index: int) -> Live:
        failed, zone = self._failed[index], PLACES[self._place[index]][1]
        offset, offset_ends = zones.offset_until(zone, failed)
        first = self._told_first(index)
        log = ChargeLog(first.network_code, first.advice_code, failed)
        return Live(
            index, log, failed, self._reason[index], self._network[index], TENANTS[self._tenant[index]][2], zone,
            self._issuer[index], offset, offset_ends, str(first.network_code), self._codes.drift_after(failed), {},
        )  # fmt: skip

    def _payer(self, live: Live) -> Payer:
        failed = self._failed[live.index]
        offset = zones.offset_seconds(live.zone, failed)
        payer = Payer(REASONS[live.reason], self._engagement[live.index], failed, offset, self.seed, live.index)
        payer.saw_earlier(live.refusals)
        return payer

    def _begun(self, index: int) -> Live:
        live = self._live[index] = self._new(index)
        return live

    def _local(self, index: int, second: int) -> int:
        return second + zones.offset_seconds(PLACES[self._place[index]][1], second)


def make(
    seed: int, invoices: int, *, start: date = date(2025, 7, 1), days: int = 365, parameters: Parameters = BASE
) -> BaseWorld:
    """Return the base world; `start` and `days` bound the due dates."""
    return BaseWorld(seed, invoices, parameters, start=start, days=days)
