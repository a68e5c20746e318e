"""One search finds all of a case: spans received over OTLP, joined into one graph from the webhook to the journal."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from dunwell_cli.demo.run import DemoOptions, run_demo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

WEBHOOK = "POST /v1/webhooks/{endpoint_token}"
FIVE = {"dunwell-ingest", "dunwell-retry", "dunwell-notify", "dunwell-ledger", "dunwell-analytics"}


@dataclass(frozen=True)
class Seen:
    """One span as it arrived."""

    service: str
    name: str
    span_id: bytes
    parent_id: bytes
    links: tuple[bytes, ...]
    case_id: str


@contextmanager
def receiver(into: list[Seen]) -> Iterator[str]:
    """An OTLP receiver over HTTP; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            into.extend(spans_of(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    for resource in request.resource_spans:
        service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
        for scope in resource.scope_spans:
            for span in scope.spans:
                case_ids = [a.value.string_value for a in span.attributes if a.key == "dunwell.case.id"]
                links = tuple(link.span_id for link in span.links)
                yield Seen(service, span.name, span.span_id, span.parent_span_id, links, (case_ids or [""])[0])


class Graph:
    """Spans by what led to them: their parent and their links."""

    def __init__(self, spans: Sequence[Seen]) -> None:
        self.spans = {span.span_id: span for span in spans}

    def led_to(self, span: Seen) -> set[bytes]:
        """Every span that led to one, itself included."""
        found: set[bytes] = set()
        todo = [span.span_id]
        while todo:
            current = todo.pop()
            if current in found or current not in self.spans:
                continue
            found.add(current)
            todo += [self.spans[current].parent_id, *self.spans[current].links]
        return found

    def named(self, service: str, name: str, case_id: str = "") -> list[Seen]:
        return [
            span
            for span in self.spans.values()
            if span.service == f"dunwell-{service}" and span.name == name and case_id in ("", span.case_id)
        ]


def breaks(graph: Graph, case_id: str) -> list[str]:
    """What is missing in a case's graph; empty when it is whole."""
    mine = [span for span in graph.spans.values() if span.case_id == case_id]
    webhooks = {span.span_id for span in graph.named("ingest", WEBHOOK)}
    found = [f"{s.service}: {s.name} comes from no webhook" for s in mine if not graph.led_to(s) & webhooks]
    opening = graph.named("retry", "process dunwell.ingest.payment.v1", case_id)
    origin = set.union(set(), *(graph.led_to(span) & webhooks for span in opening))
    reached = {s.service for s in graph.spans.values() if graph.led_to(s) & origin}
    found += [f"{service} has no span of it" for service in sorted(FIVE - reached)]
    journals = graph.named("ledger", "send dunwell.ledger.journal.v1")
    if not any(graph.led_to(journal) & origin for journal in journals):
        found.append("no journal comes from its webhook")
    for name in ("fire attempt", "effect charge"):
        if not any(graph.led_to(span) & origin for span in graph.named("retry", name, case_id)):
            found.append(f"no {name!r} comes from its webhook")
    return found


async def test_a_case_is_one_graph_from_its_webhook_to_its_journal(tmp_path: Path) -> None:
    spans: list[Seen] = []
    with receiver(spans) as address:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": address}
        options = DemoOptions(data_dir=tmp_path, seed=11, invoices=5, days=36, policy="uniform-8", variables=variables)
        result = await run_demo(options, live=False)
    graph = Graph(spans)
    won = [case["case_id"] for case in result.cases if case["recovered_by"] == "retry"]
    assert won
    assert {case_id: breaks(graph, case_id) for case_id in won} == {case_id: [] for case_id in won}
    lost_parents = [s.name for s in spans if s.parent_id and s.parent_id not in graph.spans]
    assert lost_parents == []
    fired = graph.named("retry", "fire attempt")
    assert all(not span.parent_id and len(span.links) == 2 for span in fired)
    # The same check must bite: without the ledger's spans, and without the webhooks', the graph is broken.
    without_books = Graph([span for span in spans if span.service != "dunwell-ledger"])
    assert "no journal comes from its webhook" in breaks(without_books, won[0])
    without_start = Graph([span for span in spans if span.name != WEBHOOK])
    assert any("comes from no webhook" in line for line in breaks(without_start, won[0]))
