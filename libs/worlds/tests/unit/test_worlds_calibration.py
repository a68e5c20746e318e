"""The base world reproduces the totals that public sources and the reference prototype report."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dunwell_worlds.base import BaseWorld, make
from dunwell_worlds.protocol import ActionKind, FailedInvoice

pytestmark = pytest.mark.simulation

INVOICES, SEED = 6000, 11
# A hard stop ends a schedule in every reference policy.
STOPS = {"14", "41", "43", "46", "R1", "1A"}
POINTS = 2.0
Schedule = Callable[[FailedInvoice], Sequence[datetime]]


def days(*gaps: float) -> Schedule:
    return lambda invoice: [invoice.failed_at + timedelta(days=gap) for gap in gaps]


def payday(invoice: FailedInvoice) -> list[datetime]:
    zone = ZoneInfo(invoice.timezone)
    first = invoice.failed_at.astimezone(zone).date()
    found = []
    for day in (first + timedelta(days=ahead) for ahead in range(31)):
        if day.day in (1, 15) or (day + timedelta(days=1)).day == 1 or day.weekday() == 4:
            at = datetime(day.year, day.month, day.day, 9, tzinfo=zone).astimezone(UTC)
            if invoice.failed_at < at <= invoice.failed_at + timedelta(days=30):
                found.append(at)
    return found[:8]


UNIFORM = days(*[1.75 * number for number in range(1, 9)])
# Recovered per cent without messages, from the table of the reference prototype.
TARGETS: dict[str, tuple[Schedule, float]] = {
    "legacy": (days(3, 8, 15), 30.2),
    "killbill": (days(8, 16, 24), 31.6),
    "shopify": (days(7, 14, 21), 28.5),
    "yuno": (days(5 / 1440, 1 / 24, 5 / 24, 1, 2, 4), 25.0),
    "recurly": (days(2, 4, 6, 8, 10, 12, 14), 38.6),
    "uniform": (UNIFORM, 39.8),
    "payday": (payday, 41.9),
    "daily": (days(*range(1, 21)), 45.9),
}


@dataclass
class Outcome:
    recovered: dict[str, float] = field(default_factory=dict)
    by_reason: dict[str, float] = field(default_factory=dict)
    by_funding: dict[str, float] = field(default_factory=dict)
    by_attempt: list[float] = field(default_factory=list)
    within_three_days: float = 0.0


def run(world: BaseWorld, schedule: Schedule) -> Outcome:
    outcome, recovered, early = Outcome(), 0, 0
    reason: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    funding: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    tries: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for invoice in world.failures():
        card = invoice.instruments[0]
        groups = [reason[world.hidden_reason(invoice.invoice_id)], funding[card.funding]]
        for group in groups:
            group[1] += 1
        code, advice = invoice.decline.network_code, invoice.decline.advice_code
        for number, at in enumerate(schedule(invoice)):
            if code in STOPS or advice == "03":
                break
            result = world.attempt(invoice.invoice_id, at, card.instrument_id, invoice.routes[0], "merchant")
            tries[number][1] += 1
            if result.approved:
                tries[number][0] += 1
                recovered += 1
                early += at - invoice.failed_at <= timedelta(days=3)
                for group in groups:
                    group[0] += 1
                break
            assert result.decline is not None
            code, advice = result.decline.network_code, result.decline.advice_code
    outcome.recovered = {"all": 100 * recovered / INVOICES}
    outcome.by_reason = {name: 100 * won / total for name, (won, total) in reason.items()}
    outcome.by_funding = {name: 100 * won / total for name, (won, total) in funding.items()}
    outcome.by_attempt = [100 * won / total for won, total in tries.values()]
    outcome.within_three_days = 100 * early / INVOICES
    return outcome


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return {name: run(make(SEED, INVOICES), schedule) for name, (schedule, _) in TARGETS.items()}


@pytest.mark.parametrize("name", TARGETS)
def test_a_known_schedule_recovers_what_it_is_known_to(name: str, outcomes: dict[str, Outcome]) -> None:
    assert outcomes[name].recovered["all"] == pytest.approx(TARGETS[name][1], abs=POINTS)


def test_silent_retries_recover_a_fifth_in_three_days(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["daily"].within_three_days == pytest.approx(21, abs=POINTS)


def test_credit_recovers_better_than_debit(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["uniform"].by_funding["credit"] > outcomes["uniform"].by_funding["debit"]


def test_success_falls_from_attempt_to_attempt(outcomes: dict[str, Outcome]) -> None:
    shape = (14.4, 10.3, 8.1, 6.2, 5.2, 4.9, 3.7, 2.6)
    assert outcomes["uniform"].by_attempt == pytest.approx(shape, abs=POINTS)


def test_each_reason_yields_as_much_as_it_should(outcomes: dict[str, Outcome]) -> None:
    by_reason = outcomes["uniform"].by_reason
    assert by_reason["nsf"] == pytest.approx(49, abs=3)
    assert by_reason["risk"] == pytest.approx(49, abs=4)
    assert by_reason["hard"] == by_reason["revoked"] == by_reason["auth"] == 0
    assert by_reason["block"] < 6
    assert by_reason["outage"] > 96


def test_codes_come_in_the_known_mix() -> None:
    counts: dict[str, int] = defaultdict(int)
    for invoice in make(SEED, INVOICES).failures():
        counts[invoice.decline.network_code or ""] += 1
    shares = {code: 100 * count / INVOICES for code, count in counts.items()}
    assert shares["51"] == pytest.approx(31, abs=POINTS)
    assert shares["05"] == pytest.approx(37, abs=POINTS)
    assert sum(shares[code] for code in ("14", "41", "43", "46")) == pytest.approx(8, abs=POINTS)


def with_five_emails(schedule: Schedule) -> float:
    """Return recovered per cent when five friendly e-mails go out beside the charges."""
    world, recovered = make(SEED, INVOICES), 0
    for invoice in world.failures():
        mails = [invoice.failed_at + timedelta(days=day, minutes=30) for day in (0, 3, 7, 12, 20)]
        end = invoice.failed_at + timedelta(days=30)
        charges = [] if invoice.decline.network_code in STOPS else list(schedule(invoice))
        events = sorted([(at, "mail") for at in mails] + [(at, "charge") for at in charges] + [(end, "end")])
        recovered += any_recovery(world, invoice, events)
    return 100 * recovered / INVOICES


def any_recovery(world: BaseWorld, invoice: FailedInvoice, events: Sequence[tuple[datetime, str]]) -> bool:
    last, card, route = invoice.failed_at, invoice.instruments[0].instrument_id, invoice.routes[0]
    stopped = False
    for at, what in events:
        for action in world.payer_actions(invoice.invoice_id, last, at):
            if action.kind is ActionKind.CANCELED:
                return False
            if action.kind is ActionKind.PAID:
                return True
            if action.kind is ActionKind.FIXED_METHOD:
                stopped = False
                if world.attempt(invoice.invoice_id, at, card, route, "payer").approved:
                    return True
        last = at
        if what == "mail":
            world.deliver(invoice.invoice_id, at, "email", "friendly", "reminder")
        elif what == "charge" and not stopped:
            result = world.attempt(invoice.invoice_id, at, card, route, "merchant")
            if result.approved:
                return True
            stopped = result.decline is not None and result.decline.network_code in STOPS
    return False


@pytest.mark.parametrize(
    ("schedule", "recovered"),
    [(days(), 26.2), (days(3, 8, 15), 48.7), (days(8, 16, 24), 49.4), (UNIFORM, 56.2)],
    ids=["no charge", "static", "killbill", "uniform"],
)
def test_five_emails_add_what_they_are_known_to(schedule: Schedule, recovered: float) -> None:
    assert with_five_emails(schedule) == pytest.approx(recovered, abs=POINTS)
