"""A job: what is scored with what, pinned before the first row is scored, and what it takes to go on after a death.

It lies in a folder: `job.json`, written once all rows are taken in; `journal.jsonl`, a line for each part that is done; the parts.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from loopline.errors import Conflict, Corrupt
from loopline.models.manifest import Deployment
from loopline.scoring.batch.intake import Policy, Taken
from loopline.scoring.batch.journal import Journal
from loopline.sources.whole import Pin
from loopline.storage.files import make_folder, write_file
from loopline.values import canonical_json, digest


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the result follows from. `source` and `asked` are how a person named input and model; `attempt` tells apart
    what was asked for again on purpose. `history` are the versions of the tables that features are looked up in.
    """

    project: str
    source: str
    asked: str
    into: str
    pin: Pin
    deployment: Deployment
    policy: Policy
    scored_at: datetime
    taken: Taken
    history: dict[str, int] = {}
    attempt: int = 0

    @property
    def writer(self) -> str:
        """The name under which it is committed: the digest of input, model, decision and destination."""
        return writer_of(self.project, self.pin, self.deployment, self.into, self.attempt)

    @property
    def seed(self) -> int:
        """What the ids of its predictions are derived from: those of two jobs differ."""
        return int(self.writer.removeprefix("batch:")[:16], 16)


def writer_of(project: str, pin: Pin, deployment: Deployment, into: str, attempt: int) -> str:
    """As `Job.writer`."""
    decision = digest(canonical_json(deployment.decision))
    said = [project, pin.digest, deployment.model, deployment.version, deployment.package, decision, into]
    return "batch:" + digest(canonical_json([*said, attempt])).removeprefix("sha256:")


class JobFolder:
    """Where a job lies."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, root: Path, *said: str) -> "JobFolder":
        """The folder below `root` whose name follows from what a person said, so that the same command finds it again."""
        return cls(root / digest(canonical_json(list(said))).removeprefix("sha256:")[:20])

    @property
    def parts(self) -> Path:
        """The folder of the parts."""
        return self.path / "parts"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Alone. Raises `Conflict` "batch.running" where another process is at it."""
        make_folder(self.path)
        handle = self._locked()
        try:
            yield
        finally:
            if not (self.path.exists() and any(self.path.iterdir())):  # nothing is left to go on with
                self._lock.unlink(missing_ok=True)
                shutil.rmtree(self.path, ignore_errors=True)
            os.close(handle)

    @property
    def _lock(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    def _locked(self) -> int:
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino == self._lock.stat().st_ino:  # else its last holder has removed it just now
                return handle
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(handle)
        raise Conflict("batch.running", "another process is scoring just this", remedy="Wait until it has ended.")

    def job(self) -> Job | None:
        """The job, once all of its rows are taken in. Raises `Corrupt` "batch.job_unreadable"."""
        try:
            return msgspec.json.decode((self.path / "job.json").read_bytes(), type=Job)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise Corrupt(
                "batch.job_unreadable",
                f"{self.path}: {error}",
                remedy="Begin again with --fresh: nothing is visible yet.",
            ) from error

    def keep(self, job: Job) -> None:
        """Write the job down; from here on it is gone on with."""
        write_file(self.path / "job.json", msgspec.json.encode(job))

    def journal(self) -> Journal:
        """What of it is done."""
        return Journal(self.path / "journal.jsonl")

    def remove(self) -> None:
        """Forget it: the job first, so that what is left of a folder is no job."""
        (self.path / "job.json").unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


def summary(job: Job) -> dict[str, Any]:
    """What is told of a job in the table's log and in the ledger."""
    said = job.deployment
    return {
        "source": "batch",
        "input": {"named": job.source, "kind": job.pin.kind, **job.pin.said},
        "project": job.project,
        "model": said.model,
        "model_version": said.version,
        "package": said.package,
        "decision_version": said.decision_version,
        "decision": digest(canonical_json(said.decision)),
        "features": job.history,
        "policy": job.policy,
        "attempt": job.attempt,
        "scored_at": job.scored_at,
    }
