"""Score files with a model file into a file: no loop, no home, and the same promises as into a table."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import msgspec
import polars as pl

from loopline.app.alone.model_file import Asked, ModelFile, decision_at, package_of, read_model
from loopline.clock import SystemClock
from loopline.errors import Conflict, InvalidInput, LooplineError
from loopline.gates.smoke import smoke_test
from loopline.models.manifest import Deployment
from loopline.models.package import ModelPackage
from loopline.models.predictor import Predictor
from loopline.models.signature import Field, Signature
from loopline.scoring.batch.file import FileDestination
from loopline.scoring.batch.frame_contract import FrameContract
from loopline.scoring.batch.intake import Policy, Taken, take_in
from loopline.scoring.batch.job import Job, JobFolder
from loopline.scoring.batch.ladder import Scoring
from loopline.scoring.batch.run import BatchScored, Progress, Work, result, run, scored_here
from loopline.scoring.engine import Engine
from loopline.scoring.record import CHAMPION
from loopline.sources.text import as_kinds, kinds_of
from loopline.sources.whole import Input, Pin
from loopline.values import digest

PROJECT = "alone"
PART_ROWS = 100_000

_LOOKED_AT = 50_000


@dataclass(frozen=True)
class FileRequest:
    """What to score with which file, into which file. `key` and `at` name the columns of a row's key and time: without, a row's key
    is its number and its time the present. `sample` are rows such as the model was trained on, which odd values are told by.

    `without` are columns that are no features; `group` is a ranking's. The rest is as in `BatchRequest`.
    """

    model: Path
    source: Input
    into: Path
    key: str | None = None
    at: str | None = None
    group: str | None = None
    sample: pl.DataFrame | None = None
    without: tuple[str, ...] = ()
    asked: Asked = field(default_factory=Asked)
    threshold: float = 0.5
    policy: Policy = "refuse"
    part_rows: int = PART_ROWS
    zone: str | None = None
    again: bool = False
    fresh: bool = False


def score_file(request: FileRequest, *, progress: Progress = lambda *_: None) -> BatchScored:
    """Score every row; the file appears when all are. Killed and called again it goes on, called again it changes nothing.

    Raises what `read_model`, `take_in` and `run` raise, and `Conflict` ("batch.file_exists", "batch.files_changed",
    "batch.running").
    """
    folder = JobFolder(request.into.with_name(f".{request.into.name}.batch"))
    with folder.held():
        return _scored(_Alone(request, folder, _read(request), progress))


@dataclass(frozen=True)
class _Alone:
    request: FileRequest
    folder: JobFolder
    model: ModelFile
    progress: Progress

    @cached_property
    def package(self) -> ModelPackage:
        """The model as a package that nobody signs: it never leaves this process."""
        return package_of(self.model, digest(self.model.content))

    @cached_property
    def deployment(self) -> Deployment:
        request, model = self.request, self.model
        return Deployment(
            endpoint=request.model.stem,
            model=request.model.stem,
            version=1,
            package=self.package.digest,
            package_envelope="",
            decision=msgspec.to_builtins(decision_at(model, request.threshold)),
            decision_version=0,
            views=[],
            key=request.key or "key",
            at=request.at or "at",
            output=model.signature.output,
            group=request.group,
            fills=True,
        )

    @cached_property
    def destination(self) -> FileDestination:
        return FileDestination(self.request.into, self.folder.path, self.model.signature.output)

    def job(self, pin: Pin, taken: Taken, now: datetime) -> Job:
        request = self.request
        return Job(
            project=PROJECT,
            source=request.source.named,
            asked=request.model.name,
            into=str(request.into),
            pin=pin,
            deployment=self.deployment,
            policy=request.policy,
            scored_at=now,
            taken=taken,
        )

    def contract(self, now: datetime) -> FrameContract:
        request = self.request
        return FrameContract(
            self.model.signature, self.deployment, zone=request.zone, text=request.source.text, now=now
        )


def _scored(alone: _Alone) -> BatchScored:
    folder = alone.folder
    if alone.request.fresh:
        folder.remove()
    job = folder.job()
    if job is None:
        try:
            begun = _begin(alone)
        except LooplineError:
            folder.remove()
            raise
        if isinstance(begun, BatchScored):
            folder.remove()
            return begun
        job = begun
    elif _others(alone, job):
        raise Conflict(
            "batch.files_changed",
            f"the model or the input of {job.into} is not what it was when this was begun, and it is not ended yet",
            remedy="Put the files back and run this again, or give --fresh to throw away what was begun.",
        )
    model = alone.model
    predictor = Predictor(alone.package, [model.runtime])
    smoke_test(predictor)
    engine = Engine(PROJECT, job.deployment, predictor, clock=SystemClock(), instance="batch")
    variants = {CHAMPION: None if model.takes_missing else model.signature}
    scoring = Scoring(engine, variants, job.scored_at, job.seed)
    try:
        scored = scored_here(job, folder.parts, scoring, lambda rows: rows)
        done = run(Work(job, folder, scored, alone.destination), progress=alone.progress)
    except InvalidInput:  # no row can be scored, which trying again does not change
        folder.remove()
        raise
    folder.remove()
    return done


def _others(alone: _Alone, job: Job) -> bool:
    """Whether model, input or policy are others than when the job began."""
    pin = alone.request.source.pin()
    same = (job.deployment.package, job.policy) == (alone.package.digest, alone.request.policy)
    return not same or (pin is not None and pin != job.pin)


def _begin(alone: _Alone) -> Job | BatchScored:
    now, pin = SystemClock().now(), alone.request.source.pin()
    if pin is not None and (done := _done(alone, pin, now)) is not None:
        return done
    taken = take_in(
        alone.request.source,
        alone.contract(now),
        alone.folder.parts,
        part_rows=alone.request.part_rows,
        policy=alone.request.policy,
        hashed=pin is None,
        progress=lambda rows: alone.progress(rows, 0, "reading"),
    )
    if pin is None:
        pin = Pin("query", {"query": alone.request.source.named, "rows": taken.rows, "digest": taken.digest})
        if (done := _done(alone, pin, now)) is not None:
            return done
    job = alone.job(pin, taken, now)
    alone.folder.keep(job)
    return job


def _done(alone: _Alone, pin: Pin, now: datetime) -> BatchScored | None:
    """What was done before, if it is just this. Raises `Conflict` where another file would be replaced."""
    if alone.request.again:
        return None
    job = alone.job(pin, Taken(0, 0, 0, ""), now)
    committed = alone.destination.committed(job.writer)
    if committed is not None:
        return result(job, committed, Counter(), already=True)
    alone.destination.refuse_taken()
    return None


def _read(request: FileRequest) -> ModelFile:
    """The model, its fields told from the sample, or from the first rows: those say nothing of what is odd."""
    first = _first_rows(request) if request.sample is None else request.sample
    missing = [name for name in (request.key, request.at, request.group) if name and name not in first.columns]
    if missing:
        raise InvalidInput(
            "batch.no_such_column",
            f"there is no column {', '.join(missing)}",
            remedy=f"There are: {', '.join(first.columns[:20])}.",
        )
    times = [name for name, dtype in first.schema.items() if dtype.is_temporal()]
    named = (request.key or "key", request.at or "at", *([request.group] if request.group else []))
    found = read_model(request.model, first, (*named, *request.without, *times), request.asked)
    return found if request.sample is not None else replace(found, signature=_unbounded(found.signature))


def _first_rows(request: FileRequest) -> pl.DataFrame:
    with tempfile.TemporaryDirectory(prefix="loopline-") as scratch:
        rows = next(iter(request.source.batches(_LOOKED_AT, Path(scratch), None)), pl.DataFrame())
    if rows.is_empty():
        raise InvalidInput("batch.empty", "the input has no rows", remedy="Check the files, or the query.")
    if not request.source.text:
        return rows
    kinds = kinds_of(rows)
    moments = [name for name, kind in kinds.items() if kind == "moment"]
    return as_kinds(rows, kinds, {}).with_columns(pl.lit(None, pl.Datetime("us")).alias(name) for name in moments)


def _unbounded(signature: Signature) -> Signature:
    fields = tuple(
        Field(name=field.name, kind=field.kind, given=True, categories=field.categories, nulls=True)
        for field in signature.fields
    )
    return Signature(fields=fields, output=signature.output)
