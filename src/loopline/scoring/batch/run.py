"""Runs a job: each part that is not done yet is scored, written and noted; then all becomes visible in one step."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loopline.errors import Conflict, Unavailable
from loopline.scoring.batch.destination import Committed, Destination
from loopline.scoring.batch.frame_contract import REASON, ROW
from loopline.scoring.batch.intake import ORIGINAL, part_path
from loopline.scoring.batch.job import Job, JobFolder, summary
from loopline.scoring.batch.journal import PartDone
from loopline.scoring.batch.ladder import NO_MODEL, Scoring
from loopline.scoring.record import CHAMPION

STALE = "_stale"

LookUp = Callable[[pl.DataFrame], pl.DataFrame]
"""Adds the features of each row as of its time, and, where some are stale, their codes in `_stale` (List(String))."""

Scored = tuple[pl.DataFrame, pl.DataFrame]
"""The records of a part, and its rows that are set aside: `_key`, `_event_time`, `_reason`, `row`."""

Parts = Callable[[Iterable[int]], Generator[Scored]]
"""Scores parts, here or elsewhere, and gives them in their order, each when it is asked for."""

Progress = Callable[[int, int, str], None]
"""Called with rows done, rows in all, and what is being done."""


class BatchScored(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job. `refused` rows were set aside, `flagged` ones have a code, `fallen` ones were answered by a lower rung.

    `already` says that it was all done before, and that nothing was changed.
    """

    into: str
    version: int | None
    rows: int
    refused: int
    flagged: int
    fallen: int
    model: str
    model_version: int
    decision_version: int
    writer: str
    already: bool = False
    resumed: bool = False


@dataclass(frozen=True)
class Work:
    """What a job works with. `during` is held for one part at a time, so that an erasure waits for a part and not for a job."""

    job: Job
    folder: JobFolder
    scored: Parts
    destination: Destination
    during: Callable[[], AbstractContextManager[None]] = nullcontext


def run(work: Work, *, progress: Progress = lambda *_: None) -> BatchScored:
    """Score what is left of the job and commit it. Killed anywhere and run again it comes to the same.

    The caller holds the job's folder. Raises `Conflict` "batch.gone" where an erasure took the job's rows away,
    `Unavailable` "batch.not_scored" where a row cannot be scored and the policy is to refuse.
    """
    journal, job = work.folder.journal(), work.job
    resumed, rows = bool(journal.done), sum(one.rows for one in journal.done)
    left = range(len(journal.done), job.taken.parts)
    with closing(work.scored(left)) as scored:
        for part in left:
            progress(rows, job.taken.rows, "scoring")
            with work.during():
                _require_there(work)
                done = _written(work, part, next(scored))
                journal.add(done)
            rows += done.rows
    progress(rows, job.taken.rows, "committing")
    counts = Counter[str]()
    for one in journal.done:
        counts.update(refused=one.refused, flagged=one.flagged, fallen=one.fallen)
    with work.during():
        _require_there(work)
        files = [name for one in journal.done for name in one.files]
        aside = [name for one in journal.done for name in one.aside]
        told = summary(job) | {"rows": job.taken.rows - counts["refused"], "refused": counts["refused"]}
        committed = work.destination.commit(job.writer, files, aside, told)
    return result(job, committed, counts, resumed=resumed)


def result(
    job: Job, committed: Committed, counts: Counter[str], *, resumed: bool = False, already: bool = False
) -> BatchScored:
    """What is told of a job that is committed."""
    return BatchScored(
        into=committed.into,
        version=committed.version,
        rows=committed.rows,
        refused=counts["refused"],
        flagged=counts["flagged"],
        fallen=counts["fallen"],
        model=job.deployment.model,
        model_version=job.deployment.version,
        decision_version=job.deployment.decision_version,
        writer=job.writer,
        already=already,
        resumed=resumed,
    )


def scored_here(job: Job, folder: Path, scoring: Scoring, look_up: LookUp) -> Parts:
    """Parts in `folder` are scored in this process, one after the other."""

    def scored(parts: Iterable[int]) -> Generator[Scored]:
        for part in parts:
            yield scored_rows(job, pl.read_parquet(part_path(folder, part)), scoring, look_up)

    return scored


def scored_rows(job: Job, rows: pl.DataFrame, scoring: Scoring, look_up: LookUp) -> Scored:
    """Score the rows of a part. Raises `Unavailable` "batch.not_scored" where one cannot be and the policy is to refuse."""
    good = rows.filter(pl.col(REASON).is_null()).drop(REASON, ORIGINAL)
    found = look_up(good)
    records, left = scoring.predict(found) if found.height else (pl.DataFrame(), good.clear())
    if found.height:
        records = _with_stale(records, found, left)
    return records, pl.concat([_refused(job, rows.filter(pl.col(REASON).is_not_null())), _unscored(job, left)])


def _written(work: Work, part: int, scored: Scored) -> PartDone:
    records, refused = scored
    writer = work.job.writer
    return PartDone(
        part,
        pl.scan_parquet(part_path(work.folder.parts, part)).select(pl.len()).collect().item(),
        work.destination.write(writer, part, records),
        work.destination.set_aside(writer, part, refused),
        refused.height,
        int((records["degraded"].list.len() > 0).sum()) if records.height else 0,
        int((records["variant"] != CHAMPION).sum()) if records.height else 0,
    )


def _with_stale(records: pl.DataFrame, found: pl.DataFrame, left: pl.DataFrame) -> pl.DataFrame:
    if STALE not in found.columns or records.is_empty():
        return records
    stale = found.join(left.select(ROW), on=ROW, how="anti", maintain_order="left")[STALE]
    codes = pl.concat_list(stale, "degraded").list.unique(maintain_order=True)
    return records.with_columns(codes.alias("degraded"))


def _refused(job: Job, rows: pl.DataFrame) -> pl.DataFrame:
    said = job.deployment
    return rows.select(
        pl.col(said.key).alias("_key"), pl.col(said.at).alias("_event_time"), REASON, pl.col(ORIGINAL).alias("row")
    )


def _unscored(job: Job, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that no rung could score. Raises `Unavailable` where the policy is to refuse."""
    said = job.deployment
    if rows.height and job.policy == "refuse":
        raise Unavailable(
            "batch.not_scored",
            f"row {rows[ROW][0]}: no model can score it, and there is no constant to fall back on",
            remedy="Set such rows aside with --policy quarantine, or give the model a fallback.",
        )
    shown = [name for name in rows.columns if not name.startswith("_")]
    return rows.select(
        pl.col(said.key).alias("_key"),
        pl.col(said.at).alias("_event_time"),
        pl.lit(NO_MODEL).alias(REASON),
        pl.struct(shown).struct.json_encode().alias("row"),
    )


def _require_there(work: Work) -> None:
    if not (work.folder.path / "job.json").exists():
        raise Conflict(
            "batch.gone",
            "rows of this job were erased while it ran, and it with them; nothing became visible",
            remedy="Run the command again: it begins anew, without the rows that were erased.",
        )


def told_of(done: BatchScored) -> dict[str, Any]:
    """What the ledger says of a job that is done."""
    said: dict[str, Any] = msgspec.to_builtins(done)
    return {name: value for name, value in said.items() if name not in {"already", "resumed"}}
