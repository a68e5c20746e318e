"""What a rule says: one finding, and the paper the rules write on while one attempt is judged.

Owns: how findings become one verdict. Refuses: any rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from dunwell_retry.rules.model import Attempt, Fee, PastAttempt, Verdict
from dunwell_retry.rules.past import Account
from dunwell_retry.rules.rulebook import InForce, Rule, RuleData


@dataclass(frozen=True, slots=True)
class Finding:
    """One refusal; `not_before` None = never."""

    rule: str
    reason: str
    not_before: datetime | None
    sources: tuple[str, ...] = ()
    fee: Fee | None = None


_PASSED: tuple[str, str, tuple[str, ...]] = ("general.permitted", "No rule forbids it.", ())


@dataclass(slots=True)
class Asked:
    """One attempt under judgement at one instant.

    Args:
        entries: The whole tidy history.
        account: The part that concerns the instrument.
        approved: Those of all entries that were approved.
        at: Aware UTC, `attempt.at` or a later instant that is tried out.
        on: The UTC date of `at`.
        in_force: What the rule book has found for the date already.
    """

    attempt: Attempt
    data: RuleData
    entries: Sequence[PastAttempt]
    account: Account
    approved: Sequence[PastAttempt]
    at: datetime
    on: date = field(init=False)
    in_force: InForce = field(init=False)
    findings: list[Finding] = field(init=False)
    counters: dict[str, int] = field(init=False)
    fee: Fee | None = field(init=False)
    passed: tuple[str, str, tuple[str, ...]] = field(init=False)

    def turn(self, at: datetime) -> None:
        """Begin anew, at an instant."""
        self.at, self.on = at, at.date()
        self.in_force = self.data.in_force(self.on)
        self.findings, self.counters, self.fee, self.passed = [], {}, None, _PASSED

    def find(self, rule: str, region: str | None = None) -> Rule | None:
        """Return a rule in force now."""
        try:
            return self.in_force[rule if region is None else (rule, region)]
        except KeyError:
            return self.data.find(rule, self.on, region)

    def deny(
        self,
        rule: str,
        reason: str,
        not_before: datetime | None,
        sources: tuple[str, ...] = (),
        fee: Fee | None = None,
    ) -> None:
        """Write down a refusal."""
        self.findings.append(Finding(rule, reason, not_before, sources, fee))

    def permits(self, rule: str, reason: str, sources: tuple[str, ...]) -> None:
        """Name the rule under which the attempt passes if nothing refuses it."""
        self.passed = (rule, reason, sources)


def fee_of(rule: Rule | None, reason: str) -> Fee | None:
    """Return the fee a rule names."""
    return Fee(rule.number("amount_minor"), rule.text("currency"), reason) if rule else None


def worst(findings: Sequence[Finding]) -> Finding:
    """Return the refusal that decides: the first that says never, else the one that lasts longest."""
    never = next((each for each in findings if each.not_before is None), None)
    return never or max(findings, key=lambda each: (each.not_before, each.rule))


def refusal(asked: Asked) -> Verdict:
    """Return the verdict at the asked instant, at which something was refused."""
    finding = worst(asked.findings)
    fee = finding.fee or next((each.fee for each in asked.findings if each.fee), asked.fee)
    return Verdict(False, finding.rule, finding.reason, finding.not_before, fee, asked.counters, finding.sources)
