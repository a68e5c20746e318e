"""`dunwell events tail` reads what is on Kafka and ends when told to."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from dunwell.journal.v1 import journal_pb2
from dunwell_contracts.values import stamp
from dunwell_kit.clock import SystemClock
from dunwell_kit.ids import CountedIds
from dunwell_kit.kafka import ensure_topics
from dunwell_kit.testing import envelope_for, kafka_producer

pytestmark = pytest.mark.integration
TOPIC = "dunwell.ledger.journal.v1"


async def tail(bootstrap: str, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "dunwell_cli", "events", "tail", "--bootstrap", bootstrap, *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_an_event_on_the_bus_is_a_json_line_and_an_idle_bus_ends_the_command(kafka_bootstrap: str) -> None:
    await ensure_topics(kafka_bootstrap)
    event = journal_pb2.EntryPosted(
        journal_id="j1", tenant_id="tail", kind="payment", booked_at=stamp(SystemClock().now())
    )
    envelope = envelope_for(event, event_id=str(CountedIds("tail").uuid()), key="tail:cus_1")
    async with kafka_producer(kafka_bootstrap) as producer:
        await producer.send_and_wait(TOPIC, event.SerializeToString(), key=b"tail:cus_1", headers=envelope.headers())
    code, out, err = await tail(kafka_bootstrap, "--topic", TOPIC, "--from-beginning", "--until-idle", "2", "--json")
    mine = [line for line in map(json.loads, out.splitlines()) if line["key"] == "tail:cus_1"]
    assert (code, err, len(mine)) == (0, "", 1)
    assert (mine[0]["topic"], mine[0]["data"]["kind"]) == (TOPIC, "payment")
    assert mine[0]["headers"]["ce_type"] == "dunwell.entry.posted.v1"
    code, out, err = await tail(kafka_bootstrap, "--type", "nothing.like.it", "--until-idle", "1", "--json")
    assert (code, out, err) == (0, "", "")


async def test_a_topic_or_broker_that_is_not_there_is_one_line(kafka_bootstrap: str) -> None:
    code, _, err = await tail(kafka_bootstrap, "--topic", "nope")
    assert (code, "is not in the catalogue" in err, "Traceback" in err) == (1, True, False)
    code, _, err = await tail("127.0.0.1:1", "--until-idle", "1")
    assert (code, "Kafka does not answer" in err, "Traceback" in err) == (1, True, False)
