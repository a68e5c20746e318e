"""Settings of the sandbox, from the environment.

Owns: names, defaults and units. Refuses: rates outside 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
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
        webhook_url: Where events are posted; empty until `/_sandbox/endpoint` names one.
        webhook_secrets: Signing secrets; two while one is being replaced.
        duplicate_rate: Share of events posted twice.
        disorder_rate: Share of events held back, so that later ones overtake them.
        hold_seconds: How long a request that times out is held.
        backoff_seconds_max: Longest pause between two posts of one event, on the machine's clock.
    """

    data_dir: Path
    world: str = "dunwell_worlds.base:make"
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

    faults = FaultRates(
        timeout=rate("FAULT_TIMEOUT"),
        error=rate("FAULT_ERROR"),
        reset_before=rate("FAULT_RESET_BEFORE"),
        reset_after=rate("FAULT_RESET_AFTER"),
        slow=rate("FAULT_SLOW"),
    )
    settings = SandboxSettings(
        data_dir=Path(text("DATA_DIR", "var/sandbox")),
        world=text("WORLD", SandboxSettings.world),
        seed=int(number("SEED", SandboxSettings.seed)),
        invoices=int(number("INVOICES", SandboxSettings.invoices)),
        host=text("HOST", SandboxSettings.host),
        port=int(number("PORT", SandboxSettings.port)),
        smtp_port=int(number("SMTP_PORT", SandboxSettings.smtp_port)),
        api_key=text("API_KEY", SandboxSettings.api_key),
        account=text("ACCOUNT", SandboxSettings.account),
        api_version=text("API_VERSION", BASIL),
        webhook_url=text("WEBHOOK_URL", ""),
        webhook_secrets=tuple(filter(None, text("WEBHOOK_SECRETS", "").split(","))),
        duplicate_rate=rate("DUPLICATE_RATE"),
        disorder_rate=rate("DISORDER_RATE"),
        faults=faults,
        hold_seconds=number("HOLD_SECONDS", SandboxSettings.hold_seconds),
        slow_seconds=number("SLOW_SECONDS", SandboxSettings.slow_seconds),
        backoff_seconds_max=number("BACKOFF_SECONDS_MAX", SandboxSettings.backoff_seconds_max),
    )
    if settings.invoices < 0:
        environment.wrong("DUNWELL_SANDBOX_INVOICES must not be negative")
    environment.check()
    return settings
