"""Composition root of notify."""

from __future__ import annotations

from dunwell_kit.http import gateway_client
from dunwell_kit.run import Runtime, Service, main
from dunwell_kit.settings import Environment
from dunwell_notify import store
from dunwell_notify.api import routes
from dunwell_notify.channels.email import SmtpChannel
from dunwell_notify.contacts import GatewayAccess, GatewayContacts
from dunwell_notify.effects import Messenger
from dunwell_notify.handlers import Notices, consumed, timed
from dunwell_notify.letters import Brand
from dunwell_notify.policy import NotifyPolicy


def _brand(environment: Environment) -> Brand:
    return Brand(
        sender_name=environment.text("DUNWELL_NOTIFY_SENDER_NAME", "Billing"),
        sender_email=environment.text("DUNWELL_NOTIFY_SENDER_EMAIL", "billing@example.com"),
        support_email=environment.text("DUNWELL_NOTIFY_SUPPORT_EMAIL", "support@example.com"),
        pay_url=environment.text("DUNWELL_NOTIFY_PAY_URL", "https://pay.example.com/{invoice}"),
    )


def build(runtime: Runtime) -> Service:
    """Build the service from its settings."""
    environment = runtime.environment
    client = gateway_client(environment.number("DUNWELL_GATEWAY_READ_SECONDS", 25))
    channel = SmtpChannel(
        environment.text("DUNWELL_NOTIFY_SMTP_HOST", "127.0.0.1"),
        int(environment.number("DUNWELL_NOTIFY_SMTP_PORT", 18025)),
        _brand(environment).sender_email,
    )
    access = {
        "stripe": GatewayAccess(
            environment.text("DUNWELL_STRIPE_API_BASE", "https://api.stripe.com"),
            environment.text("DUNWELL_STRIPE_API_KEY", ""),
        )
    }
    secret = environment.text("DUNWELL_NOTIFY_SECRET").encode()
    messenger = Messenger(runtime.database, channel, GatewayContacts(client, access), _brand(environment), secret)
    notices = Notices(NotifyPolicy())
    return Service(
        handlers=consumed(notices),
        timers=timed(notices),
        lock=store.lock_cases,
        performers={"send_notice": messenger.send_notice, "fetch_contact": messenger.fetch_contact},
        routers=(routes(runtime.database),),
        on_close=client.aclose,
    )


def run() -> None:
    """Run notify."""
    main("notify", build)
