from __future__ import annotations

from dunwell_kit.countries import countries


def test_countries_are_those_of_the_standard() -> None:
    found = countries()
    assert {"US", "GB", "DE", "BR", "IN", "XK"} <= found
    assert not found & {"us", "ZZ", "UK", "EU", "", "USA"}
    assert len(found) >= 249
