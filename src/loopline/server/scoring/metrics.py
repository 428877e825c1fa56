"""Counters and a latency histogram in Prometheus' text format 0.0.4. Written by one event loop only."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from loopline.scoring.record import Prediction

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """What the process counted since it started."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._predictions: Counter[tuple[str, str]] = Counter()
        self._degraded: Counter[tuple[str, str]] = Counter()
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self.manifest_sequences: dict[str, int] = {}
        self.manifests_refused = 0

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Note an answer; `route` is the route's path with its braces, so that labels stay few."""
        self._requests[route, status] += 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def count_predictions(self, predictions: Sequence[Prediction]) -> None:
        """Note acknowledged predictions and the kinds of what was degraded about them."""
        for prediction in predictions:
            self._predictions[prediction.endpoint, prediction.variant] += 1
            for code in prediction.degraded:
                self._degraded[prediction.endpoint, code.partition(":")[0]] += 1

    def exposition(self) -> str:
        """All of it as text."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        yield from _family("requests_total", "counter", "Answers by route and status.")
        for (route, status), count in sorted(self._requests.items()):
            yield _sample("requests_total", count, route=route, status=str(status))
        yield from _family("predictions_total", "counter", "Acknowledged predictions by endpoint and variant.")
        for (endpoint, variant), count in sorted(self._predictions.items()):
            yield _sample("predictions_total", count, endpoint=endpoint, variant=variant)
        yield from _family("degraded_total", "counter", "Predictions by what was degraded about them.")
        for (endpoint, reason), count in sorted(self._degraded.items()):
            yield _sample("degraded_total", count, endpoint=endpoint, reason=reason)
        yield from _family("manifest_sequence", "gauge", "Sequence of the manifest that is served.")
        for project, sequence in sorted(self.manifest_sequences.items()):
            yield _sample("manifest_sequence", sequence, project=project)
        yield from _family("manifests_refused_total", "counter", "Manifests that were not taken.")
        yield _sample("manifests_refused_total", self.manifests_refused)
        yield from self._latency()

    def _latency(self) -> Iterator[str]:
        yield from _family("request_seconds", "histogram", "Time from the request's head to its answer.")
        total = 0
        for bound, count in zip((*BUCKETS, "+Inf"), self._buckets, strict=True):
            total += count
            yield _sample("request_seconds_bucket", total, le=str(bound))
        yield _sample("request_seconds_sum", self._seconds)
        yield _sample("request_seconds_count", total)


def _family(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP loopline_scoring_{name} {text}"
    yield f"# TYPE loopline_scoring_{name} {kind}"


def _sample(name: str, value: float, **labels: str) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"loopline_scoring_{name}{{{inside}}} {value}" if inside else f"loopline_scoring_{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
