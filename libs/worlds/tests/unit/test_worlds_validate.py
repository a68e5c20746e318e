"""A world that breaks its protocol is told where and how, in one line, whatever it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dunwell_worlds.base import make
from dunwell_worlds.countries import countries
from dunwell_worlds.protocol import ActionKind, AttemptResult, Decline, FailedInvoice, PastPayment, PayerAction
from dunwell_worlds.validate import ValidatedWorld, WorldBroken, check_invoice

RIGHT = make(1, 4).failures()[0]
CARD = RIGHT.instruments[0]
AT = RIGHT.failed_at + timedelta(hours=5)
PAST = PastPayment(RIGHT.failed_at - timedelta(days=30), 900, True, None)
NO = Decline("card_declined", "05", None, None)


def instrument(**changes: Any) -> dict[str, Any]:
    return {"instruments": (replace(CARD, **changes),)}


def decline(**changes: Any) -> dict[str, Any]:
    return {"decline": replace(RIGHT.decline, **changes)}


def past(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"history": tuple(replace(PAST, **each) for each in changes)}


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"amount_minor": 2**63}, "amount_minor is past 64 bits"),
    ({"amount_minor": 10.0}, "amount_minor must be an int"),
    ({"amount_minor": True}, "amount_minor must be an int"),
    ({"currency": None}, "currency must be a text, not None"),
    ({"currency": "US"}, "currency must be an ISO 4217 code"),
    ({"timezone": None}, "timezone must be a text, not None"),
    ({"timezone": "../etc/passwd"}, "unknown time zone"),
    ({"gateway": None}, "gateway must be a text"),
    ({"invoice_id": 7}, "invoice_id must be a text"),
    ({"payer_id": ""}, "payer_id must be a text"),
    ({"failed_at": None}, "failed_at must be a datetime"),
    ({"due_at": datetime(1, 1, 1, tzinfo=UTC)}, "years 1970 to 2199"),
    ({"failed_at": datetime(9999, 12, 31, tzinfo=UTC)}, "years 1970 to 2199"),
    ({"routes": "stripe"}, "routes must be a tuple of texts, not 'stripe'"),
    ({"routes": None}, "routes must be a tuple of texts"),
    ({"routes": ("stripe", 5)}, "5 is none"),
    ({"instruments": None}, "instruments must be a tuple"),
    ({"instruments": ("pm_1",)}, "'str' object has no attribute 'instrument_id'"),
    ({"instruments": (CARD, CARD)}, "instrument ids must be unique"),
    (instrument(kind="cheque"), "unknown instrument kind 'cheque'"),
    (instrument(kind=None), "unknown instrument kind None"),
    (instrument(network=None), "None is no network of a card"),
    (instrument(network="nosuch"), "'nosuch' is no network of a card; known: amex"),
    (instrument(network="ach"), "'ach' is no network of a card"),
    (instrument(kind="bank_debit"), "is no network of a bank_debit"),
    (instrument(funding="cash"), "unknown funding 'cash'"),
    (instrument(country="ZZ"), "country 'ZZ' is not in ISO 3166"),
    (instrument(country="us"), "country 'us' is not in ISO 3166"),
    (instrument(country=None), "country None is not in ISO 3166"),
    (instrument(issuer_id=None), "issuer_id must be a text"),
    (instrument(instrument_id=""), "instrument_id must be a text"),
    (instrument(expires="2029-06"), r"expires must be \(year, month\) or None, not '2029-06'"),
    (instrument(expires=(2029,)), "expires must be"),
    (instrument(expires=(2029.0, 6)), "expires must be"),
    (instrument(expires=(0, 6)), r"impossible expiry \(0, 6\)"),
    (instrument(expires=(26, 6)), r"impossible expiry \(26, 6\)"),
    (instrument(expires=(2029, 13)), r"impossible expiry \(2029, 13\)"),
    ({"decline": None}, "decline is missing"),
    ({"decline": "51"}, "must be a Decline, not str"),
    (decline(network_code=51), "network_code must be a text or None, not 51"),
    (decline(message=b"no"), "message must be a text or None"),
    ({"history": "none"}, "history must be a tuple"),
    ({"history": None}, "history must be a tuple"),
    ({"history": ("2026-01-01",)}, "'str' object has no attribute 'at'"),
    (past({"approved": 1}), r"approved must be True or False, not 1"),
    (past({"amount_minor": "900"}), r"amount_minor must be an int > 0"),
    (past({"amount_minor": 0}), r"amount_minor must be an int > 0"),
    (past({"approved": False, "decline": "51"}), "must be a Decline, not str"),
    (past({"decline": NO}), "approved payment of the past has a decline"),
    (past({}, {}), "twice"),
    (past({"at": datetime(1, 1, 1, tzinfo=UTC)}, {}), "history must lie in the years"),
]


@pytest.mark.parametrize(("changes", "rule"), BROKEN)
def test_a_broken_invoice_is_named_in_one_line(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(WorldBroken, match=rule) as caught:
        check_invoice(replace(RIGHT, **changes))
    assert str(caught.value).startswith("invoice ")
    assert "\n" not in str(caught.value)


def test_a_right_invoice_is_right_and_so_are_two_payments_of_one_instant() -> None:
    assert check_invoice(RIGHT) is RIGHT
    assert check_invoice(replace(RIGHT, history=(PAST, replace(PAST, amount_minor=901))))
    assert check_invoice(replace(RIGHT, routes=["stripe"], history=[]))
    assert check_invoice(replace(RIGHT, **instrument(country="", issuer_id="", expires=None))), "not told"
    assert {"US", "DE", "XK"} <= countries()


class _World:
    """A world of which one part is replaced."""

    name, horizon = "odd", timedelta(days=30)

    def __init__(self, **parts: Any) -> None:
        base = make(1, 4)
        for method in ("failures", "attempt", "deliver", "payer_actions"):
            setattr(self, method, getattr(base, method))
        for name, part in parts.items():
            setattr(self, name, part)


def boom(*_: Any) -> Any:
    raise KeyError("no such\nrow")


class _Walking:
    """Invoices of which one cannot be built."""

    def __init__(self, error: Exception) -> None:
        self._right, self._error = make(1, 4).failures(), error

    def __len__(self) -> int:
        return 4

    def __getitem__(self, at: int) -> FailedInvoice:
        if at == 2:
            raise self._error
        return self._right[at]


@pytest.mark.parametrize("error", [IndexError("list index out of range"), ValueError("x"), StopIteration()])
def test_an_error_while_an_invoice_is_read_never_looks_like_the_end(error: Exception) -> None:
    world = ValidatedWorld(_World(failures=lambda: _Walking(error)))
    with pytest.raises(WorldBroken, match=rf"world 'odd': failures\(\)\[2\] raised {type(error).__name__}"):
        list(world.failures())
    with pytest.raises(WorldBroken):
        list(world.failures()[1:3])
    assert len(list(world.failures()[:2])) == 2


@pytest.mark.parametrize(
    ("failures", "rule"),
    [
        (lambda: None, "failures must return a sequence, not NoneType"),
        (lambda: (each for each in [RIGHT]), "not generator"),
        (lambda: {0: RIGHT}, "not dict"),
        (lambda: "in_1", "not str"),
        (list, "has no failed invoice"),
        (lambda: [{"invoice_id": "in_1"}], "failure 0: dict has no invoice_id, payer_id"),
        (lambda: [None], "failure 0: NoneType has no invoice_id"),
        (boom, "world 'odd': failures raised KeyError: 'no such"),
    ],
)
def test_failures_that_are_no_invoices_are_told(failures: Callable[[], Any], rule: str) -> None:
    with pytest.raises(WorldBroken, match=rule):
        list(ValidatedWorld(_World(failures=failures)).failures())


def charge(world: ValidatedWorld) -> AttemptResult:
    return world.attempt(RIGHT.invoice_id, AT, CARD.instrument_id, "stripe", "merchant")


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (None, "attempt returned NoneType"),
        ({"approved": True}, "attempt returned dict"),
        (AttemptResult(1, None, 6), "approved must be True or False, not 1"),  # type: ignore[arg-type]
        (AttemptResult(False, "51", 6), "must be a Decline, not str"),  # type: ignore[arg-type]
        (AttemptResult(False, replace(NO, advice_code=3), 6), "advice_code must be a text or None, not 3"),  # type: ignore[arg-type]
        (AttemptResult(True, NO, 6), "approved charge has a decline"),
        (AttemptResult(True, None, -1), "cost_minor_usd"),
        (AttemptResult(True, None, 0.5), "cost_minor_usd"),  # type: ignore[arg-type]
    ],
)
def test_a_result_that_is_none_is_told_with_its_invoice(answer: Any, rule: str) -> None:
    with pytest.raises(WorldBroken, match=rf"invoice 'in_1_0': .*{rule}"):
        charge(ValidatedWorld(_World(attempt=lambda *_: answer)))


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (None, "payer_actions must return a sequence, not NoneType"),
        ((each for each in ()), "not generator"),
        (["paid"], "holds a str, which is no PayerAction"),
        ([PayerAction("flew", AT)], "unknown payer action 'flew'"),  # type: ignore[arg-type]
        ([PayerAction([], AT)], "unknown payer action"),  # type: ignore[arg-type]
        ([PayerAction(ActionKind.PAID, None)], "payer action's at must be a datetime"),  # type: ignore[arg-type]
        ([PayerAction(ActionKind.PAID, RIGHT.failed_at)], "out of order or bounds"),
    ],
)
def test_acts_that_are_none_are_told_with_their_invoice(answer: Any, rule: str) -> None:
    world = ValidatedWorld(_World(payer_actions=lambda *_: answer))
    with pytest.raises(WorldBroken, match=rf"invoice 'in_1_0': .*{rule}"):
        world.payer_actions(RIGHT.invoice_id, RIGHT.failed_at, AT)


def test_an_error_in_a_method_names_world_method_invoice_and_cause() -> None:
    parts = dict.fromkeys(("attempt", "deliver", "payer_actions", "hidden_reason", "oracle_probability"), boom)
    world = ValidatedWorld(_World(**parts))
    assert world.oracle
    assert world.revealing
    calls: dict[str, Callable[[], Any]] = {
        "attempt": lambda: charge(world),
        "deliver": lambda: world.deliver(RIGHT.invoice_id, AT, "email", "friendly", "reminder"),
        "payer_actions": lambda: world.payer_actions(RIGHT.invoice_id, RIGHT.failed_at, AT),
        "hidden_reason": lambda: world.revealing and world.revealing.hidden_reason(RIGHT.invoice_id),
        "oracle_probability": lambda: world.oracle and world.oracle.oracle_probability(RIGHT.invoice_id, AT, "x", "y"),
    }
    for method, call in calls.items():
        with pytest.raises(WorldBroken, match=rf"world 'odd': {method} of invoice 'in_1_0' raised KeyError") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("chance", [1.5, -0.1, float("nan")])
def test_a_chance_that_is_none_is_told(chance: float) -> None:
    world = ValidatedWorld(_World(oracle_probability=lambda *_: chance))
    assert world.oracle
    with pytest.raises(WorldBroken, match=r"must lie in 0\.\.1"):
        world.oracle.oracle_probability(RIGHT.invoice_id, AT, "x", "y")


@pytest.mark.parametrize("horizon", [None, 30, timedelta(0), timedelta.max])
def test_a_horizon_that_is_none_is_refused(horizon: Any) -> None:
    with pytest.raises(WorldBroken, match="horizon"):
        ValidatedWorld(_World(horizon=horizon))


def test_no_more_invoices_are_read_than_were_asked_for() -> None:
    world = ValidatedWorld(_World(), most=3)
    assert (len(world.failures()), world.offered) == (3, 4)
    assert len(ValidatedWorld(_World(), most=9).failures()) == 4


def test_a_currency_that_the_reader_does_not_know_is_refused() -> None:
    world = ValidatedWorld(_World(failures=lambda: [replace(RIGHT, currency="XXQ")]), currencies=("USD",))
    with pytest.raises(WorldBroken, match="'XXQ' is not in ISO 4217"):
        list(world.failures())
