"""Failpoints: named places where a test may crash, stop, delay or fail a process.

Owns: the registry of names and what an armed one does. Costs one global look-up when none is armed.

`DUNWELL_FAILPOINTS="relay.sent=kill:hit=3;retry.after_sent_commit=raise"` arms two of them.
"""

from __future__ import annotations

import os
import signal
import time

from dunwell_kit.errors import DunwellError, Misconfigured

VARIABLE = "DUNWELL_FAILPOINTS"
REGISTRY = frozenset(
    {
        "ingest.verified",
        "ingest.before_insert",
        "ingest.after_commit",
        "relay.window_opened",
        "relay.before_send",
        "relay.after_send",
        "relay.after_cursor",
        "consumer.before_transaction",
        "consumer.before_commit",
        "consumer.after_commit",
        "timers.claimed",
        "timers.fired",
        "effects.claimed",
        "effects.performed",
        "retry.after_sent_commit",
        "retry.after_response",
        "retry.reconciling",
        "notify.before_send",
        "notify.after_send",
        "ledger.before_commit",
    }
)


class FailpointHit(DunwellError):
    """A test made this place fail."""


class _Armed:
    def __init__(self, mode: str, argument: str, hit: int) -> None:
        self.mode, self.argument, self.hit = mode, argument, hit
        self.passed = 0

    def fire(self, name: str) -> None:
        self.passed += 1
        if self.passed != self.hit:
            return
        if self.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.mode == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self.mode == "sleep":
            time.sleep(float(self.argument))
        else:
            raise FailpointHit(f"failpoint {name!r} hit")


def parse(text: str) -> dict[str, _Armed]:
    """Read `name=mode[:argument][:hit=n]` entries; Misconfigured names an unknown point or mode."""
    armed = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        name, _, rest = entry.partition("=")
        mode, *arguments = rest.split(":")
        if name not in REGISTRY:
            raise Misconfigured(f"{VARIABLE} names {name!r}, which is no failpoint")
        if mode not in {"kill", "stop", "sleep", "raise"}:
            raise Misconfigured(f"{VARIABLE} gives {name!r} the unknown mode {mode!r}")
        hits = next((a.removeprefix("hit=") for a in arguments if a.startswith("hit=")), "1")
        if not hits.isdecimal():
            raise Misconfigured(f"{VARIABLE} gives {name!r} the hit {hits!r}, which is no count")
        argument = next((a for a in arguments if not a.startswith("hit=")), "0")
        armed[name] = _Armed(mode, argument, int(hits))
    return armed


_armed: dict[str, _Armed] = {}


def failpoint(name: str) -> None:
    """Do nothing, unless this point is armed."""
    if _armed and name in _armed:
        _armed[name].fire(name)


def arm_from_environment() -> None:
    """Arm what `DUNWELL_FAILPOINTS` names; Misconfigured when it names none of ours."""
    arm(os.environ.get(VARIABLE, ""))


def arm(text: str) -> None:
    """Arm the points of a test in this process; an empty text disarms all."""
    _armed.clear()
    _armed.update(parse(text))
