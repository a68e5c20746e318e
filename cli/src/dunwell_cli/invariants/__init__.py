"""Invariants: what must hold whatever happens, as SQL that returns the rows which break it.

Owns: the checks over one store (`*.sql`, first line `-- service: name`) and the checks over several (here).
Run after every scenario, by the demo, and by `dunwell doctor` against production.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any, Protocol

TITLES = {
    "I1": "every acknowledged webhook has one row and one end",
    "I2": "the gateway's applied charges = succeeded attempts = ledger cash",
    "I3": "at most one applied charge per invoice, none after its end",
    "I4": "the books balance, and projections agree",
    "I5": "at most one message per case, step and channel",
    "I6": "no attempt, timer or effect is older than its bound",
    "I7": "the outbox is published; sequences have no gap",
    "I8": "cursors never regress; parked order is intact",
    "I12": "the backlog drains and lag is zero",
}


class Stores(Protocol):
    """Reads from a service's store."""

    async def fetch(self, service: str, statement: str, *values: object) -> Sequence[Mapping[str, Any]]:
        """Return rows."""
        ...


@dataclass(frozen=True, slots=True)
class Broken:
    """One check that found rows."""

    invariant: str
    check: str
    rows: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.invariant} ({self.check}): {len(self.rows)} rows, first {self.rows[0]}"


@dataclass(frozen=True, slots=True)
class Check:
    """One SQL file."""

    name: str
    service: str
    statement: str

    @property
    def invariant(self) -> str:
        """The invariant it proves, e.g. `I4`."""
        return self.name.partition("_")[0]


def checks() -> list[Check]:
    """Return every SQL check by name."""
    folder = resources.files("dunwell_cli.invariants")
    found = []
    for entry in sorted((e for e in folder.iterdir() if e.name.endswith(".sql")), key=lambda e: e.name):
        text = entry.read_text(encoding="utf-8")
        service = text.splitlines()[0].removeprefix("-- service:").strip()
        found.append(Check(entry.name.removesuffix(".sql"), service, text))
    return found


async def broken(stores: Stores, now: datetime) -> list[Broken]:
    """Run every SQL check; returns those that found rows.

    Args:
        now: The business instant; ages are measured against it.
    """
    found = []
    for check in checks():
        values = (now,) if "$1" in check.statement else ()
        rows = await stores.fetch(check.service, check.statement, *values)
        if rows:
            found.append(Broken(check.invariant, check.name, tuple(dict(r) for r in rows[:20])))
    return found


async def broken_against_gateway(stores: Stores, truth: Sequence[Mapping[str, Any]], now: datetime) -> list[Broken]:
    """Compare the gateway's own record of applied charges with our attempts and our books.

    Args:
        truth: Rows {invoice_id, payment_intent, idempotency_key, origin, approved, …} of every charge really tried.
    """
    attempts = await stores.fetch("retry", "SELECT idem_key, state, invoice_id FROM charge_attempts")
    booked = await stores.fetch("ledger", "SELECT source_id FROM journals WHERE kind = 'payment'")
    applied = [row for row in truth if row["approved"]]
    ours = {row["idempotency_key"] for row in applied if row["origin"] == "api"}
    succeeded = {row["idem_key"] for row in attempts if row["state"] == "succeeded"}
    cash = {row["source_id"].rpartition(":")[2] for row in booked}
    paid = {row["payment_intent"] for row in applied}
    per_invoice: dict[str, int] = {}
    for row in applied:
        per_invoice[row["invoice_id"]] = per_invoice.get(row["invoice_id"], 0) + 1
    tried = [row["idempotency_key"] for row in truth if row["origin"] == "api"]
    found = {
        ("I2", "applied_but_not_succeeded"): ours - succeeded,
        ("I2", "succeeded_but_not_applied"): succeeded - ours,
        ("I2", "applied_but_not_booked"): paid - cash,
        ("I2", "booked_but_not_applied"): {c for c in cash - paid if c != "paid"},
        ("I3", "two_charges_of_one_invoice"): {i for i, n in per_invoice.items() if n > 1},
        ("I3", "one_key_applied_twice"): {k for k in set(tried) if tried.count(k) > 1}
        if len(tried) < 20_000
        else set(),
        ("I3", "charged_without_an_attempt"): set(tried) - {row["idem_key"] for row in attempts},
    }
    return [
        Broken(i, name, tuple({"what": str(w)} for w in sorted(map(str, rows))))
        for (i, name), rows in found.items()
        if rows
    ]


async def broken_at_the_mailbox(stores: Stores, messages: Sequence[Mapping[str, Any]]) -> list[Broken]:
    """Compare what the mail server took with what notify says it sent.

    Args:
        messages: Rows {message_id, times, …} of every message taken.
    """
    rows = await stores.fetch("notify", "SELECT message_id, state FROM notices WHERE message_id <> ''")
    taken = {str(message["message_id"]): int(message["times"]) for message in messages}
    sent = {row["message_id"] for row in rows if row["state"] == "sent"}
    found = {
        "taken_twice": {identity for identity, times in taken.items() if times > 1},
        "sent_but_not_taken": sent - set(taken),
        "taken_but_not_known": set(taken) - {row["message_id"] for row in rows},
    }
    return [Broken("I5", name, tuple({"what": w} for w in sorted(those))) for name, those in found.items() if those]


def double_charges(truth: Sequence[Mapping[str, Any]]) -> int:
    """Return how many applied charges there are beyond one per invoice."""
    paid = [row["invoice_id"] for row in truth if row["approved"]]
    return len(paid) - len(set(paid))


def verdict(found: Sequence[Broken]) -> dict[str, str]:
    """Return `holds` or what broke, by invariant."""
    answer = dict.fromkeys(TITLES, "holds")
    for each in found:
        answer[each.invariant] = f"broken: {each}"
    return answer
