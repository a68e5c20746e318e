"""Composition root of retry."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from dunwell_gateways import registry
from dunwell_gateways.charge import ChargeTransport, Timeouts
from dunwell_gateways.declines import classify
from dunwell_gateways.port import RawDecline
from dunwell_kit import metrics
from dunwell_kit.countries import countries
from dunwell_kit.http import gateway_client
from dunwell_kit.logging import logger
from dunwell_kit.run import Runtime, Service, main
from dunwell_kit.settings import Environment
from dunwell_retry import store
from dunwell_retry.api import routes
from dunwell_retry.effects import Charger
from dunwell_retry.handlers import Recovery, consumed, timed
from dunwell_retry.model import Decline, Method
from dunwell_retry.outcomes import Outcomes
from dunwell_retry.planners import planners
from dunwell_retry.planning.parameters import ModelUnusable, shipped
from dunwell_retry.policies.models import FILE_MAX, Models, admitted_model, unusable
from dunwell_retry.policy import PAUSE_DAYS, PAUSE_MAX, RetryPolicy
from dunwell_retry.rules import allow


def classified(decline: Decline, gateway: str, method: Method, on: datetime) -> Decline:
    """Return a decline with its canonical reason, in the issuer's country, and the edition of the data that gave it."""
    raw = RawDecline(decline.gateway_code, decline.network_code, decline.advice_code, decline.message)
    found = classify(raw, gateway=gateway, network=method.network, on=on.date(), region=method.country or None)
    return replace(decline, reason=found.reason.value, data_edition=found.edition)


def models_from(environment: Environment) -> Models:
    """Read the model that a platform promoted; one that may not plan is told and keeps nothing from starting.

    Recovery goes on by pay days then, as for any model that is not usable, and every decision says why.
    """
    models = _promoted(environment)
    told = models.told()
    metrics.MODEL_USABLE.labels(told["edition"] or "").set(told["edition"] is not None)
    return models


def _promoted(environment: Environment) -> Models:
    name = environment.text("DUNWELL_RETRY_MODEL_FILE", "").strip()
    edition = environment.text("DUNWELL_RETRY_MODEL_EDITION", "").strip()
    try:
        if name:
            models = Models(admitted_model(_model_text(Path(name)), edition))
        elif edition and edition != shipped().edition:
            raise ModelUnusable(f"edition {shipped().edition!r} ships, and not the expected {edition!r}")
        else:
            return Models()
    except (OSError, ValueError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or error
        models = unusable(f"{Path(name).name}: {said}" if name else said)
        logger().error("model not usable: smart plans by pay days until the next start", reason=models.unusable)
        return models
    logger().info("promoted model plans", how=", ".join(models.editions()[:1]))
    return models


def _model_text(path: Path) -> str:
    """Return a model file's text, read no further than any such file goes."""
    with path.open(encoding="utf-8") as file:
        return file.read(FILE_MAX + 1)


def policy_from(environment: Environment) -> RetryPolicy:
    """Read the tenant-wide policy from the settings."""
    country = environment.text("DUNWELL_RETRY_MERCHANT_COUNTRY", "US") or None
    if country is not None and country not in countries():
        environment.wrong(f"DUNWELL_RETRY_MERCHANT_COUNTRY {country!r} is no ISO 3166 code in upper case, e.g. US")
    models = models_from(environment)
    found = planners(country, models)
    main_policy = environment.text("DUNWELL_RETRY_POLICY", "smart")
    holdout_policy = environment.text("DUNWELL_RETRY_HOLDOUT_POLICY", "uniform-8")
    for name in (main_policy, holdout_policy):
        if name not in found:
            environment.wrong(f"retry policy {name!r} is unknown; known: {', '.join(sorted(found))}")
    share = environment.number("DUNWELL_RETRY_HOLDOUT_SHARE", 0.05)
    if not 0 <= share < 1:
        environment.wrong(f"DUNWELL_RETRY_HOLDOUT_SHARE is {share}, not a share in [0, 1)")
    pause_days = environment.number("DUNWELL_RETRY_PAUSE_DAYS", PAUSE_DAYS)
    if not 0 < pause_days <= PAUSE_MAX.days:
        environment.wrong(f"DUNWELL_RETRY_PAUSE_DAYS is {pause_days}, not above 0 and at most {PAUSE_MAX.days}")
    return RetryPolicy(
        planners=found,
        main_policy=main_policy,
        holdout_policy=holdout_policy,
        holdout_share=share,
        experiment=environment.text("DUNWELL_RETRY_EXPERIMENT", "permanent-holdout"),
        gate=allow,
        classify=classified,
        idempotency_secret=environment.text("DUNWELL_RETRY_SECRET").encode(),
        merchant_country=country,
        pause=timedelta(days=pause_days),
        models=models,
    )


def build(runtime: Runtime) -> Service:
    """Build the service from its settings."""
    environment, database = runtime.environment, runtime.database
    read_seconds = environment.number("DUNWELL_GATEWAY_READ_SECONDS", 25)
    timeouts = Timeouts(connect_seconds=3, read_seconds=read_seconds, total_seconds=read_seconds + 5)
    stripe = ChargeTransport(
        lambda: gateway_client(read_seconds),
        environment.text("DUNWELL_STRIPE_API_BASE", "https://api.stripe.com"),
        registry.adapter("stripe").charge.authorize(environment.text("DUNWELL_STRIPE_API_KEY", "")),
    )
    policy = policy_from(environment)
    recovery, outcomes = Recovery(policy), Outcomes(policy)
    charger = Charger(database, {"stripe": stripe}, recovery, outcomes, timeouts)
    return Service(
        handlers=consumed(recovery),
        timers={**timed(recovery), "reconcile": outcomes.on_reconcile_due},
        lock=store.lock_cases,
        performers={"charge": charger.charge, "reconcile": charger.reconcile, "fetch_payer": charger.fetch_payer},
        routers=(routes(database, recovery),),
        on_close=stripe.close,
    )


def run() -> None:
    """Run retry."""
    main("retry", build)
