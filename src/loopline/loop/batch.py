"""Batch scoring into a table of the home: pinned, part by part, gone on with after any death, visible in one commit."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from loopline.access.identity import Identity, require
from loopline.access.permissions import Permission
from loopline.errors import Conflict, InvalidInput, LooplineError
from loopline.ledger import chain
from loopline.loop.batch_features import BatchFeatures, histories
from loopline.loop.batch_job import scored_abroad
from loopline.loop.batch_model import Loaded, key_columns, loaded, read_asked, serving, views_of
from loopline.loop.batch_tables import SCORED, refuse_others, tag, tags_of
from loopline.loop.deployment import Predictors
from loopline.loop.personal import Tags
from loopline.loop.resources import Resources
from loopline.models.manifest import Deployment
from loopline.scoring.batch.frame_contract import FrameContract
from loopline.scoring.batch.intake import Policy, Taken, take_in
from loopline.scoring.batch.job import Job, JobFolder, writer_of
from loopline.scoring.batch.ladder import Scoring
from loopline.scoring.batch.run import BatchScored, Parts, Progress, Work, result, run, scored_here, told_of
from loopline.scoring.batch.table import TableDestination
from loopline.scoring.record import prediction_table
from loopline.sources.whole import Input, Pin

PART_ROWS = 100_000
ROOT = "batch"

_PREDICTIONS = "predictions."


@dataclass(frozen=True)
class BatchRequest:
    """What to score: `model` is MODEL, MODEL:VERSION or MODEL@ALIAS; `source` the rows, whose times are in `zone` where they name
    none; `into` the table. `again`: once more, although it was done. `fresh`: what was begun and not ended is thrown away.
    """

    project: str
    model: str
    source: Input
    into: str
    policy: Policy = "refuse"
    part_rows: int = PART_ROWS
    zone: str | None = None
    again: bool = False
    fresh: bool = False


def score_batch(
    resources: Resources, request: BatchRequest, caller: Identity, *, progress: Progress = lambda *_: None
) -> BatchScored:
    """Score every row of the source into the table: what a scoring process would answer, with features as of each row's time.

    Nothing is visible before all of it is. Killed and called again it goes on; called again after that it changes nothing.

    Raises `NotPermitted`, what `serving`, `take_in` and `run` raise, and `Conflict`: "batch.input_changed" where the input of what
    was begun is another by now, "batch.running".
    """
    require(caller, Permission.PREDICTIONS_CREATE)
    _check(request)
    folder = JobFolder.of(folder_of(resources), request.project, request.source.named, request.model, request.into)
    batch = _Batch(resources, request, folder, progress)
    with folder.held():
        if request.fresh:
            batch.throw_away()
        job = batch.begun(caller)
        if job is None:
            found = batch.begin()
            if isinstance(found, BatchScored):
                return found
            job = found
        return batch.finish(job, caller)


def folder_of(resources: Resources) -> Path:
    """Where jobs lie that are under way."""
    return resources.manifests.parent / ROOT


def _check(request: BatchRequest) -> None:
    own = prediction_table(request.project, read_asked(request.model).model)
    if request.into.startswith(_PREDICTIONS) and request.into != own:
        raise InvalidInput(
            "batch.reserved_table",
            f"{request.into!r} is for answers of another model",
            remedy=f"Give another name; {own!r} is this model's, and what is in there is watched.",
        )
    if request.part_rows < 1:
        raise InvalidInput("batch.part_rows", "a part needs at least one row", remedy="Give 1 or more rows.")


@dataclass(frozen=True)
class _Batch:
    resources: Resources
    request: BatchRequest
    folder: JobFolder
    progress: Progress

    def begun(self, caller: Identity) -> Job | None:
        """The job to go on with. One that was killed after its commit is brought to its end; one of another policy is thrown away.

        Raises `Conflict` where the files are others than when it began.
        """
        job = self.folder.job()
        if job is None:
            return None
        if self._destination(job.deployment, job.scored_at).committed(job.writer) is not None:
            self.finish(job, caller)
            return None
        if job.policy != self.request.policy:
            self.throw_away()
            return None
        if job.pin.kind == "files" and self.request.source.pin() != job.pin:
            raise Conflict(
                "batch.input_changed",
                f"{job.source} is not what it was when scoring it began, and not all of it is scored yet",
                remedy="Put the files back and run this again, or give --fresh to throw away what was begun.",
            )
        return job

    def begin(self) -> Job | BatchScored:
        """Pin everything and take the rows in; or what was done before. What is refused leaves nothing behind."""
        try:
            return self._begin()
        except LooplineError:
            self.folder.remove()
            raise

    def _begin(self) -> Job | BatchScored:
        request, resources = self.request, self.resources
        asked = read_asked(request.model)
        with resources.database.reading() as tx:
            found = serving(tx, request.project, asked)
            keys = key_columns(tx, request.project, asked.model)
        signature = self._loaded(request.project, found).signature
        tags = self._tags(found)
        refuse_others(resources.tables, request.into, tags)
        pin = request.source.pin()
        if pin is not None and (done := self._done(found, pin)) is not None:
            return done
        now = resources.clock.now()
        views = views_of(found)
        history = {name: resources.tables.open(name).version for name in {view.table for view in views}}
        contract = FrameContract(
            signature,
            found,
            entities={view.by for view in views},
            key_columns=keys,
            zone=request.zone,
            text=request.source.text,
            now=now,
        )
        taken = self._take_in(contract, hashed=pin is None)
        pin = pin or Pin("query", {"query": request.source.named, "rows": taken.rows, "digest": taken.digest})
        if (done := self._done(found, pin)) is not None:
            self.folder.remove()
            return done
        job = self._job(found, pin, taken, history, now)
        self.folder.keep(job)
        return job

    def _take_in(self, contract: FrameContract, *, hashed: bool) -> Taken:
        request = self.request
        with self.resources.activity.shared():
            return take_in(
                request.source,
                contract,
                self.folder.parts,
                part_rows=request.part_rows,
                policy=request.policy,
                hashed=hashed,
                progress=lambda rows: self.progress(rows, 0, "reading"),
            )

    def _job(self, found: Deployment, pin: Pin, taken: Taken, history: dict[str, int], now: datetime) -> Job:
        request = self.request
        return Job(
            project=request.project,
            source=request.source.named,
            asked=request.model,
            into=request.into,
            pin=pin,
            deployment=found,
            policy=request.policy,
            scored_at=now,
            taken=taken,
            history=history,
            attempt=self._attempt(found, pin),
        )

    def _attempt(self, found: Deployment, pin: Pin) -> int:
        """The first that was not committed yet."""
        request, attempt = self.request, 0
        destination = self._destination(found, self.resources.clock.now())
        while destination.committed(writer_of(request.project, pin, found, request.into, attempt)) is not None:
            attempt += 1
        return attempt

    def _done(self, found: Deployment, pin: Pin) -> BatchScored | None:
        attempt = self._attempt(found, pin)
        if self.request.again or attempt == 0:
            return None
        now = self.resources.clock.now()
        job = msgspec.structs.replace(self._job(found, pin, Taken(0, 0, 0, ""), {}, now), attempt=attempt - 1)
        committed = self._destination(found, now).committed(job.writer)
        return None if committed is None else result(job, committed, Counter(), already=True)

    def finish(self, job: Job, caller: Identity) -> BatchScored:
        """Score what is left, commit it, and tell the ledger."""
        destination = self._destination(job.deployment, job.scored_at)
        work = Work(job, self.folder, self._parts(job), destination, self.resources.activity.shared)
        try:
            done = run(work, progress=self.progress)
        except InvalidInput:  # no row can be scored, which trying again does not change
            self.folder.remove()
            raise
        with self.resources.database.transaction() as tx:
            chain.append(
                tx,
                project=job.project,
                at=job.scored_at,
                kind=SCORED,
                actor=caller.principal,
                subject=job.deployment.model,
                body=told_of(done) | {"input": job.pin.digest, "attempt": job.attempt},
                key=job.writer,
            )
        self.folder.remove()
        return done

    def throw_away(self) -> None:
        """Remove what was begun and not ended."""
        discard(self.resources, self.folder)

    def _parts(self, job: Job) -> Parts:
        """By the crew, if there is one, else in this process."""
        resources, parts, views = self.resources, self.folder.parts, views_of(job.deployment)
        model = self._loaded(job.project, job.deployment)
        if resources.crew is not None:
            return scored_abroad(resources, resources.crew, job, parts)
        scoring = Scoring(model.engine, model.variants, job.scored_at, job.seed)
        look_up = BatchFeatures(views, job.deployment.at, lambda: histories(resources, views, job.history))
        return scored_here(job, parts, scoring, look_up)

    def _loaded(self, project: str, found: Deployment) -> Loaded:
        return loaded(Predictors(self.resources).load, self.resources.clock, project, found)

    def _tags(self, found: Deployment) -> Tags:
        return tags_of(self.resources, self.request.project, found.endpoint, self.request.source)

    def _destination(self, found: Deployment, at: datetime) -> TableDestination:
        wanted = self._tags(found)
        tables, into = self.resources.tables, self.request.into
        retag: Callable[[], None] = lambda: tag(tables, into, wanted)  # noqa: E731 - a callback, named for its type
        return TableDestination(tables, into, at, bool(wanted.personal), retag)


def discard(resources: Resources, folder: JobFolder) -> None:
    """Remove a job that was not ended, and what it wrote."""
    job = folder.job()
    if job is not None:
        done = folder.journal().done
        destination = TableDestination(resources.tables, job.into, job.scored_at, personal=False, tag=lambda: None)
        if destination.committed(job.writer) is None:
            destination.discard([f for one in done for f in one.files], [f for one in done for f in one.aside])
    folder.remove()
