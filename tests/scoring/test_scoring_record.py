from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.scoring.block import Block, decode, encode
from loopline.scoring.block_frame import prediction_frame
from loopline.scoring.record import Prediction, code_lists, prediction_schema, prediction_table

NOW = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
times = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of aware times
texts = st.none() | st.text(max_size=5)
numbers = st.none() | st.floats(allow_nan=False)


@st.composite
def predictions(draw):
    return Prediction(
        prediction_id=draw(st.text(min_size=1)),
        project="p",
        endpoint="e",
        model="m",
        model_version=draw(st.integers(0, 10)),
        decision_version=1,
        variant="champion",
        key=draw(st.text(min_size=1)),
        at=draw(times),
        scored_at=draw(times),
        score=draw(numbers),
        decision="positive",
        degraded=tuple(draw(st.lists(st.sampled_from(["a:x", "b", "c:y z"]), max_size=3))),
        outputs=draw(st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1))),
        target_time=draw(st.none() | times),
        position=draw(st.none() | st.integers(0, 100)),
        group=draw(texts),
        numbers=draw(st.dictionaries(st.sampled_from(["n1", "n2"]), numbers)),
        categories=draw(st.dictionaries(st.sampled_from(["c1", "c2"]), texts)),
    )


def as_kept(prediction):
    """What was not drawn was certain, and the decision is what was done."""
    return msgspec.structs.replace(prediction, action=prediction.action or prediction.decision, propensity=1.0)


@settings(max_examples=25)
@given(predictions())
def test_msgpack_brings_a_record_back(prediction):
    assert decode(encode(Block.of(prediction))).row(0) == as_kept(prediction)


@settings(max_examples=20)
@given(st.lists(predictions(), max_size=4))
def test_a_frame_holds_every_value(records):
    frame = prediction_frame([Block.of(one) for one in records])
    assert frame.height == len(records)
    for row, record in zip(frame.to_dicts(), records, strict=True):
        assert (row["_key"], row["_event_time"], row["_known_at"], row["_tombstone"]) == (
            record.key,
            record.at,
            record.scored_at,
            False,
        )
        assert row["degraded"] == list(record.degraded)
        assert row["outputs"] == (None if record.outputs is None else list(record.outputs))
        assert row["target_time"] == record.target_time
        for name in ("prediction_id", "model_version", "score", "decision", "position", "group"):
            assert row[name] == getattr(record, name)
        for name in ("n1", "n2"):
            assert row.get(f"feature_{name}") == record.numbers.get(name)
        for name in ("c1", "c2"):
            assert row.get(f"feature_{name}") == record.categories.get(name)


def test_the_schema_of_a_signature_fits_a_frame_of_its_predictions(signature):
    schema = prediction_schema(signature)
    record = Prediction(
        prediction_id="x",
        project="p",
        endpoint="e",
        model="m",
        model_version=1,
        decision_version=1,
        variant="champion",
        key="k",
        at=NOW,
        scored_at=NOW + timedelta(seconds=1),
        score=0.5,
        decision="abstain",
        numbers={"distance": 1.0, "dewpoint": None, "delay_3h": 2.0},
        categories={"carrier": None},
    )
    schema.check(prediction_frame([Block.of(record)]))
    assert schema.columns["feature_carrier"] == pl.String()
    assert schema.columns["feature_dewpoint"] == pl.Float64()


def test_code_lists_tell_no_code_from_an_empty_list():
    assert code_lists([(), ("a", "b:c d"), ()]).to_list() == [[], ["a", "b:c d"], []]


def test_the_table_is_named_for_project_and_model():
    assert prediction_table("flights", "late_arrival") == "predictions.flights.late_arrival"
