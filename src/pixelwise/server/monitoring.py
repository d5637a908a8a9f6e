"""Metrics for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from pixelwise.heap import peak_bytes

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, of when it was created


class Monitor:
    """Requests by route and status, prediction times, occupied places and peak memory of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = 0
        self.requests = Counter(
            "pixelwise_requests", "Requests answered, by route and status.", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "pixelwise_predict_seconds", "Prediction time of one image, without waiting.",
            buckets=BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self.places = Gauge("pixelwise_places_taken", "Requests running or waiting.", registry=self.registry)
        peak = Gauge("pixelwise_peak_memory_bytes", "Peak memory of this process.", registry=self.registry)
        peak.set_function(peak_bytes)

    def answered(self, route: str, status: int) -> None:
        self.answers += 1
        self.requests.labels(route, status).inc()

    def predicted(self, seconds: float) -> None:
        self.seconds.observe(seconds)

    def text(self, places_taken: int) -> str:
        """All metrics in Prometheus' text format 0.0.4."""
        self.places.set(places_taken)
        return generate_latest(self.registry).decode()
