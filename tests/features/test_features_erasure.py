"""A person in the online store: their rows count no more, and nothing of them stays in its pages."""

from datetime import UTC, datetime

import polars as pl

from loopline.features.definitions import Aggregate, WindowView
from loopline.features.online import OnlineFeatures
from loopline.storage.key_values import open_key_values

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_online_views_are_filed_anew_without_them(tmp_path):
    """Filed under an entity of many, a person's rows count no more; a view that nobody has any more is gone."""
    rows = pl.DataFrame(
        {
            "_key": ["o1", "o7", "o2"], "_event_time": [AT] * 3, "_known_at": [AT] * 3, "_tombstone": [False] * 3,
            "shop": ["a", "a", "b"], "customer": ["c1", "cust-004711", "c2"], "price": [1.0, 5.0, 2.0],
        },
        schema_overrides={"_event_time": pl.Datetime("us", "UTC"), "_known_at": pl.Datetime("us", "UTC")},
    )  # fmt: skip
    by = {
        name: WindowView(table="t", by=name, features={f"{name}_sum": Aggregate(op="sum", column="price", over="1d")})
        for name in ("shop", "customer")
    }
    store = open_key_values(str(tmp_path), durable=False)
    online = OnlineFeatures(store)
    online.update(list(by.values()), "t", rows, horizon=AT)
    assert online.holds(by["customer"], "cust-004711")
    left = rows.filter(pl.col("_key") != "o7")
    online.refile([by["shop"]], {"t": left})
    assert online.read([by["shop"]], [{"shop": "a"}, {"shop": "b"}], [AT, AT]) == {"shop_sum": [1.0, 2.0]}
    assert b"cust-004711" not in (tmp_path / "data.mdb").read_bytes()
    assert not online.holds(by["customer"], "c1")
    store.close()
