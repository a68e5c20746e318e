"""What a failed invoice of a world must keep; whatever breaks it is named, never guessed around.

Owns: the checks of one invoice, its instruments, its refusal and its past. Refuses: calls of a world; see `validate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dunwell_worlds.countries import countries
from dunwell_worlds.payments import Columns, Payments
from dunwell_worlds.protocol import Decline, FailedInvoice, Instrument, PastPayment

_CARDS = frozenset(
    ("visa", "mastercard", "amex", "discover", "diners", "jcb", "unionpay", "maestro", "elo", "hipercard", "rupay",
     "cartes_bancaires", "interac", "eftpos_au", "troy", "mir", "bancontact", "dankort")
)  # fmt: skip
_DEBITS = frozenset(("ach", "sepa", "bacs", "pad", "becs", "becs_nz", "autogiro", "betalingsservice"))
_NETWORKS = {"card": _CARDS, "bank_debit": _DEBITS}
_FUNDINGS = frozenset(("credit", "debit", "prepaid", "none"))
# Amounts are kept in 64 bits.
_AMOUNT_MAX = 2**63 - 1
# Instants and expiries of payments; what is added to them stays in the calendar.
YEARS = range(1970, 2200)
# In the order in which they are looked at.
_TEXTS = ("invoice_id", "payer_id", "tenant_id", "gateway", "currency", "timezone")
_CODES = ("gateway_code", "network_code", "advice_code", "message")


class WorldBroken(ValueError):
    """A world broke its protocol; the message names the invoice and the rule."""


def said(error: BaseException) -> str:
    """Return an error on one line, with its type."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".removesuffix(": ")


def aware(at: object, subject: str, name: str) -> None:
    """Return when an instant is aware UTC; WorldBroken otherwise."""
    # The messages are only built when they are needed: this runs for every row of every past.
    if not isinstance(at, datetime):
        raise WorldBroken(f"{subject}: {name} must be a datetime, not {type(at).__name__}")
    if at.tzinfo is not UTC and at.utcoffset() != timedelta(0):
        raise WorldBroken(f"{subject}: {name} must be aware UTC, not {at.isoformat()}")


def check_invoice(invoice: FailedInvoice) -> FailedInvoice:
    """Return the invoice when it keeps the protocol; raise `WorldBroken` otherwise."""
    try:
        for at, name in ((invoice.due_at, "due_at"), (invoice.failed_at, "failed_at")):
            if at.__class__ is not datetime or at.tzinfo is not UTC:
                aware(at, f"invoice {invoice.invoice_id!r}", name)
        for check in _CHECKS:
            rule = check(invoice)
            if rule is not None:
                raise WorldBroken(f"invoice {invoice.invoice_id!r}: {rule}")
    except (AttributeError, TypeError) as error:
        raise WorldBroken(f"invoice {invoice.invoice_id!r} is not what the protocol says: {said(error)}") from error
    return invoice


@lru_cache(maxsize=1024)
def _zone_known(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _broken_terms(invoice: FailedInvoice) -> str | None:
    texts = (
        invoice.invoice_id, invoice.payer_id, invoice.tenant_id, invoice.gateway, invoice.currency, invoice.timezone,
    )  # fmt: skip
    for number, value in enumerate(texts):
        if value.__class__ is not str or not value:
            return f"{_TEXTS[number]} must be a text, not {value!r}"
    if invoice.failed_at < invoice.due_at:
        return "failed_at lies before due_at"
    if invoice.due_at.year not in YEARS or invoice.failed_at.year not in YEARS:
        return f"due_at and failed_at must lie in the years {YEARS[0]} to {YEARS[-1]}"
    if type(invoice.amount_minor) is not int or invoice.amount_minor <= 0:
        return "amount_minor must be an int > 0"
    if invoice.amount_minor > _AMOUNT_MAX:
        return "amount_minor is past 64 bits"
    if len(invoice.currency) != 3 or not (invoice.currency.isascii() and invoice.currency.isupper()):
        return "currency must be an ISO 4217 code"
    if not _zone_known(invoice.timezone):
        return f"unknown time zone {invoice.timezone!r}"
    return None


def _broken_ways(invoice: FailedInvoice) -> str | None:
    """Look at the ways to charge: processors, and instruments of which the first is the one that failed."""
    if not _is_list(invoice.routes):
        return f"routes must be a tuple of texts, not {invoice.routes!r}"
    if not invoice.routes:
        return "routes must name at least one processor"
    for route in invoice.routes:
        if route.__class__ is not str or not route:
            return f"routes must be a tuple of texts; {route!r} is none"
    if not _is_list(invoice.instruments):
        return f"instruments must be a tuple, not {type(invoice.instruments).__name__}"
    if not invoice.instruments:
        return "instruments must hold the one that failed"
    if len(invoice.instruments) > 1 and len({each.instrument_id for each in invoice.instruments}) != len(
        invoice.instruments
    ):
        return "instrument ids must be unique"
    for instrument in invoice.instruments:
        rule = _broken_instrument(instrument)
        if rule is not None:
            return rule
    return broken_decline(invoice.decline) if invoice.decline is not None else "decline is missing"


def _broken_instrument(instrument: Instrument) -> str | None:
    if instrument.instrument_id.__class__ is not str or not instrument.instrument_id:
        return f"instrument_id must be a text, not {instrument.instrument_id!r}"
    if instrument.issuer_id.__class__ is not str:
        return f"issuer_id must be a text, not {instrument.issuer_id!r}"
    known = _NETWORKS.get(instrument.kind)
    if known is None:
        return f"unknown instrument kind {instrument.kind!r}"
    if instrument.network not in known:
        return f"{instrument.network!r} is no network of a {instrument.kind}; known: {', '.join(sorted(known))}"
    if instrument.funding not in _FUNDINGS:
        return f"unknown funding {instrument.funding!r}; known: {', '.join(sorted(_FUNDINGS))}"
    # Empty where nobody told it, as in many a log of bank debits.
    if instrument.country != "" and instrument.country not in countries():
        return f"country {instrument.country!r} is not in ISO 3166 alpha-2"
    expires = instrument.expires
    if expires is None:
        return None
    if not _is_list(expires) or len(expires) != 2 or type(expires[0]) is not int or type(expires[1]) is not int:
        return f"expires must be (year, month) or None, not {expires!r}"
    if expires[0] not in YEARS or not 1 <= expires[1] <= 12:
        return f"impossible expiry {expires!r}"
    return None


def broken_decline(decline: Decline) -> str | None:
    """Return what a refusal breaks: it must be a `Decline` whose codes are texts or None."""
    if not isinstance(decline, Decline):
        return f"a decline must be a Decline, not {type(decline).__name__}"
    gateway, network, advice, message = decline.gateway_code, decline.network_code, decline.advice_code, decline.message
    # One look where all is well: every answer of a bank is checked.
    if (
        (gateway is None or gateway.__class__ is str)
        and (network is None or network.__class__ is str)
        and (advice is None or advice.__class__ is str)
        and (message is None or message.__class__ is str)
    ):
        return None
    for name in _CODES:
        value = getattr(decline, name)
        if value is not None and value.__class__ is not str:
            return f"{name} must be a text or None, not {value!r}"
    return None


def _broken_past(invoice: FailedInvoice) -> str | None:
    history = invoice.history
    # A look at the columns, where all is well: rows that were not made yet are left so.
    if history.__class__ is Payments and history.orderly(invoice.failed_at) and _says_sound(history.columns):
        return None
    return _broken_rows(invoice, history)


def _says_sound(columns: Columns) -> bool:
    """Return whether all that payers were told is right: looked at once for all of them."""
    if not columns.sound:
        columns.sound = not any(broken_decline(decline) for decline in columns.declines if decline is not None)
    return columns.sound


def _broken_rows(invoice: FailedInvoice, history: Sequence[PastPayment]) -> str | None:
    if not _is_list(history):
        return f"history must be a tuple of past payments, not {type(history).__name__}"
    before: PastPayment | None = None
    latest: datetime | None = None
    # The refusal that was looked at last: rows of a past mostly share a few.
    sound: Decline | None = None
    for payment in history:
        at, amount, decline = payment.at, payment.amount_minor, payment.decline
        if at.__class__ is not datetime or at.tzinfo is not UTC:
            aware(at, f"invoice {invoice.invoice_id!r}", "history[].at")
        if latest is not None and at <= latest:
            if at < latest:
                return "history is not in time order"
            if payment == before:
                return f"history holds the payment of {at.isoformat()} twice"
        # One look where all is well: this runs for every row of every past.
        if (
            amount.__class__ is not int
            or amount <= 0
            or not ((payment.approved is True and decline is None) or (payment.approved is False and decline is sound))
        ):
            rule = _broken_payment(payment)
            if rule is not None:
                return rule
            sound = decline
        before, latest = payment, at
    if latest is None:
        return None
    if history[0].at.year not in YEARS:
        return f"history must lie in the years {YEARS[0]} to {YEARS[-1]}"
    return None if latest <= invoice.failed_at else "history reaches past failed_at"


def _broken_payment(payment: PastPayment) -> str | None:
    if type(payment.amount_minor) is not int or payment.amount_minor <= 0:
        return "history[].amount_minor must be an int > 0"
    if type(payment.approved) is not bool:
        return f"history[].approved must be True or False, not {payment.approved!r}"
    if payment.decline is None:
        return None
    if payment.approved:
        return "an approved payment of the past has a decline"
    rule = broken_decline(payment.decline)
    return rule and f"history[]: {rule}"


def _is_list(value: object) -> bool:
    return value.__class__ in (tuple, list) or (isinstance(value, Sequence) and not isinstance(value, str | bytes))


_CHECKS: tuple[Callable[[FailedInvoice], str | None], ...] = (_broken_terms, _broken_ways, _broken_past)
