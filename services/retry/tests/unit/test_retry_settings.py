"""What ends the start of the service with one line."""

from __future__ import annotations

import pytest

from dunwell_kit.errors import Misconfigured
from dunwell_kit.settings import Environment
from dunwell_retry.main import policy_from

GOOD = {"DUNWELL_RETRY_SECRET": "anything", "DUNWELL_RETRY_MERCHANT_COUNTRY": "GB"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"DUNWELL_RETRY_SECRET": ""}, "DUNWELL_RETRY_SECRET is empty"),
        ({"DUNWELL_RETRY_SECRET": " "}, "DUNWELL_RETRY_SECRET is empty"),
        ({"DUNWELL_RETRY_MERCHANT_COUNTRY": "ZZ"}, "DUNWELL_RETRY_MERCHANT_COUNTRY 'ZZ' is no ISO 3166 code"),
        ({"DUNWELL_RETRY_MERCHANT_COUNTRY": "gb"}, "upper case"),
    ],
)
def test_a_setting_that_cannot_be_meant_ends_the_start(changes: dict[str, str], said: str) -> None:
    environment = Environment({**GOOD, **changes})
    policy_from(environment)
    with pytest.raises(Misconfigured, match=said) as caught:
        environment.check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("country", ["GB", ""])
def test_a_country_or_none_is_right(country: str) -> None:
    environment = Environment({**GOOD, "DUNWELL_RETRY_MERCHANT_COUNTRY": country})
    assert policy_from(environment).merchant_country == (country or None)
    environment.check()
