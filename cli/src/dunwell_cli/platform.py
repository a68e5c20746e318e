"""`endpoints`, `quarantine`, `dlq`: what platforms and operators do with what comes in."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dunwell_cli.output import Json, call, console, fail, guarded, show
from dunwell_kit.settings import PORTS

endpoints = typer.Typer(help="URLs that gateways post their webhooks to.", no_args_is_help=True)
quarantine = typer.Typer(help="Authentic webhooks that could not be read.", no_args_is_help=True)
dlq = typer.Typer(help="Messages that could not be handled, and the keys that wait behind them.", no_args_is_help=True)


@endpoints.command("add")
@guarded
def add_endpoint(
    gateway: Annotated[str, typer.Option(help="Gateway name, e.g. stripe.")],
    account: Annotated[str, typer.Option(help="Gateway account, e.g. acct_….")],
    secret: Annotated[str, typer.Option(help="Signing secret, e.g. whsec_….", envvar="DUNWELL_ENDPOINT_SECRET")],
    tenant: Annotated[str, typer.Option(help="Tenant that owns the account.")] = "default",
    as_json: Json = False,
) -> None:
    """Make a webhook URL for a gateway account and print it; the URL is shown only now."""
    body = {"gateway": gateway, "account": account, "secret": secret, "tenant_id": tenant}
    made = call("ingest", "/v1/endpoints", method="POST", json=body)
    if as_json:
        show(made, True)
    else:
        console.print(f"[bold]{made['url']}[/]\nEnter it at {gateway}; it is not shown again.", soft_wrap=True)


@endpoints.command("list")
@guarded
def list_endpoints(as_json: Json = False) -> None:
    """List endpoints; tokens and secrets are never shown."""
    columns = {
        "endpoint_id": "endpoint",
        "tenant_id": "tenant",
        "gateway": "gateway",
        "account": "account",
        "created_at": "made",
    }
    show(call("ingest", "/v1/endpoints"), as_json, columns, "endpoints")


@quarantine.command("list")
@guarded
def list_quarantine(as_json: Json = False) -> None:
    """List quarantined webhooks with what is wrong with each."""
    columns = {"delivery": "delivery\ntype", "gateway": "gateway", "received": "received", "detail": "what is wrong"}
    rows = call("ingest", "/v1/quarantine")
    show(rows if as_json else [_delivery_row(row) for row in rows], as_json, columns, "quarantine", slim=True)


def _delivery_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a delivery in 80 columns: what is long stands one above the other."""
    received = str(row["received_at"])
    return {
        "delivery": f"{row['delivery_id']}\n{row['event_type'] or '–'}",
        "gateway": row["gateway"],
        "received": f"{received[:10]}\n{received[11:19]}",
        "detail": row["detail"],
    }


@quarantine.command("replay")
@guarded
def replay_quarantine(delivery_id: str, as_json: Json = False) -> None:
    """Read a quarantined webhook again, after what was wrong with our reading is mended."""
    show(call("ingest", f"/v1/quarantine/{delivery_id}/replay", method="POST"), as_json)


@dlq.command("list")
@guarded
def list_dead_letters(
    service: Annotated[str, typer.Option(help="Only this service.")] = "", as_json: Json = False
) -> None:
    """List dead letters of all services, or of one."""
    wanted = [service] if service else [name for name in PORTS if name != "ingest"]
    rows = [{"service": name, **row} for name in wanted for row in call(name, "/v1/dlq")]
    columns = {
        "service": "service",
        "agg_key": "key",
        "event_type": "type",
        "state": "state",
        "waiting": "waiting",
        "error": "error",
    }
    show(rows, as_json, columns, "dead letters")


@dlq.command("replay")
@guarded
def replay_dead_letters(service: str, key: str, as_json: Json = False) -> None:
    """Handle a parked key's messages again, in order, and free the key."""
    if service not in PORTS:
        fail(f"service {service!r} is unknown; services are {', '.join(PORTS)}")
    show(call(service, "/v1/dlq/replay", method="POST", params={"key": key}), as_json)


@dlq.command("drop")
@guarded
def drop_dead_letter(service: str, key: str, as_json: Json = False) -> None:
    """Drop the one message that fails, so that the rest of its key can be replayed."""
    show(call(service, "/v1/dlq/drop", method="POST", params={"key": key}), as_json)
