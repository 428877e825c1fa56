"""Blocks: a row of one is the prediction it was made of; several make one request again."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loopline.scoring.block import (
    DIVIDER,
    Block,
    Maker,
    Origin,
    Predictions,
    decode,
    encode,
    packed_numbers,
    packed_times,
)
from loopline.scoring.block_frame import prediction_frame

AT = datetime(2026, 5, 1, tzinfo=UTC)


def block(*keys, variant="champion", **more):
    maker = Maker("p", "e", "m", 1, 1, variant, ("x",), ("c",))
    return Block(
        made_by=maker.encoded(),
        scored_at=AT,
        origins=[Origin(1, "ann", None, 0.5)] * len(keys),
        prediction_id=[f"pr_{key}" for key in keys],
        key=list(keys),
        at=packed_times([AT] * len(keys)),
        score=packed_numbers([ord(key) / 200 for key in keys]),
        decision=["positive"] * len(keys),
        cells=packed_numbers([float(ord(key)) for key in keys]),
        texts=[[key.upper() for key in keys]],
        **more,
    )


def test_rows_of_several_models_are_one_request_in_its_order():
    found = Predictions([block("b", "d"), block("a", "c", variant="canary")], [[1, 3], [0, 2]])
    assert [one.key for one in found] == ["a", "b", "c", "d"]
    assert found.column("variant") == ["canary", "champion", "canary", "champion"]
    assert found.column("key") == [one.key for one in found]
    assert (found[-1].key, [one.key for one in found[1:3]], len(found)) == ("d", ["b", "c"], 4)
    with pytest.raises(IndexError):
        found[4]


def test_what_no_row_has_is_left_out_and_read_as_what_it_means():
    [one] = Predictions([block("a")])
    assert (one.degraded, one.action, one.propensity, one.group) == ((), "positive", 1.0, None)
    assert len(encode(block("a"))) < len(encode(block("a", degraded=[("x:y",)], action=["negative"])))


def test_rows_can_be_taken_out_for_good():
    left = block("a", "b", "c", degraded=[("one",), (), ("three",)]).without({1})
    assert list(Predictions([decode(encode(left))])) == list(Predictions([left]))
    assert (left.key, left.degraded, left.numbers["x"]) == (["a", "c"], [("one",), ("three",)], [97.0, 99.0])
    assert b"pr_b" not in encode(left)


as_lists = msgspec.msgpack.encode  # as blocks were written before their texts were joined
texts = st.text(st.characters(exclude_categories=["Cs"]) | st.just(DIVIDER), max_size=5)


@given(
    st.lists(st.tuples(texts, texts, texts | st.none()), min_size=1, max_size=6), st.sampled_from([encode, as_lists])
)
@example([("", "", ""), ("", "", "")], encode)
@example([(DIVIDER, "a", None), ("b", "", "c")], encode)
def test_texts_are_the_same_however_they_lie(rows, encoded):
    keys, decisions, values = (list(column) for column in zip(*rows, strict=True))
    made = msgspec.structs.replace(block(*"a" * len(rows)), key=keys, decision=decisions, texts=[values])
    found = decode(encoded(made))
    assert (len(found), found.column("key"), found.column("decision")) == (len(rows), keys, decisions)
    assert found.categories == {"c": values}
    assert found.column("action") == [decision or None for decision in decisions]
    frame = prediction_frame([found, made])
    assert frame["_key"].to_list() == keys * 2
    assert frame["decision"].to_list() == decisions * 2
    assert frame["feature_c"].to_list() == values * 2
    assert found.part(0, 1, Origin(1)).column("key") == keys[:1]
