"""A harm of a loop, explained from its log: rows with a planted change, asked as the loop asks."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from loopline.app.study.of_log import diagnose_rows
from loopline.evaluation.kind import BINARY, Output
from loopline.monitoring.diagnosis.change import Change
from loopline.monitoring.diagnosis.question import Question
from loopline.monitoring.risk import Risk

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS, A_DAY, ONSET = 30, 250, 20
RISK = Risk("log_loss", tolerance=0.02, block="1d", false_pages_per_year=1)


def logged(change: str = "", kind: str = "binary") -> pl.DataFrame:
    """Rows of a model that knows how the label comes about; from the onset on something is otherwise."""
    rng = np.random.default_rng(5)
    count = DAYS * A_DAY
    place = np.sort(rng.uniform(0, DAYS, count))
    after = place >= ONSET
    amount, region = rng.normal(size=count), rng.choice(["north", "south", "east"], count)
    truth = np.where(after & (change == "concept") & (region == "east"), -1.5, 1.5) * amount
    seen = np.where(after & (change == "unit"), amount * 60, amount)
    said = 1 / (1 + np.exp(-np.clip(1.5 * seen, -8, 8)))
    label = (rng.random(count) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    if kind == "regression":
        said, label = 1.5 * seen, truth + rng.normal(size=count)
    at = [START + timedelta(days=float(one)) for one in place]
    return pl.DataFrame(
        {
            "_key": [f"k{i}" for i in range(count)],
            "at": pl.Series(at, dtype=pl.Datetime("us", "UTC")),
            "score": said,
            "label": label,
            "decision": None,
            "model_version": 1,
            "group": pl.Series([None] * count, dtype=pl.String),
            "amount": seen,
            "region": region,
            "idle": rng.normal(size=count),
        }
    )


def asked(**also) -> Question:
    onset = START + ONSET * DAY
    told = {"output": BINARY, "risk": RISK, "earliest": onset - DAY, "onset": onset, "until": START + DAYS * DAY}
    return Question(**(told | also))


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_another_unit_comes_first_with_what_it_accounts_for(kind):
    risk = RISK if kind == "binary" else Risk("squared_error", 0.1, "1d", 1.0)
    first = diagnose_rows(logged("unit", kind), asked(output=Output(kind), risk=risk))[0]
    assert (first.kind, first.subject) == ("unit_change", "amount")
    assert "60 times" in first.sentence
    assert first.share is not None
    assert first.share > 0.5


def test_a_changed_meaning_is_told_of_its_slice():
    first = diagnose_rows(logged("concept"), asked())[0]
    assert first.kind == "concept"
    assert first.subject.startswith("region=east")


def test_what_changed_upstream_is_weighed_by_what_it_reaches():
    at = START + ONSET * DAY
    reaching = Change("table_version", "orders version 7", at, "Other code read it.", ("amount",))
    idle = Change("table_version", "weather version 3", at, "Other code read it.", ("idle",))
    found = diagnose_rows(logged("unit"), asked(changes=[idle, reaching]))
    order = [one.subject for one in found]
    assert order.index("amount") < order.index("orders version 7") < order.index("weather version 3")
    told = next(one for one in found if one.subject == "orders version 7")
    assert "It accounts for" in told.sentence
    assert told.remedy.startswith("Look at what the source gave then")


def test_an_onset_with_too_little_before_it_is_not_explained():
    assert diagnose_rows(logged("unit"), asked(earliest=START + 2 * DAY, onset=START + 3 * DAY)) == []
    assert diagnose_rows(logged("unit").head(20), asked()) == []
