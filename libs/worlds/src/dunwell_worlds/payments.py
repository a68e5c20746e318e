"""A payer's past in columns: its rows are made when somebody reads them.

Owns: the rows, and a quick look at whether all of them are in order. Refuses: what a past must keep; see `invoices`.
Most policies never look at a past, and the rules of the networks only at its last month.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from dunwell_worlds.instants import second_of
from dunwell_worlds.protocol import Decline, PastPayment

# When a payment was sent, its amount, whether it was approved, and what it was told.
Told = tuple[datetime, int, bool, Decline | None]


class Columns:
    """The pasts of many payers: flat rows by payer, then time.

    Args:
        bounds: `bounds[i]:bounds[i + 1]` are the rows of payer i, ascending from 0.
        seconds: When each payment was sent, in seconds since 1970.
        told: The place in `declines` of what each was told.
        declines: None stands for an approval.
    """

    __slots__ = ("bounds", "declines", "rising", "seconds", "sound", "told")

    def __init__(
        self, bounds: NDArray[Any], seconds: NDArray[Any], told: NDArray[Any], declines: tuple[Decline | None, ...]
    ) -> None:
        # Elements of a list are read far faster than those of an array.
        self.bounds: list[int] = bounds.tolist()
        self.seconds: list[int] = seconds.tolist()
        self.told: list[int] = told.tolist()
        self.declines = declines
        # For all payers at once, whether each of a payer's rows is later than the one before.
        late = np.ones(seconds.size, dtype=bool)
        late[1:] = seconds[1:] > seconds[:-1]
        late[bounds[:-1][bounds[:-1] < seconds.size]] = True
        passed = np.concatenate(([0], np.cumsum(~late)))
        self.rising: list[bool] = (passed[bounds[1:]] == passed[bounds[:-1]]).tolist()
        # Set by who has found that all declines are what a protocol says: they are looked at once for all payers.
        self.sound = False


class Payments(Sequence[PastPayment]):
    """One payer's payments, all of one amount, oldest first; equal to any other sequence of the same rows."""

    __slots__ = ("_amount_minor", "_first", "_last", "_payer", "_rows", "columns")

    def __init__(self, columns: Columns, payer: int, amount_minor: int) -> None:
        self.columns, self._payer, self._amount_minor = columns, payer, amount_minor
        self._first, self._last = columns.bounds[payer], columns.bounds[payer + 1]
        self._rows: tuple[PastPayment, ...] | None = None

    def after(self, at: datetime) -> list[Told]:
        """Return the payments later than an instant, each as the values of its row: no row is made for them."""
        columns, amount, last = self.columns, self._amount_minor, self._last
        first = bisect_right(columns.seconds, second_of(at), self._first, last)
        found: list[Told] = []
        for place in range(first, last):
            decline = columns.declines[columns.told[place]]
            found.append((datetime.fromtimestamp(columns.seconds[place], UTC), amount, decline is None, decline))
        return found

    def orderly(self, until: datetime) -> bool:
        """Return whether all amounts are positive, each row is later than the one before, and all lie in 1970 to `until`.

        False does not say that a past is wrong: rows of one instant may differ.
        """
        columns, first, last = self.columns, self._first, self._last
        if first == last:
            return True
        if type(self._amount_minor) is not int or self._amount_minor <= 0:
            return False
        seconds = columns.seconds
        return columns.rising[self._payer] and seconds[first] >= 0 and seconds[last - 1] <= until.timestamp()

    def _made(self) -> tuple[PastPayment, ...]:
        found = []
        amount, columns, first, last = self._amount_minor, self.columns, self._first, self._last
        declines = columns.declines
        for second, told in zip(columns.seconds[first:last], columns.told[first:last], strict=True):
            row = _OpenRow()
            row.at, row.amount_minor, row.decline = datetime.fromtimestamp(second, UTC), amount, declines[told]
            row.approved = row.decline is None
            row.__class__ = PastPayment  # type: ignore[assignment]
            found.append(row)
        return tuple(cast(list[PastPayment], found))

    def _all(self) -> tuple[PastPayment, ...]:
        if self._rows is None:
            self._rows = self._made()
        return self._rows

    def __len__(self) -> int:
        return self._last - self._first

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
