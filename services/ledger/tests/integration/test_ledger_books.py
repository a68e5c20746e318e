"""The books on real Postgres: what the database refuses, and what events leave in it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from asyncpg import PostgresError

from dunwell.journal.v1 import journal_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_contracts.values import stamp
from dunwell_kit.app import make_app
from dunwell_kit.database import Database, sqlstate
from dunwell_ledger import views
from dunwell_ledger.api import routes
from dunwell_ledger.policy import LedgerPolicy

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
Books = Any


def failed(books: Books, minor: int = 2000, **origin: object) -> payment_pb2.PaymentFailed:
    return payment_pb2.PaymentFailed(origin=books.origin(**origin), amount=books.money(minor))


def succeeded(books: Books, minor: int = 2000, **origin: object) -> payment_pb2.PaymentSucceeded:
    return payment_pb2.PaymentSucceeded(
        origin=books.origin(**{"payment_id": "pi_1", **origin}), amount=books.money(minor)
    )


def charged(books: Books, minor: int = 2000) -> recovery_pb2.ChargeSucceeded:
    case = recovery_pb2.CaseRef(
        case_id="rec_1", tenant_id=books.tenant, gateway="stripe", account="acct", payer_id="cus_1", invoice_id="in_1"
    )
    return recovery_pb2.ChargeSucceeded(
        case=case, attempt_id="att_1", amount=books.money(minor), payment_id="pi_1", occurred_at=stamp(START)
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journals SET rule='x'",
        "DELETE FROM journals",
        "INSERT INTO journals (id, tenant_id, kind, source_id, currency, effective_on, booked_at, rule)"
        " VALUES (gen_random_uuid(), 't', 'payment', 's', 'EUR', now(), now(), 'r')",
        "UPDATE postings SET amount=1",
        "DELETE FROM postings",
        "INSERT INTO postings VALUES (gen_random_uuid(), 1, 't', 1, '', 5, now())",
        "UPDATE balances SET posted=0",
        "DELETE FROM balances",
        "UPDATE open_items SET principal=0",
        "DELETE FROM open_items",
        "DELETE FROM journal_aliases",
        "TRUNCATE journals CASCADE",
        "CREATE TABLE mine (n int)",
        "DROP TRIGGER postings_balanced ON postings",
    ],
)
async def test_the_services_role_cannot_write_the_books_by_hand(
    database: Database, books: Books, statement: str
) -> None:
    await books.tell(failed(books))
    with pytest.raises(PostgresError) as refused:
        await database.transact(lambda tx: tx.execute(statement))
    assert sqlstate(refused.value) == "42501"


@pytest.mark.parametrize(
    "statement", ["UPDATE journals SET rule='x'", "DELETE FROM postings", "UPDATE postings SET amount=2"]
)
async def test_even_the_owner_cannot_change_what_is_booked(
    superuser: asyncpg.Connection, books: Books, statement: str
) -> None:
    await books.tell(failed(books))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await superuser.execute(statement)


async def post(superuser: asyncpg.Connection, tenant: str, legs: list[int], late: int = 0) -> None:
    """Write a journal past the service: `late` adds one more leg in a later transaction."""
    journal = await superuser.fetchval("SELECT gen_random_uuid()")
    async with superuser.transaction():
        await superuser.execute(
            "INSERT INTO journals (id, tenant_id, kind, source_id, currency, effective_on, booked_at, rule)"
            " VALUES ($1::uuid, $2::text, 'payment', $1::text, 'EUR', now(), now(), 'r')",
            journal,
            tenant,
        )
        account = await superuser.fetchval(
            "INSERT INTO accounts (tenant_id, name, currency) VALUES ($1, 'a', 'EUR') RETURNING account_id", tenant
        )
        await superuser.execute(
            "INSERT INTO postings SELECT $1, n, $2, $3, '', a, now() FROM unnest($4::bigint[]) WITH ORDINALITY AS x(a, n)",
            journal,
            tenant,
            account,
            legs,
        )
    if late:
        await superuser.execute(
            "INSERT INTO postings VALUES ($1, 9, $2, $3, '', $4, now())", journal, tenant, account, late
        )


@pytest.mark.parametrize(("legs", "late"), [([5, -4], 0), ([5], 0), ([5, -5], 7)])
async def test_the_database_refuses_an_unbalanced_a_single_and_a_late_leg(
    superuser: asyncpg.Connection, books: Books, legs: list[int], late: int
) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="unbalanced, single-legged or closed"):
        await post(superuser, books.tenant, legs, late)


async def test_a_balanced_journal_is_taken(superuser: asyncpg.Connection, books: Books) -> None:
    await post(superuser, books.tenant, [5, -3, -2])
    assert (await superuser.fetchval("SELECT count(*) FROM postings WHERE tenant_id=$1", books.tenant)) == 3


async def test_one_payment_told_three_ways_in_any_order_is_one_journal(
    books_with: Callable[[LedgerPolicy], Books],
) -> None:
    for order in itertools.permutations(range(4)):
        books = books_with(LedgerPolicy())
        tellings = [
            failed(books),
            charged(books),
            succeeded(books),
            payment_pb2.InvoicePaid(origin=books.origin(payment_id="pi_1"), amount=books.money(2000)),
        ]
        await books.tell(*(tellings[place] for place in order), charged(books))
        assert sorted(kind for kind, _ in await books.journals()) == ["invoice_opened", "payment"]
        assert await books.balances() == {"clearing.stripe.acct": 2000, "billed": -2000}


async def test_the_same_payment_posted_by_many_at_once_is_booked_once(books: Books) -> None:
    await asyncio.gather(*(books.tell(message) for message in [succeeded(books), charged(books)] * 4))
    assert sorted(kind for kind, _ in await books.journals()) == ["invoice_opened", "payment"]
    assert await books.balances() == {"clearing.stripe.acct": 2000, "billed": -2000}


async def test_payments_of_many_payers_at_once_leave_the_projections_right(books: Books) -> None:
    each = [{"invoice_id": f"in_{n % 5}", "payment_id": f"pi_{n}", "payer_id": f"cus_{n % 5}"} for n in range(20)]
    await books.tell(*(failed(books, 1000, **origin) for origin in each[:5]))
    await asyncio.gather(*(books.tell(succeeded(books, 100, **origin)) for origin in each))
    assert await books.balances() == {"clearing.stripe.acct": 2000, "ar.principal": 3000, "billed": -5000}
    trial = await views.trial_balance(books.database, books.tenant, START.date())
    assert {row["account"]: row["minor"] for row in trial["accounts"]} == await books.balances()


async def test_what_is_booked_is_told_once(books: Books) -> None:
    await books.tell(failed(books), succeeded(books), succeeded(books))
    events = await books.emitted()
    assert [type(event).__name__ for event in events] == ["EntryPosted", "BalanceChanged"] * 2
    assert [event.balance.minor_units for event in events if isinstance(event, journal_pb2.BalanceChanged)] == [2000, 0]
    posted = [event for event in events if isinstance(event, journal_pb2.EntryPosted)]
    assert all(sum(leg.minor_units for leg in event.legs) == 0 for event in posted)
    assert all(event.reason.rule and event.reason.text and event.reason.evidence for event in posted)


async def test_a_write_off_is_told_with_its_case(books_with: Callable[[LedgerPolicy], Books]) -> None:
    books = books_with(LedgerPolicy(write_off_exhausted=True))
    case = charged(books).case
    await books.tell(
        recovery_pb2.RecoveryOpened(case=case, amount=books.money(2000), failed_at=stamp(START)),
        recovery_pb2.RecoveryExhausted(case=case, remaining=books.money(2000)),
    )
    (told,) = [event for event in await books.emitted() if isinstance(event, journal_pb2.InvoiceWrittenOff)]
    assert (told.case_id, told.amount.minor_units, told.reason.rule) == ("rec_1", 2000, "ledger.write_off.exhausted")
    assert await books.balances() == {"bad_debt": 2000, "billed": -2000}


@pytest.mark.parametrize(("won", "account"), [(True, "clearing.stripe.acct"), (False, "dispute.loss")])
async def test_a_dispute_that_names_no_invoice_is_closed_all_the_same(books: Books, won: bool, account: str) -> None:
    origin = books.origin(invoice_id="", charge_id="ch_1")
    money = books.money(2000)
    await books.tell(
        payment_pb2.DisputeOpened(origin=origin, amount=money, dispute_id="dp_1"),
        payment_pb2.DisputeUpdated(origin=origin, amount=money, dispute_id="dp_1", funds_withdrawn=True),
        payment_pb2.DisputeClosed(origin=origin, amount=money, dispute_id="dp_1", won=won),
        payment_pb2.DisputeClosed(origin=origin, amount=money, dispute_id="dp_1", won=won),
    )
    assert [kind for kind, _ in await books.journals()] == ["dispute_withdrawn", "dispute_closed"]
    assert await books.balances() == ({} if won else {"clearing.stripe.acct": -2000, account: 2000})


async def test_an_event_without_an_amount_books_nothing(books: Books) -> None:
    await books.tell(payment_pb2.InvoiceVoided(origin=books.origin()), payment_pb2.PaymentFailed(origin=books.origin()))
    assert await books.journals() == []


async def test_a_disputed_invoice_is_marked_until_the_dispute_ends(books: Books) -> None:
    origin, money = books.origin(), books.money(2000)
    await books.tell(failed(books), payment_pb2.DisputeOpened(origin=origin, amount=money, dispute_id="dp_1"))
    (item,) = await views.invoice_balance(books.database, books.tenant, "in_1")
    assert item["disputed"] is True
    await books.tell(payment_pb2.DisputeClosed(origin=origin, amount=money, dispute_id="dp_1", won=True))
    (item,) = await views.invoice_balance(books.database, books.tenant, "in_1")
    assert item["disputed"] is False


async def aging_of(books: Books, on: date) -> dict[str, int]:
    found = (await views.aging(books.database, books.tenant, on))["buckets"].get("EUR", {})
    return {name: minor for name, minor in found.items() if minor}


async def receivable(books: Books, on: date) -> int:
    trial = await views.trial_balance(books.database, books.tenant, on)
    assert trial["balanced"]
    return sum(row["minor"] for row in trial["accounts"] if row["account"] == "ar.principal")


async def test_aging_as_of_a_day_equals_the_receivable_account_of_that_day(books: Books) -> None:
    for number, (days, paid_after) in enumerate([(0, 10), (20, None), (50, 80), (100, None)]):
        at = START + timedelta(days=days)
        names = {"invoice_id": f"in_{number}", "payer_id": f"cus_{number}"}
        await books.tell(failed(books, 1000 + number, occurred_at=stamp(at), **names))
        if paid_after is not None:
            paid_at = stamp(START + timedelta(days=paid_after))
            await books.tell(succeeded(books, 1000 + number, payment_id=f"pi_{number}", occurred_at=paid_at, **names))
    expected = {
        0: {"not_due": 1000},
        5: {"1-30": 1000},
        20: {"not_due": 1001},
        60: {"1-30": 1002, "31-60": 1001},
        85: {"61-90": 1001},
        142: {"31-60": 1003, "121+": 1001},
    }
    for days, buckets in expected.items():
        on = (START + timedelta(days=days)).date()
        found = await aging_of(books, on)
        assert {name: minor for name, minor in found.items() if name != "total"} == buckets
        assert found["total"] == await receivable(books, on) == sum(buckets.values())


async def test_an_invoice_ages_from_its_own_due_date(books: Books) -> None:
    due = START + timedelta(days=30)
    await books.tell(
        failed(books),
        payment_pb2.InvoiceOpened(origin=books.origin(), amount=books.money(2000), due_at=stamp(due)),
    )
    assert await aging_of(books, (START + timedelta(days=20)).date()) == {"not_due": 2000, "total": 2000}
    assert await aging_of(books, (START + timedelta(days=31)).date()) == {"1-30": 2000, "total": 2000}


async def test_no_journal_of_the_database_is_unbalanced(books: Books) -> None:
    await books.tell(failed(books), succeeded(books))
    counts = await views.counts(books.database)
    assert counts["journals"] >= 2
    assert counts["unbalanced"] == 0


async def test_the_api_shows_the_books_of_one_tenant_only(database: Database, books: Books) -> None:
    await books.tell(failed(books), charged(books))
    app = make_app("ledger", database, (routes(database),), {}, list)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ledger") as client:
        trial = (await client.get("/v1/trial-balance", params={"tenant": books.tenant, "as_of": "2026-03-02"})).json()
        assert trial["balanced"]
        assert trial["totals"] == {"EUR": {"debit": 2000, "credit": 2000}}
        assert (await client.get("/v1/trial-balance", params={"tenant": "nobody"})).json()["accounts"] == []
        found = (await client.get("/v1/journals", params={"tenant": books.tenant, "case_id": "rec_1"})).json()
        assert [journal["kind"] for journal in found] == ["payment"]
        assert [leg["minor"] for leg in found[0]["legs"]] == [2000, -2000]
        (item,) = (await client.get("/v1/balances/in_1", params={"tenant": books.tenant})).json()
        assert (item["principal"], item["currency"]) == (0, "EUR")
        assert (await client.get("/v1/journals/counts")).json()["unbalanced"] == 0


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/v1/trial-balance?as_of=yesterday", 422, "invalid-input"),
        ("/v1/aging?as_of=2026-02-30", 422, "invalid-input"),
        ("/v1/journals?limit=0", 422, "invalid-input"),
        ("/v1/journals?limit=201", 422, "invalid-input"),
        ("/v1/journals?limit=many", 422, "invalid-input"),
        (f"/v1/aging?tenant={'t' * 65}", 422, "invalid-input"),
        ("/v1/aging?tenant=%00", 422, "invalid-input"),
        ("/v1/journals?case_id=%00", 422, "invalid-input"),
        ("/v1/balances/%00", 422, "invalid-input"),
        ("/v1/nothing", 404, "http"),
    ],
)
async def test_a_bad_question_is_a_problem_with_a_stable_type(
    database: Database, path: str, status: int, kind: str
) -> None:
    app = make_app("ledger", database, (routes(database),), {}, list)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"] == f"https://dunwell.dev/problems/{kind}"
