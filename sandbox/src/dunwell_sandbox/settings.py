"""Settings of the sandbox, from the environment.

Owns: names, defaults and units. Refuses: rates outside 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dunwell_kit.settings import Environment

# First version without `invoice.charge`, `invoice.payment_intent` and `payment_intent.invoice`.
# Source: design/gateways.md section 4.
BASIL = "2025-03-31.basil"


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Shares of keyed requests, each from 0 to 1, that meet a fault; together at most 1.

    Args:
        timeout: The charge is applied, then no answer comes for `hold_seconds`, then the connection closes.
        error: The charge is applied, then the answer is a 500.
        reset_before: The connection closes and nothing was applied.
        reset_after: The charge is applied, then the connection closes.
        slow: The answer is right but comes after `slow_seconds`.
    """

    timeout: float = 0.0
    error: float = 0.0
    reset_before: float = 0.0
    reset_after: float = 0.0
    slow: float = 0.0


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """All that one sandbox needs.

    Args:
        world: `module:factory`, called with seed and number of invoices.
        world_start: First day of due dates, for worlds whose factory takes `start`; None for the world's own.
        world_days: Span of due dates in days, for worlds whose factory takes `days`; None for the world's own.
        webhook_url: Where events are posted; empty until `/_sandbox/endpoint` names one.
        webhook_secrets: Signing secrets; two while one is being replaced.
        duplicate_rate: Share of events posted twice.
        disorder_rate: Share of events held back, so that later ones overtake them.
        hold_seconds: How long a request that times out is held.
        backoff_seconds_max: Longest pause between two posts of one event, on the machine's clock.
    """

    data_dir: Path
    world: str = "dunwell_worlds.base:make"
    world_start: date | None = None
    world_days: int | None = None
    seed: int = 7
    invoices: int = 300
    host: str = "127.0.0.1"
    port: int = 12111
    smtp_port: int = 18025
    api_key: str = "sk_test_sandbox"
    account: str = "acct_sandbox"
    api_version: str = BASIL
    webhook_url: str = ""
    webhook_secrets: tuple[str, ...] = ()
    duplicate_rate: float = 0.0
    disorder_rate: float = 0.0
    faults: FaultRates = FaultRates()
    hold_seconds: float = 30.0
    slow_seconds: float = 2.0
    backoff_seconds_max: float = 5.0

    @property
    def basil(self) -> bool:
        """True for the object shapes of 2025-03-31 and later."""
        return self.api_version >= "2025-03-31"


def sandbox_settings(environment: Environment) -> SandboxSettings:
    """Read the settings; Misconfigured tells everything that is wrong at once."""

    def text(name: str, default: str) -> str:
        return environment.text(f"DUNWELL_SANDBOX_{name}", default)

    def number(name: str, default: float) -> float:
        return environment.number(f"DUNWELL_SANDBOX_{name}", default)

    def rate(name: str) -> float:
        value = number(name, 0.0)
        if not 0 <= value <= 1:
            environment.wrong(f"DUNWELL_SANDBOX_{name} is {value}; a rate lies between 0 and 1")
        return value

    start, days = text("WORLD_START", ""), int(number("WORLD_DAYS", 0))
    try:
        world_start = date.fromisoformat(start) if start else None
    except ValueError:
        environment.wrong(f"DUNWELL_SANDBOX_WORLD_START is {start!r}; a day looks like 2026-01-31")
        world_start = None
    faults = FaultRates(
        timeout=rate("FAULT_TIMEOUT"),
        error=rate("FAULT_ERROR"),
        reset_before=rate("FAULT_RESET_BEFORE"),
        reset_after=rate("FAULT_RESET_AFTER"),
        slow=rate("FAULT_SLOW"),
    )
    usual = SandboxSettings(Path("var/sandbox"))
    settings = SandboxSettings(
        data_dir=Path(text("DATA_DIR", str(usual.data_dir))),
        world=text("WORLD", usual.world),
        world_start=world_start,
        world_days=days or None,
        seed=int(number("SEED", usual.seed)),
        invoices=int(number("INVOICES", usual.invoices)),
        host=text("HOST", usual.host),
        port=int(number("PORT", usual.port)),
        smtp_port=int(number("SMTP_PORT", usual.smtp_port)),
        api_key=text("API_KEY", usual.api_key),
        account=text("ACCOUNT", usual.account),
        api_version=text("API_VERSION", BASIL),
        webhook_url=text("WEBHOOK_URL", ""),
        webhook_secrets=tuple(filter(None, text("WEBHOOK_SECRETS", "").split(","))),
        duplicate_rate=rate("DUPLICATE_RATE"),
        disorder_rate=rate("DISORDER_RATE"),
        faults=faults,
        hold_seconds=number("HOLD_SECONDS", usual.hold_seconds),
        slow_seconds=number("SLOW_SECONDS", usual.slow_seconds),
        backoff_seconds_max=number("BACKOFF_SECONDS_MAX", usual.backoff_seconds_max),
    )
    if settings.invoices < 0:
        environment.wrong("DUNWELL_SANDBOX_INVOICES must not be negative")
    environment.check()
    return settings
