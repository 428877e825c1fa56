from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.evaluation.losses import entropy
from loopline.monitoring.alarm import list_alarms, open_alarms, read_alarm, take_alarm
from loopline.monitoring.block import summarise
from loopline.monitoring.performance import read_performance
from loopline.monitoring.risk import Reference, Risk
from loopline.monitoring.state import MonitorState, observe
from loopline.monitoring.watch import advance, change_risk, list_monitors, read_monitor, set_reference, start_monitor

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SPEC = Risk(tolerance=0.02, min_rows=50)
REFERENCE = Reference(mean=-0.05, upper=-0.04, spread=0.02, blocks=20)
WHO = {"project": "flights", "model": "late", "name": "risk"}


def day(number, *, broken=False, rows=200):
    rng = np.random.default_rng([7, number])
    truth = rng.beta(1.5, 4, rows)
    y = (rng.random(rows) < truth).astype(float)
    score = 1 - truth if broken else truth
    return summarise(START + number * DAY, START + (number + 1) * DAY, score, y, model_version="3")


def start(tx, **changes):
    given = {"spec": SPEC, "reference": REFERENCE, "watermark": START, "at": START} | changes
    return start_monitor(tx, **WHO, **given)


def moved(tx, blocks, at=START):
    return advance(tx, **WHO, blocks=blocks, at=at)


def test_a_model_that_keeps_its_promise_raises_nothing(database):
    with database.transaction() as tx:
        start(tx)
        assert moved(tx, [day(n) for n in range(60)]) == []
        assert read_monitor(tx, *WHO.values()).watermark == START + 60 * DAY


def test_a_model_that_breaks_pages_with_its_onset(database):
    with database.transaction() as tx:
        start(tx)
        alarms = moved(tx, [day(n, broken=n >= 30) for n in range(45)], at=START + 46 * DAY)
        assert alarms
        first = alarms[0]
        assert (first.kind, first.page, first.state) == ("harm", True, "open")
        assert timedelta(0) < first.block_end - (START + 30 * DAY) <= 7 * DAY
        onset = datetime.fromisoformat(first.evidence["onset"])
        assert abs(onset - (START + 30 * DAY)) <= 2 * DAY
        earliest, latest = (datetime.fromisoformat(first.evidence[f"onset_{edge}"]) for edge in ("earliest", "latest"))
        assert earliest <= START + 30 * DAY <= latest <= first.block_end
        assert f"between {earliest:%Y-%m-%d}" in first.evidence["sentence"] or earliest == latest
        assert open_alarms(tx, "flights") == alarms


def test_the_stored_monitor_moves_as_the_pure_one(database):
    blocks = [day(n, broken=n >= 10) for n in range(20)]
    state = MonitorState()
    raised = []
    for block in blocks:
        observed = observe(SPEC, REFERENCE, state, block)
        state = observed.state
        raised += [block.end] if observed.harm else []
    with database.transaction() as tx:
        start(tx)
    for block in blocks:
        with database.transaction() as tx:
            moved(tx, [block])
    with database.reading() as tx:
        assert read_monitor(tx, *WHO.values()).state == state
        assert [alarm.block_end for alarm in list_alarms(tx, "flights")] == raised


def test_blocks_count_once_however_often_they_are_given(database):
    blocks = [day(n, broken=n >= 5) for n in range(20)]
    with database.transaction() as tx:
        start(tx)
        moved(tx, blocks[:12])
        moved(tx, blocks[:12])
        moved(tx, blocks)
        once = read_monitor(tx, *WHO.values())
        assert len(read_performance(tx, *WHO.values())) == 20
        assert moved(tx, blocks) == []
        assert read_monitor(tx, *WHO.values()) == once


def test_a_transaction_that_fails_leaves_nothing_behind(database):
    with database.transaction() as tx:
        before = start(tx)
    with pytest.raises(Conflict), database.transaction() as tx:  # noqa: PT012  # the whole transaction is what fails
        assert moved(tx, [day(n, broken=True) for n in range(20)])
        start(tx, spec=Risk(tolerance=0.5))
    with database.reading() as tx:
        assert read_monitor(tx, *WHO.values()) == before
        assert list_alarms(tx, "flights") == []
        assert read_performance(tx, *WHO.values()) == []


def test_order_is_enforced(database):
    with database.transaction() as tx:
        start(tx)
        with pytest.raises(InvalidInput, match="does not follow"):
            moved(tx, [day(3), day(2)])
        moved(tx, [day(0), day(4)])
        overlapping = msgspec.structs.replace(day(5), start=START + 4 * DAY)
        with pytest.raises(Conflict, match="begins before the watermark"):
            moved(tx, [overlapping])
        assert read_monitor(tx, *WHO.values()).watermark == START + 5 * DAY


def test_small_blocks_wait_for_the_next(database):
    with database.transaction() as tx:
        start(tx)
        moved(tx, [day(0, rows=30)])
        waiting = read_monitor(tx, *WHO.values()).state
        assert (waiting.blocks, waiting.pending.labelled) == (0, 30)
        moved(tx, [day(1, rows=30)])
        assert read_monitor(tx, *WHO.values()).state.blocks == 1


def test_performance_rows(database):
    p, y = np.array([0.2, 0.7, 0.4, np.nan, 0.1]), np.array([0, 1, 1, 0, np.nan])
    block = summarise(START, START + DAY, p, y, model_version="3")
    with database.transaction() as tx:
        start(tx)
        moved(tx, [block, summarise(START + DAY, START + 2 * DAY, [0.3], [np.nan])], at=START + 9 * DAY)
        row, empty = read_performance(tx, *WHO.values())
    loss = -np.mean([np.log(0.8), np.log(0.7), np.log(0.4)])
    assert (row.predictions, row.labelled, row.coverage, row.model_version) == (5, 3, 0.6, "3")
    assert row.log_loss == pytest.approx(loss)
    assert row.brier == pytest.approx(np.mean([0.04, 0.09, 0.36]))
    assert row.base_rate == pytest.approx(2 / 3)
    assert row.mean_score == pytest.approx(1.3 / 3)
    assert row.excess == pytest.approx(loss - entropy(2 / 3))
    assert row.measured_at == START + 9 * DAY
    assert (empty.labelled, empty.log_loss, empty.excess) == (0, None, None)


def test_a_monitor_begins_with_a_whole_block(database):
    with database.transaction() as tx:
        assert start(tx, watermark=START + timedelta(hours=10)).watermark == START + DAY
        moved(tx, [day(0), day(1)])
        assert [row.block_start for row in read_performance(tx, *WHO.values())] == [START + DAY]


def test_performance_of_a_stretch(database):
    with database.transaction() as tx:
        start(tx)
        moved(tx, [day(n) for n in range(6)])
        got = read_performance(tx, *WHO.values(), start=START + 2 * DAY, end=START + 4 * DAY)
    assert [row.block_end for row in got] == [START + 3 * DAY, START + 4 * DAY]


def test_starting_again_changes_nothing_and_another_risk_needs_a_decision(database):
    with database.transaction() as tx:
        start(tx)
        moved(tx, [day(n) for n in range(5)])
        stored = read_monitor(tx, *WHO.values())
        assert start(tx, reference=Reference(0, 0, 0, 5)) == stored
        with pytest.raises(Conflict):
            start(tx, spec=Risk(tolerance=0.5))
        change_risk(tx, **WHO, spec=Risk(tolerance=0.5), reference=REFERENCE)
        changed = read_monitor(tx, *WHO.values())
        assert (changed.spec.tolerance, changed.watermark, changed.state.blocks) == (0.5, stored.watermark, 0)
        assert list_monitors(tx, "flights") == [changed]


def test_a_person_may_set_a_new_reference(database):
    with database.transaction() as tx:
        start(tx)
        moved(tx, [day(n, broken=True) for n in range(2)])
        set_reference(tx, **WHO, reference=Reference(1.0, 1.1, 0.1, 10))
        assert moved(tx, [day(n, broken=True) for n in range(2, 30)]) == []
        with pytest.raises(NotFound):
            set_reference(tx, project="flights", model="late", name="none", reference=REFERENCE)


def test_an_alarm_is_taken_once(database):
    with database.transaction() as tx:
        start(tx)
        alarm = moved(tx, [day(n, broken=True) for n in range(10)])[0]
        assert take_alarm(tx, alarm.id)
        assert not take_alarm(tx, alarm.id)
        assert read_alarm(tx, alarm.id).state == "taken"
        assert alarm.id not in {left.id for left in open_alarms(tx, "flights")}
        with pytest.raises(NotFound):
            take_alarm(tx, "alarm_0")


def test_an_unknown_monitor_is_told(database):
    with database.transaction() as tx, pytest.raises(NotFound, match="no monitor"):
        moved(tx, [day(0)])
