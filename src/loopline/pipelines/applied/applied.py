"""Plan and apply: what a pipeline file would change, and which pipelines are in force."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from loopline.errors import Conflict, NotFound
from loopline.ledger import chain
from loopline.ledger.change import Change, differences
from loopline.pipelines.applied import store
from loopline.pipelines.applied.declared import Declared
from loopline.pipelines.schedules import schedule
from loopline.storage.database import Transaction, lock
from loopline.tables.tables import Tables
from loopline.values import canonical_json, digest, utc

_NOTHING: dict[str, Any] = {"pipelines": {}, "code": {}}


class PipelinePlan(msgspec.Struct, frozen=True):
    """What putting a pipeline file in force changes. `ended` are pipelines that it has no more: their schedules end."""

    project: str
    file: str
    digest: str
    code: str
    changes: list[Change]
    ended: list[str] = []

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return not self.changes


class InForce(msgspec.Struct, frozen=True):
    """A pipeline in force: `function` in the pinned `code` declares it; `file` is the module's name, `params` what it takes."""

    project: str
    pipeline: str
    file: str
    function: str
    code: str
    takes: str
    at: datetime
    actor: str


def plan(tx: Transaction, declared: Declared, *, project: str) -> PipelinePlan:
    """Compare the file with what was applied of it last. Changes nothing.

    Raises `Conflict` "pipeline.in_force" where another file of the project has a pipeline of the same name.
    """
    for one in in_force(tx, project=project):
        if one.pipeline in declared.schedules and one.file != declared.file:
            raise Conflict(
                "pipeline.in_force",
                f"{one.pipeline} is in force by the file {one.file} already",
                remedy=f"Give it another name, or `loopline pipelines remove {one.file}` first.",
            )
    return _plan(tx, project, declared)


def apply(
    tx: Transaction, declared: Declared, *, project: str, at: datetime, actor: str, tables: Tables | None = None
) -> PipelinePlan:
    """Put the file's pipelines in force: their schedules start now, those of pipelines and schedules that are gone end. Gives what changed.

    With a ledger entry, all in the caller's transaction; `tables` are needed by `on_table`. Applied again it changes nothing.
    """
    lock(tx, "pipelines", project)
    made = plan(tx, declared, project=project)
    if not made.empty:
        _put(tx, made, declared, utc(at), actor, tables)
    return made


def remove(tx: Transaction, file: str, *, project: str, at: datetime, actor: str) -> PipelinePlan:
    """Take all pipelines of a file out of force; their schedules end, what was started goes on.

    Raises `NotFound` "pipeline.not_in_force".
    """
    lock(tx, "pipelines", project)
    found = next((row for row in store.latest(tx, project, file) if row["declaration"]["pipelines"]), None)
    if found is None:
        raise NotFound(
            "pipeline.not_in_force",
            f"no pipeline of a file {file} is in force in {project}",
            remedy="`loopline pipelines` lists them.",
        )
    nothing = Declared(file, found["code"], _NOTHING, {})
    made = _plan(tx, project, nothing)
    _put(tx, made, nothing, utc(at), actor, None)
    return made


def in_force(tx: Transaction, *, project: str | None = None, pipeline: str | None = None) -> list[InForce]:
    """The pipelines in force, by project, file and name."""
    return [one for row in store.latest(tx, project) for one in _pipelines(row) if pipeline in {None, one.pipeline}]


def one_in_force(tx: Transaction, project: str, pipeline: str) -> InForce:
    """The pipeline in force. Raises `NotFound` "pipeline.not_in_force"."""
    found = in_force(tx, project=project, pipeline=pipeline)
    if not found:
        raise NotFound(
            "pipeline.not_in_force",
            f"{pipeline} is not in force in {project}",
            remedy="Put its file in force: `loopline pipelines apply FILE`.",
        )
    return found[0]


def pipeline_projects(tx: Transaction) -> list[str]:
    """The projects that have, or had, pipelines in force."""
    return sorted({row["project"] for row in store.latest(tx)})


def projects_of(tx: Transaction, file: str) -> list[str]:
    """The projects in which pipelines of this file are in force."""
    return [row["project"] for row in store.latest(tx, file=file) if row["declaration"]["pipelines"]]


def _pipelines(row: dict[str, Any]) -> Iterator[InForce]:
    for name, said in sorted(row["declaration"]["pipelines"].items()):
        where = (row["project"], name, row["file"], said["function"], row["code"], said["takes"])
        yield InForce(*where, row["at"], row["actor"])


def _plan(tx: Transaction, project: str, declared: Declared) -> PipelinePlan:
    last = next(iter(store.latest(tx, project, declared.file)), None)
    before = last["declaration"] if last else _NOTHING
    ended = sorted(before["pipelines"].keys() - declared.declaration["pipelines"].keys())
    changes = differences(before, declared.declaration)
    said = digest(canonical_json(declared.declaration))
    return PipelinePlan(project, declared.file, said, declared.code, changes, ended)


def _put(
    tx: Transaction, made: PipelinePlan, declared: Declared, at: datetime, actor: str, tables: Tables | None
) -> None:
    last = next(iter(store.latest(tx, made.project, made.file)), None)
    sequence = (last["sequence"] if last else 0) + 1
    head = {"project": made.project, "file": made.file, "sequence": sequence, "digest": made.digest, "code": made.code}
    store.add(tx, {**head, "declaration": declared.declaration, "at": at, "actor": actor})
    wanted = {**dict.fromkeys(made.ended, ()), **declared.schedules}
    for pipeline, schedules in wanted.items():
        schedule.declare(
            tx, project=made.project, pipeline=pipeline, schedules=schedules, at=at, actor=actor, tables=tables
        )
    chain.append(
        tx,
        project=made.project,
        at=at,
        kind="pipelines.applied",
        actor=actor,
        subject=made.file,
        body={"digest": made.digest, "code": made.code, "changes": msgspec.to_builtins(made.changes)},
        key=f"pipelines:{made.file}:{sequence}",
    )
