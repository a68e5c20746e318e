"""One invoice of the base world while it is charged.

Owns: what is true of the invoice at a moment, and what does not change between its charges. Refuses: chances.
"""

from __future__ import annotations

from dataclasses import dataclass

from dunwell_worlds import zones
from dunwell_worlds.fees import ChargeLog
from dunwell_worlds.payers import Payer
from dunwell_worlds.protocol import Decline


@dataclass(slots=True)
class Live:
    """What has happened to one invoice so far, and what every charge of it asks for; seconds since 1970.

    Args:
        last: When it was asked about last.
        offset: Of the payer's clock from UTC, in seconds, until `offset_ends`.
        code: What the issuer repeats, until `code_ends`.
        said: Refusals by code, of a network that gives no advice: those of one code are all the same.
        payer: None until the first message, before which he does nothing.
        refusals: How many there were until then; the payer feels them when he first hears of any.
    """

    index: int
    log: ChargeLog
    last: int
    reason: int
    network: str
    routes: tuple[str, ...]
    zone: str
    issuer: int
    offset: int
    offset_ends: int
    code: str
    code_ends: int
    said: dict[str, Decline]
    approved: bool = False
    payer: Payer | None = None
    refusals: int = 0

    def move(self, second: int) -> int:
        """Move the invoice on to an instant and return its wall-clock seconds; ValueError on a step back in time."""
        if second < self.last:
            raise ValueError(f"calls about one invoice come in time order; {second} is before {self.last}")
        self.last = second
        if self.payer is not None:
            self.payer.advance(second)
        # As time goes forward, the offset is looked up twice a year.
        if second >= self.offset_ends:
            self.offset, self.offset_ends = zones.offset_until(self.zone, second)
        return second + self.offset
