"""From data to a loop's parts: which columns are features and why the others are not, what the label is, how fast it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.checking.label import LabelValues, label_of
from loopline.app.scaffold.pace import Pace, pace_of
from loopline.app.scaffold.used import Used
from loopline.errors import InvalidInput, NotFound
from loopline.tables.proposal.columns import Columns, read_columns
from loopline.tables.proposal.extract import Extract
from loopline.tables.proposal.facts import ColumnFacts
from loopline.tables.proposal.keys import KeyCandidate, Times
from loopline.tables.proposal.schema import SPREAD_DAYS, Proposal, propose
from loopline.training.tells import tells
from loopline.values import micros

_CATEGORIES = 60
_LEAST = 120
_MADE_UP = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Choice:
    """What a loop is made of. Columns are named as the file has them."""

    extract: Extract
    columns: Columns
    proposal: Proposal
    label: LabelValues
    label_extract: Extract | None
    label_columns: Columns | None
    label_proposal: Proposal | None
    numbers: list[str]
    categories: list[str]
    left_out: dict[str, str]
    pace: Pace


def choose(used: Used, extract: Extract, other: Extract | None, now: datetime) -> Choice:
    """Choose. `other` has the labels where they stand in files of their own. Raises `NotFound` and `InvalidInput`."""
    columns = read_columns(extract, now)
    if not used.label:
        raise InvalidInput(
            "init.no_label",
            "it is not said what is to be predicted",
            remedy=f"Name it with --label; the columns are {', '.join(columns.frame.columns[:20])}.",
        )
    label_columns = read_columns(other, now) if other else None
    _check_columns(used, columns, label_columns)
    proposal = _as_used(propose(extract, columns, label=used.label)[0], used, columns)
    label_proposal = (
        _as_used(propose(other, label_columns)[0], used, label_columns) if other and label_columns else None
    )
    label = label_of(label_columns or columns, used.label)
    if label.facts.kind is None or label.facts.known < _LEAST:
        raise InvalidInput(
            "init.nothing_to_learn",
            f"{used.label!r} has {len(label.facts.classes)} classes in {label.facts.known:,} known labels",
            remedy=f"A loop needs at least {_LEAST} labels of more than one value.",
        )
    numbers, categories, left_out = _features(used, columns, proposal, label if other is None else None)
    if not numbers and not categories:
        told = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise InvalidInput("init.no_features", f"no column is fit to be a feature: {told}", remedy="Look at them with `loopline check`.")  # fmt: skip
    return Choice(extract, columns, proposal, label, other, label_columns, label_proposal, numbers, categories, left_out, _pace(proposal, columns, label.values if other is None else None))  # fmt: skip


def _check_columns(used: Used, columns: Columns, labels: Columns | None) -> None:
    wanted = [*used.key, *([used.at] if used.at else []), *used.features]
    gone = [name for name in wanted if name not in columns.frame.columns]
    gone += [name for name in used.key if labels is not None and name not in labels.frame.columns]
    if gone:
        raise NotFound("init.no_column", f"the data has no column {gone[0]!r}", remedy="Is it the file that was used?")


def _as_used(proposal: Proposal, used: Used, columns: Columns) -> Proposal:
    """The proposal with the key and the time that were used before."""
    key = used.key if used.key and set(used.key) <= set(proposal.named) else proposal.key
    event = used.at if used.at in proposal.named else proposal.event
    made = Proposal(
        proposal.name,
        proposal.named,
        key,
        [KeyCandidate(key, 0), *proposal.keys] if key != proposal.key else proposal.keys,
        Times([event], []) if event and event != proposal.event else proposal.times,
        event,
        event,
        proposal.rules,
        proposal.personal,
        proposal.subject,
        None if event else proposal.ordered_by,
    )
    return made if columns.frame.height else proposal


def _features(
    used: Used, columns: Columns, proposal: Proposal, label: LabelValues | None
) -> tuple[list[str], list[str], dict[str, str]]:
    left_out = {
        name: why for name in columns.frame.columns if (why := _unfit(name, used, columns.facts[name], proposal))
    }
    left_out |= dict.fromkeys(
        (name for name in columns.frame.columns if name not in proposal.named), "its values are not plain"
    )
    if label is not None and label.facts.kind is not None:
        left_out |= _leaks(columns, label, [name for name in columns.frame.columns if name not in left_out])
    fit = [name for name in proposal.named if name not in left_out]
    fit = [name for name in fit if name in used.features] if used.features else fit
    numbers = [name for name in fit if columns.facts[name].kind in {"whole", "number", "boolean"}]
    return numbers, [name for name in fit if name not in numbers], left_out


def _unfit(name: str, used: Used, facts: ColumnFacts, proposal: Proposal) -> str:
    """Why a column is no feature; empty where it is one."""
    id_like = facts.distinct == facts.rows - facts.nulls and facts.kind in {"text", "whole"} and facts.distinct > _CATEGORIES  # fmt: skip
    reasons = {
        "the label": name == used.label,
        "the key": name in proposal.key,
        "a time": facts.kind in {"time", "date"} or name in {used.at, used.label_at},
        "said of the model that was used": name in used.leave_out,
        "it has no values": facts.kind == "nothing",
        "it has one value": facts.distinct == 1 and not facts.nulls,
        f"may be about persons ({facts.personal.kind if facts.personal else ''})": facts.personal is not None,
        "its values name rows": id_like,
        f"{facts.distinct:,} different texts": facts.kind == "text" and facts.distinct > _CATEGORIES,
    }
    return next((why for why, holds in reasons.items() if holds), "")


def _leaks(columns: Columns, label: LabelValues, names: Sequence[str]) -> dict[str, str]:
    kind = label.facts.kind
    if kind is None or not names:
        return {}
    found = tells(columns.frame.select(names), label.values, kind)
    return {tell.column: f"a leak? {tell.sentence}" for tell in reversed(found) if tell.suspect}


def _pace(proposal: Proposal, columns: Columns, label: npt.NDArray[np.float64] | None) -> Pace:
    """By the rows that have a label: the others tell nothing of how much there is to learn from and to judge by."""
    rows = columns.frame.height
    labelled = np.ones(rows, dtype=bool) if label is None else ~np.isnan(label)
    if proposal.event is None:
        times = micros(_MADE_UP) + np.arange(rows) * (SPREAD_DAYS * 86_400_000_000 // rows)
        return pace_of(times[labelled])
    moments = columns.frame[proposal.event].filter(pl.Series(labelled)).drop_nulls().cast(pl.Datetime("us"))
    return pace_of(moments.to_physical().sort().to_numpy())
