"""The ports of `dunwell up`: as documented, as asked, and none that somebody else holds."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dunwell_cli.fleet import SANDBOX_PORT, SMTP_PORT, Fleet, FleetOptions
from dunwell_cli.main import up
from dunwell_kit.settings import PORTS
from dunwell_stack import StackUnavailable
from dunwell_stack.children import free_ports
from dunwell_stack.choice import KAFKA_PORT, POSTGRES_PORT

NAMES = ["sandbox", "smtp", *PORTS]


def fleet(tmp_path: Path) -> Fleet:
    return Fleet(FleetOptions(data_dir=tmp_path, fixed_ports=True), lambda _: None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Free ports, asked for by their variables."""
    ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
    for name, port in ports.items():
        monkeypatch.setenv(f"DUNWELL_{name.upper()}_HTTP_PORT", str(port))
    return ports


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process holds."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


def test_every_port_can_be_asked_for(asked: dict[str, int], tmp_path: Path) -> None:
    chosen = fleet(tmp_path)
    chosen._choose_ports()
    assert chosen.ports == asked


def test_the_documented_port_is_taken_where_none_is_asked_for(
    asked: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What else runs on this machine must not decide.
    monkeypatch.setattr("dunwell_cli.fleet.demand_free", lambda *_: None)
    monkeypatch.delenv("DUNWELL_SANDBOX_HTTP_PORT")
    chosen = fleet(tmp_path)
    chosen._choose_ports()
    assert chosen.ports == {**asked, "sandbox": SANDBOX_PORT}


@pytest.mark.parametrize("name", NAMES)
def test_a_taken_port_is_named_with_its_holder_and_the_way_out(
    asked: dict[str, int], taken: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"DUNWELL_{name.upper()}_HTTP_PORT"
    monkeypatch.setenv(variable, str(taken))
    with pytest.raises(StackUnavailable, match=rf"{name} cannot start: port {taken} is taken by .*set {variable}"):
        fleet(tmp_path)._choose_ports()


def test_a_port_that_is_none_is_refused_by_name(
    asked: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUNWELL_RETRY_HTTP_PORT", "eighty")
    with pytest.raises(StackUnavailable, match="DUNWELL_RETRY_HTTP_PORT is 'eighty'"):
        fleet(tmp_path)._choose_ports()


def test_the_help_of_up_tells_the_ports() -> None:
    told = up.__doc__ or ""
    numbers = [KAFKA_PORT, POSTGRES_PORT, min(PORTS.values()), max(PORTS.values()), SANDBOX_PORT, SMTP_PORT]
    assert [number for number in numbers if str(number) not in told] == []
