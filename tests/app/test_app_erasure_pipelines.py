"""A person who was a param of a pipeline: in no row, result, log or error of its executions, and what is left can be read."""

from pathlib import Path

import pytest

from loopline.app.home import open_home
from loopline.config import Settings
from loopline.loop.erasing import Request, erase
from loopline.pipelines import reading
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.load import load_pipeline

WHO = "janedoe4711"
FILE = """
import loopline as ll
import polars as pl

@ll.step
def name(who: str) -> str:
    return who

@ll.step
def orders(who: str) -> pl.DataFrame:
    return pl.DataFrame({"who": [who, "ann"] * 3000, "n": list(range(6000))})

@ll.step
def lines(who: str) -> list[str]:
    return [f"{number} for {who}" for number in range(5000)]

@ll.step
def last(every: list[str]) -> str:
    return every[-1]

@ll.step
def refuse(who: str) -> int:
    raise ValueError(f"nothing for {who}")

@ll.pipeline
def found(who: str):
    orders(name(who))
    return last(lines(name(who)))

@ll.pipeline
def refused(who: str):
    return refuse(name(who))
"""


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings.read(tmp_path / "home", {"LOOPLINE_DURABLE": "0"})


def holding(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and WHO.encode() in path.read_bytes()]


def test_a_person_is_erased_from_executions(home, tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    pipelines = PipelineHome(home)
    ran = [pipelines.run(load_pipeline(f"{tmp_path}/mine.py:{name}"), {"who": WHO}) for name in ("found", "refused")]
    assert len(holding(home.home)) > 2
    resources = open_home(home, silent=True)
    done = erase(resources, Request(value=WHO, reason="asked", actor="ann"))
    assert done.complete
    assert holding(home.home) == []
    with pipelines.database.reading() as tx:
        text = reading.result_of(tx, ran[0], pipelines.engine.artifacts)
        [(_, failure)] = reading.failures_of(tx, ran[1])
        states = {one.name: one.state for one in reading.steps_of(tx, ran[0])}
    assert text.startswith("4999 for person:")
    assert failure.message.startswith("ValueError: nothing for person:")
    assert set(states.values()) == {"done"}
    pipelines.close()
    resources.database.close()
