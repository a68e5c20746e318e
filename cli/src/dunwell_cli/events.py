"""`events tail`: reading the bus as any subscriber can."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Annotated, Any

import typer
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError
from google.protobuf.json_format import MessageToDict

from dunwell_cli.output import console, guarded
from dunwell_contracts.catalogue import UnknownType, topics
from dunwell_contracts.envelope import Undecodable, decode, envelope_of
from dunwell_kit.errors import Invalid, Unavailable

events = typer.Typer(help="The public events on Kafka.", no_args_is_help=True)


@events.command("tail")
@guarded
def tail(
    topic: Annotated[list[str] | None, typer.Option(help="Only this topic; may repeat.")] = None,
    event_type: Annotated[str, typer.Option("--type", help="Only types that contain this, e.g. payment.failed.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines: topic, partition, offset, key, headers, data.")
    ] = False,
    from_beginning: Annotated[bool, typer.Option(help="Start with the oldest event kept.")] = False,
    until_idle: Annotated[
        float, typer.Option(help="End after so many seconds without an event; 0 = never.", min=0)
    ] = 0,
    bootstrap: Annotated[str, typer.Option(envvar="DUNWELL_KAFKA_BOOTSTRAP", help="Kafka's address.")] = "",
) -> None:
    """Print events as they come."""
    known = sorted(topics())
    for name in topic or []:
        if name not in known:
            raise Invalid(f"topic {name!r} is not in the catalogue; topics are {', '.join(known)}")
    address = bootstrap or f"127.0.0.1:{os.environ.get('DUNWELL_KAFKA_PORT', '19092')}"
    try:
        asyncio.run(_tail(address, topic or known, event_type, as_json, from_beginning, until_idle))
    except KeyboardInterrupt:
        console.print("[dim]stopped[/]")


async def _tail(
    address: str, names: list[str], wanted: str, as_json: bool, from_beginning: bool, until_idle: float
) -> None:
    # Without a group the client assigns itself every partition of the topics it is given.
    start = "earliest" if from_beginning else "latest"
    consumer = AIOKafkaConsumer(*names, bootstrap_servers=address, auto_offset_reset=start, enable_auto_commit=False)
    try:
        await consumer.start()
    except UnknownTopicOrPartitionError as error:
        await consumer.stop()
        raise Unavailable(
            f"not every topic of {', '.join(names)} exists at {address}; run: dunwell init-topics"
        ) from error
    except (KafkaConnectionError, OSError) as error:
        await consumer.stop()
        raise Unavailable(f"Kafka does not answer at {address}; is it running? Try: dunwell doctor") from error
    try:
        while True:
            wait = int(until_idle * 1000) if until_idle else 1000
            batch = await consumer.getmany(timeout_ms=wait)
            records = sorted(
                (r for rs in batch.values() for r in rs), key=lambda r: (r.timestamp, r.topic, r.partition, r.offset)
            )
            if not records and until_idle:
                return
            for record in records:
                _print(record, wanted, as_json)
    finally:
        await consumer.stop()


def document_of(record: ConsumerRecord[bytes, bytes]) -> dict[str, Any]:
    """Return a record as a JSON document with its data as protobuf JSON."""
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    try:
        data: Any = MessageToDict(
            decode(envelope_of(record.headers), record.value or b""), preserving_proto_field_name=True
        )
    except (Undecodable, UnknownType) as error:
        data = {"undecodable": str(error)}
    key = (record.key or b"").decode(errors="replace")
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": key,
        "headers": headers,
        "data": data,
    }


def _print(record: ConsumerRecord[bytes, bytes], wanted: str, as_json: bool) -> None:
    document = document_of(record)
    kind = document["headers"].get("ce_type", "?")
    if wanted and wanted not in kind:
        return
    if as_json:
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return
    when = document["headers"].get("ce_time", "")[:19]
    console.print(
        f"[dim]{when}[/] [bold]{kind}[/] {document['key']} [dim]{document['topic']}/{document['partition']}/{document['offset']}[/]",
        highlight=False,
    )
    reason = document["data"].get("reason")
    if isinstance(reason, dict) and reason.get("text"):
        console.print(f"    {reason['text']}", style="dim", highlight=False)
