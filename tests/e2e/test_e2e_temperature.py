"""The second example in a short form: a quantile forecast, each forecast judged by the hour it was for."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from loopline.app.home import open_home
from loopline.app.replays import run_replay
from loopline.config import Settings
from loopline.loop.load import load_loop
from loopline.loop.replay import Period
from loopline.scoring.record import prediction_table

FILE = Path(__file__).parents[2] / "examples" / "temperature" / "loop.py"
LEVELS = (0.1, 0.5, 0.9)


def test_a_quantile_forecast_goes_all_the_way_round(tmp_path):
    assert len(FILE.read_text().splitlines()) < 60
    settings = Settings.read(tmp_path / "home", environment={"LOOPLINE_DURABLE": "0"})
    period = Period(datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 3, 20, tzinfo=UTC))
    (result,) = run_replay(settings, load_loop(FILE), period, seed=0, progress=lambda *_: None, report=None)
    comparison = result.comparison
    own = comparison.policies[0]
    assert own.predictions == own.labelled + own.unlabelled
    assert (comparison.loss, comparison.other_loss) == ("pinball", "absolute_error")
    home = open_home(settings)
    rows = home.tables.open(prediction_table("temperature", "temperature")).read(event_after=comparison.since)
    seen = home.tables.open("temperature.weather").read().select("origin", "temp", target_time="observed_at")
    rows = rows.with_columns(origin=pl.col("feature_origin")).join(seen, on=["origin", "target_time"], how="inner")
    rows = rows.filter(pl.col("temp").is_not_null())
    assert rows["horizon_s"].unique().sort().to_list() == [6 * 3600, 12 * 3600, 24 * 3600]
    quantiles = np.stack(rows["outputs"].to_list())
    expected = [
        metrics.mean_pinball_loss(rows["temp"], quantiles[:, place], alpha=level) for place, level in enumerate(LEVELS)
    ]
    assert own.loss == pytest.approx(np.mean(expected), rel=0.05)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    amounts = rows["decision"].cast(pl.Float64).to_numpy()
    share = (0.8 - 0.5) / (0.9 - 0.5)
    assert amounts == pytest.approx(quantiles[:, 1] * (1 - share) + quantiles[:, 2] * share)
