"""Training sets: rows by rows against what was known at each moment, and leaks planted to be found harmless."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput, NotFound
from loopline.labels.label import Label
from loopline.models.signature import infer
from loopline.training.training_set import LabelledRows, Recipe, assemble

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
AS_OF = T0 + 200 * HOUR


@pytest.fixture(scope="module")
def rows(recipe: Recipe, world) -> LabelledRows:
    return assemble(recipe, world, as_of=AS_OF)


def in_force(frame: pl.DataFrame, moment: datetime) -> dict[str, dict]:
    """Key to the row in force at a moment, walked through version by version."""
    newest: dict[str, dict] = {}
    for row in frame.iter_rows(named=True):
        before = newest.get(row["_key"])
        if row["_known_at"] <= moment and (before is None or row["_known_at"] >= before["_known_at"]):
            newest[row["_key"]] = row
    return {key: row for key, row in newest.items() if not row["_tombstone"]}


def test_every_row_is_what_was_known_at_its_own_time(rows, world):
    labels = in_force(world["arrivals"], AS_OF)
    for row in rows.frame.iter_rows(named=True):
        at = row["_event_time"]
        subject = in_force(world["departures"], at)[row["_key"]]
        assert (subject["departs"], subject["carrier"], subject["distance"]) == (at, row["carrier"], row["distance"])
        assert row["label"] == float(labels[row["_key"]]["delay"] > 15)
        arrived = [one for one in in_force(world["arrivals"], at).values() if one["carrier"] == subject["carrier"]]
        recent = [one["delay"] for one in arrived if at - 6 * HOUR < one["_event_time"] <= at]
        assert row["delay_6h"] == (pytest.approx(np.mean(recent)) if recent else None)
        assert row["n_1d"] == sum(at - 24 * HOUR < one["_event_time"] <= at for one in arrived)
        seen = [one for one in in_force(world["weather"], at).values() if one["origin"] == subject["origin"]]
        fresh = [one for one in seen if at - 3 * HOUR < one["_event_time"] <= at]
        assert row["wind"] == (max(fresh, key=lambda one: one["_event_time"])["wind"] if fresh else None)


def test_rows_are_those_that_were_due_and_labelled_in_order_of_time(rows, world):
    labels = in_force(world["arrivals"], AS_OF)
    due: dict[str, datetime] = {}
    for row in world["departures"].iter_rows(named=True):
        at = row["departs"]
        valid = in_force(world["departures"], at).get(row["_key"])
        if valid is not None and valid["departs"] == at and at <= AS_OF - 12 * HOUR:
            due[row["_key"]] = min(at, due.get(row["_key"], at))
    expected = {key: at for key, at in due.items() if key in labels}
    assert dict(zip(rows.frame["_key"], rows.frame["_event_time"], strict=True)) == expected
    assert rows.frame["_event_time"].is_sorted()
    assert rows.frame.columns == ["_key", "_event_time", *rows.recipe.feature_names, "label", "_label_known_at"]
    assert (rows.pins["rows"], rows.pins["subjects"], rows.pins["as_of"]) == (rows.frame.height, len(due), AS_OF)


def test_what_was_not_known_by_then_changes_nothing(rows, recipe, world):
    later = {name: frame.filter(pl.col("_known_at") <= AS_OF) for name, frame in world.items()}
    assert any(later[name].height < frame.height for name, frame in world.items())
    assert assemble(recipe, later, as_of=AS_OF).frame.equals(rows.frame)


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_a_row_is_blind_to_what_was_not_known_at_its_time(rows, recipe, world, data):
    """Every value not known at the moment is made nonsense: the features of all rows up to it stay as they were."""
    moment = T0 + data.draw(st.floats(30, 180)) * HOUR
    unknown = pl.col("_known_at") > moment
    nonsense = {
        "departures": {"distance": 1e9, "carrier": "??", "origin": "???"},
        "arrivals": {"delay": -1e9},
        "weather": {"wind": 1e9},
    }
    leaky = {
        name: frame.with_columns(
            pl.when(unknown).then(pl.lit(value)).otherwise(column).alias(column)
            for column, value in nonsense[name].items()
        )
        for name, frame in world.items()
    }
    before = rows.up_to(moment).frame.drop("label")
    after = assemble(recipe, leaky, as_of=AS_OF).up_to(moment).frame.drop("label")
    seen_again = before.join(after.select("_key"), on="_key", how="semi", maintain_order="left")
    assert after.equals(seen_again)
    assert after.height == before.height


def test_a_planted_label_in_a_feature_table_is_seen_only_once_it_was_known(rows, recipe, world):
    """Arrivals of the flight itself, known at the very time of departure or a moment after it."""
    first = rows.frame.row(100, named=True)
    at, late = first["_event_time"], timedelta(microseconds=1)

    def planted(known: datetime) -> dict:
        row = (
            world["arrivals"]
            .head(1)
            .with_columns(
                _key=pl.lit("planted"),
                _event_time=pl.lit(at - HOUR).dt.cast_time_unit("us"),
                _known_at=pl.lit(known).dt.cast_time_unit("us"),
                carrier=pl.lit(first["carrier"]),
                delay=pl.lit(5000.0),
            )
        )
        history = world | {"arrivals": pl.concat([world["arrivals"], row])}
        return assemble(recipe, history, as_of=AS_OF).frame.row(100, named=True)

    assert planted(at + late) == first
    assert planted(at)["n_1d"] == first["n_1d"] + 1


def test_a_label_known_after_as_of_is_none(recipe, world):
    """Nor is one whose row was due but told late: it comes in with the next training set."""
    for hours in (60, 61):
        as_of = T0 + hours * HOUR
        frame = assemble(recipe, world, as_of=as_of).frame
        known = in_force(world["arrivals"], as_of)
        assert set(frame["_key"]) <= set(known)
        assert frame["_event_time"].max() <= as_of - 12 * HOUR


def test_spans_can_be_left_out(rows, recipe, world):
    span = (T0 + 50 * HOUR, rows.frame["_event_time"][120])
    found = assemble(recipe, world, as_of=AS_OF, leave_out=[span, (AS_OF, AS_OF + HOUR)])
    inside = (pl.col("_event_time") > span[0]) & (pl.col("_event_time") <= span[1])
    assert found.frame.equals(rows.frame.filter(~inside))
    assert found.frame.height < rows.frame.height


def test_the_holdout_is_the_last_stretch_that_has_labels(rows):
    newest = rows.frame["_event_time"].max()
    length = (newest - rows.frame["_event_time"].min()) / 3
    before, held_out = rows.hold_out(length)
    assert held_out.frame["_event_time"].min() > newest - length
    assert before.frame["_event_time"].max() <= newest - length
    assert before.frame.height + held_out.frame.height == rows.frame.height


def test_up_to_and_after_part_the_rows(rows):
    moment = rows.frame["_event_time"][77]
    early, later = rows.up_to(moment), rows.after(moment)
    assert (early.frame.height, later.frame.height) == (78, rows.frame.height - 78)
    assert pl.concat([early.frame, later.frame]).equals(rows.frame)


def test_absence_as_negative_makes_rows_of_what_never_arrived(recipe, world):
    unheard = world | {"arrivals": world["arrivals"].filter(pl.col("_key") < "f150")}
    negative = Recipe(
        recipe.table,
        recipe.at,
        recipe.given,
        recipe.categories,
        (),
        Label("arrivals", recipe.label.expression, "12h", "negative"),
    )
    found = assemble(negative, unheard, as_of=AS_OF).frame
    assert found.height > assemble(recipe, unheard, as_of=AS_OF).frame.height
    assert found.filter(pl.col("_key") >= "f150")["label"].unique().to_list() == [0.0]


def test_a_category_of_numbers_is_text_like_any_other(recipe, world):
    numbered = world | {"departures": world["departures"].with_columns(gate=pl.col("distance").cast(pl.Int64) % 7)}
    by_gate = Recipe(recipe.table, recipe.at, ("gate", "distance"), ("gate",), recipe.views, recipe.label)
    found = assemble(by_gate, numbered, as_of=AS_OF)
    assert found.frame["gate"].to_list() == [str(int(distance) % 7) for distance in found.frame["distance"]]
    made = found.training_set(infer(found.frame.select(by_gate.feature_names), None, {"gate"}), seed=0)
    np.testing.assert_array_equal(made.X[:, 0], found.frame["gate"].cast(pl.Int64).to_numpy())


def test_no_labelled_rows_are_an_error_that_helps(recipe, world):
    with pytest.raises(InvalidInput) as caught:
        assemble(recipe, world, as_of=T0 + 13 * HOUR)
    assert caught.value.code == "training.no_rows"


def test_a_column_that_is_not_there_is_refused_with_those_that_are(recipe, world):
    other = Recipe(recipe.table, recipe.at, ("carrier", "wingspan"), (), recipe.views, recipe.label)
    with pytest.raises(InvalidInput) as caught:
        assemble(other, world, as_of=AS_OF)
    assert caught.value.code == "model.unknown_column"
    assert "wingspan" in caught.value.message
    assert "distance" in caught.value.remedy


def test_a_table_that_is_not_there_is_refused(recipe, world):
    with pytest.raises(NotFound):
        assemble(recipe, {name: world[name] for name in ("departures", "arrivals")}, as_of=AS_OF)


def test_a_recipe_names_its_features_and_tables(recipe):
    assert recipe.feature_names == ("carrier", "distance", "delay_6h", "n_1d", "wind")
    assert recipe.tables == ("departures", "arrivals", "weather")


def test_a_training_set_is_the_rows_encoded(rows):
    signature = infer(
        rows.frame.select(rows.recipe.feature_names), rows.frame["label"].to_numpy(), {"carrier", "distance"}
    )
    made = rows.training_set(signature, seed=5)
    assert (made.X.dtype, made.y.dtype, made.at.dtype) == (np.float32, np.float64, np.dtype("datetime64[us]"))
    assert (len(made), made.X.shape, made.seed) == (rows.frame.height, (rows.frame.height, 5), 5)
    assert made.feature_names == rows.recipe.feature_names
    assert made.categorical == (True, False, False, False, False)
    means = rows.frame.group_by("carrier").agg(pl.col("label").mean()).sort("label")["carrier"].to_list()
    np.testing.assert_array_equal(made.X[:, 0], [means.index(name) for name in rows.frame["carrier"]])
    np.testing.assert_allclose(made.X[:, 4], rows.frame["wind"].cast(pl.Float32).to_numpy())
    assert made.at[0] == np.datetime64(rows.frame["_event_time"][0].replace(tzinfo=None))
    np.testing.assert_array_equal(made.y, rows.frame["label"].to_numpy())
