"""The smallest service that has every role: for the tests of `run`."""

from __future__ import annotations

from dunwell_kit.database import Tx
from dunwell_kit.effects import Done, Effect
from dunwell_kit.messages import Received
from dunwell_kit.run import Runtime, Service, main
from dunwell_kit.timers import Fired


async def on_event(tx: Tx, received: Received) -> None:
    await tx.execute("INSERT INTO seen (key, what) VALUES (:k, :w)", k=received.envelope.key, w="event")


async def on_timer(tx: Tx, fired: Fired) -> None:
    await tx.execute("INSERT INTO seen (key, what) VALUES (:k, 'timer')", k=fired.case_id)


async def perform(effect: Effect) -> Done:
    async def apply(tx: Tx) -> None:
        await tx.execute("INSERT INTO seen (key, what) VALUES (:k, 'effect')", k=effect.case_id)

    return Done("ok", apply)


def build(_: Runtime) -> Service:
    return Service(
        handlers={"dunwell.payer.changed.v1": on_event},
        timers={"attempt": on_timer},
        performers={"charge": perform},
    )


if __name__ == "__main__":
    main("analytics", build)
