"""Counters and latency histograms in Prometheus' text format 0.0.4, added up over all workers.

Each worker writes what it counted to a file of its own, twice a second; whichever is asked adds the others' to its own. A worker
that takes a dead one's place goes on from its file, so counters only grow, short of what the dead one counted since.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from loopline.scoring.block import Predictions
from loopline.scoring.breaker import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

Labels = tuple[tuple[str, str], ...]

_Value = TypeVar("_Value")

_STATES: Mapping[State, int] = {"closed": 0, "half_open": 1, "open": 2}

_HELP: Mapping[str, tuple[str, str]] = {
    "requests_total": ("counter", "Answers by route and status."),
    "predictions_total": ("counter", "Acknowledged predictions by endpoint and variant."),
    "degraded_total": ("counter", "Predictions by what was degraded about them."),
    "not_logged_total": ("counter", "Predictions that were answered though the log could not take them."),
    "breaker_state": (
        "gauge",
        "Whether a breaker lets calls through: 0 all, 1 probes, 2 none; the worst of the workers'.",
    ),
    "breaker_transitions_total": ("counter", "How often a breaker came into a state."),
    "shadows_total": ("counter", "Rows that shadows scored, or did not: dropped when behind, or failed."),
    "worker_starts_total": ("counter", "How often a worker was started."),
    "manifests_refused_total": ("counter", "Manifests that were not taken."),
    "manifest_sequence": ("gauge", "Sequence of the manifest that is served; the lowest of the workers'."),
    "request_seconds": ("histogram", "Time from the request's arrival to its answer."),
    "stage_seconds": ("histogram", "Time of each stage of a prediction."),
}


class _Histogram(msgspec.Struct):
    """Observations by bucket, the last without a bound, and their sum."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def __add__(self, other: "_Histogram") -> "_Histogram":
        return _Histogram([a + b for a, b in zip(self.counts, other.counts, strict=True)], self.total + other.total)


class _Stream:
    """What is added to a histogram. A request only appends; what waits is sorted into buckets all at once, now and then."""

    __slots__ = ("_histogram", "_waiting", "note")

    def __init__(self, histogram: _Histogram) -> None:
        self._histogram = histogram
        self._waiting: list[float] = []
        self.note = self._waiting.append

    def settle(self) -> None:
        if not self._waiting:
            return
        seconds = np.array(self._waiting)
        self._waiting.clear()
        places = np.searchsorted(BUCKETS, seconds, side="left")
        added = np.bincount(places, minlength=len(BUCKETS) + 1).tolist()
        self._histogram.counts = [a + b for a, b in zip(self._histogram.counts, added, strict=True)]
        self._histogram.total += float(seconds.sum())


class _Counted(msgspec.Struct):
    """What a worker counted, as it is kept in its file."""

    counters: list[tuple[str, list[tuple[str, str]], float]]
    histograms: list[tuple[str, list[tuple[str, str]], _Histogram]]
    sequences: dict[str, int]
    gauges: list[tuple[str, list[tuple[str, str]], int]] = []


class Metrics:
    """What the workers of `folder` counted; this one, in `slot`, by the tasks of one event loop."""

    def __init__(self, folder: Path | None = None, slot: int = 0) -> None:
        self._path = None if folder is None else folder / f"{slot}.counted"
        self._kept = b""
        self._counters: Counter[tuple[str, Labels]] = Counter()
        self._histograms: dict[tuple[str, Labels], _Histogram] = {}
        self._requests: dict[tuple[str, int], int] = {}
        self._latency = _Stream(self._histogram("request_seconds", ()))
        self._stages: dict[str, _Stream] = {}
        self._sequences: dict[str, int] = {}
        self._gauges: dict[tuple[str, Labels], int] = {}
        if self._path is not None:
            self._go_on(self._path)
        self._counters["worker_starts_total", (("slot", str(slot)),)] += 1

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Note an answer; `route` is the route's path with its braces, so that labels stay few."""
        self._requests[route, status] = self._requests.get((route, status), 0) + 1
        self._latency.note(seconds)

    def stage(self, stage: str) -> Callable[[float], None]:
        """What notes how long a stage took, in seconds; for whoever does so with every request."""
        found = self._stages.get(stage)
        if found is None:
            found = self._stages[stage] = _Stream(self._histogram("stage_seconds", (("stage", stage),)))
        return found.note

    def count_predictions(self, predictions: Predictions) -> None:
        """Note acknowledged predictions and the kinds of what was degraded about them."""
        for block in predictions.blocks:
            maker = block.maker
            endpoint = ("endpoint", maker.endpoint)
            self._counters["predictions_total", (endpoint, ("variant", maker.variant))] += len(block)
            for code in (code for codes in block.degraded or () for code in codes):
                self._counters["degraded_total", (endpoint, ("reason", code.partition(":")[0]))] += 1

    def count_not_logged(self, endpoint: str, rows: int) -> None:
        """Note predictions that were answered without a record."""
        self._counters["not_logged_total", (("endpoint", endpoint),)] += rows

    def note_breaker(self, endpoint: str, guarded: str, state: State) -> None:
        """Note that the breaker of an endpoint's model or features came into a state; one that was never open begins closed."""
        own = (("endpoint", endpoint), ("breaker", guarded))
        known = ("breaker_state", own) in self._gauges
        self._gauges["breaker_state", own] = _STATES[state]
        if known:
            self._counters["breaker_transitions_total", (*own, ("to", state))] += 1

    def count_shadowed(self, endpoint: str, variant: str, became: str, rows: int) -> None:
        """Note what became of rows that were to be scored by a shadow: `"scored"`, `"dropped"` or `"failed"`."""
        labels = (("endpoint", endpoint), ("variant", variant), ("became", became))
        self._counters["shadows_total", labels] += rows

    def note_manifests(self, sequences: Mapping[str, int], refused: int) -> None:
        """Note which manifests are served, by project, and how many this worker refused."""
        self._sequences = dict(sequences)
        self._counters["manifests_refused_total", ()] = max(refused, int(self._counters["manifests_refused_total", ()]))

    def keep(self) -> None:
        """Write what was counted to the worker's file. A disk that is full loses numbers, not predictions."""
        if self._path is None:
            return
        content = msgspec.msgpack.encode(self._counted())
        if content == self._kept:  # a worker that nobody asks leaves the disk alone
            return
        half = self._path.with_suffix(".half")
        try:
            half.write_bytes(content)
            half.replace(self._path)
            self._kept = content
        except OSError:
            half.unlink(missing_ok=True)

    def exposition(self) -> str:
        """All of it as text, of all workers."""
        every = [self._counted(), *self._others()]
        return "\n".join([*_lines(every), ""])

    def _counted(self) -> _Counted:
        for stream in (self._latency, *self._stages.values()):
            stream.settle()
        requests = [
            ("requests_total", [("route", route), ("status", str(status))], float(count))
            for (route, status), count in self._requests.items()
        ]
        counters = [(name, list(labels), float(count)) for (name, labels), count in self._counters.items()]
        histograms = [(name, list(labels), found) for (name, labels), found in self._histograms.items()]
        gauges = [(name, list(labels), value) for (name, labels), value in self._gauges.items()]
        return _Counted(requests + counters, histograms, self._sequences, gauges)

    def _histogram(self, name: str, labels: Labels) -> _Histogram:
        return self._histograms.setdefault((name, labels), _Histogram())

    def _go_on(self, path: Path) -> None:
        before = _read(path)
        if before is None:
            return
        for name, labels, count in before.counters:
            if name == "requests_total":
                self._requests[labels[0][1], int(labels[1][1])] = int(count)
            else:
                self._counters[name, tuple(labels)] = int(count)
        for name, labels, found in before.histograms:
            mine = self._histogram(name, tuple(labels))
            mine.counts, mine.total = found.counts, found.total

    def _others(self) -> Iterator[_Counted]:
        if self._path is not None:
            for path in sorted(self._path.parent.glob("*.counted")):
                found = _read(path) if path != self._path else None
                if found is not None:
                    yield found


def _read(path: Path) -> _Counted | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=_Counted)
    except (OSError, msgspec.DecodeError):
        return None


def _lines(every: Iterable[_Counted]) -> Iterator[str]:
    counters: Counter[tuple[str, Labels]] = Counter()
    histograms: dict[tuple[str, Labels], _Histogram] = {}
    sequences: dict[str, int] = {}
    gauges: dict[tuple[str, Labels], int] = {}
    for counted in every:
        for name, labels, value in counted.gauges:
            gauges[name, tuple(labels)] = max(value, gauges.get((name, tuple(labels)), value))
        for name, labels, count in counted.counters:
            counters[name, tuple(labels)] += int(count)
        for name, labels, found in counted.histograms:
            histograms[name, tuple(labels)] = histograms.get((name, tuple(labels)), _Histogram()) + found
        for project, sequence in counted.sequences.items():
            sequences[project] = min(sequence, sequences.get(project, sequence))
    for name, (kind, text) in _HELP.items():
        yield f"# HELP loopline_scoring_{name} {text}"
        yield f"# TYPE loopline_scoring_{name} {kind}"
        if name == "manifest_sequence":
            yield from (_sample(name, count, (("project", project),)) for project, count in sorted(sequences.items()))
        elif kind == "histogram":
            for (_, own), histogram in sorted(_of(histograms, name), key=lambda item: item[0]):
                yield from _buckets(name, own, histogram)
        else:
            held: Mapping[tuple[str, Labels], int] = gauges if kind == "gauge" else counters
            yield from (_sample(name, count, own) for (_, own), count in sorted(_of(held, name)))


def _of(found: Mapping[tuple[str, Labels], _Value], name: str) -> list[tuple[tuple[str, Labels], _Value]]:
    return [(key, value) for key, value in found.items() if key[0] == name]


def _buckets(name: str, labels: Labels, found: _Histogram) -> Iterator[str]:
    total = 0
    for bound, count in zip((*BUCKETS, "+Inf"), found.counts, strict=True):
        total += count
        yield _sample(f"{name}_bucket", total, (*labels, ("le", str(bound))))
    yield _sample(f"{name}_sum", found.total, labels)
    yield _sample(f"{name}_count", total, labels)


def _sample(name: str, value: float, labels: Labels) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"loopline_scoring_{name}{{{inside}}} {value}" if inside else f"loopline_scoring_{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
