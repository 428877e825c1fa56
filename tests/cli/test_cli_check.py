"""`loopline check`: what it prints, what it exits with, what its report holds."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest

RNG = np.random.default_rng(11)
N = 1500


@pytest.fixture
def churn(tmp_path):
    sex = RNG.choice(["f", "m"], N)
    churned = (RNG.random(N) < np.where(sex == "f", 0.45, 0.2)).astype(int)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    at = [start + timedelta(hours=i) for i in range(N)]
    frame = pl.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(N)],
            "signed_up_at": at,
            "email": [f"somebody{i}@example.org" for i in range(N)],
            "sex": sex,
            "income": [None if one == "f" and RNG.random() < 0.5 else float(RNG.normal(3000, 500)) for one in sex],
            "visits": RNG.poisson(3, N),
            "cancelled_at": [one + timedelta(days=9) if gone else None for one, gone in zip(at, churned, strict=True)],
            "score": churned + 0.01 * RNG.normal(size=N),
            "churned": churned,
        }
    )
    path = tmp_path / "churn.csv"
    frame.write_csv(path)
    return path


def test_leaks_bias_and_personal_columns_are_found(run, churn):
    made = run("check", str(churn), "--label", "churned", "--json").value
    found = {(one["level"], one["code"], one["column"]) for one in made["findings"]}
    assert {
        ("error", "leak", "score"),
        ("error", "leak", "cancelled_at"),
        ("warning", "after-event", "cancelled_at"),
        ("warning", "personal", "email"),
        ("warning", "label-gap", "sex"),
        ("warning", "missing-gap", "sex"),
    } <= found
    assert {one["column"] for one in made["findings"] if one["code"] == "leak"} == {"score", "cancelled_at"}
    assert (made["key"], made["event_time"], made["rows"]) == (["customer_id"], "signed_up_at", N)
    groups = {one["name"]: one for one in made["groups"][0]["groups"]}
    assert groups["f"]["lower"] < 0.45 < groups["f"]["upper"]
    assert "somebody" not in run("check", str(churn), "--label", "churned", "--json").out


def test_it_fits_a_terminal_of_80_columns(on_terminal, churn):
    shown = on_terminal("check", str(churn), "--label", "churned")
    before, _, _ = shown.partition("A source to paste")
    assert max(map(len, before.splitlines()[1:])) <= 80
    assert "does not" in re.sub(r"\s+", " ", shown) or "not why" in re.sub(r"\s+", " ", shown)
    assert "somebody" not in shown


@pytest.mark.parametrize(("level", "code"), [("error", 10), ("warning", 10), ("note", 10)])
def test_exit_codes_for_ci(run, churn, tmp_path, level, code):
    assert run("check", str(churn), "--label", "churned", "--fail-on", level).code == code
    assert run("check", str(churn), "--fail-on", "error").code == 0
    assert run("check", str(churn), "--label", "churned").code == 0


def test_the_report_is_one_well_formed_page_with_pictures(run, churn, tmp_path):
    run(
        "check", str(churn), "--label", "churned", "--compare", str(churn), "--report", str(tmp_path / "out" / "r.html")
    )
    text = (tmp_path / "out" / "r.html").read_text(encoding="utf-8")
    page = ET.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    assert len(list(page.iter("svg"))) >= 8
    assert "somebody" not in text
    assert "<script" not in text


def test_drift_between_two_files(run, churn, tmp_path):
    other = pl.read_csv(churn).with_columns(visits=pl.col("visits") + 4).drop("sex")
    other.write_csv(tmp_path / "later.csv")
    made = run("check", str(churn), "--compare", str(tmp_path / "later.csv"), "--json").value
    found = {(one["level"], one["code"], one["column"]) for one in made["findings"]}
    assert {("error", "column-gone", "sex"), ("warning", "drift", "visits")} <= found
    assert [one["column"] for one in made["changes"]] == ["visits"]
    same = run("check", str(churn), "--compare", str(churn), "--json").value
    assert same["changes"] == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["none.csv"], 3), (["{data}", "--label", "none"], 3), (["{data}", "--label", "churned", "--by", "none"], 3), (["{data}", "--label", "email"], 2), (["{data}", "--label", "signed_up_at"], 2), (["{data}", "--compare", "none.csv"], 3)],
)  # fmt: skip
def test_what_is_wrong_is_told(run, churn, arguments, code):
    done = run("check", *[one.replace("{data}", str(churn)) for one in arguments])
    assert done.code == code
    assert "Traceback" not in done.err


@pytest.mark.parametrize("content", ["", "a,b\n", "a\n1\n", "y,x\n1,\n1,\n", "y\n0\n1\n"])
def test_hardly_any_data_is_no_error(run, tmp_path, content):
    (tmp_path / "d.csv").write_text(content)
    label = ["--label", "y"] if content.startswith("y") else []
    for extra in (
        label,
        [*label, "--compare", str(tmp_path / "d.csv")],
        [*label, "--report", str(tmp_path / "r.html")],
    ):
        done = run("check", str(tmp_path / "d.csv"), *extra)
        assert (done.code, done.err) == (0, "")


def test_the_schema_alone_can_be_pasted(run, churn):
    done = run("check", str(churn), "--schema")
    compile(done.out, "schema", "exec")
    assert done.out.startswith("@loop.source(")
