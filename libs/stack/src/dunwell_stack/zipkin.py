"""A viewer for traces on one machine: Zipkin's server as a process. Owns: its start and stop.

Refuses: being the product's way to export traces, which is OTLP; this is for looking while one plays.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from dunwell_stack.children import demand_free, end, free_ports, spawn
from dunwell_stack.jars import ZIPKIN_VERSION, jars_in
from dunwell_stack.java import find_java, java_candidates
from dunwell_stack.processes import wait_http_ready

ZIPKIN_PORT = 19411
# Two slow cores under load need about 30 s.
_START_SECONDS_MAX = 90.0
_STOP_SECONDS_MAX = 10.0


class Zipkin:
    """One viewer: `start`, then `stop`; its traces are gone with it.

    Args:
        port: Fixed port, or None for a free one.
    """

    def __init__(self, data_dir: Path, cache_dir: Path, port: int | None = ZIPKIN_PORT) -> None:
        self._folder, self._cache, self._fixed_port = data_dir, cache_dir, port
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        """Get the jar, start the server and wait until it answers; call from a thread that lives as long.

        Raises:
            StackUnavailable: No Java, no jar, the port is taken, or it does not start.
        """
        if self._fixed_port:
            demand_free(self._fixed_port, "the trace viewer", "DUNWELL_ZIPKIN_PORT")
        java = find_java(java_candidates(False))
        (jar,), _ = jars_in(self._cache, "zipkin", ZIPKIN_VERSION)
        port = self._fixed_port or free_ports(1)[0]
        listen = [f"--armeria.ports[0].{k}={v}" for k, v in (("ip", "127.0.0.1"), ("port", port))]
        command = [java.program, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(jar)]
        log = self._folder / "zipkin.out"
        self._process = spawn(
            [*command, *listen, "--armeria.ports[0].protocols[0]=http"], log=log, death_signal=signal.SIGTERM
        )
        self.url = f"http://127.0.0.1:{port}"
        wait_http_ready(f"{self.url}/health", seconds=_START_SECONDS_MAX, log=log)

    def variables(self) -> dict[str, str]:
        """Return what a process needs to send its traces here."""
        return {
            "OTEL_TRACES_EXPORTER": "zipkin",
            "OTEL_EXPORTER_ZIPKIN_ENDPOINT": f"{self.url}/api/v2/spans",
        }

    def stop(self) -> None:
        """Stop it; nothing happens when it does not run."""
        if self._process is not None:
            end(self._process, signal.SIGTERM, _STOP_SECONDS_MAX)
            self._process = None
