"""Predictions of several classes, read from Parquet files: ids, decisions and labels by columns of their own."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import loopline as ll
from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.labels.intake import GivenLabel, label_table, push_labels
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.plan import apply
from loopline.loop.take_in import take_in
from loopline.loop.watch import matured
from loopline.scoring.record import prediction_table

NOW = datetime(2026, 1, 3, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
TABLE = prediction_table("parts", "kind")


def predicted(name: str, case: str, chances: tuple[float, float, float], chosen: str | None, hour: int, pid: str):
    at = datetime(2026, 1, 1, hour, tzinfo=UTC)
    return {"row": name, "case": case, "nut": chances[0], "bolt": chances[1], "nail": chances[2], "chosen": chosen, "at": at, "pid": pid}  # fmt: skip


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "scores"
    folder.mkdir()
    rows = [
        predicted("r1", "c1", (0.7, 0.2, 0.1), "nut", 1, "a-1"),
        predicted("r2", "c2", (0.1, 0.2, 0.7), "screw", 2, "a-2"),
        predicted("r3", "c3", (0.1, 0.8, 0.1), None, 3, "a-3"),
        predicted("r4", "c4", (0.1, 0.8, 1.1), "abstain", 4, "a-4"),
        predicted("r5", "c5", (0.9, 0.1, 0.0), "nut", 5, "a-1"),
    ]
    pl.DataFrame(rows).with_columns(pl.col("at").cast(TIME)).write_parquet(folder / "one.parquet")
    loop = ll.Loop("parts")
    scored = loop.read(ll.files(str(folder / "*.parquet")), name="scored", key="row", event_time="at", known_at="at")

    @loop.source(key="case", event_time="seen", known_at="seen")
    def cases(window: ll.Window) -> pl.DataFrame:
        seen = datetime(2026, 1, 2, tzinfo=UTC)
        found = pl.DataFrame({"case": ["c1", "c2"], "was": ["nut", "nail"], "seen": [seen, seen]})
        return found.with_columns(pl.col("seen").cast(TIME)).filter(pl.lit(seen in window))

    label = ll.label(cases, pl.col("was"), matures="12h", classes=["nut", "bolt", "nail"], by="case")
    model = loop.external(
        "kind", predictions=scored, score=["nut", "bolt", "nail"], id="pid", decision="chosen", kind="multiclass", label=label
    )  # fmt: skip
    risk = ll.Risk("log_loss", tolerance=0.1, block="1d", false_pages_per_year=1)
    loop.operate(model, decide=ll.choice_costs(), watch=risk)
    settings = Settings.read(tmp_path / "home", environment={"LOOPLINE_DURABLE": "0"})
    resources = open_home(settings, clock=ReplayClock(NOW), silent=True)
    apply(resources.database, loop, actor="test", at=NOW)
    history = History(resources.tables)
    yield resources, loop, lane_works(resources, loop, history, compare=False)[0].lane, history
    resources.database.close()


def test_each_row_is_a_record_and_what_is_odd_is_told(place):
    resources, loop, lane, _ = place
    ingest_until(resources, loop, NOW, begin=NOW - timedelta(days=3))
    assert take_in(resources, lane).rows == 4
    found = resources.tables.open(TABLE).read().sort("_event_time")
    assert found["prediction_id"].to_list() == ["a-1", "a-2", "a-3", "a-4"]
    assert found["decision"].to_list() == ["nut", "nail", "bolt", "abstain"]
    assert found["score"].to_list() == [0.7, 0.7, 0.8, None]
    assert found["outputs"].to_list()[0] == [0.7, 0.2, 0.1]
    assert found["label_key"].to_list() == ["c1", "c2", "c3", "c4"]
    assert found["degraded"].to_list() == [[], ["decision_unknown"], [], ["output_out_of_range"]]


def test_labels_come_by_their_key_or_are_pushed_for_an_id(place):
    resources, loop, lane, history = place
    ingest_until(resources, loop, NOW, begin=NOW - timedelta(days=3))
    take_in(resources, lane)
    push_labels(
        resources.tables,
        label_table("parts", "kind"),
        [GivenLabel(prediction_id="a-3", label="bolt")],
        predictions=TABLE,
        at=NOW,
        actor="vendor",
        classes=("nut", "bolt", "nail"),
    )
    rows = matured(resources, lane, history, after=NOW - timedelta(days=3), until=NOW, now=NOW).sort("at")
    assert rows["label"].to_list() == [0.0, 2.0, 1.0, None]


def test_a_column_that_is_declared_and_not_there_is_named_and_nothing_is_taken_in(place, tmp_path):
    resources, loop, lane, _ = place
    frame = pl.read_parquet(tmp_path / "scores" / "one.parquet")
    frame.drop("pid").write_parquet(tmp_path / "scores" / "one.parquet")
    ingest_until(resources, loop, NOW, begin=NOW - timedelta(days=3))
    with pytest.raises(InvalidInput) as caught:
        take_in(resources, lane)
    assert caught.value.code == "external.no_column"
    assert "pid" in caught.value.message
    assert not resources.tables.exists(TABLE)
