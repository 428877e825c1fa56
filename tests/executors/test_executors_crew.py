"""A crew: what its errands come to, in any thread; what is lost is run again, what the place is to blame for is told as that."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from loopline.errors import InvalidInput, NotFound, Unavailable
from loopline.executors import transit
from loopline.executors.crew import Crew, Errand
from loopline.executors.executor import Executor, Finished, Job, Lost
from loopline.pipelines.claims import Key, Room
from loopline.pipelines.codecs import bring
from loopline.pipelines.engine import MOST_LOSSES
from loopline.pipelines.failure import Failure
from loopline.pipelines.perform import Performed
from loopline.storage.artifacts import open_artifacts


class Scripted:
    """An executor that does what the name of a job says, one thing for each attempt; it notes how many it was at."""

    def __init__(self, url: str, cores: float = 2.0) -> None:
        self.artifacts = open_artifacts(url, durable=False)
        self.cores = cores
        self.jobs: list[Job] = []
        self.most = 0
        self.begun: list[Key] = []
        self.killed: list[Key] = []
        self.closed = False

    def room(self) -> Room:
        return Room(self.cores - len(self.jobs), 2**40)

    def start(self, job: Job) -> None:
        self.jobs.append(job)
        self.begun.append(job.key)
        self.most = max(self.most, len(self.jobs))

    def wait(self, seconds: float) -> Sequence[Finished | Lost]:
        time.sleep(min(seconds, 0.001))
        waiting = [job for job in self.jobs if self._word(job) == "hang"]
        done, self.jobs = [job for job in self.jobs if job not in waiting], waiting
        return [self._end(job) for job in done]

    def kill(self, key: Key) -> None:
        self.killed.append(key)
        self.jobs = [job for job in self.jobs if job.key != key]

    def close(self) -> None:
        self.closed = True

    def _word(self, job: Job) -> str:
        words = job.name.split()
        return words[min(job.attempt, len(words)) - 1]

    def _end(self, job: Job) -> Finished | Lost:
        match self._word(job):
            case "lost":
                return Lost(job.key, "the node is gone")
            case "wrong":
                return self._failed(job, InvalidInput("training.one_class", "all are 1", remedy="Wait."))
            case "gone":
                return self._failed(job, NotFound("artifact.not_found", "it is not there"))
            case "bug":
                return self._failed(job, ValueError("no"))
            case "head":
                raise Unavailable("executor.ray_unreachable", "the head does not answer", remedy="Start it.")
            case _:
                given = job.arguments["number"].value
                log = self.artifacts.put(b"it says\n") if self._word(job) == "prints" else None
                return Finished(job.key, Performed(given), log)

    def _failed(self, job: Job, error: Exception) -> Finished:
        return Finished(job.key, Performed(failure=Failure.of(error)))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Scripted]:
    monkeypatch.setattr("loopline.executors.crew._FIRST_WAIT", 0.001)
    return []


@pytest.fixture
def crew(tmp_path: Path, made: list[Scripted]) -> Iterator[Crew]:
    @contextmanager
    def make(url: str) -> Iterator[Executor]:
        made.append(Scripted(url))
        yield made[-1]

    with closing(Crew(make, str(tmp_path / "artifacts"), width=2, durable=False)) as opened:
        yield opened


def errand(crew: Crew, name: str, number: int = 1) -> Errand:
    return Errand(name, "x:y", {"number": crew.value(number)})


def told(crew: Crew, name: str, number: int = 1) -> int:
    value: int = bring(crew.start(errand(crew, name, number)).result(30), int, crew.transit)
    return value


def test_threads_get_what_they_asked_for_and_no_more_run_than_there_is_room(crew, made):
    found: dict[int, int] = {}

    def ask(number: int) -> None:
        found[number] = told(crew, "ok", number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert found == {number: number for number in range(12)}
    [executor] = made
    assert executor.most <= 2
    assert len(set(executor.begun)) == 12


def test_what_is_lost_is_run_again_with_another_number_of_attempt(crew, made):
    assert told(crew, "lost lost ok", 7) == 7
    assert [key[2] for key in made[0].begun] == [1, 2, 3]


def test_a_job_that_is_lost_too_often_is_given_up(crew, made):
    with pytest.raises(Unavailable, match="lost 5 times") as caught:
        told(crew, "lost")
    assert caught.value.code == "executor.job_failed"
    assert len(made[0].begun) == MOST_LOSSES


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("wrong", InvalidInput, "training.one_class"),
        ("gone", Unavailable, "executor.job_failed"),
        ("bug", Unavailable, "executor.job_failed"),
    ],
)
def test_an_error_of_the_function_is_that_error_and_others_are_the_places(crew, name, kind, code):
    with pytest.raises(kind) as caught:
        told(crew, name)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.remedy
    assert told(crew, "ok", 3) == 3


def test_an_executor_that_fails_is_told_to_all_who_wait_and_begun_anew(crew, made):
    hanging = crew.start(errand(crew, "hang"))
    with pytest.raises(Unavailable) as caught:
        told(crew, "head")
    assert caught.value.code == "executor.ray_unreachable"
    assert isinstance(hanging.exception(30), Unavailable)
    assert told(crew, "ok", 5) == 5
    assert [one.closed for one in made] == [True, False]


def test_what_nobody_wants_any_more_is_killed_or_removed(crew, made):
    hanging = crew.start(errand(crew, "hang"))
    kept = crew.start(Errand("ok", "x:y", {"number": crew.value(transit.parcelled(b"x" * 5000))}))
    assert kept.result(30).size > 5000
    crew.forget(hanging)
    crew.forget(kept)
    assert told(crew, "ok") == 1
    assert made[0].killed == made[0].begun[:1]
    assert list(crew.transit.digests()) == []


def test_what_jobs_print_is_shown_and_kept_nowhere(crew, capsys):
    assert [told(crew, "prints", number) for number in (1, 2)] == [1, 2]
    assert capsys.readouterr() == ("", "it says\nit says\n")
    assert list(crew.transit.digests()) == []


def test_parcels_of_the_same_bytes_are_two(crew):
    with crew.parcel(b"y" * 5000) as one, crew.parcel(b"y" * 5000) as other:
        assert one.digest != other.digest
        content = bring(one, bytes, crew.transit)
        assert transit.unparcelled(content) == b"y" * 5000
        crew.transit.put(b"code")
        assert set(transit.parcels(crew.artifacts_url)) == {one.digest, other.digest}
        transit.drop(crew.artifacts_url, transit.parcels(crew.artifacts_url))
    assert len(list(crew.transit.digests())) == 1


def test_a_closed_crew_kills_what_runs_and_takes_no_more(crew, made):
    hanging = crew.start(errand(crew, "hang"))
    while not made or not made[0].begun:
        time.sleep(0.001)
    crew.close()
    assert isinstance(hanging.exception(30), Unavailable)
    assert made[0].closed
    with pytest.raises(Unavailable, match="being stopped"):
        crew.start(errand(crew, "ok"))
