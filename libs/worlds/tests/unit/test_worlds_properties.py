"""Properties that hold for every world, whatever a policy does."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dunwell_worlds import foreign, stress
from dunwell_worlds.base import BaseWorld, make
from dunwell_worlds.protocol import ActionKind, AttemptResult, Decline, FailedInvoice, World
from dunwell_worlds.validate import ValidatedWorld, WorldBroken, check_invoice

FACTORIES: dict[str, Callable[[int, int], World]] = {
    "base": make,
    "stress_05share": stress.stress_05share,
    "stress_nocalendar": stress.stress_nocalendar,
    "stress_night": stress.stress_night,
    "stress_outages": stress.stress_outages,
    "foreign": foreign.make,
}
hours_ahead = st.lists(st.integers(1, 700), min_size=1, max_size=15, unique=True).map(sorted)


def charge(world: World, invoice: FailedInvoice, hours: int) -> AttemptResult:
    at = invoice.failed_at + timedelta(hours=hours)
    return world.attempt(invoice.invoice_id, at, invoice.instruments[0].instrument_id, invoice.routes[0], "merchant")


@pytest.mark.parametrize("name", FACTORIES)
def test_every_world_keeps_the_protocol(name: str) -> None:
    world = ValidatedWorld(FACTORIES[name](3, 60))
    invoices = list(world.failures())
    assert len({invoice.invoice_id for invoice in invoices}) == 60
    for invoice in invoices:
        for hours in (5, 50, 500):
            charge(world, invoice, hours)
        world.deliver(invoice.invoice_id, invoice.failed_at + timedelta(hours=501), "email", "friendly", "reminder")
        world.payer_actions(invoice.invoice_id, invoice.failed_at, invoice.failed_at + timedelta(days=30))


@pytest.mark.parametrize("name", FACTORIES)
def test_the_same_seed_makes_the_same_ledger(name: str) -> None:
    def ledger(seed: int) -> list[object]:
        world = FACTORIES[name](seed, 80)
        rows: list[object] = list(world.failures())
        rows += [charge(world, invoice, hours) for invoice in world.failures() for hours in (20, 90, 300)]
        return rows

    assert ledger(5) == ledger(5)
    assert ledger(5) != ledger(6)


@pytest.mark.simulation
@settings(max_examples=25, deadline=None)
@given(plan=hours_ahead, seed=st.integers(0, 5))
# An hour at which a dead card's issuer is down: who stands in must not approve it either.
@example(plan=[94], seed=3)
def test_nothing_recovers_a_dead_card_but_the_payer(plan: list[int], seed: int) -> None:
    world = make(seed, 60)
    for invoice in world.failures():
        if world.hidden_reason(invoice.invoice_id) in ("hard", "revoked", "auth"):
            assert not any(charge(world, invoice, hours).approved for hours in plan)


@pytest.mark.simulation
@settings(max_examples=25, deadline=None)
@given(plan=hours_ahead, extra=hours_ahead)
def test_more_attempts_lose_nothing_but_an_issuers_patience(plan: list[int], extra: list[int]) -> None:
    few, many = make(2, 60), make(2, 60)
    for invoice in few.failures():
        if few.hidden_reason(invoice.invoice_id) == "risk":
            continue
        won = any(charge(few, invoice, hours).approved for hours in plan)
        more = any(charge(many, invoice, hours).approved for hours in sorted({*plan, *extra}))
        assert more or not won


def test_luck_does_not_depend_on_what_was_asked_before() -> None:
    quiet, asked = make(4, 300), make(4, 300)
    for invoice in quiet.failures():
        if quiet.hidden_reason(invoice.invoice_id) in ("risk", "block"):
            continue
        early = charge(asked, invoice, 30)
        late = charge(quiet, invoice, 200)
        if not early.approved:
            assert charge(asked, invoice, 200).approved == late.approved


@pytest.mark.simulation
def test_the_oracle_beats_a_blind_schedule_of_as_many_attempts() -> None:
    oracle, blind, won, plain = make(9, 400), make(9, 400), 0, 0
    for invoice in oracle.failures():
        card, route = invoice.instruments[0].instrument_id, invoice.routes[0]
        hours = 1
        for _ in range(4):
            ahead = range(hours, 720, 6)
            best = max(
                ahead,
                key=lambda hour: oracle.oracle_probability(
                    invoice.invoice_id, invoice.failed_at + timedelta(hours=hour), card, route
                ),
                default=None,
            )
            if best is None:
                break
            if charge(oracle, invoice, best).approved:
                won += 1
                break
            hours = best + 6
        plain += any(charge(blind, invoice, hour).approved for hour in (42, 168, 336, 600))
    assert won > plain


def test_nobody_acts_before_he_was_told() -> None:
    world = make(1, 200)
    for invoice in world.failures():
        charge(world, invoice, 48)
        assert not world.payer_actions(invoice.invoice_id, invoice.failed_at, invoice.failed_at + timedelta(days=30))


def test_a_payer_who_was_told_may_fix_even_a_dead_card() -> None:
    world = make(1, 2000)
    fixed = approved = 0
    for invoice in world.failures():
        if world.hidden_reason(invoice.invoice_id) != "hard":
            continue
        world.deliver(invoice.invoice_id, invoice.failed_at + timedelta(minutes=10), "email", "friendly", "update")
        until = invoice.failed_at + timedelta(days=5)
        kinds = [action.kind for action in world.payer_actions(invoice.invoice_id, invoice.failed_at, until)]
        if ActionKind.FIXED_METHOD in kinds and ActionKind.CANCELED not in kinds:
            fixed += 1
            approved += charge(world, invoice, 121).approved
    assert fixed > 10
    assert approved / fixed > 0.8


@pytest.mark.simulation
def test_blunt_repetition_drives_payers_away() -> None:
    def canceled(tone: str, mails: int) -> int:
        world, count = make(1, 1500), 0
        for invoice in world.failures():
            for day in range(mails):
                at = invoice.failed_at + timedelta(days=2 * day, hours=1)
                world.deliver(invoice.invoice_id, at, "email", tone, "reminder")
            end = invoice.failed_at + timedelta(days=30)
            actions = world.payer_actions(invoice.invoice_id, invoice.failed_at, end)
            count += any(action.kind is ActionKind.CANCELED for action in actions)
        return count

    assert canceled("firm", 14) > 2 * canceled("friendly", 2)


def test_a_second_attempt_in_the_same_hour_meets_the_same_luck() -> None:
    world = make(8, 200)
    for invoice in world.failures():
        if world.hidden_reason(invoice.invoice_id) == "nsf":
            first, second = charge(world, invoice, 100), charge(world, invoice, 100)
            assert first.approved or not second.approved


@pytest.mark.parametrize("world", [make(1, 5), foreign.make(1, 5)], ids=["base", "foreign"])
def test_a_world_refuses_bad_questions(world: World) -> None:
    invoice = world.failures()[0]
    at = invoice.failed_at + timedelta(days=1)
    card, route = invoice.instruments[0].instrument_id, invoice.routes[0]
    with pytest.raises(ValueError, match="no invoice"):
        world.attempt("in_999", at, card, route, "merchant")
    with pytest.raises(ValueError, match="'pm_x'"):
        world.attempt(invoice.invoice_id, at, "pm_x", route, "merchant")
    with pytest.raises(ValueError, match="naive"):
        world.attempt(invoice.invoice_id, at.replace(tzinfo=None), card, route, "merchant")
    world.attempt(invoice.invoice_id, at, card, route, "merchant")
    with pytest.raises(ValueError, match="time order"):
        world.attempt(invoice.invoice_id, at - timedelta(hours=1), card, route, "merchant")


def test_a_world_of_no_invoices_is_empty_and_of_fewer_is_refused() -> None:
    assert len(make(1, 0).failures()) == 0
    with pytest.raises(ValueError, match="0 or more"):
        make(1, -1)


def test_due_dates_stay_in_the_span_asked_for() -> None:
    world = make(1, 200, start=date(2026, 3, 1), days=20)
    for invoice in world.failures():
        assert date(2026, 2, 28) <= invoice.due_at.date() <= date(2026, 3, 21)
        assert all(earlier.at <= later.at for earlier, later in pairwise(invoice.history))


def test_no_past_holds_a_payment_twice() -> None:
    # A payer of this world draws the same second for two purchases.
    invoices = list(ValidatedWorld(make(744, 300)).failures())
    payments = invoices[211].history
    assert payments
    assert len(set(payments)) == len(payments)


def test_failures_can_be_sliced_without_building_the_rest() -> None:
    failures = make(1, 50).failures()
    assert [invoice.invoice_id for invoice in failures[10:12]] == [failures[10].invoice_id, failures[11].invoice_id]


class _Lying(BaseWorld):
    """A world that approves with a decline."""

    def attempt(self, invoice_id: str, at: datetime, instrument_id: str, route: str, initiator: str) -> AttemptResult:
        return AttemptResult(True, Decline(None, "05", None, None), 6)


def test_a_lying_world_is_found_out() -> None:
    world = ValidatedWorld(_Lying(1, 3))
    invoice = world.failures()[0]
    with pytest.raises(WorldBroken, match="approved charge has a decline"):
        charge(world, invoice, 5)


def test_a_world_without_the_interface_is_refused() -> None:
    with pytest.raises(WorldBroken, match="no method 'failures'"):
        ValidatedWorld(object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("failed_at", datetime(2026, 1, 1), "aware UTC"),  # noqa: DTZ001
        ("failed_at", datetime(2027, 1, 1, tzinfo=timezone(timedelta(hours=2))), "aware UTC"),
        ("failed_at", datetime(2001, 1, 1, tzinfo=UTC), "before due_at"),
        ("amount_minor", 0, "amount_minor"),
        ("currency", "usd", "currency"),
        ("timezone", "Mars/Olympus", "time zone"),
        ("routes", (), "routes"),
        ("instruments", (), "instruments"),
    ],
)
def test_a_broken_invoice_is_named(field: str, value: object, rule: str) -> None:
    invoice = make(1, 1).failures()[0]
    broken = FailedInvoice(**{**invoice.__dict__, field: value})
    with pytest.raises(WorldBroken, match=rule):
        check_invoice(broken)
