"""The failed invoices of a world as a sequence that builds them one at a time.

Owns: reading by number and by stretch. Refuses: what an invoice holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from dunwell_worlds.protocol import FailedInvoice

_T = TypeVar("_T")
# Looking them up on a class takes as long as half of the call.
_new, _set = object.__new__, object.__setattr__


def filled(kind: type[_T], /, **values: Any) -> _T:
    """Return a value of the protocol, filled without the frozen type's slow constructor: a replay makes millions."""
    found = _new(kind)
    # The values themselves become its dictionary: nothing is copied.
    _set(found, "__dict__", values)
    return found


class Failures(Sequence[FailedInvoice]):
    """Invoices that are built when they are read: 100,000 with their past would fill the memory.

    Args:
        invoice: Builds the invoice of a number.
        numbers: Those that the sequence holds.
    """

    def __init__(self, invoice: Callable[[int], FailedInvoice], numbers: range) -> None:
        self._invoice, self._numbers = invoice, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> FailedInvoice: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[FailedInvoice]: ...
    def __getitem__(self, at: int | slice) -> FailedInvoice | Sequence[FailedInvoice]:
        if isinstance(at, slice):
            return Failures(self._invoice, self._numbers[at])
        return self._invoice(self._numbers[at])
