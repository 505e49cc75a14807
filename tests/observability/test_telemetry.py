"""Spans and metrics, by the SDK's in-memory exporters and to a collector over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from revetl.observability import telemetry
from tests.observability.support import FakeRun, receiving

RUN = """
import sys
from revetl.observability import telemetry
from tests.observability.support import OK
said = []
print(telemetry.configure(said.append), said, 'opentelemetry.sdk' in sys.modules)
with telemetry.span('revetl.sync', {'revetl.sync': OK.sync}) as span:
    span.set_attribute('revetl.status', 'success')
    telemetry.finished(OK)
    telemetry.request('crm', 200)
"""


@pytest.fixture(scope="module")
def _exported() -> Iterator[tuple[InMemorySpanExporter, InMemoryMetricReader]]:
    # A process has one provider for good, as a program that embeds revetl would have.
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([reader]))
    yield spans, reader


@pytest.fixture
def spans(_exported: tuple[InMemorySpanExporter, InMemoryMetricReader]) -> InMemorySpanExporter:
    _exported[0].clear()
    return _exported[0]


def points(reader: InMemoryMetricReader, name: str) -> list[Any]:
    data = reader.get_metrics_data()
    assert data is not None
    found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
    return [point for metric in found for point in metric.data.data_points]


def test_spans_nest_and_carry_what_is_known(spans: InMemorySpanExporter) -> None:
    with telemetry.span("revetl.sync", {"revetl.sync": "a.crm"}) as outer:
        with telemetry.span("revetl.plan"):
            pass
        outer.set_attribute("revetl.status", "success")
    plan, sync = spans.get_finished_spans()
    assert (plan.name, sync.name, plan.parent) == ("revetl.plan", "revetl.sync", sync.context)
    assert dict(sync.attributes or {}) == {"revetl.sync": "a.crm", "revetl.status": "success"}


def test_a_failed_span_has_the_type_of_error_and_not_its_message(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="ann@shop"), telemetry.span("revetl.deliver"):
        raise ValueError("ann@shop.test")
    (span,) = spans.get_finished_spans()
    assert (span.status.status_code.name, span.status.description, span.events) == ("ERROR", "ValueError", ())


def test_metrics_of_runs_and_requests(_exported: tuple[InMemorySpanExporter, InMemoryMetricReader]) -> None:
    run = FakeRun(
        "rejected",
        sync="metrics.crm",
        attempted={"add": 11, "remove": 2},
        delivered={"add": 7, "remove": 2},
        rejected={"add": 1, "remove": 0},
        aborted={"add": 0},
        seconds=42.0,
    )
    telemetry.finished(run)
    telemetry.finished(run)
    for status in (200, 200, "no connection"):
        telemetry.request("crm", status)
    about = {"sync": "metrics.crm", "destination": "crm"}
    assert {
        (point.attributes["operation"], point.attributes["outcome"]): point.value
        for point in points(_exported[1], "revetl.records")
        if about.items() <= point.attributes.items()
    } == {("add", "delivered"): 14, ("remove", "delivered"): 4, ("add", "rejected"): 2, ("add", "unknown"): 6}
    assert {p.attributes["status"]: p.value for p in points(_exported[1], "revetl.requests")} == {
        "200": 2,
        "no connection": 1,
    }
    (duration,) = points(_exported[1], "revetl.run.duration")
    assert (dict(duration.attributes), duration.count, duration.sum) == (
        {**about, "status": "rejected"},
        2,
        84.0,
    )
    assert 60.0 in duration.explicit_bounds


def run(code: str = RUN, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        pytest.param({}, "False [] False\n", id="nothing set"),
        pytest.param({"OTEL_SERVICE_NAME": "x"}, "False [] False\n", id="a name alone is no exporter"),
        pytest.param(
            {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, "False [] False\n", id="none"
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
            "False [] False\n",
            id="disabled",
        ),
    ],
)
def test_nothing_is_imported_unless_an_exporter_is_named(environment: dict[str, str], printed: str) -> None:
    done = run(**environment)
    assert (done.stdout, done.stderr) == (printed, "")


def test_a_run_works_without_the_package() -> None:
    absent = "import sys; sys.modules['opentelemetry'] = None; sys.modules['opentelemetry.sdk'] = None\n"
    done = run(absent + RUN.replace(", 'opentelemetry.sdk' in sys.modules", ""), OTEL_TRACES_EXPORTER="otlp")
    assert (done.stdout, done.stderr) == ("False []\n", "")


def test_an_unknown_exporter_is_reported() -> None:
    done = run(OTEL_TRACES_EXPORTER="zipkinn")
    assert done.stdout.startswith("False [\"OpenTelemetry: Requested component 'zipkinn' not found")
    assert "The run continues without telemetry" in done.stdout


def test_a_collector_gets_spans_and_metrics_when_the_process_ends() -> None:
    with receiving() as collector:
        done = run(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    bodies = {request.path: request.body for request in collector.requests}
    assert (done.stdout, done.stderr, sorted(bodies)) == ("True [] True\n", "", ["/v1/metrics", "/v1/traces"])
    traces = ExportTraceServiceRequest.FromString(bodies["/v1/traces"]).resource_spans[0]
    service = {item.key: item.value.string_value for item in traces.resource.attributes}["service.name"]
    assert (service, traces.scope_spans[0].spans[0].name) == ("revetl", "revetl.sync")
    sent = ExportMetricsServiceRequest.FromString(bodies["/v1/metrics"]).resource_metrics[0]
    assert {metric.name for metric in sent.scope_metrics[0].metrics} == {
        "revetl.records",
        "revetl.requests",
        "revetl.run.duration",
    }


def test_a_collector_that_hangs_holds_the_end_up_for_seconds() -> None:
    with receiving() as collector:
        collector.delay = 60
        run(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces", OTEL_EXPORTER_OTLP_TIMEOUT="1")
        ended = time.monotonic()
    # Since the first request: a busy machine takes seconds to start Python. OpenTelemetry's own deadline is
    # 10 s, and the collector would answer after 60.
    assert 0 < ended - collector.requests[0].at < 8
