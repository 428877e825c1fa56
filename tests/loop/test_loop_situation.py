"""What a playbook may ask, against the same answers by hand. In the small loop version 2 was broken and rolled back."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from loopline.gates.promotion import CHAMPION
from loopline.incidents import incident
from loopline.ledger import chain
from loopline.loop.deployment import Predictors
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.situation import LEAST_BLOCKS, LaneSituation
from loopline.models import registry
from loopline.scoring.record import prediction_table
from loopline.values import Window

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BROKEN, BACK = 21, 25  # days on which version 2 began to serve, and ended


def situation(resources, lane: Lane, day: int) -> LaneSituation:
    window = Window(T0 + (day - 1) * DAY, T0 + day * DAY)
    return LaneSituation(resources, lane, History(resources.tables), Predictors(resources), window)


@pytest.fixture
def own(replayed) -> Lane:
    return replayed.works[0].lane


def test_the_story_of_the_small_loop(replayed):
    """Trained, trained badly, harm, rolled back: all by the playbook, in one turn each, and written down."""
    with replayed.resources.database.reading() as tx:
        entries = chain.entries(tx, "parcels")
        champions = registry.alias_history(tx, "parcels", "late", CHAMPION)
        chain.verify(tx, "parcels")
    assert [(change.version, change.from_at) for change in champions] == [
        (1, T0 + 14 * DAY),
        (2, T0 + BROKEN * DAY),
        (1, T0 + BACK * DAY),
    ]
    after = [entry for entry in entries if entry.at == T0 + BACK * DAY]
    assert [entry.kind for entry in after] == ["alarm", "incident.opened", "rollback", "incident.resolved", "action"]
    assert replayed.digests["parcels"] == entries[-1].digest


def test_growth_is_labelled_keys_over_those_of_the_last_training(replayed, own):
    resources = replayed.resources
    deliveries = resources.tables.open("parcels.deliveries").read()
    with resources.database.reading() as tx:
        versions = registry.versions(tx, "parcels", "late")
    then = versions[-1].metrics["rows"] + versions[-1].metrics["holdout_rows"]
    for day in (22, 30):
        known = deliveries.filter((pl.col("_known_at") <= T0 + day * DAY) & pl.col("hours").is_not_null())
        assert situation(resources, own, day).growth() == len(set(known["_key"])) / then


def test_growth_counts_what_is_due_where_absence_is_a_label(replayed, own):
    model = own.operation.model
    label = type(model.label)(model.label.table, model.label.expression, model.label.matures, "negative")
    operation = type(own.operation)(**{**vars(own.operation), "model": type(model)(**{**vars(model), "label": label})})
    negative = Lane(own.project, own.policy, operation, own.responses, own.seed)
    sendings = replayed.resources.tables.open("parcels.sendings").read(known_until=T0 + 30 * DAY)
    due = set(sendings.filter(pl.col("sends") <= T0 + 29 * DAY)["_key"])
    ratio = situation(replayed.resources, negative, 30).growth() / situation(replayed.resources, own, 30).growth()
    known = replayed.resources.tables.open("parcels.deliveries").read(known_until=T0 + 30 * DAY)["_key"].n_unique()
    assert ratio == pytest.approx(len(due) / known)


def test_without_a_model_nothing_has_grown_and_nothing_was_better(replayed, own):
    nobody = Lane("elsewhere", own.policy, own.operation, own.responses, own.seed)
    found = situation(replayed.resources, nobody, 20)
    assert (found.growth(), found.previous_is_better(), found.harm(), found.data_fault()) == (1.0, False, False, False)
    assert found.last_done("retrain") is None


def test_last_done_is_of_this_lane_and_action(replayed):
    own, weekly = (situation(replayed.resources, work.lane, 33) for work in replayed.works)
    assert own.last_done("retrain") == T0 + BROKEN * DAY
    assert own.last_done("roll_back") == T0 + BACK * DAY
    assert weekly.last_done("retrain") == T0 + 28 * DAY
    assert weekly.last_done("roll_back") is None


@pytest.mark.parametrize(("kind", "harm", "fault"), [("harm", True, False), ("data_fault", False, True)])
def test_open_incidents_are_asked_by_their_kind(copied, own, kind, harm, fault):
    with copied.database.transaction() as tx:
        made, _ = incident.open_or_join(
            tx,
            project="parcels",
            model="late",
            kind=kind,
            alarm="alarm_x",
            at=T0 + 33 * DAY,
            sentence="x",
            diagnosis=[],
        )
        incident.wait(tx, made)
    found = situation(copied, own, 33)
    assert (found.harm(), found.data_fault()) == (harm, fault)
    with copied.database.transaction() as tx:
        incident.resolve(tx, made, at=T0 + 33 * DAY, actor="ann", sentence="over")
    assert (found.harm(), found.data_fault()) == (harm, fault)  # answered once a turn
    later = situation(copied, own, 33)
    assert (later.harm(), later.data_fault()) == (False, False)


def test_the_earlier_model_is_asked_on_the_rows_since_the_last_change(replayed):
    """For the other lane, whose broken versions stayed: version 3 serves since day 28, version 2 did before."""
    resources, lane = replayed.resources, replayed.works[1].lane
    predictors = Predictors(resources)
    predictions = resources.tables.open(prediction_table(lane.project, "late")).read()
    delivered = resources.tables.open("parcels.deliveries").read()
    with resources.database.reading() as tx:
        earlier = predictors.version(tx, lane.project, "late", 2)
    verdicts = []
    for day in (28, 30, 32, 33):
        labels = delivered.filter(pl.col("_known_at") <= T0 + day * DAY).select("_key", label=pl.col("hours") > 12)
        since, until = T0 + 28 * DAY, T0 + (day - 1) * DAY
        rows = predictions.filter((pl.col("_event_time") > since) & (pl.col("_event_time") <= until))
        rows = rows.join(labels, on="_key").rename({f"feature_{name}": name for name in earlier.signature.names})
        expected = shown_better(rows, earlier.predict(rows)) if rows.height else False
        verdicts.append(expected)
        assert situation(resources, lane, day).previous_is_better() is expected
    assert verdicts[0] is False


def test_it_takes_blocks_to_be_better(replayed, own):
    """Right after the change nothing is shown; in the end version 2 is not better than the version 1 that is back."""
    assert [situation(replayed.resources, own, day).previous_is_better() for day in (BACK, BACK + 1, 33)] == [False] * 3


def shown_better(rows: pl.DataFrame, scores: np.ndarray) -> bool:
    y = rows["label"].cast(pl.Float64).to_numpy()

    def loss(p: np.ndarray) -> np.ndarray:
        p = np.clip(p, 1e-4, 1 - 1e-4)
        return -np.where(y == 1, np.log(p), np.log(1 - p))

    difference = loss(scores) - loss(rows["score"].to_numpy())
    days = rows["_event_time"].dt.date().to_numpy()
    found = np.unique(days)
    if len(found) < LEAST_BLOCKS:
        return False
    residuals = np.array([(difference[days == one] - difference.mean()).sum() for one in found])
    error = np.sqrt(len(found) / (len(found) - 1) * (residuals**2).sum()) / len(difference)
    return bool(difference.mean() + stats.t.ppf(0.975, len(found) - 1) * error < 0)
