"""Pushed labels: all or none, again without effect, corrections as rows of their own, one push after the other."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.labels.intake import GivenLabel, _numbered, push_labels
from loopline.labels.label import Label
from loopline.labels.outcomes import known_labels
from loopline.tables import Tables, TableSchema

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEYS = ["a", "b", "c"]


def make(folder: Path) -> Tables:
    """Tables with two predictions for each key: `a0`, `a1`, `b0`, ..."""
    tables = Tables(folder, durable=False)
    table = tables.create("predictions", TableSchema({"prediction_id": pl.String}))
    rows = [
        {
            "_key": key,
            "_event_time": NOW + timedelta(hours=number),
            "_known_at": NOW,
            "_tombstone": False,
            "prediction_id": f"{key}{number}",
        }
        for key in KEYS
        for number in (0, 1)
    ]
    table.append(pl.DataFrame(rows, schema=table.schema.all_columns), writer="spool", sequence=0)
    return tables


@pytest.fixture
def tables(tmp_path):
    return make(tmp_path)


def push(tables, *labels, at=NOW, actor="ann"):
    return push_labels(tables, "labels", labels, predictions="predictions", at=at, actor=actor)


def by_key(key, label):
    return GivenLabel(key=key, label=label)


def by_id(prediction_id, label):
    return GivenLabel(prediction_id=prediction_id, label=label)


def test_a_label_gets_key_and_event_time_of_its_prediction(tables):
    push(tables, by_id("a0", 1), by_key("b", 0), at=NOW + timedelta(days=1))
    rows = tables.open("labels").read().rows(named=True)
    assert [(row["_key"], row["_event_time"], row["label"]) for row in rows] == [
        ("a", NOW, 1.0),
        ("b", NOW + timedelta(hours=1), 0.0),
    ]
    assert {row["_known_at"] for row in rows} == {NOW + timedelta(days=1)}


def test_a_correction_and_a_withdrawal_are_rows_of_their_own(tables):
    label = Label("labels", pl.col("label"), matures="1d")
    for day, value in enumerate([1, 0, None, 1]):
        push(tables, by_key("a", value), at=NOW + timedelta(days=day))
    history = tables.open("labels").read()
    seen = [
        known_labels(history, label, as_of=NOW + timedelta(days=day))["label"].to_list() for day in (-1, 0, 1, 2, 3)
    ]
    assert seen == [[], [1.0], [0.0], [], [1.0]]


def test_a_correction_holds_though_the_clock_was_set_back(tables):
    push(tables, by_key("a", 1), at=NOW)
    assert push(tables, by_key("a", 0), at=NOW - timedelta(days=1)).written == 1
    assert tables.open("labels").current()["label"].to_list() == [0.0]
    assert push(tables, by_key("a", 0), at=NOW - timedelta(days=1)).written == 0


@pytest.mark.parametrize(
    ("labels", "code", "index"),
    [
        ([by_key("a", 1), by_id("a9", 1), by_id("a8", 1)], "label.unknown_prediction", 1),
        ([by_key("z", 1)], "label.unknown_prediction", 0),
        ([by_key("a", 1), GivenLabel(label=1)], "label.names_no_prediction", 1),
        ([GivenLabel(label=1, key="a", prediction_id="a0")], "label.names_no_prediction", 0),
        ([by_key("a", float("nan"))], "label.not_finite", 0),
        ([by_key("a", 1), by_id("a1", 0)], "label.contradictory", 1),
    ],
)
def test_what_cannot_be_kept_keeps_nothing(tables, labels, code, index):
    with pytest.raises(InvalidInput) as refused:
        push(tables, *labels)
    assert (refused.value.code, refused.value.context["index"]) == (code, index)
    assert refused.value.remedy
    assert not tables.exists("labels")


def test_before_any_prediction_is_shipped_none_is_known(tmp_path):
    with pytest.raises(InvalidInput, match="no prediction with its key"):
        push(Tables(tmp_path, durable=False), by_key("a", 1))


def test_pushes_at_once_are_all_kept(tables):
    def one(number: int) -> int:
        return push(tables, by_key(KEYS[number % 3], number), at=NOW + timedelta(seconds=number)).written

    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(one, range(12)))
    assert written == [1] * 12
    assert sorted(tables.open("labels").read()["label"].to_list()) == [float(number) for number in range(12)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pushes=st.lists(st.dictionaries(st.sampled_from(KEYS), st.none() | st.integers(0, 1)), max_size=5))
def test_any_pushes_each_twice_leave_what_was_said_last(tmp_path_factory, pushes):
    tables = make(tmp_path_factory.mktemp("tables"))
    expected: dict[str, int | None] = {}
    for second, said in enumerate(pushes):
        news = sum(expected.get(key) != value for key, value in said.items())
        for again in (False, True):
            done = push(
                tables, *[by_key(key, value) for key, value in said.items()], at=NOW + timedelta(seconds=second)
            )
            assert (done.written, done.unchanged) == ((0, len(said)) if again else (news, len(said) - news))
        expected |= said
    current = tables.open("labels").current().rows(named=True) if tables.exists("labels") else []
    assert {row["_key"]: row["label"] for row in current} == {k: v for k, v in expected.items() if v is not None}


def test_classes_are_pushed_by_name_and_kept_by_place():
    sent = [GivenLabel(key="a", label="rain"), GivenLabel(key="b", label=2), GivenLabel(key="c", label=None)]
    assert [_numbered(place, one, ["none", "rain", "fog"]).label for place, one in enumerate(sent)] == [1.0, 2, None]
    for label, classes in [("snow", ["none", "rain"]), (7, ["none", "rain"]), (0.5, ["none", "rain"]), ("rain", [])]:
        with pytest.raises(InvalidInput) as caught:
            _numbered(0, GivenLabel(key="a", label=label), classes)
        assert caught.value.code == "label.not_a_class"
