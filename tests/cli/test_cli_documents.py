"""explain, bias and card on the command line."""

import json
import math

import polars as pl
import pytest


def test_a_version_and_a_prediction_are_explained(run, read_home, tmp_path):
    found = run("explain", "returns", "--home", str(read_home), "--json").value
    assert {field["name"] for field in found["summary"]["fields"]} == {"price", "shop", "shop_rate_5d"}
    assert found == run("explain", f"returns:{found['version']}", "--home", str(read_home), "--json").value
    newest = run("tables", "predictions.tiny.returns", "--rows", "1", "--home", str(read_home), "--json").value[
        "newest_rows"
    ][0]
    page = tmp_path / "page.html"
    told = run("explain", newest["prediction_id"], "--home", str(read_home), "--json", "--report", str(page)).value
    total = told["explanation"]["base"] + sum(told["explanation"]["contributions"].values())
    assert 1 / (1 + math.exp(-total)) == pytest.approx(newest["score"], abs=1e-6)
    assert newest["prediction_id"] in page.read_text()
    assert "added, log-odds" in run("explain", newest["prediction_id"], "--home", str(read_home)).out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["explain", "returns:x"], 2),
        (["explain", "returns:99"], 3),
        (["explain", "pr_none"], 3),
        (["explain", "nothing"], 3),
        (["card", "returns:99"], 3),
        (["card", "returns", "--output", "card.pdf"], 2),
        (["bias", "returns:1"], 3),
        (["bias"], 2),
        (["bias", "--predictions", "/nothing.csv", "--by", "a"], 3),
    ],
)
def test_what_cannot_be_shown_has_its_exit_code(run, read_home, arguments, code):
    done = run(*arguments, "--home", str(read_home))
    assert (done.code, done.out) == (code, "")
    assert done.err.count("\n") >= 2
    assert "error" in run(*arguments, "--home", str(read_home), "--json").value


def test_the_card_goes_to_a_file_or_is_printed(run, read_home, tmp_path):
    for name in ("card.md", "card.html"):
        assert run("card", "returns:1", "--home", str(read_home), "--output", str(tmp_path / name)).code == 0
    text = (tmp_path / "card.md").read_text()
    assert text.startswith("# Model card: returns:1\n")
    assert run("card", "returns:1", "--home", str(read_home)).out.startswith("# Model card: returns:1\n")
    assert run("card", "returns:1", "--home", str(read_home), "--json").value["model"] == "returns"
    assert (tmp_path / "card.html").read_text().startswith("<!DOCTYPE html>")


def test_groups_of_files_are_compared(run, tmp_path):
    rows = {"score": [0.1, 0.9] * 60, "label": [0, 1] * 60, "sex": ["F", "M", "M", "F"] * 30}
    pl.DataFrame(rows).write_csv(tmp_path / "p.csv")
    arguments = ["bias", "--predictions", str(tmp_path / "p.csv"), "--by", "sex"]
    found = json.loads(run(*arguments, "--json").out)
    assert found["groupings"][0]["disparities"]["selection_rate"]["gap"]["difference"] == 0
    assert "sex=F (60 rows)" in run(*arguments).out
