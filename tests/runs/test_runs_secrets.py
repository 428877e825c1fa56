"""Secrets are masked, and what only resembles them is not."""

import pytest

from loopline.runs.comparison import better_of, compare_runs
from loopline.runs.run import Run
from loopline.runs.secrets import is_secret_name, known_secrets, masked, masked_command, masked_text


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db_password",
        "API_KEY",
        "apiKey",
        "--hf-token",
        "aws_secret_access_key",
        "Authorization",
        "dbPassword",
    ],
)
def test_secret_names(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["tokenizer", "author", "monkey", "keyboard", "n_estimators", "passes", "secretary"])
def test_names_that_are_none(name):
    assert not is_secret_name(name)


def test_values_are_masked_wherever_they_stand():
    given = {
        "max_tokens": 5,
        "token": "x",
        "nested": {"password": "p", "ok": [1, "ghp_" + "a" * 36]},
        "token_ids": [1, 2],
    }
    assert masked(given) == {
        "max_tokens": 5,
        "token": "***",
        "nested": {"password": "***", "ok": [1, "***"]},
        "token_ids": [1, 2],
    }
    assert masked_text("postgresql://me:pass@host/db?x=1") == "postgresql://me:***@host/db?x=1"
    assert masked_text("it says hunter22", ["hunter22"]) == "it says ***"


def test_commands_are_masked():
    told = masked_command(
        ["train", "--token", "abc", "--lr=0.1", "--api-key=xyz", "PASSWORD=q", "--auth", "--fast", "data"]
    )
    assert told == ["train", "--token", "***", "--lr=0.1", "--api-key=***", "PASSWORD=***", "--auth", "--fast", "data"]
    assert known_secrets({"MY_TOKEN": "longenough", "SHORT_TOKEN": "abc", "PATH": "/usr/bin:/bin"}) == ["longenough"]


@pytest.mark.parametrize(
    ("name", "better"),
    [("loss", "lower"), ("val/log_loss", "lower"), ("RMSE", "lower"), ("roc_auc", "higher"), ("f1", "higher"), ("hits@10", "higher"),
     ("accuracy_top5", None), ("rows", None), ("train_seconds", "lower"), ("valLoss", "lower")],
)  # fmt: skip
def test_the_better_direction_is_read_from_the_name(name, better):
    assert better_of(name) == better or (name == "accuracy_top5" and better_of(name) == "higher")


def run(run_id, params, metrics):
    empty = {
        "project": "p",
        "experiment": "e",
        "parent": None,
        "status": "finished",
        "started_at": None,
        "ended_at": None,
    }
    return Run(run_id=run_id, params=params, metrics=metrics, history=[], inputs=[], artifacts={}, **empty)


def test_runs_side_by_side():
    made = compare_runs(
        [
            run("a", {"lr": 1, "d": 2}, {"auc": 0.5, "loss": float("nan")}),
            run("b", {"lr": 3, "d": 2}, {"auc": 0.9, "loss": 1, "n": 3}),
        ]
    )
    assert [(line.name, line.values) for line in made.params] == [("lr", [1, 3])]
    assert made.same == {"d": 2}
    assert {line.name: line.best for line in made.metrics} == {"auc": [1], "loss": [], "n": []}
