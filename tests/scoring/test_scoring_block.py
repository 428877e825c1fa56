"""Blocks: a row of one is the prediction it was made of; several make one request again."""

from datetime import UTC, datetime

import pytest

from loopline.scoring.block import Block, Maker, Origin, Predictions, decode, encode, packed_numbers, packed_times

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
    assert decode(encode(left)) == left
    assert (left.key, left.degraded, left.numbers["x"]) == (["a", "c"], [("one",), ("three",)], [97.0, 99.0])
    assert b"pr_b" not in encode(left)
