"""What is worked out once and read again is what would have been worked out anew."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from dunwell_retry.backtest.cases import case_of
from dunwell_retry.planning.landscape import landscape
from dunwell_retry.planning.local import grid
from dunwell_retry.planning.model import Sent, after_charge
from dunwell_retry.planning.parameters import shipped
from dunwell_retry.planning.posterior import readings_of
from dunwell_retry.planning.rhythm import EPOCH, HYPOTHESES, pay_table
from dunwell_retry.planning.scenarios import Columns, still_chances
from dunwell_retry.planning.view import view_of
from dunwell_worlds.base import make

CASES = [case_of(invoice, timedelta(days=30)) for invoice in make(9, 12).failures()]
_DAY = 86400


@pytest.mark.parametrize("number", range(12))
def test_a_landscape_reads_what_every_instant_is_worth_by_itself(number: int) -> None:
    case, model = CASES[number], shipped()
    view = view_of(case, case.failed_at, model, readings_of(case))
    first = view.failed // _DAY
    land = landscape(model, view.table, view.past, view.failed, first, first + 30)
    ahead, second = grid(20)
    odd = [view.failed, view.failed + 12_345, (first + 40) * _DAY + 1800, (first - 2) * _DAY]
    at = np.concatenate([(ahead + first + 3) * _DAY + second, odd])
    rows = np.concatenate([land.grid_rows(first + 3, 20), [land.row(moment) for moment in odd]])
    none = np.zeros(at.size)
    columns = Columns(at // _DAY, at % _DAY, none, none, none > 0)
    expected = still_chances(model, view.table, view.past.hypotheses, columns, view.failed)
    assert (rows[-4:] >= 0).tolist() == [True, False, False, False]
    assert np.array_equal(land.read(rows, at), expected)


def test_a_case_after_a_charge_differs_by_that_charge_alone() -> None:
    case = CASES[0]
    charge = Sent(case.failed_at + timedelta(days=1), case.methods[0].instrument_id, case.routes[0], False)
    assert after_charge(case, charge) == replace(case, sent=(charge,))
    assert case.sent == ()


def test_pay_on_a_closed_day_comes_on_the_working_day_before() -> None:
    table = pay_table("US", (date(2026, 2, 10) - EPOCH).days)
    labels = [hypothesis.label for hypothesis in HYPOTHESES]
    plain, moved = labels.index("monthly, day 1"), labels.index("monthly, day 1, or the working day before")
    day = (date(2026, 2, 10) - EPOCH).days
    # The first of February 2026 is a Sunday.
    assert table.last[day - table.first_day, plain] == day - 9
    assert table.last[day - table.first_day, moved] == day - 11
