"""Which policy a case gets.

Owns: matching selectors. Refuses: a silent guess; when nothing matches, the caller names the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from dunwell_retry.planning.model import Case
from dunwell_retry.policies.document import Policy, Selector

_Default = TypeVar("_Default")


def fits(selector: Selector, case: Case) -> bool:
    """Return whether a selector is for a case; an amount only fits in its own currency."""
    checks = (
        not selector.tenants or case.tenant_id in selector.tenants,
        not selector.plans or case.plan_name in selector.plans,
        not selector.segments or case.segment in selector.segments,
        not selector.countries or case.methods[0].country in selector.countries,
        not selector.gateways or case.gateway in selector.gateways,
        selector.currency is None or case.currency == selector.currency,
        selector.amount_from is None or case.amount_minor >= selector.amount_from,
        selector.amount_to is None or case.amount_minor <= selector.amount_to,
    )
    return all(checks)


def _narrowness(policy: Policy) -> int:
    when = policy.when
    lists = (when.tenants, when.plans, when.segments, when.countries, when.gateways)
    amounts = (when.currency, when.amount_from, when.amount_to)
    return sum(bool(entry) for entry in lists) + sum(entry is not None for entry in amounts)


def select(policies: Sequence[Policy], case: Case, default: _Default) -> Policy | _Default:
    """Return the policy with the most conditions that fits; the first listed of equals; else the default."""
    fitting = [policy for policy in policies if fits(policy.when, case)]
    return max(fitting, key=_narrowness) if fitting else default
