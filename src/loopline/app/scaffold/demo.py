"""The loop that `loopline init` writes where there is nothing yet: a shop's orders, some of which are sent back."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

NAME, FIRST, LAST = "shop", "2024-01-01", "2024-02-20"
_DAYS, _A_DAY, _CHANGED = 49, 80, 27

LOOP = '''"""Will this order be sent back? Asked when it is placed. Written by `loopline init`; change it into your own."""

from pathlib import Path

import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

import loopline as ll

loop = ll.Loop("shop")
DATA = Path(__file__).parent / "data"


# A source gives the rows that became known in a window (start, end]. Each row has a key, the time it happened, and the time it
# became known; a model never sees what was not known at its time.
@loop.source(
    key="order",
    event_time="ordered_at",
    known_at="ordered_at",
    expect={"price_is_positive": pl.col("price") > 0},  # rows that break it are quarantined, with the reason
)
def orders(window: ll.Window) -> pl.DataFrame:
    rows = pl.read_csv(DATA / "orders.csv", try_parse_dates=True)
    return became_known(rows, "ordered_at", window)


@loop.source(key="order", event_time="told_at", known_at="told_at")
def outcomes(window: ll.Window) -> pl.DataFrame:
    rows = pl.read_csv(DATA / "outcomes.csv", try_parse_dates=True)
    return became_known(rows, "told_at", window)


def became_known(rows: pl.DataFrame, column: str, window: ll.Window) -> pl.DataFrame:
    return rows.filter(pl.col(column).is_between(window.start, window.end, closed="right"))


@loop.model(
    on=orders,  # a prediction for each of its rows,
    at="ordered_at",  # at this time,
    features=[
        "price",  # a column of the row,
        ll.category("shop"),  # one whose values are names,
        outcomes.features(by="shop", returned=ll.mean("returned", over=["2d", "7d"])),  # sliding windows of another source
    ],
    label=ll.label(outcomes, pl.col("returned") == 1, matures="1d"),  # what would have been right, and when it is known
    params={"max_iter": 30, "max_leaf_nodes": 5},
    holdout="7d",  # the newest labels, kept from training for the gates
)
def returns(train: ll.TrainingSet, params: dict) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(**params, random_state=train.seed).fit(train.X, train.y)


loop.operate(
    returns,
    decide=ll.costs(false_positive=1, false_negative=3),  # what mistakes cost; the threshold follows
    promote=[ll.better("log_loss")],  # a gate: better than the champion, beyond chance
    watch=ll.Risk("log_loss", tolerance=0.02, block="1d", false_pages_per_year=1, min_rows=20),  # what harm is
    respond=[ll.on(ll.harm, ll.retrain(cooldown="3d"))],  # and what is done about it
    compare={"train_once": []},  # another policy, which a replay runs beside this one
    first_after="14d",
)
'''


def demo_files() -> dict[str, bytes]:
    """The files of the example by their paths. On day 27 customers change, and shoes are sent back more often: a good loop notices."""
    rng = np.random.default_rng(7)
    day = np.repeat(np.arange(_DAYS), _A_DAY)
    price, shop = rng.lognormal(3, 0.6, day.size).round(2), rng.choice(["books", "shoes", "toys"], day.size)
    dear = np.log(price) - 3
    logit = 2.0 * dear + np.where(day < _CHANGED, -1.5, 2.5) * (shop == "shoes") - 0.5
    returned = (rng.random(day.size) < 1 / (1 + np.exp(-logit))).astype(int)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    at = [
        start + timedelta(days=int(d), seconds=int(s))
        for d, s in zip(day, rng.integers(1, 86_400, day.size), strict=True)
    ]
    orders = pl.DataFrame(
        {"order": [f"o{i:04}" for i in range(day.size)], "ordered_at": at, "price": price, "shop": shop}
    )
    told = pl.DataFrame({"order": orders["order"], "told_at": [one + timedelta(hours=20) for one in at], "shop": shop, "returned": returned})  # fmt: skip
    return {
        "loop.py": LOOP.encode(),
        "data/orders.csv": _csv(orders.sort("ordered_at")),
        "data/outcomes.csv": _csv(told.sort("told_at")),
    }


def _csv(frame: pl.DataFrame) -> bytes:
    return frame.write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ").encode()
