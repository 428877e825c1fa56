"""Batches: cut into parts in any way they come to the same, killed anywhere they come to the same, and nothing shows before the end."""

import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import deltalake
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import Conflict, InvalidInput, Unavailable
from loopline.scoring.batch.intake import part_path
from loopline.scoring.batch.job import JobFolder
from loopline.sources.whole import WholeFiles
from loopline.tables import Tables
from loopline.tables.quarantine import quarantined

WORK = Path(__file__).with_name("batch_work.py")
_spec = spec_from_file_location("batch_work", WORK)
work = module_from_spec(_spec)
_spec.loader.exec_module(work)

QUARANTINE = {"policy": "quarantine"}


def flights(count: int, seed: int = 0) -> pl.DataFrame:
    """Rows with every oddity: unseen categories, numbers out of range, nulls where training had none."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "flight": [f"f{number:05}" for number in range(count)],
            "departs": [work.NOW + timedelta(minutes=int(m)) for m in rng.integers(0, 9999, count)],
            "distance": [None if hole < 0.05 else far for hole, far in zip(rng.random(count), rng.uniform(0, 6000, count), strict=True)],
            "carrier": rng.choice(["UA", "AA", "DL", "ZZ"], count).tolist(),
            "dewpoint": [None if hole < 0.3 else dew for hole, dew in zip(rng.random(count), rng.normal(0, 15, count), strict=True)],
            "search": [f"s{number}" for number in rng.integers(0, max(count // 7, 1), count)],
        },
        schema_overrides={"departs": pl.Datetime("us", "UTC"), "distance": pl.Float64, "dewpoint": pl.Float64},
    )  # fmt: skip


def file_of(frame: pl.DataFrame, folder: Path, name: str = "flights.parquet") -> WholeFiles:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.fZ") if name.endswith("csv") else frame.write_parquet(
        path
    )
    return WholeFiles(str(path))


def rows_in(home: Path) -> pl.DataFrame:
    return Tables(home / "tables").open(work.INTO).read()


def alone(frame: pl.DataFrame, champion=None, seed: int = 0) -> pl.DataFrame:
    """What the engine says of each row by itself."""
    champion = champion or work.Sum()
    engine = work.engine_of(work.deployment(champion.signature.output), champion)
    return pl.concat([engine.predict_frame(row, scored_at=work.NOW, seed=seed) for row in frame.iter_slices(1)])


def test_each_row_gets_what_the_engine_says_of_it_alone(tmp_path):
    frame = flights(230)
    done = work.scored(file_of(frame, tmp_path), tmp_path, part_rows=50)
    rows = rows_in(tmp_path)
    expected = alone(frame).drop("prediction_id")
    assert rows.drop("prediction_id").equals(expected.select(rows.drop("prediction_id").columns))
    assert rows["prediction_id"].n_unique() == 230
    assert (done.rows, done.flagged) == (230, expected.filter(pl.col("degraded").list.len() > 0).height)
    assert deltalake.DeltaTable(tmp_path / "tables" / work.INTO).version() == done.version == 1


def test_csv_comes_to_the_same_as_parquet(tmp_path):
    frame = flights(90).with_columns(flight=pl.format("00{}", pl.int_range(pl.len())))
    for name in ("flights.parquet", "flights.csv"):
        work.scored(file_of(frame, tmp_path, name), tmp_path / name[-3:], part_rows=40)
    one, other = (rows_in(tmp_path / name[-3:]).drop("prediction_id") for name in ("flights.parquet", "flights.csv"))
    assert one.equals(other)
    assert one["_key"][7] == "007"


bad = st.sampled_from(["", "key", "time", "infinite", "again"])


@settings(max_examples=8, deadline=None)
@given(
    st.lists(bad, min_size=1, max_size=40), st.integers(1, 45), st.sampled_from(["plain", "needs_all", "limit", "wide"])
)
def test_how_rows_are_cut_changes_nothing(kinds, part_rows, model):
    frame = spoiled(flights(len(kinds), seed=len(kinds)), kinds)
    champion = {
        "plain": work.Sum(),
        "needs_all": work.Sum(needs_all=True),
        "limit": work.Sum(limit=3000),
        "wide": work.Sum(work.CLASSES),
    }[model]
    also = {"previous": work.Sum(weight=2e-3, limit=4500), "champion": champion, **QUARANTINE}
    also |= {"fallback": 0.25} if model != "wide" else {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        source = file_of(frame, place)
        found = []
        for cut in (part_rows, 1000):
            if "" not in kinds:
                with pytest.raises(InvalidInput, match="no row of the input can be scored"):
                    work.scored(source, place / str(cut), part_rows=cut, **also)
                continue
            done = work.scored(source, place / str(cut), part_rows=cut, **also)
            tables = Tables(place / str(cut) / "tables")
            found.append((tables.open(work.INTO).read(), quarantined(tables, work.INTO), done))
    if "" not in kinds:
        return
    (rows, aside, done), (all_rows, all_aside, all_done) = found
    assert rows.equals(all_rows)
    assert aside.equals(all_aside)
    assert done == all_done
    assert sorted(aside["_reason"]) == sorted(reasons(kinds))
    good = [kind == "" for kind in kinds]
    check_rungs(rows, frame.filter(pl.Series(good)), model)


def spoiled(frame: pl.DataFrame, kinds: list[str]) -> pl.DataFrame:
    """A row of kind "again" says what the first good row said; without one before it, it has no key."""
    rows, first = [], None
    for row, kind in zip(frame.to_dicts(), kinds, strict=True):
        change = {"key": {"flight": None}, "time": {"departs": None}, "infinite": {"distance": float("inf")}}.get(
            kind, {}
        )
        if kind == "again":
            change = {"flight": None} if first is None else {"flight": first["flight"], "departs": first["departs"]}
        elif not kind and first is None:
            first = row
        rows.append(row | change)
    return pl.DataFrame(rows, schema=frame.schema)


def reasons(kinds: list[str]) -> list[str]:
    said = {"key": "bad_key:flight", "time": "bad_time:departs", "infinite": "not_finite:distance"}
    found, good = [], False
    for kind in kinds:
        if kind == "again":
            found.append("duplicate_key:flight" if good else said["key"])
        elif kind:
            found.append(said[kind])
        good = good or not kind
    return [f"scoring.{one}" for one in found]


def check_rungs(rows: pl.DataFrame, frame: pl.DataFrame, model: str) -> None:
    """Each row is answered by the first model that can answer it."""
    far = frame["distance"].fill_null(0)
    lacks = frame["distance"].is_null() | frame["dewpoint"].is_null() | (frame["carrier"] == "ZZ")
    fails = {"needs_all": lacks, "limit": far > 3000}.get(model, far < 0)
    expected = [
        "champion" if not bad else "previous" if d <= 4500 else "fallback" for bad, d in zip(fails, far, strict=True)
    ]
    assert rows["variant"].to_list() == expected


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 5))
def test_groups_stay_whole(count, part_rows, seed):
    frame = flights(count, seed)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        source = file_of(frame, home)
        work.scored(source, home, part_rows=part_rows, champion=work.Sum(work.RANKING), group="search")
        rows = rows_in(home)
    engine = work.engine_of(work.deployment(work.RANKING, group="search"), work.Sum(work.RANKING))
    whole = engine.predict_frame(frame.with_columns(_group=pl.col("search")), scored_at=work.NOW)
    columns = ["_key", "score", "group", "position"]
    assert rows.select(columns).sort("_key").equals(whole.select(columns).sort("_key"))


def test_a_row_that_breaks_the_contract_refuses_all_of_them(tmp_path):
    source = file_of(
        flights(60).with_columns(distance=pl.when(pl.col("flight") == "f00041").then(1e39).otherwise("distance")),
        tmp_path,
    )
    with pytest.raises(InvalidInput, match="row 41: 'distance' is infinite") as caught:
        work.scored(source, tmp_path, part_rows=10)
    assert (caught.value.code, caught.value.context["row"]) == ("scoring.not_finite", 41)
    assert Tables(tmp_path / "tables").names() == []


def test_a_row_that_no_model_scores_is_refused_or_set_aside(tmp_path):
    frame = flights(50)
    source = file_of(frame, tmp_path)
    lacks = frame.filter(pl.col("distance").is_null() | pl.col("dewpoint").is_null() | (pl.col("carrier") == "ZZ"))
    with pytest.raises(Unavailable, match="no model can score it"):
        work.scored(source, tmp_path / "refuse", champion=work.Sum(needs_all=True))
    done = work.scored(source, tmp_path / "aside", champion=work.Sum(needs_all=True), **QUARANTINE)
    aside = quarantined(Tables(tmp_path / "aside/tables"), work.INTO)
    assert aside["_key"].to_list() == lacks["flight"].to_list()
    assert set(aside["_reason"]) == {"scoring.no_model"}
    assert (done.rows, done.refused) == (50 - lacks.height, lacks.height)


def test_what_was_set_aside_says_what_the_input_said(tmp_path):
    source = file_of(pl.DataFrame({"flight": ["a", "b"], "departs": ["2026-05-01T12:00:00Z", "noon"], "distance": ["100", "far"],
                                   "carrier": ["UA", "AA"], "dewpoint": ["", "1"]}), tmp_path, "rows.csv")  # fmt: skip
    work.scored(source, tmp_path, **QUARANTINE)
    [row] = quarantined(Tables(tmp_path / "tables"), work.INTO).to_dicts()
    assert (row["_key"], row["_reason"]) == ("b", "scoring.bad_time:departs")
    assert '"departs":"noon","distance":"far"' in row["row"]


def test_killed_at_any_moment_it_comes_to_the_same(tmp_path):
    source = file_of(flights(400), tmp_path)
    work.scored(source, tmp_path / "whole", part_rows=20)
    expected, chance = rows_in(tmp_path / "whole"), random.Random(5)
    kills, attempts = 0, 0
    with subprocess.Popen(
        [sys.executable, str(WORK), source.pattern, str(tmp_path / "killed")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        while attempts < 60:
            attempts += 1
            server.stdin.write("20\n")
            server.stdin.flush()
            child = int(server.stdout.readline())
            # Later ones live longer, so that in the end one comes through.
            time.sleep(chance.uniform(0, 0.05 + 0.03 * attempts))
            subprocess.run(["kill", "-9", str(child)], check=False, capture_output=True)
            ended = int(server.stdout.readline())
            assert ended in (0, -9)
            kills += ended == -9
            if ended == 0:
                break
            assert Tables(tmp_path / "killed/tables").names() == [] or rows_in(tmp_path / "killed").height in (0, 400)
        server.stdin.close()
    assert ended == 0
    assert kills >= 5
    assert rows_in(tmp_path / "killed").equals(expected)
    data = {path.name for path in (tmp_path / "killed/tables" / work.INTO).glob("*.parquet")}
    assert len(data) == 20  # what was written twice was written to the same files
    assert not list((tmp_path / "killed/batch").glob("*/*"))


def test_a_line_that_a_death_cut_short_is_done_again(tmp_path):
    source = file_of(flights(100), tmp_path)
    work.scored(source, tmp_path / "whole", part_rows=10)
    home = tmp_path / "cut"
    folder = JobFolder.of(home / "batch", source.named)

    class Stop(Exception):
        pass

    class Stopping(work.Sum):
        calls = 0

        def outputs(self, matrix):
            self.calls += 1
            if self.calls > 6:
                raise Stop
            return super().outputs(matrix)

    with pytest.raises(Unavailable):  # every rung fails
        work.scored(source, home, part_rows=10, champion=Stopping())
    journal = folder.path / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    done = work.scored(source, home, part_rows=10)
    assert done.resumed
    assert rows_in(home).equals(rows_in(tmp_path / "whole"))


def test_a_row_with_an_infinity_is_kept_as_it_was(tmp_path):
    frame = flights(3).with_columns(distance=pl.Series([1.5, float("inf"), 2.5]), flight=pl.Series(["a", "b", None]))
    work.scored(file_of(frame, tmp_path), tmp_path, **QUARANTINE)
    infinite, keyless = quarantined(Tables(tmp_path / "tables"), work.INTO)["row"].str.json_path_match("$.distance")
    assert (infinite, keyless) == ("inf", "2.5")


def test_two_processes_do_not_score_the_same(tmp_path):
    source = file_of(flights(10), tmp_path)
    with JobFolder.of(tmp_path / "batch", source.named).held(), pytest.raises(Conflict, match="another process"):
        work.scored(source, tmp_path)


def test_parts_are_gone_where_an_erasure_took_them(tmp_path):
    source = file_of(flights(30), tmp_path)
    folder = JobFolder.of(tmp_path / "batch", source.named)

    class Erasing(work.Sum):
        def outputs(self, matrix):
            folder.remove()
            return super().outputs(matrix)

    with pytest.raises((Conflict, FileNotFoundError)):
        work.scored(source, tmp_path, part_rows=10, champion=Erasing())
    assert not part_path(folder.parts, 0).exists()
    assert not Tables(tmp_path / "tables").exists(work.INTO) or rows_in(tmp_path).is_empty()


def test_into_a_file(tmp_path):
    frame = flights(70)
    for ending in (".parquet", ".csv"):
        source, into = file_of(frame, tmp_path), tmp_path / f"scores{ending}"
        work.scored(source, tmp_path, into=into, part_rows=30, champion=work.Sum(work.CLASSES))
        rows = pl.read_parquet(into) if ending == ".parquet" else pl.read_csv(into, try_parse_dates=True)
        expected = alone(frame, work.Sum(work.CLASSES))
        assert rows["key"].to_list() == frame["flight"].to_list()
        np.testing.assert_array_equal(rows["score_high"], expected["outputs"].list.get(2))
        assert rows["at"].cast(pl.Datetime("us", "UTC")).to_list() == frame["departs"].to_list()
        assert not isinstance(rows["scored_at"][0], datetime) or rows["scored_at"][0] == work.NOW
