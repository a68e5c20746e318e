from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dunwell_kit
from dunwell_kit import failpoints
from dunwell_kit.clock import monotonic
from dunwell_kit.errors import Misconfigured
from dunwell_kit.failpoints import REGISTRY, FailpointHit, arm, failpoint, parse


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm("")


def test_a_point_fires_at_its_hit_and_only_then() -> None:
    arm("relay.after_send=raise:hit=3")
    failpoint("relay.after_send")
    failpoint("relay.after_send")
    with pytest.raises(FailpointHit, match=r"relay\.after_send"):
        failpoint("relay.after_send")
    failpoint("relay.after_send")


def test_other_points_stay_quiet() -> None:
    arm("relay.after_send=raise")
    failpoint("relay.before_send")


@pytest.mark.parametrize("text", ["relay.nowhere=raise", "relay.after_send=explode", "relay.after_send=raise:hit=two"])
def test_a_wrong_entry_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="DUNWELL_FAILPOINTS"):
        parse(text)


def test_several_points_are_parsed() -> None:
    armed = parse("relay.after_send=sleep:0.5:hit=2 ; consumer.before_commit=kill")
    assert {name: (a.mode, a.argument, a.hit) for name, a in armed.items()} == {
        "relay.after_send": ("sleep", "0.5", 2),
        "consumer.before_commit": ("kill", "0", 1),
    }


def test_an_unarmed_point_costs_next_to_nothing() -> None:
    assert not failpoints._armed
    begun = monotonic()
    for _ in range(100_000):
        failpoint("relay.after_send")
    # 100 ns a call on the slowest machine we use; the bound leaves it ten times that.
    assert monotonic() - begun < 0.1 * 1000 / 100


def test_every_kit_point_in_the_code_is_in_the_registry_and_used() -> None:
    folder = Path(dunwell_kit.__file__).parent
    code = "".join(p.read_text() for p in folder.glob("*.py") if p.name != "failpoints.py")
    kit = {name for name in REGISTRY if name.split(".")[0] in {"relay", "consumer", "timers", "effects"}}
    assert {name for name in kit if f'failpoint("{name}")' not in code} == set()
    assert code.count('failpoint("') == len(kit)
