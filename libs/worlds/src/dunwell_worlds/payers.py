"""What payers do when messages reach them: fix, pay, cancel, complain, opt out.

Owns: one payer's reaction, a day at a time. Refuses: banks. Every rate here is an assumption; only the totals of
known contact plans are calibrated. Nobody acts before the first message: a silent failure is invisible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dunwell_worlds.hashing import key, mixed, uniform
from dunwell_worlds.parameters import REASONS
from dunwell_worlds.protocol import ActionKind, PayerAction

DAY = 86400
CHANNELS = {"email": 1.0, "sms": 1.3, "in_app": 1.2, "call": 1.5}
TONES = ("friendly", "firm", "final")
# Daily hazard of a fix in answer to one message, by what is wrong.
_BASE = dict(zip(REASONS, (0.16, 0.12, 0.20, 0.26, 0.03, 0.42, 0.36, 0.03, 0.50), strict=True))
# Fitted: scales every answer so that five e-mails without any charge recover about a quarter.
_ANSWER = 0.68
_DECAY = (0.55, 0.25, 0.12, 0.08)
_FADE = 0.85
_OWN_INITIATIVE = 0.004
_IRRITATION_DECAY = 0.905
_FIX_SUCCEEDS = 0.92
# Of the successful fixes, how many pay the invoice at once; the others leave a working method.
_PAYS_AT_ONCE = 0.4


@dataclass(slots=True)
class Payer:
    """One payer's state; instants are seconds since 1970."""

    reason: str
    engagement: float
    failed: int
    offset: int
    seed: int
    subject: int
    messages: list[tuple[int, str, int]] = field(default_factory=list)
    texts: set[tuple[str, str]] = field(default_factory=set)
    irritation: float = 0.0
    day: int = 0
    opted_out: bool = False
    ended: bool = False
    fixed_at: int | None = None
    paid_at: int | None = None
    pushed: bool | None = None
    actions: list[PayerAction] = field(default_factory=list)

    def _draw(self, concern: str, day: int) -> float:
        return uniform(key(self.seed, concern), self.subject, day)

    def _acts_at(self, day: int) -> int:
        """Return the instant at which the payer looks at things that day: 8 to 22 by his clock."""
        local_midnight = (self.failed + self.offset) // DAY * DAY - self.offset
        hour = 8 + mixed(self.subject * 64 + day) % 14
        at = local_midnight + day * DAY + hour * 3600
        return at if at > self.failed else at + DAY // 2

    def advance(self, until: int) -> None:
        """Live through every day whose moment lies at or before an instant."""
        if not self.messages:
            return
        while not self.ended and self.day < 62:
            at = self._acts_at(self.day)
            if at > until:
                return
            if at >= self.messages[0][0]:
                self._live(self.day, at)
            self.irritation *= _IRRITATION_DECAY
            self.day += 1

    def _live(self, day: int, at: int) -> None:
        irritation = self.irritation
        if self._draw("cancel", day) < 0.0012 * math.exp(0.85 * irritation):
            self._act(ActionKind.CANCELED, at)
            self.ended = True
            return
        if self._draw("complaint", day) < 1e-4 * math.exp(1.2 * irritation):
            self._act(ActionKind.COMPLAINED, at)
            self._act(ActionKind.OPTED_OUT, at)
            self.opted_out = True
        if self.fixed_at is not None or self._draw("fix", day) >= self._hazard(at):
            return
        if self._draw("fix works", day) >= _FIX_SUCCEEDS:
            return
        if self._draw("pays", day) < _PAYS_AT_ONCE:
            self.paid_at = at
            self._act(ActionKind.PAID, at)
            self.ended = True
        else:
            self.fixed_at = at
            self._act(ActionKind.FIXED_METHOD, at)

    def _hazard(self, at: int) -> float:
        best = 0.0
        for index, (sent, channel, _) in enumerate(self.messages):
            age = (at - sent) // DAY
            if 0 <= age < len(_DECAY) and sent <= at:
                best = max(best, CHANNELS[channel] * _DECAY[age] * _FADE**index)
        answer = _ANSWER * _BASE[self.reason] * self.engagement * best / math.sqrt(1 + max(0.0, self.irritation - 0.8))
        return min(0.95, _OWN_INITIATIVE * self.engagement + answer)

    def _act(self, kind: ActionKind, at: int) -> None:
        self.actions.append(PayerAction(kind, datetime.fromtimestamp(at, UTC)))

    def read(self, at: int, channel: str, tone: str, kind: str) -> None:
        """Receive a message; one sent after an opt-out only annoys."""
        self.advance(at)
        annoys = {"friendly": 0.35, "firm": 0.6, "final": 0.8}[tone]
        if channel == "sms":
            annoys = max(annoys, 0.6)
        if (kind, tone) in self.texts and tone != "friendly":
            annoys += 0.7  # the same blunt text again
        if not 8 <= (at + self.offset) % DAY // 3600 < 21:
            annoys *= 1.5
        if self.opted_out:
            annoys *= 2
        else:
            self.messages.append((at, channel, len(self.messages)))
            self.texts.add((kind, tone))
        self.irritation += annoys

    def saw_refusal(self, at: int) -> None:
        """Feel one more refused charge: the banks of three payers in ten push it to their phones."""
        self.advance(at)
        self._push()

    def saw_earlier(self, refusals: int) -> None:
        """Feel the refusals that came before the first message; until then nothing cools down."""
        for _ in range(refusals):
            self._push()

    def _push(self) -> None:
        if self.pushed is None:
            self.pushed = uniform(key(self.seed, "push"), self.subject) < 0.3
        if self.pushed:
            self.irritation += 0.2

    def works(self, at: int) -> bool:
        """Tell whether the payer has put his method right by an instant."""
        return self.fixed_at is not None and self.fixed_at <= at
