"""What is remembered of a refusal's meaning is what the taxonomy says on the day itself."""

from datetime import UTC, date, datetime, timedelta

from dunwell_gateways.decline_tables import tables
from dunwell_gateways.declines import classify, tables_for
from dunwell_gateways.port import RawDecline
from dunwell_retry.rules.meaning import meaning, since, until

NETWORKS = ("visa", "mastercard", "sepa", "no such network")
A_DAY = timedelta(days=1)


def edges(gateway: str, network: str) -> set[date]:
    rows = [row for table in tables_for(gateway, network) for row in table.rows]
    return {edge for row in rows for edge in (row.effective_from, row.effective_to) if edge}


def test_between_two_edges_a_refusal_means_the_same() -> None:
    looked = changed = 0
    for gateway in (name for name in tables() if "/" not in name):
        for network in NETWORKS:
            codes = {row.code for table in tables_for(gateway, network) for row in table.rows}
            for edge in edges(gateway, network):
                before, after = since(edge - A_DAY, gateway, network), since(edge, gateway, network)
                assert (before < after, after) == (True, edge)
                assert until(edge - A_DAY, gateway, network) == datetime(edge.year, edge.month, edge.day, tzinfo=UTC)
                for code in codes:
                    kept = [meaning(code, code, None, None, gateway, network, on, "US") for on in (before, after)]
                    raw = RawDecline(code, code, "", "")
                    true = [
                        classify(raw, gateway=gateway, network=network, on=on, region="US")
                        for on in (edge - A_DAY, edge)
                    ]
                    assert kept == true, (gateway, network, code, edge)
                    looked += 1
                    changed += true[0] != true[1]
    assert (looked > 1000, changed > 10) == (True, True), (looked, changed)


def test_what_never_changes_holds_for_good() -> None:
    assert edges("no such gateway", "no such network") == set()
    assert since(date(2026, 1, 1), "no such gateway", "no such network") == date.min
    assert until(date(2026, 1, 1), "no such gateway", "no such network").year == date.max.year
