"""A model file scores files into a file: as its own library does, once, and with nothing half done to be seen."""

from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest

from loopline.app.alone.model_file import Asked
from loopline.app.alone.score import FileRequest, score_file
from loopline.errors import Conflict, InvalidInput, LooplineError
from loopline.sources.whole import WholeFiles, WholeQuery

RNG = np.random.default_rng(6)
X = RNG.normal(size=(300, 3))
QUIET = {"verbose": -1, "n_estimators": 8}
SHOPS = [f"s{number}" for number in RNG.integers(0, 40, 300)]
ROWS = pl.DataFrame({"order": [f"{i:03}" for i in range(300)], "shop": SHOPS, "a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
FEATURES = Asked(features=("a", "b", "c"))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    three, two = np.digitize(X[:, 0], [-0.5, 0.5]), X[:, 0] > 0
    lightgbm.LGBMClassifier(**QUIET).fit(X, two).booster_.save_model(folder / "two.txt")
    lightgbm.LGBMClassifier(**QUIET).fit(X, three).booster_.save_model(folder / "three.txt")
    lightgbm.LGBMRanker(**QUIET).fit(X, three, group=[20] * 15).booster_.save_model(folder / "rank.txt")
    return folder


@pytest.fixture
def asked(models, tmp_path) -> FileRequest:
    ROWS.write_csv(tmp_path / "rows.csv")
    ROWS.write_parquet(tmp_path / "rows.parquet")
    return FileRequest(
        models / "two.txt", WholeFiles(str(tmp_path / "rows.csv")), tmp_path / "out.parquet", key="order", asked=FEATURES, part_rows=70
    )  # fmt: skip


def test_scores_are_the_librarys(models, asked, tmp_path):
    done = score_file(asked)
    rows = pl.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(rows["score"], lightgbm.Booster(model_file=models / "two.txt").predict(X), rtol=1e-12)
    assert rows["key"].to_list() == ROWS["order"].to_list()
    assert rows["decision"].to_list() == ["positive" if score >= 0.5 else "negative" for score in rows["score"]]
    assert (done.rows, done.flagged, done.already) == (300, 0, False)
    score_file(replace(asked, source=WholeFiles(str(tmp_path / "rows.parquet")), into=tmp_path / "other.parquet"))
    same = [name for name in rows.columns if name not in {"at", "scored_at", "prediction_id"}]
    assert pl.read_parquet(tmp_path / "other.parquet").select(same).equals(rows.select(same))


def test_several_classes_have_a_column_each(models, asked, tmp_path):
    score_file(replace(asked, model=models / "three.txt", into=tmp_path / "out.csv"))
    rows = pl.read_csv(tmp_path / "out.csv")
    expected = lightgbm.Booster(model_file=models / "three.txt").predict(X)
    np.testing.assert_allclose(rows.select("score_0", "score_1", "score_2"), expected, rtol=1e-12)


def test_a_ranking_has_a_place_in_each_group(models, asked, tmp_path):
    score_file(replace(asked, model=models / "rank.txt", group="shop"))
    rows = pl.read_parquet(tmp_path / "out.parquet")
    assert sorted(rows["key"]) == sorted(ROWS["order"])
    for shop, group in rows.group_by("group"):
        assert group.height == SHOPS.count(shop[0])
        assert group.sort("position")["score"].is_sorted(descending=True)
        assert sorted(group["position"]) == list(range(1, group.height + 1))


def test_asked_again_it_is_done_already_and_another_file_is_not_replaced(models, asked, tmp_path):
    score_file(asked)
    before = (tmp_path / "out.parquet").read_bytes()
    assert score_file(asked).already
    with pytest.raises(Conflict) as caught:
        score_file(replace(asked, model=models / "three.txt"))
    assert caught.value.code == "batch.file_exists"
    assert (tmp_path / "out.parquet").read_bytes() == before
    assert not score_file(replace(asked, model=models / "three.txt", again=True)).already
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.parquet",
        "out.parquet.json",
        "rows.csv",
        "rows.parquet",
    ]


def test_stopped_in_the_middle_it_goes_on_and_refuses_other_files(asked, tmp_path):
    def dying(done: int, total: int, told: str) -> None:
        if told == "scoring" and done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_file(asked, progress=dying)
    assert not (tmp_path / "out.parquet").exists()
    content = (tmp_path / "rows.csv").read_bytes()
    (tmp_path / "rows.csv").write_bytes(content.replace(b"017,", b"018,"))
    with pytest.raises(Conflict) as caught:
        score_file(replace(asked, source=WholeFiles(str(tmp_path / "rows.csv"))))
    assert caught.value.code == "batch.files_changed"
    (tmp_path / "rows.csv").write_bytes(content)
    done = score_file(replace(asked, source=WholeFiles(str(tmp_path / "rows.csv"))))
    assert (done.resumed, done.rows) == (True, 300)


def test_a_sample_tells_what_is_odd(asked, tmp_path):
    done = score_file(replace(asked, sample=ROWS.filter(pl.col("a") < 1)))
    rows = pl.read_parquet(tmp_path / "out.parquet")
    odd = rows.filter(pl.col("degraded").list.contains("out_of_range:a"))
    assert set(odd["key"]) == set(ROWS.filter(pl.col("a") > ROWS.filter(pl.col("a") < 1)["a"].max())["order"])
    assert done.flagged >= odd.height > 0


def test_refused_rows_are_beside_it_and_nothing_is_left_where_all_are(asked, tmp_path):
    query = WholeQuery(
        f'select * replace (case when a > 1 then null else "order" end as "order") from \'{tmp_path / "rows.parquet"}\''
    )
    with pytest.raises(InvalidInput, match="must be text"):
        score_file(replace(asked, source=query))
    done = score_file(replace(asked, source=query, policy="quarantine", into=tmp_path / "out.csv"))
    refused = pl.read_csv(tmp_path / "out.refused.csv")
    assert (refused.height, done.refused) == ((X[:, 0] > 1).sum(), refused.height)
    assert set(refused["reason"]) == {"scoring.bad_key:order"}
    for changed, code in (
        ({"into": tmp_path / "x.xlsx"}, "batch.unknown_ending"),
        ({"key": "nothing"}, "batch.no_such_column"),
        ({"source": WholeQuery("select 1 as a where false")}, "batch.empty"),
    ):
        with pytest.raises(LooplineError) as caught:
            score_file(replace(asked, **changed))
        assert caught.value.code == code
    assert not (tmp_path / "x.xlsx").exists()
