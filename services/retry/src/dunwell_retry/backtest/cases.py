"""From a world's failed invoice to the case that the planner is given.

Owns: the translation. Refuses: anything that production would not know at that moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import cast

from dunwell_retry.planning.model import Case, Decline, Method, Past
from dunwell_retry.planning.permits import WINDOW, Earlier
from dunwell_retry.rules.values import maker
from dunwell_worlds import protocol
from dunwell_worlds.payments import Payments

_method = maker(Method)


def decline_of(decline: protocol.Decline | None) -> Decline | None:
    """Return the planner's form of a refusal."""
    if decline is None:
        return None
    return _decline(decline.gateway_code, decline.network_code, decline.advice_code, decline.message)


@lru_cache(maxsize=4096)  # banks say the same few hundred things
def _decline(
    gateway_code: str | None, network_code: str | None, advice_code: str | None, message: str | None
) -> Decline:
    return Decline(gateway_code, network_code, advice_code, message)


def recent_of(invoice: protocol.FailedInvoice) -> Sequence[Earlier] | None:
    """Return what the rules look at of an invoice's past, where that is known without a look at all of it."""
    if not isinstance(invoice.history, Payments):
        return None
    return cast(list[Earlier], invoice.history.after(invoice.failed_at - WINDOW))


def case_of(invoice: protocol.FailedInvoice, horizon: timedelta) -> Case:
    """Return the case of an invoice right after its failure."""
    decline = decline_of(invoice.decline)
    assert decline is not None
    return Case(
        case_id=invoice.invoice_id,
        invoice_id=invoice.invoice_id,
        payer_id=invoice.payer_id,
        tenant_id=invoice.tenant_id,
        amount_minor=invoice.amount_minor,
        currency=invoice.currency,
        timezone=invoice.timezone,
        gateway=invoice.gateway,
        failed_at=invoice.failed_at,
        deadline=invoice.failed_at + horizon,
        decline=decline,
        methods=tuple([
            _method(
                entry.instrument_id, entry.kind, entry.network, entry.funding, entry.country, entry.issuer_id,
                entry.expires,
            )
            for entry in invoice.instruments
        ]),
        routes=invoice.routes,
        # The two types have the same fields; copying thirty rows would cost more than a decision.
        history=cast(tuple[Past, ...], invoice.history),
    )  # fmt: skip
