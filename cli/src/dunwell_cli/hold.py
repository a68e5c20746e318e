"""Holding what `dunwell up` started, in the background, until SIGTERM.

Owns: the process that holds. Refuses: to outlive its fleet; a part that cannot start ends all.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from dunwell_cli.fleet import Fleet, FleetOptions
from dunwell_cli.upstate import state_file, write_state
from dunwell_kit.errors import DunwellError
from dunwell_stack import StackUnavailable


def told_to_stop() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set from now on."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def hold(data_dir: Path, fresh: bool, traces: bool) -> None:
    """Start everything, say so, and keep it until told to stop."""
    stop = told_to_stop()
    options = FleetOptions(
        data_dir=data_dir,
        fixed_ports=True,
        fresh=fresh,
        traces=traces,
        variables={"DUNWELL_RETRY_HOLDOUT_SHARE": "0.05"},
    )
    write_state(data_dir, state="starting", doing="starting")
    async with Fleet(options, lambda text: write_state(data_dir, state="starting", doing=text)) as fleet:
        await keep(fleet, data_dir, stop)


async def keep(fleet: Fleet, data_dir: Path, stop: asyncio.Event) -> None:
    """Say that a fleet on the documented ports is up, so that every command finds it, and return when told to stop."""
    write_state(
        data_dir,
        state="up",
        kafka=fleet.kafka_bootstrap,
        postgres=fleet.postgres_dsn,
        endpoint_url=fleet.endpoint_url,
        endpoint_secret=fleet.endpoint_secret,
        urls={name: fleet.url(name) for name in fleet.ports if name != "smtp"},
        smtp_port=fleet.ports["smtp"],
        traces=fleet.viewer.url if fleet.viewer else "",
    )
    await stop.wait()
    write_state(data_dir, state="stopping")


def main() -> int:
    """Hold a fleet; the arguments are its data directory, then any of `fresh` and `traces`."""
    data_dir, wanted = Path(sys.argv[1]), sys.argv[2:]
    try:
        asyncio.run(hold(data_dir, "fresh" in wanted, "traces" in wanted))
    except (DunwellError, StackUnavailable) as error:
        write_state(data_dir, state="failed", doing=str(error))
        return 1
    state_file(data_dir).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
