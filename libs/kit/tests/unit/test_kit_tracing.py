from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from dunwell_kit import tracing

ON = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OFF = ON[:-1] + "0"
NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


class Recorded:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = tracing.setup("test", self.exporter)
        assert isinstance(provider, TracerProvider)
        self.provider = provider

    def spans(self) -> dict[str, ReadableSpan]:
        self.provider.force_flush()
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    monkeypatch.setattr(tracing, "_enabled", False)
    monkeypatch.setattr(tracing, "_tracer", tracing._tracer)
    made = Recorded()
    yield made
    made.provider.shutdown()


def test_the_sampled_bit_decides() -> None:
    assert tracing.sampled(ON)
    assert tracing.sampled(ON[:-1] + "3")
    assert not tracing.sampled(OFF)
    assert not tracing.sampled("")


@settings(max_examples=100)
@given(st.text(max_size=60) | st.text("0123456789abcdef-zZ", min_size=55, max_size=55))
def test_no_traceparent_however_wrong_raises(text: str) -> None:
    tracing.sampled(text)
    tracing.context_of(text, text)


def test_a_context_survives_its_spelling() -> None:
    context = tracing.context_of(ON, "vendor=1")
    assert context is not None
    assert context.is_remote
    assert tracing.traceparent_of(context) == ON
    assert context.trace_state["vendor"] == "1"
    assert tracing.context_of("00-" + "0" * 32 + "-" + "0" * 16 + "-01") is None
    assert tracing.context_of("nonsense") is None


def test_nothing_is_carried_while_nothing_is_traced() -> None:
    assert tracing.carrier() == ("", "")
    with tracing.span("unseen") as opened:
        assert not opened.is_recording()


def test_the_carrier_is_the_current_span(recorded: Recorded) -> None:
    with tracing.span("work") as opened:
        assert tracing.carrier()[0] == tracing.traceparent_of(opened.get_span_context())
    assert tracing.carrier() == ("", "")


def test_a_young_context_is_parent_and_link(recorded: Recorded) -> None:
    with tracing.continuing("process t", SpanKind.CONSUMER, ON, NOW - timedelta(minutes=4), NOW, {}):
        pass
    span = recorded.spans()["process t"]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert [f"{link.context.span_id:016x}" for link in span.links] == ["b7ad6b7169203331"]


def test_an_old_context_is_only_linked(recorded: Recorded) -> None:
    with tracing.continuing("process t", SpanKind.CONSUMER, ON, NOW - timedelta(days=3), NOW, {}):
        pass
    span = recorded.spans()["process t"]
    assert span.parent is None
    assert span.get_span_context().trace_id != 0x0AF7651916CD43DD8448EB211C80319C
    assert len(span.links) == 1


def test_an_unsampled_context_opens_no_span(recorded: Recorded) -> None:
    with tracing.continuing("process t", SpanKind.CONSUMER, OFF, NOW, NOW, {}):
        pass
    assert recorded.spans() == {}


def test_an_error_marks_the_span_and_goes_on(recorded: Recorded) -> None:
    with pytest.raises(LookupError), tracing.span("work"):
        raise LookupError("gone")
    assert not recorded.spans()["work"].status.is_ok


def test_links_stay_within_the_sdks_limit(recorded: Recorded) -> None:
    with tracing.span("send t", links=[tracing.context_of(ON)] * 300 + [None], root=True):
        tracing.about("t1", "rec_1", "charge")
        tracing.annotate(dunwell__extra=1)
    span = recorded.spans()["send t"]
    assert len(span.links) == tracing.LINKS_MAX
    attributes = span.attributes or {}
    assert (attributes[tracing.TENANT], attributes[tracing.CASE], attributes[tracing.STEP]) == ("t1", "rec_1", "charge")
    assert attributes["dunwell.extra"] == 1
