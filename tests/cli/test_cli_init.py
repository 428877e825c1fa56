"""`loopline init`: what it writes loads, plans and replays for real, and overwrites nothing."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_iris

from loopline.loop.load import load_loop
from loopline.values import duration

N = 400
RNG = np.random.default_rng(4)
START = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOPLINE_DURABLE", "0")


def made_up() -> pl.DataFrame:
    x, shop = RNG.normal(size=N), RNG.choice(["a b", "b", "ü"], N)
    yes = RNG.random(N) < 1 / (1 + np.exp(-2 * x - (shop == "b")))
    hours = np.sort(RNG.random(N)) * 24 * 90
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(N)],
            "at": [START + timedelta(hours=float(one)) for one in hours],
            "x": x,
            "shop": shop,
            "email": [f"u{i}@example.org" for i in range(N)],
            "copy": yes.astype(int) * 2,
            "y": yes.astype(int),
            "price": 3 * x + RNG.normal(size=N) + 10,
            "grade": np.select([x > 0.5, x < -0.5], ["hi", "lo"], "mid"),
        }
    )


def started(run, *arguments):
    done = run("init", "new", *arguments, "--json")
    assert done.code == 0, done.err + done.out
    return done.value


def replayed(run, made):
    period = ["--from", made["first"], "--until", made["last"], "--home", "home", "--json"]
    done = run("replay", "new/loop.py", *period)
    assert done.code == 0, done.err + done.out
    [result] = done.value
    loop, once = result["comparison"]["policies"]
    assert (loop["policy"], once["policy"]) == ("loop", "train_once")
    assert loop["promotions"] >= 1
    assert loop["predictions"] == loop["labelled"]
    return loop


def test_the_example_loads_and_says_how_to_replay_it(run):
    """Its replay is on the page docs/how-to/start-a-loop.md."""
    made = started(run)
    assert made["decide"] == []
    assert run("plan", "new/loop.py", "--home", "home", "--json").value["changes"]
    assert pl.read_csv("new/data/orders.csv").height == pl.read_csv("new/data/outcomes.csv").height == 49 * 80
    assert f"replay loop.py --from {made['first']} --until {made['last']}" in Path("new/README.md").read_text(
        encoding="utf-8"
    )


def test_data_of_another_country_without_key_and_time(run):
    frame = made_up()
    frame = frame.select(
        pl.col("x").round(3).cast(pl.String).str.replace(".", ",", literal=True).alias("x one"),
        "shop",
        pl.when(pl.col("y") == 1).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("churned"),
    )
    frame.write_csv("data.csv", separator=";")
    made = started(run, "--from", "data.csv", "--label", "churned")
    told = " ".join(made["decide"])
    assert "names each row once" in told
    assert "no time" in told
    loop = replayed(run, made)
    assert loop["predictions"] == N
    assert loop["loss"] < 0.69  # the base rate has 0.69


def test_leaks_and_personal_columns_are_left_out(run):
    made_up().write_parquet("data.parquet")
    made = started(run, "--from", "data.parquet", "--label", "y")
    loop = load_loop("new/loop.py")
    [model] = loop.models.values()
    assert set(model.feature_names) == {"x", "shop", "price", "grade"}
    text = Path("new/loop.py").read_text(encoding="utf-8")
    assert "left out: copy: a leak?" in text
    assert "left out: email: may be about persons" in text
    assert model.at == "at"
    assert loop.sources["data"].spec.key == ("id",)
    assert run("plan", "new/loop.py", "--home", "home").code == 0
    assert datetime.fromisoformat(made["first"]).replace(tzinfo=UTC) <= START


@pytest.mark.parametrize(("label", "kind"), [("price", "regression"), ("grade", "multiclass")])
def test_labels_of_other_kinds(run, label, kind):
    made_up().drop("y", "copy", "email").write_csv("data.csv")
    made = started(run, "--from", "data.csv", "--label", label)
    [model] = load_loop("new/loop.py").models.values()
    assert model.output.kind == kind
    assert replayed(run, made)["loss"] < {"regression": 10, "multiclass": 1.09}[kind]


def test_from_what_was_watched(run):
    frame = made_up()
    frame.select(pid="id", ts="at", score=1 / (1 + (-pl.col("x")).exp()), x="x", shop="shop").write_parquet("predictions.parquet")  # fmt: skip
    frame.select(pid="id", label="y", came=pl.col("at") + pl.duration(days=2)).write_csv("labels.csv")
    columns = {
        "id": ["pid"],
        "at": "ts",
        "score": ["score"],
        "label": "label",
        "label_at": "came",
        "features": ["x", "shop"],
        "label_in": "labels",
    }
    record = {
        "command": "watch",
        "predictions": "predictions.parquet",
        "labels": "labels.csv",
        "columns": columns,
        "kind": "binary",
        "classes": ["0", "1"],
        "loss": "log_loss",
        "block": "1d",
        "tolerance": 0.03,
        "false_pages_per_year": 0.5,
        "matures": 172800.0,
    }
    Path("watch.json").write_text(json.dumps(record))
    made = started(run, "--from", "watch.json")
    loop = load_loop("new/loop.py")
    [operation] = loop.operations.values()
    assert set(operation.model.feature_names) == {"x", "shop"}
    assert (operation.watch.tolerance, operation.watch.false_pages_per_year) == (0.03, 0.5)
    assert duration(operation.model.label.matures) == timedelta(days=2)
    assert loop.sources["outcomes"].known == "measured"
    assert replayed(run, made)["predictions"] == N


def test_from_a_run_a_check_and_a_served_model(run):
    made_up().drop("copy").write_csv("data.csv")
    frm = {
        "run.json": {"run_id": "run_1", "experiment": "churn", "params": {"max_iter": 17, "seed": 3, "target": "y"}, "inputs": [{"kind": "file", "name": "data.csv", "version": "sha256:"}]},
        "check.json": {"command": "check", "where": "data.csv", "label": {"column": "y"}},
        "serve.json": {"command": "serve", "model": "models/late.onnx", "sample": "data.csv"},
    }  # fmt: skip
    for name, record in frm.items():
        Path(name).write_text(json.dumps(record))
        label = ["--label", "y"] if name == "serve.json" else []
        assert run("init", f"from-{name}", "--from", name, *label).code == 0
    of_run = load_loop("from-run.json/loop.py")
    assert of_run.name == "churn"
    assert of_run.models["churn"].params == {"max_iter": 17}
    assert "'seed': 3" in Path("from-run.json/loop.py").read_text(encoding="utf-8")
    assert list(load_loop("from-serve.json/loop.py").models) == ["late"]
    assert "late.onnx is served" in Path("from-serve.json/loop.py").read_text(encoding="utf-8")
    load_loop("from-check.json/loop.py")


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_small_data_in_the_order_of_its_label_and_labels_that_mostly_lack(run, share):
    """Iris, as anyone tries it; and a label that one row in ten has."""
    iris = load_iris(as_frame=True).frame
    if share == 1.0:
        iris.to_csv("data.csv", index=False)
    else:
        rows = pl.concat([made_up(), made_up(), made_up()]).with_columns(key=pl.int_range(3 * N)).sort("at")
        known = pl.when(pl.col("key") % 6 == 0).then(pl.col("y"))
        rows.select("key", "at", "x", target=known).write_csv("data.csv")
    made = started(run, "--from", "data.csv", "--label", "target")
    assert ("order by chance" in (Path("new") / "loop.py").read_text()) is (share == 1.0)
    done = run("replay", "new/loop.py", "--from", made["first"], "--until", made["last"], "--home", "home", "--json")
    assert done.code == 0, done.err + done.out
    loop = done.value[0]["comparison"]["policies"][0]
    assert loop["promotions"] >= 1
    assert loop["labelled"] > 0


def test_nothing_is_overwritten(run, tmp_path):
    started(run)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "new" / "README.md").unlink()
    done = run("init", "new")
    assert done.code == 4
    assert "loop.py" in done.err
    assert not (tmp_path / "new" / "README.md").exists()
    assert all(path.read_bytes() == content for path, content in before.items() if path.exists())


@pytest.mark.parametrize(
    ("content", "arguments", "code"),
    [
        ("a,b\n1,2\n", [], 2),  # no label is named
        ("a,b\n1,2\n", ["--label", "c"], 3),
        ("a,b\n1,2\n3,4\n", ["--label", "b"], 2),  # too few
        ("a,b\n" + "1,2\n" * 90, ["--label", "b"], 2),  # one value
        ("y\n" + "0\n1\n" * 90, ["--label", "y"], 2),  # no feature
        ("", ["--label", "y"], 2),
    ],
)
def test_where_no_loop_can_be_made_nothing_is_written(run, tmp_path, content, arguments, code):
    (tmp_path / "d.csv").write_text(content)
    done = run("init", "new", "--from", "d.csv", *arguments)
    assert done.code == code
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["class.csv", "loop.csv", "1st file.csv", "rows.csv", "ünder.csv"])
def test_files_and_labels_may_have_any_name(run, name):
    frame = made_up().rename({"y": "loop", "x": 'a "b"\\n'}).select("at", 'a "b"\\n', "loop", class_="shop")
    frame.write_csv(name)
    started(run, "--from", name, "--label", "loop")
    loop = load_loop("new/loop.py")
    [model] = loop.models.values()
    assert len(model.feature_names) == 2
