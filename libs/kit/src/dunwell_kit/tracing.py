"""Traces: one case followable across all services, nothing paid for what is not sampled.

Owns: the registry of span and attribute names, the carrier that travels in rows and records, and the spans.
Refuses: per-message work when the sampled bit of `traceparent` is off.
Source: OpenTelemetry semantic conventions 1.44 (messaging: in development, hence the pinned schema).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
# Attribute names, all of them ours or the conventions'.
TENANT = "dunwell.tenant.id"
CASE = "dunwell.case.id"
STEP = "dunwell.step"
EVENT_TYPE = "cloudevents.event_type"
EVENT_ID = "cloudevents.event_id"
SYSTEM = "messaging.system"
DESTINATION = "messaging.destination.name"
BATCH_COUNT = "messaging.batch.message_count"
# A parent older than this is only linked: a trace must not stay open for days.
YOUNG = timedelta(minutes=5)
# The SDK keeps so many links a span.
LINKS_MAX = 128

_enabled = False
_tracer = trace.get_tracer("dunwell")


def setup(service: str, exporter: SpanExporter | None = None) -> TracerProvider | None:
    """Install the provider when an exporter is given or configured by the usual OTEL variables; else stay silent."""
    global _enabled, _tracer
    chosen = exporter or _configured_exporter()
    if chosen is None:
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": f"dunwell-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(chosen, schedule_delay_millis=1000))
    _tracer = provider.get_tracer("dunwell", schema_url=SCHEMA_URL)
    _enabled = True
    return provider


def _configured_exporter() -> SpanExporter | None:
    kind = os.environ.get("OTEL_TRACES_EXPORTER", "")
    if kind == "none":
        return None
    if kind == "zipkin":
        from opentelemetry.exporter.zipkin.json import ZipkinExporter

        return ZipkinExporter()
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    return None


def carrier() -> tuple[str, str]:
    """Return (traceparent, tracestate) of the current span; empty when nothing is traced."""
    if not _enabled:
        return "", ""
    context = trace.get_current_span().get_span_context()
    return (traceparent_of(context), context.trace_state.to_header()) if context.is_valid else ("", "")


def traceparent_of(context: SpanContext) -> str:
    """Spell a span context as W3C traceparent."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def sampled(traceparent: str) -> bool:
    """True when the sampled bit is on; looks at text only."""
    # Odd hexadecimal digits have the lowest bit; anything else, spelled wrongly or not, is not sampled.
    return len(traceparent) == 55 and traceparent[-1] in "13579bdf"


def followed(traceparent: str) -> bool:
    """True when a span that follows this context would be recorded; asked before any work for one is done."""
    return _enabled and sampled(traceparent)


def context_of(traceparent: str, tracestate: str = "") -> SpanContext | None:
    """Read a remote span context; None when there is none or it cannot be read."""
    parts = traceparent.split("-")
    if len(parts) != 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    try:
        found = SpanContext(
            int(parts[1], 16),
            int(parts[2], 16),
            is_remote=True,
            trace_flags=TraceFlags(int(parts[3], 16)),
            trace_state=TraceState.from_header([tracestate]) if tracestate else None,
        )
    except ValueError:
        return None
    return found if found.is_valid else None


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: SpanContext | None = None,
    root: bool = False,
    links: Sequence[SpanContext | None] = (),
    attributes: dict[str, str | int] | None = None,
) -> Iterator[Span]:
    """Open a span, current while the block runs; an exception marks it and goes on.

    Args:
        parent: Remote parent; without it and without `root` the current span is the parent.
        root: Start a new trace.
    """
    if not _enabled:
        yield trace.INVALID_SPAN
        return
    if parent is not None:
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    elif root:
        context = trace.set_span_in_context(trace.INVALID_SPAN)
    else:
        context = None
    found = [Link(link) for link in links if link is not None][:LINKS_MAX]
    with _tracer.start_as_current_span(
        name, context, kind, attributes, links=found, record_exception=True, set_status_on_exception=False
    ) as opened:
        try:
            yield opened
        except Exception as error:
            opened.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


@contextmanager
def continuing(
    name: str,
    kind: SpanKind,
    traceparent: str,
    made_at: datetime,
    now: datetime,
    attributes: dict[str, str | int],
    *,
    also: Sequence[str] = (),
) -> Iterator[Span]:
    """Open a span that follows a sampled context: its child while young, and always linked to it.

    Args:
        also: Further contexts that led here; the span is linked to those that are sampled.
    """
    if not followed(traceparent):
        yield trace.INVALID_SPAN
        return
    origin = context_of(traceparent)
    young = now - made_at < YOUNG
    with span(
        name, kind, parent=origin if young else None, root=not young, attributes=attributes,
        links=(origin, *(context_of(other) for other in also if sampled(other))),
    ) as opened:  # fmt: skip
        yield opened


def annotate(**attributes: str | int) -> None:
    """Put attributes on the current span, dots written as double underscores."""
    if _enabled:
        current = trace.get_current_span()
        for name, value in attributes.items():
            current.set_attribute(name.replace("__", "."), value)


def about(tenant: str, case_id: str, step: str = "") -> None:
    """Say on the current span which tenant, case and step the work is about."""
    if _enabled:
        current = trace.get_current_span()
        current.set_attribute(TENANT, tenant)
        current.set_attribute(CASE, case_id)
        if step:
            current.set_attribute(STEP, step)
