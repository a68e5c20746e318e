"""What charges come to, each different answer made once.

Owns: the results that a world gives. Refuses: which one a charge gets.
"""

from __future__ import annotations

from dunwell_worlds.protocol import AttemptResult, Decline

_APPROVED = Decline(None, None, None, None)


class Answers:
    """The results of one world: a few hundred, given a million times."""

    def __init__(self) -> None:
        self._made: dict[tuple[str | None, str | None, str | None, int], AttemptResult] = {}

    def of(self, decline: Decline | None, cost_minor_usd: int) -> AttemptResult:
        """Return the result of a charge; None stands for an approval. Declines say nothing but their codes."""
        said = decline or _APPROVED
        known = said.gateway_code, said.network_code, said.advice_code, cost_minor_usd
        result = self._made.get(known)
        if result is None:
            result = self._made[known] = AttemptResult(decline is None, decline, cost_minor_usd)
        return result
