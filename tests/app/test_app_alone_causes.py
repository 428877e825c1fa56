"""Causes of planted harms, by `watch_files`: the true one comes first."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loopline.app.alone.page import watch_html
from loopline.app.alone.watch import watch_files
from loopline.app.study.fresh import Request

_spec = spec_from_file_location("alone_data", Path(__file__).parent / "alone_data.py")
assert _spec is not None
assert _spec.loader is not None
data = module_from_spec(_spec)
_spec.loader.exec_module(data)

HARM = 30


def watch(folder, predictions, labels):
    paths = data.Service(predictions, labels).write(folder)
    return watch_files(Request(*paths, name="service"), lambda *_: None)


def since(predictions):
    return predictions["predicted_at"] >= data.START + pl.Series([HARM * data.DAY]).cast(pl.Duration("us"))[0]


@pytest.fixture(scope="module")
def service():
    return data.service(days=50, rows=300)


def scored(predictions):
    amount = predictions["amount"].to_numpy()
    return predictions.with_columns(score=1 / (1 + np.exp(-np.clip(-1 + 1.2 * amount, -8, 8))))


def test_another_unit_is_named_with_its_factor_and_what_it_costs(service, tmp_path):
    late = since(service.predictions)
    pounds = pl.when(late).then(pl.col("amount") * 60.0).otherwise(pl.col("amount"))
    found = watch(tmp_path, scored(service.predictions.with_columns(amount=pounds)), service.labels)
    first = found.why.causes[0]
    assert (found.verdict, first.kind, first.subject) == ("harm", "unit_change", "amount")
    assert "60 times" in first.sentence
    assert first.share is not None
    assert first.share > 0.5
    assert found.why.sentences[0].startswith("Broken: amount")
    assert found.why.sentences[1] == f"To do: {first.remedy}"
    assert first.picture is not None
    assert len(first.picture.first) == len(first.picture.values) == len(set(first.picture.first))
    page = watch_html(found)
    assert "The likeliest causes first." in page
    assert "The line across is what was usual" in page


def test_a_slice_that_changed_with_its_inputs_as_before_is_named(tmp_path):
    service = data.service(days=50, rows=300, harm=HARM, kind="concept")
    found = watch(tmp_path, service.predictions, service.labels)
    first = found.why.causes[0]
    assert (first.kind, first.subject) == ("concept", "region=east")
    assert [one.slice for one in found.why.slices][:1] == ["region=east"]
    assert found.harmed


def test_a_column_of_other_rows_is_in_the_headline_before_it_is_an_alarm(tmp_path):
    service = data.service(days=50, rows=60)
    rng = np.random.default_rng(3)
    late, rows = since(service.predictions).to_numpy(), len(service.predictions)
    size = rng.normal(size=rows)
    given, height = size.copy(), size + rng.normal(0, 0.5, rows)
    given[late] = rng.permutation(given[late])
    label = rng.random(rows) < 1 / (1 + np.exp(-0.4 * size))
    predictions = service.predictions.with_columns(
        size=pl.Series(given), height=pl.Series(height), score=pl.Series(1 / (1 + np.exp(-0.4 * given)))
    )
    labels = service.predictions.select("prediction_id").with_columns(label=pl.Series(label.astype(float)))
    found = watch(tmp_path, predictions, labels)
    assert found.verdict == "fine"
    assert found.headline.endswith("but broken: size.")
    assert found.why.causes[0].kind == "skewed_join"


def test_a_column_of_other_rows_that_goes_with_no_other_is_what_misleads(service, tmp_path):
    """Slices tell where it hurts; that the model would do better without the column tells why."""
    rng = np.random.default_rng(3)
    late, rows = since(service.predictions).to_numpy(), len(service.predictions)
    kids = rng.choice([0.0, 1.0, 2.0], rows, p=[0.6, 0.25, 0.15])
    hours = 30 - 12 * kids + rng.normal(0, 4, rows)
    given = np.where(late, rng.permutation(kids), kids)
    predictions = service.predictions.with_columns(kids=pl.Series(given), score=pl.Series(30 - 12 * given))
    labels = service.predictions.select("prediction_id").with_columns(label=pl.Series(hours))
    found = watch(tmp_path, predictions, labels)
    first = found.why.causes[0]
    assert (found.verdict, first.kind, first.subject) == ("harm", "misleading", "kids")
    assert first.share is not None
    assert first.share > 0.7


def test_rows_that_came_twice_are_told_and_a_split_name_says_what_it_was(service, tmp_path):
    late = since(service.predictions)
    again = service.predictions.filter(late & (pl.Series(np.arange(len(late)) % 3 == 0)))
    copies = again.with_columns(pl.col("prediction_id") + "-again")
    labels = pl.concat(
        [
            service.labels,
            service.labels.join(again, on="prediction_id", how="semi").with_columns(pl.col("prediction_id") + "-again"),
        ]
    )
    half = pl.Series(np.random.default_rng(0).random(len(late)) < 0.5)
    renamed = pl.when(late & half & (pl.col("region") == "north")).then(pl.lit("North")).otherwise(pl.col("region"))
    rows = pl.concat([service.predictions.with_columns(region=renamed), copies]).sort("predicted_at")
    causes = {one.kind: one for one in watch(tmp_path, rows, labels).why.causes}
    assert "'north' was split: 'North'" in causes["category_split"].sentence
    assert causes["duplicated_rows"].timing > 0.9


def test_a_sound_service_has_no_broken_input(service, tmp_path):
    found = watch(tmp_path, service.predictions, service.labels)
    assert not found.why.spells
    assert not found.why.slices
    assert not [one for one in found.why.causes if one.kind not in {"drift", "traffic_mix", "concept"}]
