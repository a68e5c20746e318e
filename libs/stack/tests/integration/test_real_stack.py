import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from dunwell_stack import Stack, running_stack
from dunwell_stack.choice import StackChoice, StackUnavailable

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[4]


@pytest.fixture
def choice():
    cache = os.environ.get("DUNWELL_CACHE_DIR")
    return StackChoice("native", cache_dir=Path(cache) if cache else ROOT / "var" / "cache")


def processes_with(text):
    """Return the processes whose command line has a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes() and int(path.parts[2]) != os.getpid():
                found.append(int(path.parts[2]))
        except OSError:
            continue
    return found


async def round_trip(bootstrap):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("t", 2, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
        # A day of 2031: a time-lapse's records carry such times.
        await producer.send_and_wait("t", b"hello", key=b"k", timestamp_ms=1_924_905_600_000)
    consumer = AIOKafkaConsumer("t", bootstrap_servers=bootstrap, group_id="g", auto_offset_reset="earliest")
    async with consumer:
        return (await consumer.getone()).value


@pytest.mark.parametrize("wheels_only", [False, True])
async def test_both_parts_serve_keep_their_data_and_leave_no_process(tmp_path, choice, wheels_only):
    choice = replace(choice, wheels_only=wheels_only)
    async with running_stack(tmp_path, choice=choice) as stack:
        assert "Kafka 4.1.0 (native" in stack.description and "Postgres" in stack.description
        assert await round_trip(stack.kafka_bootstrap) == b"hello"
        connection = await asyncpg.connect(stack.postgres_dsn)
        assert await connection.fetchval("SELECT 1") == 1
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"
        assert await connection.fetchval("SHOW fsync") == "on"
        await connection.execute("CREATE TABLE kept (n int)")
        await connection.close()
        assert len(processes_with(str(tmp_path))) >= 1
    assert processes_with(str(tmp_path)) == []
    async with running_stack(tmp_path, choice=choice) as stack:
        connection = await asyncpg.connect(stack.postgres_dsn)
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0
        await connection.close()
        admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
        await admin.start()
        assert "t" in await admin.list_topics()
        await admin.close()
        stack.stop()
        stack.erase()


async def test_a_taken_port_starts_nothing(tmp_path, choice, stack):
    taken = int(stack.kafka_bootstrap.split(":")[1])
    with pytest.raises(StackUnavailable, match=rf"Kafka cannot start: port {taken} is taken by java"):
        async with running_stack(tmp_path, kafka_port=taken, choice=choice):
            pass
    assert processes_with(str(tmp_path)) == []
    Stack(tmp_path, choice=choice).erase()


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_part_outlives_its_parent(tmp_path, choice, with_signal):
    ready = tmp_path / "ready"
    script = (
        "import time, pathlib\n"
        "from dunwell_stack import Stack, StackChoice\n"
        f"choice = StackChoice('native', cache_dir=pathlib.Path({str(choice.cache_dir)!r}))\n"
        f"Stack(pathlib.Path({str(tmp_path)!r}), choice=choice).start()\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not ready.exists():
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(parent.pid, with_signal)
    parent.wait()
    deadline = time.monotonic() + 30
    while processes_with(str(tmp_path)):
        assert time.monotonic() < deadline, processes_with(str(tmp_path))
        time.sleep(0.05)
    Stack(tmp_path, choice=choice).erase()


async def test_each_database_is_empty_and_its_own(fresh_database):
    one, two = fresh_database("one"), fresh_database("one")
    assert one != two
    connection = await asyncpg.connect(one)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()
