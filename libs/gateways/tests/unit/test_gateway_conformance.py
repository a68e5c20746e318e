"""Every registered gateway keeps the promises of the port."""

from importlib import import_module

import pytest

from dunwell_gateways import conformance
from dunwell_gateways.registry import UnknownGateway, adapter, names


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", names())
def test_a_gateway_keeps_the_promises_of_the_port(name, check):
    check(adapter(name), import_module(f"dunwell_gateways.{name}.specimens").specimens())


def test_an_unknown_gateway_names_the_known_ones():
    with pytest.raises(UnknownGateway, match=r"'strype'.*known:.*stripe"):
        adapter("strype")
