"""The decisions of a model: what each rests on, when it decided, and what it cost, as expected and as measured."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from loopline.evaluation.intervals import Interval, of_block_sums
from loopline.loop.watch import HARM_MONITOR
from loopline.models import decision_versions
from loopline.models.aliases import AliasChange
from loopline.models.decision_versions import DecisionVersion
from loopline.monitoring.performance import Performance, read_performance
from loopline.storage.database import Transaction

Reign = tuple[datetime, datetime | None]


class DecisionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One decision version. `expected` and `measured` are costs per prediction with intervals over blocks: on the rows it was
    judged on, and on the labelled predictions of whole blocks in which it was in force (None before there are any).
    """

    version: int
    in_force: bool
    since: datetime | None
    until: datetime | None
    body: dict[str, Any]
    threshold: float | None
    abstain_low: float | None
    abstain_high: float | None
    terms: dict[str, Any] | None
    champion: int | None
    origin: str | None
    reason: str | None
    by: str
    at: datetime
    expected: dict[str, Any] | None
    measured: Interval | None


def decision_summaries(tx: Transaction, project: str, model: str) -> list[DecisionSummary]:
    """Every decision of the model, from the first."""
    changes = decision_versions.decision_history(tx, project, model)
    blocks = read_performance(tx, project, model, HARM_MONITOR)
    current = changes[-1].version if changes else None
    return [
        _summary(found, _reigns(changes, found.version), blocks, in_force=found.version == current)
        for found in decision_versions.decisions(tx, project, model)
    ]


def _summary(
    found: DecisionVersion, reigns: Sequence[Reign], blocks: Sequence[Performance], *, in_force: bool
) -> DecisionSummary:
    last = reigns[-1] if reigns else (None, None)
    said = found.evidence
    return DecisionSummary(
        version=found.version,
        in_force=in_force,
        since=last[0],
        until=last[1],
        body=found.body,
        threshold=found.body.get("threshold"),
        abstain_low=found.body.get("abstain_low"),
        abstain_high=found.body.get("abstain_high"),
        terms=said.get("terms"),
        champion=said.get("champion"),
        origin=said.get("origin"),
        reason=said.get("reason"),
        by=found.created_by,
        at=found.created_at,
        expected=said.get("expected"),
        measured=_measured(reigns, blocks),
    )


def _reigns(changes: Sequence[AliasChange], version: int) -> list[Reign]:
    """From when until when a version was in force, each time."""
    ends = [*(change.from_at for change in changes[1:]), None]
    return [(change.from_at, end) for change, end in zip(changes, ends, strict=True) if change.version == version]


def _measured(reigns: Sequence[Reign], blocks: Sequence[Performance]) -> Interval | None:
    inside = [
        (block.cost * block.labelled, block.labelled)
        for block in blocks
        if block.cost is not None and block.labelled and any(_within(block, reign) for reign in reigns)
    ]
    sums, rows = [cost for cost, _ in inside], [labelled for _, labelled in inside]
    return of_block_sums(sums, rows) if inside else None


def _within(block: Performance, reign: Reign) -> bool:
    since, until = reign
    return since <= block.block_start and (until is None or block.block_end <= until)
