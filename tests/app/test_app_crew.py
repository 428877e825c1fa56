"""Which crew settings ask for; a replay's home has the executor of the home above and nothing else of it; an erasure empties what is on its way."""

from pathlib import Path

import pytest

from loopline.app.crew import crew_of, executor_as, with_executor
from loopline.app.erasure import leftovers
from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.executors import transit
from loopline.storage.artifacts import open_artifacts


def settings(folder: Path, **said: str) -> Settings:
    return Settings.read(folder, environment={f"LOOPLINE_{name.upper()}": value for name, value in said.items()})


def test_without_an_executor_there_is_no_crew(tmp_path):
    assert crew_of(settings(tmp_path)) is None


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"executor": "spark"}, "executor.unknown"),
        ({"executor": "local", "artifacts_url": "memory://x"}, "executor.artifacts_in_memory"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, said, code):
    with pytest.raises(InvalidInput) as caught:
        crew_of(settings(tmp_path, **said))
    assert caught.value.code == code
    assert caught.value.remedy


def test_how_many_run_at_once(tmp_path):
    widths = [
        crew_of(settings(tmp_path, executor=name, **said)).width
        for name, said in (("local", {"executor_cores": "3"}), ("ray", {"executor_cores": "5"}), ("ray", {}))
    ]
    assert widths == [3, 5, 32]


def test_a_replays_home_has_the_executor_of_the_home_above(tmp_path):
    above = settings(tmp_path / "real", executor="local", ray_address="a:1", artifacts_url="s3://real/artifacts")
    own = executor_as(settings(tmp_path / "own"), with_executor(above, "ray", 4))
    assert (own.executor, own.executor_cores, own.ray_address) == ("ray", 4, "a:1")
    assert own.ray_token_path == str(tmp_path / "real" / "ray-token")
    assert own.artifacts_url == str(tmp_path / "own" / "artifacts")


def test_an_erasure_removes_rows_that_were_on_their_way(tmp_path):
    url = str(tmp_path / "artifacts")
    store = open_artifacts(transit.transit_url(url), durable=False)
    store.put(transit.parcelled(b"rows of the person among others"))
    code = store.put(b"code")
    sweep = leftovers.eraser(lambda: [tmp_path], url).sweep
    sweep(None, dry=True)
    assert len(list(store.digests())) == 2
    sweep(None, dry=False)
    assert list(store.digests()) == [code]
    assert list(open_artifacts(url).digests()) == [], "what is in transit is no artifact of the home"
