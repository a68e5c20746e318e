"""The `dunwell` command."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from dunwell_cli import books, declines, doctor, events, models, platform, policies, rules, upstate
from dunwell_cli.output import Json, console, errors, fail, guarded, show
from dunwell_kit.errors import DunwellError
from dunwell_retry.backtest import command as backtest

app = typer.Typer(
    help="Dunwell recovers failed and overdue payments.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(platform.endpoints, name="endpoints")
app.add_typer(platform.quarantine, name="quarantine")
app.add_typer(platform.dlq, name="dlq")
app.add_typer(books.cases, name="cases")
app.add_typer(events.events, name="events")
app.add_typer(rules.rules, name="rules")
app.add_typer(declines.declines, name="declines")
policies.policy.command("fit")(guarded(models.fit_model))
policies.policy.command("model")(guarded(models.show_model))
app.add_typer(policies.policy, name="policy")
app.command("backtest")(backtest.backtest)
app.command("kpis")(books.kpis)
app.command("trial-balance")(books.trial_balance)
app.command("aging")(books.aging)
app.command("doctor")(doctor.doctor)
VAR = Path(os.environ.get("DUNWELL_VAR_DIR", "var"))
# Jars are downloaded once for everything that runs below this directory.
os.environ.setdefault("DUNWELL_CACHE_DIR", str((VAR / "cache").resolve()))
# Cold caches download about 45 MB of jars.
UP_SECONDS = 300


@app.command()
def demo(
    invoices: Annotated[int, typer.Option(envvar="DEMO_INVOICES", min=1, max=20_000, help="Failed invoices.")] = 300,
    days: Annotated[int, typer.Option(envvar="DEMO_DAYS", min=31, max=400, help="Virtual days.")] = 60,
    seed: Annotated[int, typer.Option(envvar="DEMO_SEED", help="The same seed recovers the same invoices.")] = 7,
    policy: Annotated[str, typer.Option(envvar="DEMO_POLICY", help="Policy of the treated payers.")] = "smart",
    keep: Annotated[
        bool, typer.Option("--keep", envvar="DEMO_KEEP", help="Leave everything running at the end, to ask about it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Recover sixty days of failed payments in a few minutes, on real Kafka, Postgres and services.

    Writes var/demo/report.json and report.html. Exit status 1 when an invariant breaks. With --keep it runs on the ports
    of `up`, so that `dunwell cases why` and all others answer about it, until `dunwell down` or Ctrl-C.
    """
    # Loaded here: what starts services and migrates takes longer to load than most commands to run.
    import uvloop

    from dunwell_cli.demo.collect import Result
    from dunwell_cli.demo.run import DemoOptions, run_demo, write_reports
    from dunwell_cli.demo.show import summary
    from dunwell_cli.fleet import Fleet
    from dunwell_cli.hold import keep as keep_running
    from dunwell_cli.hold import told_to_stop
    from dunwell_stack import StackUnavailable

    def tell(result: Result) -> None:
        data, html = write_reports(result, options.data_dir)
        if as_json:
            show(result.report, True)
        else:
            summary(result)
            console.print(f"Report: {data} and {html}", highlight=False)
        for each in result.broken:
            errors.print(f"[bold red]broken:[/] {each}", highlight=False)

    async def kept(fleet: Fleet, result: Result) -> None:
        stop = told_to_stop()
        tell(result)
        case = result.report["story_case_id"]
        errors.print(
            f"Still running. Try elsewhere: dunwell cases why {case} · dunwell kpis · dunwell down", soft_wrap=True
        )
        await keep_running(fleet, (VAR / "up").resolve(), stop)

    options = DemoOptions(
        data_dir=(VAR / "demo").resolve(), seed=seed, invoices=invoices, days=days, policy=policy,
        kept=kept if keep else None,
    )  # fmt: skip
    try:
        result = uvloop.run(run_demo(options, live=console.is_terminal and not as_json))
    except (DunwellError, StackUnavailable) as error:
        fail(f"{error}; logs are in {options.data_dir / 'logs'}")
    except KeyboardInterrupt:
        fail("stopped; nothing is left running")
    if keep:
        upstate.state_file((VAR / "up").resolve()).unlink(missing_ok=True)
    else:
        tell(result)
    raise typer.Exit(1 if result.broken else 0)


@app.command()
def up(
    fresh: Annotated[bool, typer.Option(help="Start with empty stores.")] = False,
    traces: Annotated[
        bool, typer.Option(envvar="DUNWELL_TRACES", help="Start a trace viewer too (Zipkin; 131 MB, once).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start Kafka, Postgres, the sandbox and all services; returns when everything is healthy.

    Ports: Kafka 19092, Postgres 15432, services 18081 to 18085, sandbox 12111, its mail 18025. DUNWELL_KAFKA_PORT,
    DUNWELL_POSTGRES_PORT and DUNWELL_<NAME>_HTTP_PORT (INGEST … ANALYTICS, SANDBOX, SMTP) choose others, so that two can run
    side by side.
    """
    data_dir = (VAR / "up").resolve()
    state = upstate.read_state(data_dir)
    if state and upstate.alive(state["pid"]) and state["state"] == "up":
        _tell_up(state, as_json)
        return
    upstate.state_file(data_dir).unlink(missing_ok=True)
    data_dir.mkdir(parents=True, exist_ok=True)
    log = (data_dir / "hold.log").open("wb")
    command = [sys.executable, "-m", "dunwell_cli.hold", str(data_dir)]
    command += [name for name, wanted in (("fresh", fresh), ("traces", traces)) if wanted]
    process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    with console.status("starting"):
        state = _wait_up(data_dir, process)
    if state.get("state") != "up":
        fail(f"{state.get('doing', 'it ended while starting')}; logs are in {data_dir}")
    _tell_up(state, as_json)


def _wait_up(data_dir: Path, process: subprocess.Popen[bytes]) -> dict[str, object]:
    end = time.monotonic() + UP_SECONDS
    while time.monotonic() < end:
        state = upstate.read_state(data_dir)
        if state.get("state") in ("up", "failed") or process.poll() is not None:
            return state
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    return {"state": "failed", "doing": f"not healthy after {UP_SECONDS} s"}


def _tell_up(state: dict[str, object], as_json: bool) -> None:
    if as_json:
        show(state, True)
        return
    console.print("[bold green]everything is up[/]")
    console.print(f"  Kafka {state['kafka']}   Postgres {state['postgres']}", highlight=False)
    for name, url in dict(state["urls"]).items():  # type: ignore[call-overload]
        console.print(f"  {name:<10} {url}", highlight=False)
    console.print(f"  webhooks   {state['endpoint_url']}", highlight=False, soft_wrap=True)
    console.print(f"  secret     {state['endpoint_secret']}", highlight=False)
    if state.get("traces"):
        console.print(f"  traces     {state['traces']}/zipkin", highlight=False)
    console.print("Try: dunwell doctor · dunwell events tail --from-beginning --until-idle 2 · dunwell down")


@app.command()
def down(as_json: Json = False) -> None:
    """Stop what `dunwell up` started."""
    data_dir = (VAR / "up").resolve()
    state = upstate.read_state(data_dir)
    was_up = bool(state) and upstate.alive(state["pid"])
    if was_up:
        os.kill(state["pid"], signal.SIGTERM)
        end = time.monotonic() + 60
        while upstate.alive(state["pid"]) and time.monotonic() < end:
            time.sleep(0.1)
    upstate.state_file(data_dir).unlink(missing_ok=True)
    if as_json:
        show({"stopped": was_up}, True)
    else:
        console.print("stopped" if was_up else "nothing is up")


@app.command()
@guarded
def migrate(
    admin_url: Annotated[
        str,
        typer.Option(
            envvar="DUNWELL_POSTGRES_DSN", help="A superuser's URL, e.g. postgresql://postgres@host:5432/postgres"
        ),
    ],
    password: Annotated[
        str, typer.Option(envvar="DUNWELL_DATABASE_PASSWORD", help="Set on the services' roles; random if empty.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Create databases and roles where they are missing and run every service's migrations."""
    from dunwell_kit.migrate import provision_all

    urls = asyncio.run(provision_all(admin_url, password or None))
    show(urls if as_json or not password else sorted(urls), True)


@app.command("init-topics")
@guarded
def init_topics(
    bootstrap: Annotated[str, typer.Option(envvar="DUNWELL_KAFKA_BOOTSTRAP", help="Kafka's address.")],
    production: Annotated[bool, typer.Option(help="24 partitions instead of 6.")] = False,
    replication: Annotated[int, typer.Option(min=1, max=5, help="Copies of each partition.")] = 1,
    as_json: Json = False,
) -> None:
    """Create the catalogue's topics and their dead-letter topics where they are missing."""
    from dunwell_kit.kafka import ensure_topics

    made = asyncio.run(ensure_topics(bootstrap, production=production, replication=replication))
    if as_json:
        show({"created": made}, True)
    else:
        console.print(f"{len(made)} topics created" if made else "all topics are there")
