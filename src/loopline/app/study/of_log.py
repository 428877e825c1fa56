"""The causes of a loop's harm, ranked from its log as `loopline watch` ranks them from files."""

from dataclasses import replace

import numpy as np
import polars as pl

from loopline.app.study.causes import carriers_of
from loopline.app.study.columns import Columns
from loopline.app.study.diagnosis import Diagnosis
from loopline.app.study.explained import harmed_slices, slice_sums_of
from loopline.app.study.files import Table
from loopline.app.study.fresh import Request, study_afresh
from loopline.app.study.rows import Rows
from loopline.app.study.study import Study
from loopline.app.study.texts import texts_of
from loopline.errors import InvalidInput
from loopline.evaluation.kind import from_column
from loopline.monitoring.diagnosis.cause import Cause
from loopline.monitoring.diagnosis.question import Question
from loopline.monitoring.episode import Episode
from loopline.values import micros

_GIVEN = {"_key", "at", "score", "outputs", "label", "decision", "model_version", "group"}


def diagnose_rows(rows: pl.DataFrame, question: Question) -> list[Cause]:
    """The causes of what the question asks, the likeliest first; none where the rows before the onset are too few to compare with."""
    features = tuple(name for name in rows.columns if name not in _GIVEN)
    request = Request(
        "the log",
        kind=question.output.kind,
        loss=question.risk.loss,
        block=question.risk.block,
        tolerance=question.risk.tolerance,
        reference_until=question.earliest.isoformat(),
    )
    try:
        table = Table("the log", rows.lazy())
        study = study_afresh(request, table, Columns(features=features), _rows(rows, question), lambda _step: None)
    except InvalidInput:
        return []
    study = _of_the_harm(study, question)
    sums = slice_sums_of(study)
    harms = harmed_slices(study, sums)
    looked = Diagnosis(study, harms, sums, question.changes)
    return looked.causes(carriers_of(sums, study.reference, looked.first, looked.last))


def _rows(rows: pl.DataFrame, question: Question) -> Rows:
    output = question.output
    outputs = from_column(rows[output.column])
    group = rows["group"] if output.kind == "ranking" else None
    return Rows(
        kind=output.kind,
        at=rows["at"].dt.epoch("us").to_numpy(),
        timed=True,
        outputs=outputs,
        label=rows["label"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        order=np.arange(rows.height),
        version=texts_of(rows["model_version"]),
        group=None if group is None else texts_of(group),
        classes=output.classes,
        levels=output.levels,
    )


def _of_the_harm(study: Study, question: Question) -> Study:
    """With the episode that the loop's own monitor found, whatever this look at the rows alone would find."""
    starts, last = study.blocks.start, len(study.blocks) - 1

    def place(moment: int) -> int:
        return min(max(int(np.searchsorted(starts, moment, side="right")) - 1, study.reference), last)

    first, earliest = place(micros(question.onset)), place(micros(question.earliest))
    return replace(study, episodes=[Episode(first, last, earliest, first, ended=False)])
