"""Labels that come after their block was watched: measured again beside what was, and the evidence stays."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from loopline.labels.intake import GivenLabel, label_table, push_labels
from loopline.loop.history import History
from loopline.loop.restate import restate
from loopline.loop.status import status
from loopline.loop.watch import matured
from loopline.monitoring.performance import read_performance, read_restated
from loopline.monitoring.watch import read_monitor
from loopline.values import Window

HOUR = timedelta(hours=1)


def measured(resources):
    with resources.database.reading() as tx:
        return (
            read_performance(tx, "parcels", "late", "harm"),
            read_restated(tx, "parcels", "late", "harm"),
            read_monitor(tx, "parcels", "late", "harm"),
        )


def push(resources, labels: dict[str, float | None], at) -> None:
    given = [GivenLabel(key=key, label=label) for key, label in labels.items()]
    name, predictions = label_table("parcels", "late"), "predictions.parcels.late"
    push_labels(resources.tables, name, given, predictions=predictions, at=at, actor="ann")


@pytest.fixture
def block(copied, replayed):
    """A watched block and its predictions with their labels as they were known."""
    row = measured(copied)[0][-3]
    lane = replayed.works[0].lane
    now = copied.clock.now()
    rows = matured(copied, lane, History(copied.tables), after=row.block_start, until=row.block_end, now=now)
    assert rows.height == row.predictions
    return row, lane, rows


def test_a_corrected_label_is_measured_again_and_the_evidence_stays(copied, block):
    row, lane, rows = block
    seen, again, monitor = measured(copied)
    assert again == []
    wrong = rows.filter(pl.col("label").is_not_null()).head(3)
    now = copied.clock.now()
    push(copied, {one["_key"]: 1 - one["label"] for one in wrong.iter_rows(named=True)}, now + HOUR)
    window = Window(now, now + 2 * HOUR)
    assert restate(copied, lane, History(copied.tables), window) == 1
    after, (restated,), same = measured(copied)
    assert after == seen
    assert same == monitor
    assert (restated.block_start, restated.restated, restated.log_evidence) == (row.block_start, 1, row.log_evidence)
    turned = set(wrong["_key"])
    p, y = [], []
    for one in rows.filter(pl.col("label").is_not_null()).iter_rows(named=True):
        p.append(one["score"])
        y.append(1 - one["label"] if one["_key"] in turned else one["label"])
    loss = -np.where(np.array(y) == 1, np.log(p), np.log1p(-np.array(p)))
    assert restated.loss == pytest.approx(loss.mean())
    assert restated.labelled == row.labelled
    assert (
        restate(copied, lane, History(copied.tables), window) == 0
    )  # a turn that is taken again measures nothing twice
    assert measured(copied)[1] == [restated]


def test_a_late_and_a_withdrawn_label_change_how_many_are_labelled(copied, block):
    row, lane, rows = block
    late = rows.filter(pl.col("label").is_null())["_key"].to_list()
    told = rows.filter(pl.col("label").is_not_null()).head(2)
    now = copied.clock.now()
    turned = {one["_key"]: 1 - one["label"] for one in told.iter_rows(named=True)}
    push(copied, dict.fromkeys(late, 1.0) | turned, now + HOUR)
    assert restate(copied, lane, History(copied.tables), Window(now, now + 2 * HOUR)) == 1
    assert measured(copied)[1][0].labelled == row.labelled + len(late)
    push(copied, dict.fromkeys(turned), now + 3 * HOUR)
    assert restate(copied, lane, History(copied.tables), Window(now + 2 * HOUR, now + 4 * HOUR)) == 1
    (restated,) = measured(copied)[1]
    assert restated.labelled == row.labelled + len(late) - 2
    assert restated.restated == 2
    assert restated.unlabelled == restated.predictions - restated.labelled


def test_a_label_that_says_what_was_known_changes_nothing(copied, block):
    _, lane, rows = block
    known = rows.filter(pl.col("label").is_not_null()).row(0, named=True)
    now = copied.clock.now()
    push(copied, {known["_key"]: known["label"]}, now + HOUR)
    assert restate(copied, lane, History(copied.tables), Window(now, now + 2 * HOUR)) == 0


def test_status_counts_what_was_measured_again(copied, block):
    _, lane, rows = block
    known = rows.filter(pl.col("label").is_not_null()).row(0, named=True)
    now = copied.clock.now()
    push(copied, {known["_key"]: 1 - known["label"]}, now + HOUR)
    restate(copied, lane, History(copied.tables), Window(now, now + 2 * HOUR))
    (model,) = next(one.models for one in status(copied) if one.project == "parcels")
    assert [one.restated for one in model.monitors] == [1]
