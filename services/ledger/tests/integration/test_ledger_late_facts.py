"""Late, repeated and out-of-order events on real Postgres, and the books as they stood on a past day."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import pytest
from google.protobuf.message import Message

from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_contracts.values import stamp
from dunwell_kit.app import make_app
from dunwell_kit.clock import ManualClock
from dunwell_kit.database import Database
from dunwell_kit.ids import RandomIds
from dunwell_kit.migrate import migrate, provision
from dunwell_ledger import views
from dunwell_ledger.api import routes
from dunwell_ledger.policy import LedgerPolicy

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)
Books = Any


def day(number: int) -> date:
    return (START + number * DAY).date()


def told(kind: Callable[..., Message], books: Books, on: int, minor: int | None = 2000, **more: Any) -> Message:
    """An event that happened on a day after START."""
    names = {name: more.pop(name) for name in ("payment_id", "charge_id", "invoice_id", "payer_id") if name in more}
    origin = books.origin(occurred_at=stamp(START + on * DAY), **names)
    amount = {} if minor is None else {"amount": books.money(minor)}
    return kind(origin=origin, **amount, **more)


def life_of_an_invoice(books: Books) -> list[Message]:
    """Opened at 20.00, lowered to 18.00, paid in two parts, disputed and won, refunded in part: 15.00 stay."""
    p = payment_pb2
    return [
        told(p.InvoiceOpened, books, 0, 2000, due_at=stamp(START + 10 * DAY)),
        told(p.InvoiceChanged, books, 1, 1800),
        told(p.PaymentSucceeded, books, 2, 1000, payment_id="pi_1"),
        told(p.InvoiceChanged, books, 2, 800),
        told(p.PaymentSucceeded, books, 3, 800, payment_id="pi_2"),
        told(p.InvoicePaid, books, 3, 1800, payment_id="pi_2"),
        told(p.DisputeOpened, books, 4, 1000, dispute_id="dp_1"),
        told(p.DisputeUpdated, books, 4, 1000, dispute_id="dp_1", funds_withdrawn=True),
        told(p.DisputeClosed, books, 6, 1000, dispute_id="dp_1", won=True),
        told(p.PaymentRefunded, books, 7, 300, refund_id="re_1"),
    ]


async def days_of(books: Books) -> list[dict[str, int]]:
    """Return every account's balance on each of the first days."""
    found = []
    for number in range(9):
        trial = await views.trial_balance(books.database, books.tenant, day(number))
        assert trial["balanced"]
        found.append({row["account"]: row["minor"] for row in trial["accounts"] if row["minor"]})
    return found


@pytest.mark.parametrize("turn", [0, 3, 5, 8, -1])
async def test_any_order_of_events_gives_the_balances_of_every_day(
    books_with: Callable[[LedgerPolicy], Books], turn: int
) -> None:
    in_order, other = books_with(LedgerPolicy()), books_with(LedgerPolicy())
    await in_order.tell(*life_of_an_invoice(in_order))
    life = life_of_an_invoice(other)
    order = life[::-1] if turn < 0 else life[turn:] + life[:turn]
    await other.tell(*order, *order[::2])
    assert await other.balances() == {"clearing.stripe.acct": 1500, "billed": -1500}
    assert await days_of(other) == await days_of(in_order)
    for books in (in_order, other):
        (item,) = await views.invoice_balance(books.database, books.tenant, "in_1")
        assert (item["principal"], item["due_on"], item["disputed"]) == (0, day(10), False)
    assert not [kind for kind, _ in await in_order.journals() if kind == "reversal"]


async def test_a_correction_shows_what_it_reverses(books: Books) -> None:
    p = payment_pb2
    await books.tell(told(p.PaymentFailed, books, 0), told(p.PaymentSucceeded, books, 2, 2500, payment_id="pi_1"))
    await books.tell(told(p.InvoiceChanged, books, 1, 2600))
    shown = await views.journals(books.database, books.tenant, "", "in_1", 10)
    (reversal,) = [journal for journal in shown if journal["kind"] == "reversal"]
    reversed_one = next(journal for journal in shown if journal["id"] == reversal["reverses"])
    assert reversed_one["kind"] == "payment"
    assert [leg["minor"] for leg in reversal["legs"]] == [-leg["minor"] for leg in reversed_one["legs"]]
    assert (await books.balances())["ar.principal"] == 100


async def test_what_was_written_off_is_what_is_not_recovered(books_with: Callable[[LedgerPolicy], Books]) -> None:
    p, books = payment_pb2, books_with(LedgerPolicy())
    await books.tell(told(p.PaymentFailed, books, 0), told(p.InvoiceMarkedUncollectible, books, 5))
    (item,) = await views.invoice_balance(books.database, books.tenant, "in_1")
    assert (item["principal"], item["written_off"]) == (0, 2000)
    await books.tell(told(p.PaymentSucceeded, books, 9, 500, payment_id="pi_1"))
    (item,) = await views.invoice_balance(books.database, books.tenant, "in_1")
    assert (item["principal"], item["written_off"]) == (0, 1500)
    # That an earlier payment comes late makes the write-off smaller; nothing is left of the larger one.
    await books.tell(told(p.PaymentSucceeded, books, 1, 1200, payment_id="pi_0"))
    (item,) = await views.invoice_balance(books.database, books.tenant, "in_1")
    assert (item["principal"], item["written_off"]) == (0, 300)
    assert await books.balances() == {
        "billed": -2000, "clearing.stripe.acct": 1700, "bad_debt": 800, "income.recovery": -500,
    }  # fmt: skip


def charged(books: Books) -> Message:
    case = recovery_pb2.CaseRef(
        case_id="rec_1", tenant_id=books.tenant, gateway="stripe", account="acct", payer_id="cus_1", invoice_id="in_1"
    )
    at = stamp(START + DAY)
    return recovery_pb2.ChargeSucceeded(
        case=case, attempt_id="att_1", amount=books.money(2000), payment_id="pi_1", occurred_at=at
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_a_payment_told_with_and_without_its_invoice_settles_it_in_any_order(
    books: Books, order: tuple[int, ...]
) -> None:
    tellings = [
        told(payment_pb2.PaymentFailed, books, 0),
        told(payment_pb2.PaymentSucceeded, books, 1, payment_id="pi_1", invoice_id=""),
        charged(books),
    ]
    await books.tell(*(tellings[place] for place in order), tellings[1], charged(books))
    assert await books.balances() == {"clearing.stripe.acct": 2000, "billed": -2000}


async def test_tellings_of_one_payment_at_the_same_moment_settle_its_invoice(books: Books) -> None:
    await books.tell(told(payment_pb2.PaymentFailed, books, 0))
    alone = told(payment_pb2.PaymentSucceeded, books, 1, payment_id="pi_1", invoice_id="")
    await asyncio.gather(*(books.tell(message) for message in [alone, charged(books)] * 4))
    assert await books.balances() == {"clearing.stripe.acct": 2000, "billed": -2000}


async def test_parts_of_one_payment_at_once_are_all_booked(books: Books) -> None:
    life = life_of_an_invoice(books)
    await asyncio.gather(*(books.tell(message) for message in [*life, *life]))
    assert await books.balances() == {"clearing.stripe.acct": 1500, "billed": -1500}
    assert (await views.trial_balance(books.database, books.tenant, day(99)))["balanced"]


async def test_a_refund_and_a_dispute_of_an_invoice_name_its_case(books: Books) -> None:
    p = payment_pb2
    await books.tell(
        told(p.PaymentFailed, books, 0), charged(books),
        told(p.PaymentRefunded, books, 2, 100, refund_id="re_1"),
        told(p.DisputeUpdated, books, 3, 200, dispute_id="dp_1", funds_withdrawn=True),
    )  # fmt: skip
    shown = await views.journals(books.database, books.tenant, "rec_1", "", 10)
    assert [journal["kind"] for journal in shown] == ["dispute_withdrawn", "refund", "payment"]
    (item,) = await views.invoice_balance(books.database, books.tenant, "in_1")
    assert (item["principal"], item["case_id"]) == (0, "rec_1")


async def aging_of(books: Books, on: int, known_at: datetime | None = None) -> dict[str, int]:
    found = (await views.aging(books.database, books.tenant, day(on), known_at))["buckets"].get("EUR", {})
    return {name: minor for name, minor in found.items() if minor}


@pytest.mark.parametrize("late", [False, True])
async def test_aging_shows_the_disputes_of_its_own_day(books: Books, late: bool) -> None:
    p = payment_pb2
    life = [
        told(p.InvoiceOpened, books, 0),
        told(p.DisputeOpened, books, 5, dispute_id="dp_1"),
        told(p.DisputeClosed, books, 9, dispute_id="dp_1", won=False),
        told(p.DisputeOpened, books, 12, dispute_id="dp_2"),
    ]
    await books.tell(*(life[::-1] if late else life))
    disputed = {number: (await aging_of(books, number)).get("disputed", 0) for number in (0, 4, 5, 8, 9, 11, 12, 99)}
    assert disputed == {0: 0, 4: 0, 5: 2000, 8: 2000, 9: 0, 11: 0, 12: 2000, 99: 2000}
    assert {(await aging_of(books, number))["total"] for number in disputed} == {2000}


async def test_an_inquiry_is_in_dispute_from_the_day_money_is_withdrawn(books: Books) -> None:
    p = payment_pb2
    await books.tell(
        told(p.InvoiceOpened, books, 0),
        told(p.DisputeOpened, books, 2, dispute_id="dp_1", inquiry=True),
        told(p.DisputeUpdated, books, 4, 500, dispute_id="dp_1", funds_withdrawn=True),
    )
    assert [(await aging_of(books, number)).get("disputed", 0) for number in (2, 3, 4)] == [0, 0, 2000]


async def test_a_dispute_that_tells_no_amount_shows_all_the_same(books: Books) -> None:
    p = payment_pb2
    await books.tell(told(p.InvoiceOpened, books, 0), told(p.DisputeOpened, books, 2, None, dispute_id="dp_1"))
    assert (await aging_of(books, 2))["disputed"] == 2000
    await books.tell(told(p.DisputeClosed, books, 3, None, dispute_id="dp_1"))
    assert "disputed" not in await aging_of(books, 3)
    assert [kind for kind, _ in await books.journals()] == ["invoice_opened"]


async def test_aging_uses_the_due_date_that_was_told_by_its_day(books: Books) -> None:
    p = payment_pb2
    await books.tell(
        told(p.InvoiceOpened, books, 0, due_at=stamp(START + 10 * DAY)),
        told(p.InvoiceOpened, books, 20, due_at=stamp(START + 50 * DAY)),
    )
    assert await aging_of(books, 15) == {"1-30": 2000, "total": 2000}
    assert await aging_of(books, 25) == {"not_due": 2000, "total": 2000}
    assert await aging_of(books, 55) == {"1-30": 2000, "total": 2000}


async def test_the_auditors_view_leaves_out_what_was_learned_later(books: Books) -> None:
    p, clock = payment_pb2, books.database.clock
    assert isinstance(clock, ManualClock)
    await books.tell(told(p.InvoiceOpened, books, 0))
    before = clock.now()
    clock.advance(30 * DAY)
    # Only now the books hear of a dispute on day 2, of a payment on day 3 and of a later due date.
    await books.tell(
        told(p.DisputeOpened, books, 2, dispute_id="dp_1"),
        told(p.PaymentSucceeded, books, 3, 500, payment_id="pi_1"),
        told(p.InvoiceOpened, books, 4, due_at=stamp(START + 60 * DAY)),
    )
    assert await aging_of(books, 10) == {"not_due": 1500, "total": 1500, "disputed": 1500}
    assert await aging_of(books, 10, before) == {"1-30": 2000, "total": 2000}
    trial = await views.trial_balance(books.database, books.tenant, day(10), before)
    assert {row["account"]: row["minor"] for row in trial["accounts"]} == {"ar.principal": 2000, "billed": -2000}


async def test_the_api_takes_an_instant_with_its_offset_only(database: Database, books: Books) -> None:
    await books.tell(told(payment_pb2.InvoiceOpened, books, 0))
    app = make_app("ledger", database, (routes(database),), {}, list)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ledger") as client:
        for path in ("/v1/aging", "/v1/trial-balance"):
            known = {"tenant": books.tenant, "as_of": "2026-03-02"}
            early = await client.get(path, params={**known, "known_at": "2026-02-28T00:00:00+00:00"})
            assert not early.json().get("buckets")
            assert not early.json().get("accounts")
            assert early.json()["known_at"] == "2026-02-28T00:00:00+00:00"
            bad = await client.get(path, params={**known, "known_at": "2026-02-28T00:00:00"})
            assert (bad.status_code, bad.json()["type"].rpartition("/")[2]) == (422, "invalid-input")


OLD = """
INSERT INTO open_items (tenant_id, item, gateway, account, invoice_id, payer_id, currency, due_on)
VALUES ('old', 'stripe:acct:in_1', 'stripe', 'acct', 'in_1', 'cus_1', 'EUR', '2026-03-01');
SELECT post_journals(jsonb_build_array(
  jsonb_build_object('id', j.id, 'tenant_id', 'old', 'kind', j.kind, 'source_id', j.source, 'currency', 'EUR',
    'effective_on', j.on_day, 'booked_at', j.on_day, 'payer_id', 'cus_1', 'invoice_id', 'in_1', 'case_id', '',
    'rule', 'ledger.' || j.kind, 'evidence', '[]'::jsonb, 'legs', jsonb_build_array(
      jsonb_build_object('account', 'ar.principal', 'amount', j.amount, 'item', 'stripe:acct:in_1'),
      jsonb_build_object('account', j.other, 'amount', -j.amount, 'item', ''))))) FROM (VALUES
  (substring(sha256('old|invoice_opened|stripe:acct:in_1:1') for 16), 'invoice_opened', 'stripe:acct:in_1:1', '2026-03-01', 2000, 'billed'),
  (substring(sha256('old|invoice_changed|stripe:acct:in_1:e1') for 16), 'invoice_changed', 'stripe:acct:in_1:e1', '2026-03-02', -200, 'billed'),
  (substring(sha256('old|payment|stripe:acct:pi_1') for 16), 'payment', 'stripe:acct:pi_1', '2026-03-03', -1500, 'clearing.stripe.acct')
) v(hash, kind, source, on_day, amount, other) CROSS JOIN LATERAL (SELECT encode(v.hash, 'hex')::uuid AS id, v.*) j;
"""


async def test_books_from_before_facts_were_kept_take_late_ones_too(
    postgres_dsn: str, ledger_urls: tuple[str, str], books_of: Callable[[Database, str], Books]
) -> None:
    name = f"ledger_{secrets.token_hex(6)}"
    admin = urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
    server = await asyncpg.connect(postgres_dsn)
    await server.execute(f'CREATE DATABASE "{name}"')
    try:
        await migrate(admin, "ledger", "0002")
        connection = await asyncpg.connect(admin)
        await connection.execute(OLD)
        await connection.close()
        url = await provision(postgres_dsn, "ledger", database=name, password="for tests")
        await late_facts_of_old_books(books_of, url)
    finally:
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.close()


async def late_facts_of_old_books(books_of: Callable[[Database, str], Books], url: str) -> None:
    clock, p = ManualClock(START + 20 * DAY), payment_pb2
    database = Database(url, service="ledger", clock=clock, ids=RandomIds(clock))
    books = books_of(database, "old")
    try:
        assert await books.balances() == {"ar.principal": 300, "billed": -1800, "clearing.stripe.acct": 1500}
        # Told again, nothing changes; a change that was missed moves only what it changes.
        await books.tell(told(p.PaymentFailed, books, 0), told(p.PaymentSucceeded, books, 2, 1500, payment_id="pi_1"))
        assert len(await books.journals()) == 3
        await books.tell(told(p.InvoiceChanged, books, 9, 250))
        assert (await books.balances())["ar.principal"] == 250
        assert not [kind for kind, _ in await books.journals() if kind == "reversal"]
    finally:
        await database.close()
