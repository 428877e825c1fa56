"""Parts of a batch as jobs of the crew. Rows and scores go to and fro; the table is written by whoever asked, in the parts' order."""

import io
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import lru_cache
from itertools import islice
from pathlib import Path

import msgspec
import polars as pl

from loopline.clock import SystemClock
from loopline.executors.crew import Crew, Errand
from loopline.executors.transit import parcelled, unparcelled
from loopline.loop.batch_features import BatchFeatures, histories
from loopline.loop.batch_model import loaded, views_of
from loopline.loop.resources import Resources
from loopline.models.package import decode_package
from loopline.models.predictor import Predictor, opened
from loopline.pipelines.codecs import Value
from loopline.scoring.batch.intake import part_path
from loopline.scoring.batch.job import Job
from loopline.scoring.batch.ladder import Scoring
from loopline.scoring.batch.run import Parts, Scored, scored_rows
from loopline.storage.artifacts import open_artifacts

_SCORE = f"{__name__}:score_part"


class _Setting(msgspec.Struct, frozen=True):
    """What all parts need: the job, the tables that features are looked up in (Arrow), and where models are."""

    job: Job
    history: dict[str, bytes]
    artifacts_url: str


class _Scored(msgspec.Struct, frozen=True):
    records: bytes
    refused: bytes


def scored_abroad(resources: Resources, crew: Crew, job: Job, folder: Path) -> Parts:
    """Parts in `folder` are scored by the crew. A few more than it has at a time are on their way, whatever the size of the job."""

    def scored(parts: Iterable[int]) -> Generator[Scored]:
        with crew.parcel(_setting(resources, crew, job)) as setting:
            sending = _Sending(crew, job, folder, setting)
            try:
                yield from sending.scored(parts)
            finally:
                sending.close()

    return scored


def score_part(setting: str, transit_url: str, rows: bytes) -> bytes:
    """Score a part, in a process of the executor. `setting` is the digest of what all parts need, read by the first."""
    job, scoring, look_up = _prepared(setting, transit_url)
    records, refused = scored_rows(job, pl.read_parquet(unparcelled(rows)), scoring, look_up)
    return parcelled(msgspec.msgpack.encode(_Scored(_arrow(records), _arrow(refused))))


class _Sending:
    """Parts on their way, in their order."""

    def __init__(self, crew: Crew, job: Job, folder: Path, setting: Value) -> None:
        self._crew, self._folder, self._name = crew, folder, job.deployment.model
        self._shared = {"setting": crew.value(setting.digest), "transit_url": crew.value(crew.transit_url)}
        self._ahead: deque[tuple[Future[Value], ExitStack]] = deque()

    def scored(self, parts: Iterable[int]) -> Generator[Scored]:
        left = iter(parts)
        while True:
            for part in islice(left, self._crew.width + 1 - len(self._ahead)):
                self._start(part)
            if not self._ahead:
                return
            future, sent = self._ahead[0]
            told = msgspec.msgpack.decode(self._crew.received(future.result()), type=_Scored)
            self._ahead.popleft()
            sent.close()
            yield _frame(told.records), _frame(told.refused)

    def close(self) -> None:
        """Forget what is on its way."""
        for future, sent in self._ahead:
            self._crew.forget(future)
            sent.close()

    def _start(self, part: int) -> None:
        with ExitStack() as sent:
            rows = sent.enter_context(self._crew.parcel(part_path(self._folder, part).read_bytes()))
            errand = Errand(f"part {part} of {self._name}", _SCORE, {**self._shared, "rows": rows})
            self._ahead.append((self._crew.start(errand), sent.pop_all()))


def _setting(resources: Resources, crew: Crew, job: Job) -> bytes:
    found = histories(resources, views_of(job.deployment), job.history)
    history = {name: _arrow(frame) for name, frame in found.items()}
    return msgspec.msgpack.encode(_Setting(job, history, crew.artifacts_url))


@lru_cache(maxsize=1)
def _prepared(setting: str, transit_url: str) -> tuple[Job, Scoring, BatchFeatures]:
    content = unparcelled(open_artifacts(transit_url).get(setting))
    found = msgspec.msgpack.decode(content, type=_Setting)
    job, history, artifacts = found.job, found.history, open_artifacts(found.artifacts_url)

    def load(package: str, _: str) -> Predictor:
        """Whoever asked has verified the signature of just this digest."""
        made = decode_package(artifacts.get(package))
        return Predictor(made, opened(made, artifacts.get))

    model = loaded(load, SystemClock(), job.project, job.deployment)
    scoring = Scoring(model.engine, model.variants, job.scored_at, job.seed)
    read = {name: _frame(one) for name, one in history.items()}
    return job, scoring, BatchFeatures(views_of(job.deployment), job.deployment.at, lambda: read)


def _arrow(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="lz4")
    return buffer.getvalue()


def _frame(content: bytes) -> pl.DataFrame:
    return pl.read_ipc(io.BytesIO(content))
