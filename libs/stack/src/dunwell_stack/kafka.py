"""A real Kafka broker as a process of this machine.

Owns: its configuration, format and life. Refuses: topics; whoever needs one creates it.
"""

# ruff: noqa: S603 - a fixed command, never a shell's
from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from base64 import urlsafe_b64encode
from pathlib import Path

from dunwell_stack.children import check_alive, demand_free, end, free_ports, spawn
from dunwell_stack.choice import StackUnavailable
from dunwell_stack.jars import KAFKA_VERSION, jars_in
from dunwell_stack.java import find_java, java_candidates

# Half a gigabyte holds thousands of small partitions; the serial collector and the first compiler tier start
# fastest on few cores.
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData")
_READY = "Kafka Server started"
# Two slow cores under load need about 20 s.
_START_SECONDS_MAX = 90.0
_STOP_SECONDS_MAX = 10.0

_SERVER = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
# One machine, one copy.
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Few partitions of the broker's own topics: each costs time when the first group or transaction appears.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=4
# Groups form at once; a topic that nobody created is an error.
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
# A time-lapse writes records of other days: none is too old to keep or too new to accept.
log.retention.ms=-1
log.message.timestamp.before.max.ms=9223372036854775807
log.message.timestamp.after.max.ms=9223372036854775807
# Memory of one small broker.
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=8388608
"""

_LOGGING = """
status=error
appender.file.type=File
appender.file.name=file
appender.file.fileName={log}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c{{1}} %m%n
rootLogger.level=warn
rootLogger.appenderRef.file.ref=file
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""


class Kafka:
    """One broker: `prepare`, `start`, `wait`, `stop`, in this order.

    Args:
        data_dir: Where its records, configuration and logs live; kept between starts.
        port: Fixed port, or None for a free one.
    """

    def __init__(self, data_dir: Path, cache_dir: Path, port: int | None, *, wheels_only: bool = False) -> None:
        self._wheels_only = wheels_only
        self._data = data_dir / "data"
        self._folder = data_dir
        self._cache = cache_dir
        self._fixed_port = port
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._command: list[str] = []
        self._log = data_dir / "kafka.log"
        self.description = ""

    @property
    def bootstrap(self) -> str:
        """Address for clients, as `host:port`."""
        return f"127.0.0.1:{self._port}"

    def prepare(self) -> None:
        """Find Java, get the jars, format the storage; may run in any thread."""
        if self._fixed_port:
            demand_free(self._fixed_port, "Kafka", "DUNWELL_KAFKA_PORT")
        java = find_java(java_candidates(self._wheels_only))
        jars, way = jars_in(self._cache)
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "log4j2.properties"
        settings.write_text(_LOGGING.format(log=self._log.resolve()))
        classpath = ":".join(map(str, jars))
        logging = f"-Dlog4j2.configurationFile=file:{settings.resolve()}"
        self._command = [java.program, *_JVM, logging, "-cp", classpath]
        if not (self._data / "meta.properties").exists():
            shutil.rmtree(self._data, ignore_errors=True)
            self._format()
        self.description = f"Kafka {KAFKA_VERSION} (native, Java {java.version}, jars {way})"

    def start(self) -> None:
        """Start the broker; call from a thread that lives as long as it should."""
        port, controller = free_ports(2)
        self._port = self._fixed_port or port
        config = self._folder / "server.properties"
        config.write_text(_SERVER.format(port=self._port, controller=controller, data=self._data.resolve()))
        self._log.unlink(missing_ok=True)
        output = self._folder / "kafka.out"
        # SIGTERM is a clean stop, which a broker whose parent died still deserves.
        self._process = spawn([*self._command, "kafka.Kafka", str(config)], log=output, death_signal=signal.SIGTERM)

    def wait(self) -> None:
        """Wait until the broker serves; StackUnavailable when it does not."""
        process = self._process
        if process is None:
            raise StackUnavailable("Kafka was not started")
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not (self._log.exists() and _READY in self._log.read_text(errors="replace")):
            check_alive(process, what="Kafka", log=self._log, deadline=deadline)
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the broker and all that it started; nothing happens when it does not run."""
        if self._process is not None:
            end(self._process, signal.SIGTERM, _STOP_SECONDS_MAX)
            self._process = None

    def erase(self) -> None:
        """Delete all records, logs and configuration."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _format(self) -> None:
        """Give the storage a fresh cluster id, from a formatted folder that the cache keeps (2 s saved)."""
        template = self._cache / f"kafka-{KAFKA_VERSION}-formatted"
        if not template.exists():
            with tempfile.TemporaryDirectory(prefix="format-", dir=self._cache) as scratch:
                made = Path(scratch, "data")
                config = Path(scratch, "server.properties")
                config.write_text(_SERVER.format(port=1, controller=2, data=made))
                tool = ["kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(config)]
                done = subprocess.run([*self._command, *tool], capture_output=True, text=True, check=False)
                if done.returncode:
                    raise StackUnavailable(f"Kafka's storage cannot be formatted: {done.stderr.strip()[-300:]}")
                if not template.exists():
                    # Another process may be first; its folder is as good.
                    shutil.copytree(made, template, dirs_exist_ok=True)
        shutil.copytree(template, self._data)
        meta = self._data / "meta.properties"
        lines = [
            f"cluster.id={_cluster_id()}" if line.startswith("cluster.id=") else line
            for line in meta.read_text().splitlines()
        ]
        meta.write_text("\n".join(lines) + "\n")


def _cluster_id() -> str:
    """Return 16 random bytes as Kafka writes them; never with a leading dash, which its tools refuse."""
    return "D" + urlsafe_b64encode(secrets.token_bytes(16)).decode()[1:22]
