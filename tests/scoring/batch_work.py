"""A small batch without a home. Run as a program, it scores in a fork of its own for each line it reads, so that forks can be killed."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from loopline.clock import ReplayClock
from loopline.evaluation.kind import BINARY, Output
from loopline.models.manifest import Deployment, PackagedVersion
from loopline.models.signature import Field, Signature
from loopline.scoring.batch.file import FileDestination
from loopline.scoring.batch.frame_contract import FrameContract
from loopline.scoring.batch.intake import Policy, take_in
from loopline.scoring.batch.job import Job, JobFolder
from loopline.scoring.batch.ladder import Scoring
from loopline.scoring.batch.run import BatchScored, Work, run, scored_here
from loopline.scoring.batch.table import TableDestination
from loopline.scoring.engine import Engine
from loopline.scoring.record import CHAMPION, PREVIOUS
from loopline.sources.whole import Input, WholeFiles
from loopline.tables import Tables

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CLASSES = Output("multiclass", ("low", "middle", "high"))
RANKING = Output("ranking")
INTO = "scores.late"
FIELDS = (
    Field(name="distance", kind="number", given=True, minimum=10.0, maximum=5000.0, nulls=False),
    Field(name="carrier", kind="category", given=True, categories=("UA", "AA", "DL"), nulls=False),
    Field(name="dewpoint", kind="number", given=True, minimum=-30.0, maximum=30.0, nulls=True),
)
DECISION = {
    "false_positive": 1.0,
    "false_negative": 4.0,
    "review": 0.5,
    "type": "threshold",
    "threshold": 0.6,
    "abstain_low": 0.55,
    "abstain_high": 0.65,
}


class Sum:
    """The logistic of a weighted sum; with `needs_all` it takes no missing values, and of those with a `limit` no greater distance."""

    def __init__(self, output: Output = BINARY, *, needs_all: bool = False, limit: float = np.inf, weight=1e-3) -> None:
        self.signature = Signature(fields=FIELDS, output=output)
        self.needs_all, self.limit, self.weight = needs_all, limit, weight

    def outputs(self, matrix: np.ndarray) -> np.ndarray:
        if (self.needs_all and np.isnan(matrix).any()) or (matrix[:, 0] > self.limit).any():
            raise RuntimeError("out of order")
        score = 1 / (1 + np.exp(-self.weight * np.nan_to_num(matrix.astype(np.float64)).sum(axis=1)))
        if self.signature.output.kind == "multiclass":
            return np.column_stack([score / 2, score / 2, 1 - score])
        return score


def deployment(output: Output = BINARY, **changed) -> Deployment:
    said = {
        "endpoint": "late",
        "model": "late",
        "version": 4,
        "package": "p",
        "package_envelope": "e",
        "decision": DECISION if output.kind == "binary" else {"type": "none"},
        "decision_version": 2,
        "views": [],
        "key": "flight",
        "at": "departs",
        "output": output,
    }
    return Deployment(**(said | changed))


def engine_of(found: Deployment, champion: Sum, previous: Sum | None = None) -> Engine:
    return Engine("flights", found, champion, previous, clock=ReplayClock(NOW), instance="batch")


def scored(
    source: Input,
    home: Path,
    *,
    part_rows: int = 100,
    policy: Policy = "refuse",
    into: Path | None = None,
    champion: Sum | None = None,
    previous: Sum | None = None,
    **changed,
) -> BatchScored:
    """Score into a table in `home`, or into the file `into`; goes on with what was begun there."""
    champion = champion or Sum()
    found = deployment(champion.signature.output, **changed)
    if previous is not None:
        found = deployment(
            champion.signature.output, previous=PackagedVersion(version=3, package="p", package_envelope="e"), **changed
        )
    folder = JobFolder.of(home / "batch", source.named)
    with folder.held():
        job = folder.job()
        if job is None:
            contract = FrameContract(champion.signature, found, text=source.text, now=NOW)
            taken = take_in(source, contract, folder.parts, part_rows=part_rows, policy=policy, hashed=False)
            job = Job(
                project="flights", source=source.named, asked="late", into=str(into or INTO), pin=source.pin(),
                deployment=found, policy=policy, scored_at=NOW, taken=taken,
            )  # fmt: skip
            folder.keep(job)
        tables = Tables(home / "tables", clock=ReplayClock(NOW))
        destination = (
            FileDestination(into, folder.path, found.output)
            if into
            else TableDestination(tables, INTO, NOW, personal=False, tag=lambda: None)
        )
        variants = {CHAMPION: champion.signature if champion.needs_all else None}
        if previous is not None:
            variants[PREVIOUS] = previous.signature if previous.needs_all else None
        scoring = Scoring(engine_of(found, champion, previous), variants, NOW, job.seed)
        done = run(Work(job, folder, scored_here(job, folder.parts, scoring, lambda rows: rows), destination))
        folder.remove()
    return done


def serve(source: str, home: str) -> None:
    """For each line: fork, score, say the fork's id; the line after it is what came of the fork."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            scored(WholeFiles(source), Path(home), part_rows=int(line))
            os._exit(0)
        tell(child)
        tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(*sys.argv[1:])
