import math
from datetime import UTC, datetime, timedelta

import pytest

from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.runs import tracking
from loopline.runs.run import Input, Metric
from loopline.storage.database import Database, Transaction

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DIGEST = "sha256:" + "0" * 64


def start(
    tx: Transaction, run_id: str, *, at: datetime = T0, experiment: str = "late", parent: str | None = None
) -> None:
    tracking.start(tx, project="flights", experiment=experiment, run_id=run_id, at=at, parent=parent)


def test_everything_logged_is_read_back(database: Database):
    with database.transaction() as tx:
        start(tx, "search")
        start(tx, "r", parent="search")
        tracking.log_params(tx, "r", {"depth": 3, "rate": 0.1, "tags": ["a"], "none": None})
        tracking.log_metrics(tx, "r", {"log_loss": 0.5}, step=1, at=T0 + HOUR)
        tracking.log_metrics(tx, "r", {"log_loss": 0.4, "auc": 0.8}, step=2)
        tracking.log_inputs(tx, "r", [Input(kind="table", name="arrivals", version="7")])
        tracking.log_artifacts(tx, "r", {"report": DIGEST})
        tracking.finish(tx, "r", "finished", T0 + 2 * HOUR)
    with database.reading() as tx:
        run = tracking.get(tx, "r")
    assert (run.project, run.experiment, run.parent) == ("flights", "late", "search")
    assert (run.status, run.started_at, run.ended_at) == ("finished", T0, T0 + 2 * HOUR)
    assert run.params == {"depth": 3, "rate": 0.1, "tags": ["a"], "none": None}
    assert run.metrics == {"log_loss": 0.4, "auc": 0.8}
    assert [(metric.name, metric.step, metric.value, metric.at) for metric in run.history] == [
        ("auc", 2, 0.8, None),
        ("log_loss", 1, 0.5, T0 + HOUR),
        ("log_loss", 2, 0.4, None),
    ]
    assert run.inputs == [Input(kind="table", name="arrivals", version="7")]
    assert run.artifacts == {"report": DIGEST}


def test_everything_can_be_repeated(database: Database):
    for _ in range(2):
        with database.transaction() as tx:
            start(tx, "r")
            tracking.log_params(tx, "r", {"depth": 3})
            tracking.log_metrics(tx, "r", {"log_loss": 0.5})
            tracking.log_inputs(tx, "r", [Input(kind="table", name="arrivals", version="7")])
            tracking.log_artifacts(tx, "r", {"report": DIGEST})
            tracking.finish(tx, "r", "failed", T0 + HOUR)
    with database.reading() as tx:
        run = tracking.get(tx, "r")
        assert len(tracking.search(tx, "flights")) == len(run.history) == len(run.inputs) == 1
    assert (run.status, run.ended_at) == ("failed", T0 + HOUR)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1])
def test_every_float_comes_back_as_it_went(database: Database, value: float):
    with database.transaction() as tx:
        start(tx, "r")
        tracking.log_metrics(tx, "r", {"m": value})
    with database.reading() as tx:
        found = tracking.get(tx, "r").metrics["m"]
    assert found == value or (math.isnan(found) and math.isnan(value))


def test_search_orders_by_time_and_by_the_last_value_of_a_metric(database: Database):
    values = {"a": 0.3, "b": math.nan, "c": 0.1, "d": None, "e": -math.inf, "f": 0.1}
    with database.transaction() as tx:
        for place, (run_id, value) in enumerate(values.items()):
            start(tx, run_id, at=T0 + place * HOUR, parent="a" if run_id in "ce" else None)
            if value is not None:
                tracking.log_metrics(tx, run_id, {"log_loss": -9.0}, step=0)
                tracking.log_metrics(tx, run_id, {"log_loss": value}, step=1)
        start(tx, "g", experiment="other", at=T0)

    def found(*arguments: str, **options: object) -> str:
        with database.reading() as tx:
            return "".join(run.run_id for run in tracking.search(tx, "flights", *arguments, **options))

    assert found("late") == "fedcba"
    assert found("late", order_by="started_at") == "abcdef"
    assert found("late", order_by="metrics.log_loss") == "ecfabd"
    assert found("late", order_by="-metrics.log_loss") == "acfebd"
    assert found("late", order_by="metrics.log_loss", limit=2) == "ec"
    assert found(order_by="started_at") == "agbcdef"
    assert found(parent="a") == "ec"
    assert found("none such") == ""


def test_what_contradicts_is_refused(database: Database):
    with database.transaction() as tx:
        start(tx, "r")
        tracking.log_params(tx, "r", {"depth": 3})
        with pytest.raises(Conflict, match="depth"):
            tracking.log_params(tx, "r", {"depth": 4})
        with pytest.raises(Conflict):
            start(tx, "r", experiment="other")
        with pytest.raises(InvalidInput):
            tracking.finish(tx, "r", "running", T0)
        tracking.finish(tx, "r", "killed", T0)
        with pytest.raises(Conflict):
            tracking.finish(tx, "r", "finished", T0)
        with pytest.raises(InvalidInput):
            tracking.search(tx, "flights", order_by="status; drop table run")
        assert tracking.get(tx, "r").params == {"depth": 3}


def test_unknown_runs_are_not_found(database: Database):
    with database.transaction() as tx:
        for call in (
            lambda: tracking.get(tx, "x"),
            lambda: tracking.log_params(tx, "x", {"a": 1}),
            lambda: tracking.log_metrics(tx, "x", {"a": 1.0}),
            lambda: tracking.log_inputs(tx, "x", []),
            lambda: tracking.log_artifacts(tx, "x", {"a": DIGEST}),
            lambda: tracking.finish(tx, "x", "finished", T0),
        ):
            with pytest.raises(NotFound):
                call()


def test_history_comes_in_any_order_and_the_value_measured_last_holds(database: Database):
    early, late = T0 + HOUR, T0 + 2 * HOUR
    rows = [
        Metric(name="m", step=0, value=1.0, at=late),
        Metric(name="m", step=1, value=5.0, at=early),
        Metric(name="m", step=1, value=math.nan, at=late),
    ]
    with database.transaction() as tx:
        start(tx, "r")
        tracking.log_metrics(tx, "r", {"m": 9.0}, step=1)
        tracking.log_history(tx, "r", rows)
        tracking.log_history(tx, "r", [Metric(name="m", step=0, value=2.0, at=early)])
        tracking.log_history(tx, "r", [])
        tracking.log_facts(tx, "r", {"command": ["a"], "code": 1})
        tracking.log_facts(tx, "r", {"code": 0})
        kept = tracking.get(tx, "r")
        [short] = tracking.search(tx, None, history=False)
    assert [(one.step, one.value) for one in kept.history[:1]] == [(0, 1.0)]
    assert math.isnan(kept.metrics["m"])
    assert math.isnan(short.metrics["m"])
    assert (short.history, kept.facts) == ([], {"command": ["a"], "code": 0})


def test_an_id_is_found_by_its_beginning(database: Database):
    with database.transaction() as tx:
        for run_id in ("run_ab1", "run_ab2", "run_ab", "run_c%"):
            start(tx, run_id)
        assert [tracking.resolve(tx, text) for text in ("run_ab", "run_ab1", "run_c")] == [
            "run_ab",
            "run_ab1",
            "run_c%",
        ]
        with pytest.raises(InvalidInput, match="several"):
            tracking.resolve(tx, "run_")
        with pytest.raises(NotFound):
            tracking.resolve(tx, "run_%")
