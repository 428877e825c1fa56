"""A bias report of files that something else wrote."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from loopline.app.bias_files import FilesSaid, bias_of_files
from loopline.app.report.bias import bias_html
from loopline.errors import InvalidInput, NotFound

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def frame():
    rng = np.random.default_rng(4)
    n = 1200
    sex = rng.choice(["F", "M", None], n, p=[0.5, 0.45, 0.05])
    label = (rng.random(n) < 0.4).astype(int)
    score = np.clip(0.3 + 0.3 * label + 0.1 * (sex == "M") + rng.normal(0, 0.2, n), 0, 1)
    at = [START + timedelta(hours=int(hour)) for hour in range(n)]
    return pl.DataFrame(
        {"id": [f"r{i}" for i in range(n)], "at": at, "score": score, "sex": sex.tolist(), "label": label}
    )


def selection(frame, threshold):
    told = frame.group_by("sex").agg(rate=(pl.col("score") >= threshold).mean())
    return {f"sex={name or '(missing)'}": rate for name, rate in told.iter_rows()}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_files_of_every_format_say_the_same(frame, tmp_path, suffix):
    write = {"parquet": "write_parquet", "csv": "write_csv", "jsonl": "write_ndjson"}[suffix]
    predictions, labels = tmp_path / f"p.{suffix}", tmp_path / f"l.{suffix}"
    getattr(frame.drop("label"), write)(predictions)
    getattr(frame.select("id", "label").sample(1000, seed=1), write)(labels)
    found = bias_of_files(predictions, labels, FilesSaid(by=("sex",), threshold=0.6))
    assert found.rows == 1000
    kept = frame.filter(pl.col("id").is_in(frame.select("id").sample(1000, seed=1)["id"].to_list()))
    told = {group.name: group.figures["selection_rate"].value for group in found.groupings[0].groups if group.figures}
    expected = selection(kept, 0.6)
    assert told == pytest.approx({name: expected[name] for name in told})
    assert "sex=F" in told
    assert "cost" not in found.groupings[0].groups[0].figures
    page = bias_html(found, "p")
    assert page == bias_html(found, "p")
    assert "sex=F" in page


def test_decisions_that_were_taken_count_and_an_abstention_is_neither(frame, tmp_path):
    taken = np.where(np.arange(1200) % 3 == 0, "abstain", np.where(frame["score"] > 0.5, "positive", "negative"))
    path = tmp_path / "p.parquet"
    frame.with_columns(decision=pl.Series(taken)).write_parquet(path)
    found = bias_of_files(path, None, FilesSaid(by=("sex",)))
    women = found.groupings[0].groups[1]
    assert women.name == "sex=F"
    mask = (frame["sex"] == "F").fill_null(value=False).to_numpy()
    assert women.figures["abstention_rate"].value == pytest.approx((taken[mask] == "abstain").mean())
    missed = mask & (frame["label"].to_numpy() == 1) & (taken != "abstain")
    assert women.figures["false_negative_rate"].value == pytest.approx((taken[missed] == "negative").mean())


def test_numbers_are_compared_by_their_errors(frame, tmp_path):
    path = tmp_path / "p.parquet"
    frame.with_columns(label=pl.col("score") * 100, score=pl.lit(50.0)).write_parquet(path)
    found = bias_of_files(path, None, FilesSaid(by=("sex",), kind="regression"))
    assert set(found.groupings[0].disparities) == {"mean_error", "absolute_error", "squared_error"}


def broken(frame, tmp_path, change, labels=None, **said):
    path = tmp_path / "p.parquet"
    change(frame).write_parquet(path)
    if labels is not None:
        labels.write_parquet(tmp_path / "l.parquet")
    return bias_of_files(
        path, None if labels is None else tmp_path / "l.parquet", FilesSaid(**({"by": ("sex",)} | said))
    )


@pytest.mark.parametrize(
    ("code", "change", "said"),
    [
        ("bias.no_groups", lambda frame: frame, {"by": ()}),
        ("bias.no_column", lambda frame: frame, {"by": ("age",)}),
        ("bias.no_column", lambda frame: frame.drop("score"), {}),
        ("bias.no_column", lambda frame: frame, {"decision": "verdict"}),
        ("bias.values", lambda frame: frame.with_columns(label=pl.col("label") + 1), {}),
        ("bias.values", lambda frame: frame.with_columns(score=pl.col("score") * 9), {}),
        ("bias.not_numbers", lambda frame: frame.with_columns(label=pl.lit("yes")), {}),
        ("bias.bad_time", lambda frame: frame.with_columns(at=pl.lit("soon")), {}),
        ("bias.no_rows", lambda frame: frame.with_columns(label=pl.lit(None, pl.Int64)), {}),
        ("bias.kind", lambda frame: frame, {"kind": "ranking"}),
    ],
)
def test_what_is_wrong_with_files_is_said(frame, tmp_path, code, change, said):
    with pytest.raises(InvalidInput) as caught:
        broken(frame, tmp_path, change, **said)
    assert caught.value.code == code
    assert caught.value.remedy


def test_what_is_wrong_with_labels_is_said(frame, tmp_path):
    twice = pl.concat([frame.select("id", "label")] * 2)
    for labels, code, said in [
        (twice, "bias.key_twice", {}),
        (frame.select(other="id", label="label"), "bias.no_key", {}),
        (frame.select(pl.int_range(pl.len()).alias("id"), "label"), "bias.key_types", {}),
        (frame.select("id", "label"), "bias.no_key", {"key": "number"}),
    ]:
        with pytest.raises(InvalidInput) as caught:
            broken(frame, tmp_path, lambda one: one.drop("label"), labels, **said)
        assert caught.value.code == code
    with pytest.raises(NotFound, match=r"bias\.no_file"):
        bias_of_files(tmp_path / "nothing.csv", None, FilesSaid(by=("sex",)))
    (tmp_path / "x.txt").write_text("?")
    with pytest.raises(InvalidInput, match=r"bias\.unknown_format"):
        bias_of_files(tmp_path / "x.txt", None, FilesSaid(by=("sex",)))
    (tmp_path / "x.parquet").write_text("?")
    with pytest.raises(InvalidInput, match=r"bias\.unreadable"):
        bias_of_files(tmp_path / "x.parquet", None, FilesSaid(by=("sex",)))
