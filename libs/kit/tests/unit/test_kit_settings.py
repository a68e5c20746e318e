from __future__ import annotations

import pytest

from dunwell_kit.errors import Misconfigured
from dunwell_kit.settings import PORTS, ROLES, Environment, kit_settings

GOOD = {
    "DUNWELL_LEDGER_DATABASE_URL": "postgresql://u:p@localhost:5432/dunwell_ledger",
    "DUNWELL_KAFKA_BOOTSTRAP": "localhost:9092",
}


def test_two_variables_are_enough() -> None:
    environment = Environment(GOOD)
    found = kit_settings("ledger", environment)
    environment.check()
    assert (found.roles, found.http_port, found.group) == (ROLES, PORTS["ledger"], "dunwell.ledger")


def test_one_message_tells_everything_that_is_wrong() -> None:
    environment = Environment(
        {
            "DUNWELL_LEDGER_DATABASE_URL": "mysql://nope",
            "DUNWELL_ROLES": "api,cook",
            "DUNWELL_LEASE_SECONDS": "soon",
            "DUNWELL_POLL_SECONDS": "nan",
        }
    )
    kit_settings("ledger", environment)
    with pytest.raises(Misconfigured) as caught:
        environment.check()
    for name in ("DATABASE_URL", "'cook'", "'soon'", "'nan'", "DUNWELL_KAFKA_BOOTSTRAP is not set"):
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_variable_that_must_be_there_must_not_be_blank(blank: str) -> None:
    environment = Environment({**GOOD, "DUNWELL_LEDGER_SECRET": blank})
    assert environment.text("DUNWELL_LEDGER_SECRET") == ""
    assert environment.text("DUNWELL_LEDGER_SECRET", "default") == blank
    with pytest.raises(Misconfigured, match=r"^DUNWELL_LEDGER_SECRET is empty$"):
        environment.check()


def test_roles_can_be_chosen() -> None:
    assert kit_settings("ledger", Environment({**GOOD, "DUNWELL_ROLES": "relay,api"})).roles == ("relay", "api")


@pytest.mark.parametrize(("raw", "meant"), [("1", True), ("yes", True), ("ON", True), ("0", False), ("", False)])
def test_a_flag_reads_yes_and_no(raw: str, meant: bool) -> None:
    assert Environment({"F": raw}).flag("F") is meant
    assert Environment({}).flag("F", default=True)
