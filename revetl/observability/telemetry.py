"""OpenTelemetry spans and metrics of runs, which do nothing unless OpenTelemetry is configured.

It is if the extra `revetl[otel]` is installed and OTEL_* variables name an exporter (`configure`), or if the
embedding program uses OpenTelemetry. Otherwise it isn't imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

Value = str | int | float | bool
SPANS, METRICS = "traces", "metrics"
_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0)
_EXPORT_SECONDS = "3"


class Span(Protocol):
    """The interface of a span."""

    def set_attribute(self, key: str, value: Value) -> None:
        """Set an attribute."""


class RunMetrics(Protocol):
    """What the metrics use of a run (`revetl.sync.state.run_log.Run`)."""

    @property
    def sync(self) -> str: ...
    @property
    def destination(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def attempted(self) -> Mapping[str, int]: ...
    @property
    def delivered(self) -> Mapping[str, int]: ...
    @property
    def rejected(self) -> Mapping[str, int]: ...
    @property
    def aborted(self) -> Mapping[str, int]: ...
    @property
    def seconds(self) -> float: ...


class _Silent:
    def set_attribute(self, key: str, value: Value) -> None:
        pass


def configure(say: Callable[[str], None] = lambda _: None) -> bool:
    """Configure export from the OTEL_* variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER …), as
    the SDK does. Returns whether it did. Pending data is exported when the process ends.

    Does nothing if no variable names an exporter, OTEL_SDK_DISABLED is true, or the extra isn't installed.
    Invalid variables are reported to `say`, and the run continues without telemetry.
    """
    wanted = {signal: name for signal in (SPANS, METRICS) if (name := _exporter(signal))}
    if not (wanted or os.environ.get("OTEL_CONFIG_FILE")):
        return False
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    try:
        # Private, but vendors' distributions subclass it to configure the SDK from the environment.
        from opentelemetry.sdk._configuration import _OTelSDKConfigurator
    except ImportError:
        return False
    for signal, name in wanted.items():
        os.environ.setdefault(f"OTEL_{signal.upper()}_EXPORTER", name)
    os.environ.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    # A collector that is down delays the end of the command by twice this, instead of half a minute.
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", _EXPORT_SECONDS)
    if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        os.environ.setdefault("OTEL_SERVICE_NAME", "revetl")
    try:
        _OTelSDKConfigurator().configure()  # type: ignore[no-untyped-call]
    except Exception as error:
        say(f"OpenTelemetry: {error}. The run continues without telemetry; fix the OTEL_* variables.")
        return False
    return True


@contextmanager
def span(name: str, attributes: Mapping[str, Value] | None = None) -> Iterator[Span]:
    """Open a span. An exception sets the status to error, with the exception's type but not its message,
    which may contain personal data."""
    if not _listening():
        yield _Silent()
        return
    from opentelemetry import trace

    tracer = trace.get_tracer("revetl")
    with tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as error:
            current.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


def records(count: int, *, sync: str, destination: str, operation: str, outcome: str) -> None:
    """Count records: `operation` is add, update or remove; `outcome` is delivered, rejected, aborted (not
    sent) or unknown (sent, without a response)."""
    if count and _listening():
        _instruments()["records"].add(
            count, {"sync": sync, "destination": destination, "operation": operation, "outcome": outcome}
        )


def request(destination: str, status: int | str) -> None:
    """Count a request by the status of its response, or the reason why there was none."""
    if _listening():
        _instruments()["requests"].add(1, {"destination": destination, "status": str(status)})


def finished(run: RunMetrics) -> None:
    """Record a run's duration, and its records by operation and outcome."""
    if not _listening():
        return
    unknown = {
        operation: count - run.delivered.get(operation, 0) - run.rejected.get(operation, 0)
        for operation, count in run.attempted.items()
    }
    outcomes = {
        "delivered": run.delivered,
        "rejected": run.rejected,
        "aborted": run.aborted,
        "unknown": unknown,
    }
    for outcome, counts in outcomes.items():
        for operation, count in counts.items():
            records(count, sync=run.sync, destination=run.destination, operation=operation, outcome=outcome)
    about = {"sync": run.sync, "destination": run.destination, "status": run.status}
    _instruments()["duration"].record(run.seconds, about)


def _exporter(signal: str) -> str | None:
    """Return the exporter of a signal from the environment; an endpoint alone means OTLP."""
    if named := os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip():
        return None if named.lower() == "none" else named
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    return "otlp" if any(os.environ.get(name) for name in endpoints) else None


def _listening() -> bool:
    """Whether this process uses OpenTelemetry: the SDK is imported once it is configured."""
    return sys.modules.get("opentelemetry.sdk") is not None


@cache
def _instruments() -> dict[str, Any]:
    from opentelemetry import metrics

    meter = metrics.get_meter("revetl")
    return {
        "records": meter.create_counter("revetl.records", "{record}", "Records by outcome."),
        "requests": meter.create_counter("revetl.requests", "{request}", "Requests by status."),
        "duration": meter.create_histogram(
            "revetl.run.duration", "s", "Duration of runs.", explicit_bucket_boundaries_advisory=_SECONDS
        ),
    }
