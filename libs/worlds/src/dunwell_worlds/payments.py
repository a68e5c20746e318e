"""A payer's past in columns: its rows are made when somebody reads them.

Owns: the rows, and a quick look at whether all of them are in order. Refuses: what a past must keep; see `invoices`.
Most policies never look at a past, and the rules of the networks only at its last month.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from math import floor
from operator import lt
from typing import cast, overload

from dunwell_worlds.protocol import Decline, PastPayment


class Payments(Sequence[PastPayment]):
    """Payments of one amount, oldest first; equal to any other sequence of the same rows.

    Args:
        seconds: When each was sent, in seconds since 1970, ascending.
        told: The place in `declines` of what each was told.
        declines: None stands for an approval.
    """

    __slots__ = ("_amount_minor", "_declines", "_rows", "_seconds", "_told")

    def __init__(
        self, seconds: list[int], told: list[int], amount_minor: int, declines: tuple[Decline | None, ...]
    ) -> None:
        self._seconds, self._told = seconds, told
        self._amount_minor, self._declines = amount_minor, declines
        self._rows: tuple[PastPayment, ...] | None = None

    def after(self, at: datetime) -> tuple[PastPayment, ...]:
        """Return the payments later than an instant."""
        first = bisect_right(self._seconds, floor(at.timestamp()))
        return self._made(first) if first < len(self._seconds) else ()

    def orderly(self, until: datetime) -> bool:
        """Return whether all amounts are positive, each row is later than the one before, and all lie in 1970 to `until`.

        False does not say that a past is wrong: rows of one instant may differ.
        """
        seconds = self._seconds
        if not seconds:
            return True
        if type(self._amount_minor) is not int or self._amount_minor <= 0:
            return False
        rising = all(map(lt, seconds, islice(seconds, 1, None)))
        return rising and seconds[0] >= 0 and seconds[-1] <= until.timestamp()

    def reasons(self) -> list[Decline]:
        """Return each refusal that the rows tell of, once."""
        return [decline for decline in map(self._declines.__getitem__, {*self._told}) if decline is not None]

    def _made(self, first: int) -> tuple[PastPayment, ...]:
        found = []
        amount, declines = self._amount_minor, self._declines
        for second, told in zip(islice(self._seconds, first, None), islice(self._told, first, None), strict=True):
            row = _OpenRow()
            row.at, row.amount_minor, row.decline = datetime.fromtimestamp(second, UTC), amount, declines[told]
            row.approved = row.decline is None
            row.__class__ = PastPayment  # type: ignore[assignment]
            found.append(row)
        return tuple(cast(list[PastPayment], found))

    def _all(self) -> tuple[PastPayment, ...]:
        if self._rows is None:
            self._rows = self._made(0)
        return self._rows

    def __len__(self) -> int:
        return len(self._seconds)

    @overload
    def __getitem__(self, at: int) -> PastPayment: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[PastPayment, ...]: ...
    def __getitem__(self, at: int | slice) -> PastPayment | tuple[PastPayment, ...]:
        return self._all()[at]

    def __iter__(self) -> Iterator[PastPayment]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Sequence) and self._all() == tuple(iter(other)))

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


class _OpenRow:
    """A row while it is filled: the frozen type's own constructor takes five times as long."""

    __slots__ = ("amount_minor", "approved", "at", "decline")
    at: datetime
    amount_minor: int
    approved: bool
    decline: Decline | None
