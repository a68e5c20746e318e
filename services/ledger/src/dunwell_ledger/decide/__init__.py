"""What facts book. Pure.

`rules` says what one fact books where it stands; `replay` puts the facts of an invoice in the order in which they
happened and says which journals are missing or wrong. A declined attempt books nothing.
"""

from dunwell_ledger.decide.replay import currency_of, dated, decide, due, owed, replayed
from dunwell_ledger.decide.rules import FACTS

__all__ = ["FACTS", "currency_of", "dated", "decide", "due", "owed", "replayed"]
