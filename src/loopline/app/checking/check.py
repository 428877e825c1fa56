"""The check of a file from its rows to its report."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import msgspec
import polars as pl

from loopline.app.checking.bias import GroupTable, group_findings, group_tables
from loopline.app.checking.check_report import CheckReport
from loopline.app.checking.drift import changes
from loopline.app.checking.label import LabelValues, label_findings, label_of
from loopline.tables.proposal.columns import Columns, read_columns
from loopline.tables.proposal.extract import extracting
from loopline.tables.proposal.finding import Finding, by_gravity
from loopline.tables.proposal.keys import known_name
from loopline.tables.proposal.schema import Proposal, function_code, propose, source_code
from loopline.training.tells import Tell, tells

_LATER = 0.01
_STRONG = 0.95

Step = Callable[[str], None]


def check(
    where: str,
    *,
    now: datetime,
    label: str | None = None,
    by: Sequence[str] = (),
    compare: str | None = None,
    rows: int | None = None,
    seed: int = 0,
    step: Step = lambda _: None,
) -> CheckReport:
    """Look at the file, folder or pattern `where`. `now` (UTC) tells which times are in the future.

    With `label` it looks for leaks, and for bias by the columns `by`; `compare` names files to compare with. At most `rows` rows are
    looked at (0: all). Raises `NotFound` for files and columns that are not there, and `InvalidInput` for what cannot be read.
    """
    step("reading")
    with extracting(where, rows=rows, seed=seed) as extract:
        step("columns")
        columns = read_columns(extract, now)
        proposal, missing = propose(extract, columns, label=label)
        schema = f"{source_code(proposal, columns)}\n{function_code(proposal, extract, columns)}"
        findings = [*columns.findings, *missing, *_duplicates(proposal)]
        report = CheckReport(
            where=where,
            files=extract.files,
            format=extract.dialect.said() if extract.dialect else extract.format,
            rows=extract.rows,
            looked_at=extract.frame.height,
            columns=list(columns.facts.values()),
            findings=findings,
            key=list(proposal.key),
            event_time=proposal.event,
            known_at=proposal.times.known,
            personal=list(proposal.personal),
            schema=schema,
        )
    if label is not None:
        step("label")
        report = _with_label(report, columns, proposal, label, by, seed)
    if compare is not None:
        step("comparing")
        report = _with_changes(report, columns, compare, now, rows, seed)
    return msgspec.structs.replace(report, findings=by_gravity(report.findings))


def _duplicates(proposal: Proposal) -> Iterator[Finding]:
    almost = next((one for one in proposal.keys if one.duplicates and len(one.columns) == 1), None)
    if proposal.key and almost and len(proposal.key) > 1:
        message = f"{almost.duplicates:,} rows have a value that was there before; it names a row once with {proposal.key[-1]!r} only."
        yield Finding(
            level="note", code="almost-key", column=almost.columns[0], message=message, rows=almost.duplicates
        )


def _with_label(
    report: CheckReport, columns: Columns, proposal: Proposal, label: str, by: Sequence[str], seed: int
) -> CheckReport:
    values = label_of(columns, label)
    findings = [*report.findings, *label_findings(values.facts)]
    found: list[Tell] = []
    groups: list[GroupTable] = []
    if values.facts.kind is not None:
        told = tells(columns.frame.drop(label), values.values, values.facts.kind, seed=seed)
        # A sentence about one value shows it.
        found = [tell for tell in told if tell.by != "value" or tell.column not in proposal.personal]
        groups = group_tables(columns, values, by)
        findings += [*_leaks(found), *_later(columns, proposal, values), *group_findings(groups)]
    return msgspec.structs.replace(report, label=values.facts, tells=found, groups=groups, findings=findings)


def _leaks(found: list[Tell]) -> Iterator[Finding]:
    for tell in found:
        if tell.suspect:
            yield Finding(level="error", code="leak", column=tell.column, message=tell.sentence, remedy="Too good to be true: is it known before the label is, and not made from it?")  # fmt: skip
        elif tell.by == "value":
            yield Finding(level="note", code="one-label", column=tell.column, message=tell.sentence, remedy="Was it written down after the label was known?")  # fmt: skip
        elif tell.measure == "auc" and tell.strength >= _STRONG:
            yield Finding(level="note", code="strong", column=tell.column, message=tell.sentence, remedy="Make sure that it is known in time.")  # fmt: skip


def _later(columns: Columns, proposal: Proposal, label: LabelValues) -> Iterator[Finding]:
    """Times after the event: not known when it happened."""
    event = proposal.event
    for name, facts in columns.facts.items():
        if (
            event is None
            or name in {event, label.facts.column}
            or facts.kind not in {"time", "date"}
            or known_name(name)
        ):
            continue
        both = columns.frame.select(pl.col(event).cast(pl.Datetime("us")).alias("event"), pl.col(name).cast(pl.Datetime("us")).alias("other")).drop_nulls()  # fmt: skip
        later = int((both["other"] > both["event"]).sum())
        if both.height and later >= _LATER * both.height:
            message = f"it is later than {event!r} in {later / both.height:.0%} of the rows that have both: it was not known then."
            yield Finding(level="warning", code="after-event", column=name, message=message, rows=later, remedy="No feature of a prediction that is made then, unless it was planned ahead.")  # fmt: skip


def _with_changes(
    report: CheckReport, columns: Columns, compare: str, now: datetime, rows: int | None, seed: int
) -> CheckReport:
    with extracting(compare, rows=rows, seed=seed) as other:
        moved, findings = changes(columns, read_columns(other, now))
    return msgspec.structs.replace(report, compared_with=compare, changes=moved, findings=[*report.findings, *findings])
