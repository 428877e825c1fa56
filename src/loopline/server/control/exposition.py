"""How things stand, in Prometheus' text format 0.0.4."""

from collections.abc import Iterable, Iterator

from loopline.loop.status import ModelStatus, ProjectStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float | None]


def exposition(projects: list[ProjectStatus]) -> str:
    """Gauges of every project, its models and their monitors. Times are seconds since 1970 UTC."""
    return "\n".join([*_lines(projects), ""])


def _lines(projects: list[ProjectStatus]) -> Iterator[str]:
    named = [({"project": project.project}, project) for project in projects]
    yield from _gauge("frozen", "Automatic action is stopped.", [(n, float(p.frozen is not None)) for n, p in named])
    yield from _gauge("open_incidents", "Incidents not ended.", [(n, len(p.incidents)) for n, p in named])
    yield from _gauge("ledger_entries", "Entries in the ledger.", [(n, p.ledger_entries) for n, p in named])
    yield from _model_lines([({**n, "model": model.model}, model) for n, p in named for model in p.models])


def _model_lines(models: list[tuple[dict[str, str], ModelStatus]]) -> Iterator[str]:
    yield from _gauge("champion_version", "Serving version, 0 for the fallback.", [(n, m.serves) for n, m in models])
    yield from _gauge("reviews_waiting", "Predictions that wait for a reviewer.", [(n, m.reviews) for n, m in models])
    yield from _gauge("measures", "Measures of the playbook in force.", [(n, len(m.measures)) for n, m in models])
    monitors = [({**n, "monitor": monitor.name}, monitor) for n, m in models for monitor in m.monitors]
    yield from _gauge("evidence_ratio", "Evidence for harm; 1 is an alarm.", [(n, m.evidence) for n, m in monitors])
    yield from _gauge(
        "excess", "Loss above the reference in the last block.", [(n, m.last_excess) for n, m in monitors]
    )
    yield from _gauge(
        "allowed_excess", "Loss above the reference that is tolerated.", [(n, m.allowed_excess) for n, m in monitors]
    )
    yield from _gauge(
        "label_coverage_ratio", "Share of the last block with labels.", [(n, m.coverage) for n, m in monitors]
    )
    yield from _gauge(
        "false_pages_per_year",
        "Share of the budget of false pages.",
        [(n, m.false_pages_per_year) for n, m in monitors],
    )
    yield from _gauge("alarms", "Alarms raised so far, true or false.", [(n, m.alarms) for n, m in monitors])
    seen = [(n, m.watermark.timestamp()) for n, m in monitors]
    yield from _gauge("watermark_seconds", "Until when predictions are watched.", seen)


def _gauge(name: str, told: str, samples: Iterable[Sample]) -> Iterator[str]:
    """One family; a value that is not there yet is left out."""
    yield f"# HELP loopline_{name} {told}"
    yield f"# TYPE loopline_{name} gauge"
    for labels, value in samples:
        if value is not None:
            inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            yield f"loopline_{name}{{{inside}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
