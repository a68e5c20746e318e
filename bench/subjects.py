"""The processes under test that are not a service as it is: `python -m bench.subjects NAME`.

Each runs as the services do (the kit's runtime, uvloop, settings from the environment) until it is ended.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from aiokafka import TopicPartition

from bench.doubles import NoStore, edge_with_one_insert_each
from bench.records import PARTITIONS
from dunwell_ingest.api import routes
from dunwell_ingest.edge import Edge
from dunwell_kit import logging, run
from dunwell_kit.consumer import Consumer
from dunwell_kit.database import Tx
from dunwell_kit.kafka import consumer, producer
from dunwell_kit.messages import Received
from dunwell_kit.relay import Relay
from dunwell_kit.run import Runtime, Service, runtime_of

PROGRAM = "bench"


def _without_store(_: Runtime) -> Service:
    nowhere = NoStore()
    return Service(routers=(routes(nowhere, Edge(nowhere), "http://bench"),))


def _one_insert_each(runtime: Runtime) -> Service:
    database = runtime.database
    return Service(routers=(routes(database, edge_with_one_insert_each(database), "http://bench"),))


async def _pass_on(tx: Tx, received: Received) -> None:
    """Emit what came: inbox and outbox, no domain."""
    tx.emit(received.message, key=received.envelope.key)


async def _consume(topic: str, event_type: str) -> None:
    runtime = runtime_of(PROGRAM)
    await Consumer(runtime.database, runtime.settings, {event_type: _pass_on}, [topic]).run(asyncio.Event())


async def _relay() -> None:
    runtime = runtime_of(PROGRAM)
    await Relay(runtime.database, runtime.settings).run(asyncio.Event())


async def _bare_loop(source: str, target: str) -> None:
    """Hand each record on: the least that any consumer with an output does, with the kit's own client settings."""
    bootstrap = runtime_of(PROGRAM).settings.kafka_bootstrap
    reader, writer = consumer(bootstrap, "bench.bare"), producer(bootstrap)
    await reader.start()
    await writer.start()
    places = [TopicPartition(source, partition) for partition in range(PARTITIONS)]
    reader.assign(places)
    for place in places:
        reader.seek(place, 0)
    while True:
        batch = await reader.getmany(timeout_ms=500, max_records=200)
        records = [record for found in batch.values() for record in found]
        acks = [await writer.send(target, r.value, key=r.key, headers=list(r.headers)) for r in records]
        if acks:
            await asyncio.gather(*acks)


def main(name: str, *arguments: str) -> None:
    """Run one program."""
    if name == "ingest-without-store":
        run.main("ingest", _without_store)
    elif name == "ingest-one-insert-each":
        run.main("ingest", _one_insert_each)
    else:
        programs: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
            "consumer": _consume, "relay": _relay, "bare-loop": _bare_loop,
        }  # fmt: skip
        program = programs[name]
        logging.setup(PROGRAM)
        uvloop.run(program(*arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
