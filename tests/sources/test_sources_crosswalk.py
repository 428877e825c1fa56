"""Identities as they were known at each row's own time: against a look-up by hand."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.sources.crosswalk import Crosswalk, nothing_held, resolve

T0 = datetime(2024, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
CUSTOMERS = Crosswalk("customer", "shop.crm", "customer_id", "keep")


def at(hour: int) -> datetime:
    return T0 + timedelta(hours=hour)


def history(rows: list[tuple[str, int, str | None]]) -> pl.DataFrame:
    """Mappings (id, hour known, identity); None is a tombstone."""
    return pl.DataFrame(
        {
            "_key": [one[0] for one in rows],
            "_known_at": [at(one[1]) for one in rows],
            "_tombstone": [one[2] is None for one in rows],
            "customer_id": [one[2] for one in rows],
        },
        schema={"_key": pl.String, "_known_at": TIME, "_tombstone": pl.Boolean, "customer_id": pl.String},
    )


def orders(rows: list[tuple[str | None, int]]) -> pl.DataFrame:
    schema = {"crm_id": pl.String, "at": TIME}
    return pl.DataFrame({"crm_id": [one[0] for one in rows], "at": [at(one[1]) for one in rows]}, schema=schema)


IDS = st.sampled_from(["a", "b", "c"])
MAPPINGS = st.lists(st.tuples(IDS, st.integers(0, 20), st.none() | st.sampled_from(["x", "y", "z"])), max_size=12)
ROWS = st.lists(st.tuples(st.none() | IDS, st.integers(0, 20)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=100)
@given(MAPPINGS, ROWS, st.sampled_from(["keep", "null", "quarantine"]))
def test_a_row_sees_the_last_mapping_known_at_its_time(mappings, rows, rule):
    identity = CUSTOMERS.of("crm_id", unresolved=rule)
    found, unresolved = resolve(orders(rows), identity, history(mappings), known_at="at")
    for (id_, hour), value, missing in zip(rows, found["customer_id"], unresolved, strict=True):
        known = [one for one in mappings if one[0] == id_ and one[1] <= hour]
        last = max(enumerate(known), key=lambda one: (one[1][1], one[0]), default=(0, (None, 0, None)))[1][2]
        assert value == (last or (id_ if rule == "keep" else None))
        assert missing == (last is None and id_ is not None)
    assert found.select("crm_id", "at").equals(orders(rows))


def test_numbers_can_be_ids_and_a_column_can_be_replaced():
    frame = pl.DataFrame({"buyer": [7, 8], "at": [at(5), at(5)]}, schema={"buyer": pl.Int64, "at": TIME})
    found, _ = resolve(frame, CUSTOMERS.of("buyer", into="buyer"), history([("7", 1, "x")]), known_at="at")
    assert found["buyer"].to_list() == ["x", "8"]
    found, unresolved = resolve(frame, CUSTOMERS.of("buyer"), nothing_held("customer_id"), known_at="at")
    assert (found["customer_id"].to_list(), unresolved.to_list()) == (["7", "8"], [True, True])


def test_mistakes_are_told():
    with pytest.raises(InvalidInput, match="needs the column buyer"):
        resolve(orders([("a", 1)]), CUSTOMERS.of("buyer"), nothing_held("customer_id"), known_at="at")
    with pytest.raises(InvalidInput, match="'at' already"):
        resolve(orders([("a", 1)]), CUSTOMERS.of("crm_id", into="at"), nothing_held("customer_id"), known_at="at")
    with pytest.raises(InvalidInput, match="unresolved='drop'"):
        CUSTOMERS.of("crm_id", unresolved="drop")  # type: ignore[arg-type]
