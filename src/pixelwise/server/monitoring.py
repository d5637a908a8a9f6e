"""Counts for Prometheus, in its text format."""

from __future__ import annotations

from collections import Counter
from threading import Lock

from pixelwise.heap import peak_bytes

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Monitor:
    """Requests by route and status, and how long predictions took."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.buckets: Counter[float] = Counter()
        self.predictions, self.seconds = 0, 0.0
        self.lock = Lock()

    def answered(self, route: str, status: int) -> None:
        with self.lock:
            self.requests[route, status] += 1

    def predicted(self, seconds: float) -> None:
        with self.lock:
            self.predictions += 1
            self.seconds += seconds
            self.buckets.update(bucket for bucket in BUCKETS_S if seconds <= bucket)

    def text(self, waiting: int) -> str:
        with self.lock:
            lines = [
                "# HELP pixelwise_requests_total Requests answered, by route and status.",
                "# TYPE pixelwise_requests_total counter",
                *(
                    f'pixelwise_requests_total{{route="{route}",status="{status}"}} {count}'
                    for (route, status), count in sorted(self.requests.items())
                ),
                "# HELP pixelwise_predict_seconds Time to label one image, without waiting.",
                "# TYPE pixelwise_predict_seconds histogram",
                *(f'pixelwise_predict_seconds_bucket{{le="{b}"}} {self.buckets[b]}' for b in BUCKETS_S),
                f'pixelwise_predict_seconds_bucket{{le="+Inf"}} {self.predictions}',
                f"pixelwise_predict_seconds_sum {self.seconds:.6f}",
                f"pixelwise_predict_seconds_count {self.predictions}",
                "# HELP pixelwise_places_taken Requests at work or waiting.",
                "# TYPE pixelwise_places_taken gauge",
                f"pixelwise_places_taken {waiting}",
                "# HELP pixelwise_peak_memory_bytes The most memory this process has held.",
                "# TYPE pixelwise_peak_memory_bytes gauge",
                f"pixelwise_peak_memory_bytes {peak_bytes()}",
            ]
        return "\n".join(lines) + "\n"
