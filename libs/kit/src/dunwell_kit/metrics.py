"""Metrics: Prometheus names in one registry, recorded once a batch.

Owns: every metric's name and meaning. Refuses: labels with unbounded values (ids, payers, invoices).
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

CONSUMED = Counter("dunwell_consumed_messages_total", "Messages applied by the consumer.", ["topic"])
DUPLICATES = Counter("dunwell_duplicate_messages_total", "Messages the inbox had seen already.")
LAG_MESSAGES = Gauge("dunwell_consumer_lag_messages", "Records not yet applied.", ["topic"])
LAG_SECONDS = Gauge("dunwell_consumer_lag_seconds", "Business age of the record applied last.", ["topic"])
PUBLISHED = Counter("dunwell_published_messages_total", "Records acknowledged by Kafka.")
OUTBOX_AGE = Gauge("dunwell_outbox_oldest_age_seconds", "Real age of the oldest record sent in the last window.")
OUTBOX_WINDOW = Histogram("dunwell_outbox_window_rows", "Rows a window sent.", buckets=(1, 5, 20, 100, 500, 2000))
TIMER_LATENESS = Histogram(
    "dunwell_timer_lateness_seconds", "Business time between due and fired.", buckets=(0.1, 0.5, 1, 2, 5, 30, 300, 3600)
)
TIMERS_FIRED = Counter("dunwell_timers_fired_total", "Timers fired.", ["kind"])
EFFECTS_DONE = Counter("dunwell_effects_total", "Effects performed.", ["kind", "outcome"])
EFFECT_SECONDS = Histogram("dunwell_effect_seconds", "Real time of one effect.", ["kind"])
DEAD_LETTERS = Counter("dunwell_dead_letters_total", "Messages dead-lettered.", ["topic"])
PARKED = Gauge("dunwell_parked_keys", "Keys whose messages wait for an operator.")
WEBHOOKS = Counter("dunwell_webhooks_total", "Webhooks by gateway and verdict.", ["gateway", "verdict"])
ACK_SECONDS = Histogram(
    "dunwell_webhook_ack_seconds",
    "Time from first byte to answer.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
RECOVERED = Counter("dunwell_recovered_cases_total", "Cases recovered.", ["currency", "by"])
RECOVERED_MINOR = Counter("dunwell_recovered_minor_units_total", "Minor units recovered.", ["currency"])
MODEL_USABLE = Gauge(
    "dunwell_retry_model_usable", "1 while smart plans by a model, 0 while pay days stand in for it.", ["edition"]
)
CHARGES = Counter("dunwell_charges_total", "Charges by outcome.", ["gateway", "outcome"])
NOTICES = Counter("dunwell_notices_total", "Notices by outcome.", ["channel", "outcome"])
JOURNALS = Counter("dunwell_journals_total", "Journals posted.", ["kind"])
HEARTBEAT = Gauge("dunwell_role_heartbeat_seconds", "Monotonic time of a role's last completed turn.", ["role"])
