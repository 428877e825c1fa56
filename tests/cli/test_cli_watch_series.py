"""`loopline watch FILE --series` as a script sees it: exit codes, sentences, JSON, the report, and a home that goes on."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    """Sales of 400 days that lie 3 deviations higher from the 201st on, and visits that stay what they are."""
    rng = np.random.default_rng(5)
    days = [date(2024, 1, 1) + timedelta(place) for place in range(400)]
    sales = rng.normal(1200, 50, 400) + 150 * (np.arange(400) >= 200)
    frame = pl.DataFrame({"day": days, "sales": sales.round(1), "visits": rng.poisson(90, 400), "shop": ["a"] * 400})
    file = tmp_path_factory.mktemp("series") / "metric.csv"
    frame.write_csv(file)
    return file


def test_a_move_exits_with_ten_and_is_told(run, metric, tmp_path):
    report = tmp_path / "report.html"
    done = run("watch", str(metric), "--series", "sales", "--report", str(report))
    assert done.code == 10
    said = " ".join(done.out.split())
    assert said.startswith("Since about 18 July 2024")
    assert "sales lies at 1,348" in said
    assert "where 1,196 was usual" in said
    assert " higher (1" in said
    for question in ("Has it moved?", "How sure is this?", "What was taken as what?", "What next:"):
        assert question in said
    assert "At most one false alarm in 1,000 values is to be expected" in said
    page = report.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") == 2
    assert "likely onset" in page


def test_what_does_not_move_exits_with_nought(run, metric):
    done = run("watch", str(metric), "--series", "visits", "--name", "guests")
    assert (done.code, done.out.splitlines()[0], done.err) == (0, "guests has not moved in 400 values.", "")


def test_json_has_sizes_times_and_stretches(run, metric):
    done = run("watch", "--predictions", str(metric), "--series", "sales", "--json")
    (move,) = done.value["moves"]
    sales = pl.read_csv(metric)["sales"].to_numpy()
    onset = move["onset_row"] - 1
    assert abs(onset - 200) <= 2
    assert datetime.fromisoformat(move["onset"]) == datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(onset)
    assert move["moved"]["after"] == pytest.approx(sales[onset:].mean())
    assert move["moved"]["level"]["lower"] < 150 < move["moved"]["level"]["upper"]
    assert [(one["first"], one["last"]) for one in done.value["stretches"]] == [(1, onset), (onset + 1, 400)]
    assert done.value["stretches"][0]["spread"] == pytest.approx(sales[:onset].std(ddof=1))


def test_a_home_counts_each_value_once_and_opens_an_incident(run, metric, tmp_path):
    home, part = str(tmp_path / "home"), tmp_path / "part.csv"
    pl.read_csv(metric).head(190).write_csv(part)
    keep = ("--series", "sales", "--home", home, "--name", "sales")
    assert run("watch", str(part), *keep).code == 0
    whole = run("watch", str(metric), *keep, "--json")
    assert (whole.code, whole.value["new"], whole.value["found"]) == (10, 210, 1)
    again = run("watch", str(metric), *keep, "--json")
    assert (again.code, again.value["new"], again.value["found"]) == (0, 0, 0)
    assert again.value["moves"] == whole.value["moves"]
    at_once = run("watch", str(metric), "--series", "sales", "--json")
    assert [one["moved"] for one in at_once.value["moves"]] == [
        one["moved"] | {"log_threshold": pytest.approx(one["moved"]["log_threshold"])} for one in whole.value["moves"]
    ]
    (opened,) = run("incidents", "--home", home, "--json").value
    assert (opened["kind"], opened["state"], opened["model"]) == ("moved", "open", "sales")
    (monitor,) = run("monitors", "--home", home, "--json").value
    assert (monitor["monitor"], monitor["kind"], monitor["alarms"], monitor["allowed"]) == (
        "change:sales",
        "moved",
        1,
        None,
    )
    refused = run("watch", str(metric), "--series", "visits", "--home", home, "--name", "sales", "--json")
    assert (refused.code, refused.value["error"]["code"]) == (4, "alone.series_name_taken")


def test_rows_are_counted_where_no_column_is_meant(run, tmp_path):
    """Two an hour, then six: the hour that is not over is left out, one without any counts as nought."""
    start = datetime(2024, 3, 1)  # noqa: DTZ001 - a file without a zone
    times = [
        start + timedelta(hours=hour, minutes=8 * part + 1)
        for hour in range(300)
        for part in range(2 + 4 * (hour >= 200))
        if hour != 7
    ]
    file = tmp_path / "events.csv"
    pl.DataFrame({"at": times, "value": 1.0}).write_csv(file)
    done = run("watch", str(file), "--series", "rows", "--block", "1h", "--json")
    assert done.code == 10
    assert done.value["values"] == 298
    assert [(one["way"], one["onset"]) for one in done.value["moves"]] == [("higher", "2024-03-09T09:00:00Z")]
    assert done.value["stretches"][0]["mean"] == pytest.approx(2 - 2 / 199)


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["--series", "nothing"], "alone.series_no_column", 3),
        (["--series", "shop"], "alone.series_column", 2),
        (["--series", "rows"], "alone.series_block", 2),
        (["--series", "sales", "--false-pages-per-year", "100"], "alone.series_budget", 2),
        (["--series", "sales", "--label", "visits", "--tolerance", "1"], "alone.series_options", 2),
        (["--series", "sales", "--predictions", "too.csv"], "alone.which_file", 2),
    ],
)
def test_wrong_input_says_what_to_do(run, metric, arguments, code, exit_code):
    done = run("watch", str(metric), *arguments, "--json")
    assert (done.code, done.value["error"]["code"]) == (exit_code, code)
    assert done.value["error"]["remedy"]


def test_values_without_times_have_no_years_and_no_home(run, tmp_path):
    file = tmp_path / "plain.csv"
    pl.DataFrame({"value": np.random.default_rng(1).normal(size=60)}).write_csv(file)
    asked = ("watch", str(file), "--series", "value", "--json")
    assert run(*asked).value["timed"] is False
    assert run(*asked, "--false-pages-per-year", "1").value["error"]["code"] == "alone.series_year"
    pl.DataFrame({"at": ["2024-01-01"], "value": [1.0]}).write_csv(tmp_path / "one.csv")
    one = run(
        "watch",
        str(tmp_path / "one.csv"),
        "--series",
        "value",
        "--home",
        str(tmp_path / "home"),
        "--report",
        str(tmp_path / "r.html"),
    )
    assert (one.code, one.out.splitlines()[0]) == (0, "value has 1 value yet, and 30 are needed to say what is usual.")
    assert run(*asked, "--home", str(tmp_path / "home")).value["error"]["code"] == "alone.series_no_times"
    assert run("watch", "--json").value["error"]["code"] == "alone.which_file"
