"""A tally as Prometheus reads it: text, or OpenMetrics for who asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from proxy.run.metric_table import METRICS, Metric
from proxy.run.tally import NANOSECONDS, Tally

OPEN_METRICS: Final = "application/openmetrics-text"


class TallyCollector(Collector):
    """Turns one tally into the families of the table, in its order."""

    def __init__(self, tally: Tally) -> None:
        self._rows: dict[str, list[tuple[tuple[str, ...], list[int]]]] = {n: [] for n in METRICS}
        for (name, labels), values in sorted(tally.items()):
            self._rows[name].append((labels, values))

    def collect(self) -> Iterator[Family]:
        """Yield every metric, also one without a number."""
        for metric in METRICS.values():
            yield _family(metric, self._rows[metric.name])


def expose(tally: Tally, accept: str) -> tuple[str, bytes]:
    """Return content type and body for a client with this `Accept` header."""
    registry = CollectorRegistry()
    registry.register(TallyCollector(tally))
    # Nothing of what the client sent comes back: versions and escapings are not for it to choose.
    wanted = f"{OPEN_METRICS}; version=1.0.0" if OPEN_METRICS in accept.lower() else ""
    encode, content_type = choose_encoder(wanted)
    return content_type, encode(registry)


def _family(metric: Metric, rows: Iterable[tuple[tuple[str, ...], list[int]]]) -> Family:
    name, words, labels = metric.name, metric.help, metric.labels
    scale = NANOSECONDS if name.endswith("_seconds") else 1
    match metric.kind:
        case "counter":
            counter = CounterMetricFamily(name, words, labels=labels)
            for values, (number,) in rows:
                counter.add_metric(values, number)
            return counter
        case "gauge":
            gauge = GaugeMetricFamily(name, words, labels=labels)
            for values, (number,) in rows:
                gauge.add_metric(values, number / scale)
            return gauge
        case "summary":
            summary = SummaryMetricFamily(name, words, labels=labels)
            for values, (count, total) in rows:
                summary.add_metric(values, count, total / scale)
            return summary
        case "histogram":
            histogram = HistogramMetricFamily(name, words, labels=labels)
            names = (*map(floatToGoString, metric.bounds), "+Inf")  # as OpenMetrics wants numbers
            for values, (*buckets, total) in rows:
                limits = list(zip(names, accumulate(buckets), strict=True))
                histogram.add_metric(values, limits, total / scale)
            return histogram
        case "info":
            info = InfoMetricFamily(name.removesuffix("_info"), words)
            for values, _ in rows:
                info.add_metric((), dict(zip(labels, values, strict=True)))
            return info
