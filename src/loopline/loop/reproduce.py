"""Reproduce: a registered version is built again from its lineage and compared with what was registered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from loopline.errors import InvalidInput, LooplineError, NotFound
from loopline.ledger import chain
from loopline.loop.code import code_parts
from loopline.loop.declare import Loop
from loopline.loop.deployment import Predictors
from loopline.loop.lane import Lane, lanes
from loopline.loop.personal_fields import personal_fields
from loopline.loop.rebuild import REBUILD, Rebuild, environment, recipe_then
from loopline.loop.resources import Resources
from loopline.loop.search import search_differences
from loopline.loop.training_rows import pinned_rows
from loopline.models import registry
from loopline.models.differences import Trees, package_differences, tree_differences
from loopline.models.package import PAYLOAD_TYPE, ModelPackage, decode_package
from loopline.models.predictor import load_predictor
from loopline.models.registry import ModelVersion
from loopline.models.signing import sign
from loopline.storage.artifacts import ArtifactStore, open_artifacts
from loopline.storage.scratch import scratch_folder
from loopline.training.fingerprint import column_digests
from loopline.training.fit import fit
from loopline.training.packaged import packaged
from loopline.training.training_set import LabelledRows

ChangeKind = Literal["code", "definition", "data", "libraries", "environment", "nondeterminism", "failure", "search"]

DETERMINISTIC = (
    "Give the estimator train.seed and one thread: random_state=train.seed for scikit-learn and XGBoost (nthread=1); for "
    "LightGBM also deterministic=True, force_row_wise=True, num_threads=1."
)


class Change(msgspec.Struct, frozen=True):
    """Something that is not as it was when the version was made."""

    kind: ChangeKind
    sentence: str


class Scores(msgspec.Struct, frozen=True):
    """How the two models score the pinned rows, trained on and held out: in how many they differ, and by how much at most."""

    rows: int
    different: int
    max_abs_difference: float


class Reproduction(msgspec.Struct, frozen=True):
    """What came of building a version again. `same` is whether the packages have one digest; `changes` is what is not as it was,
    whether or not it made a difference; `package` the fields that differ.
    """

    project: str
    model: str
    version: int
    same: bool
    registered: str
    rebuilt: str | None
    rows: int | None
    changes: list[Change]
    package: list[str] = []
    scores: Scores | None = None
    trees: Trees | None = None
    advice: list[str] = []

    @property
    def sentence(self) -> str:
        """In one sentence."""
        name = f"{self.model}:{self.version}"
        if self.same:
            return f"{name} is reproduced bit for bit: {self.registered}."
        why = ", ".join(dict.fromkeys(change.kind for change in self.changes)) or "nothing that is recorded"
        return f"{name} is not reproduced. What changed: {why}."


@dataclass(frozen=True)
class _Work:
    """A version with what it was made from, and a store for what is built again."""

    resources: Resources
    lane: Lane
    found: ModelVersion
    kept: Rebuild
    artifacts: ArtifactStore


def reproduce(
    resources: Resources, loop: Loop, *, project: str, model: str, version: int, search: bool = False
) -> Reproduction:
    """Build a registered version again, from its pinned tables, parameters and seed, with the code of `loop` and what is
    installed, and compare. Changes nothing in the home.

    With `search` the search that found its parameters is made again too. Raises `NotFound` for an unknown version or model
    and `InvalidInput` for a version whose lineage does not say how it was made.
    """
    with resources.database.reading() as tx:
        found = registry.get_version(tx, project, model, version)
    if REBUILD not in found.lineage:
        raise InvalidInput(
            "reproduce.no_lineage",
            f"the lineage of {model}:{version} does not say how it was made",
            remedy="Only versions that a loop trained can be built again, and only since it keeps their seeds.",
        )
    kept = msgspec.convert(found.lineage[REBUILD], Rebuild)
    with scratch_folder() as folder:
        store = open_artifacts(str(folder / "artifacts"), durable=False)
        return _reproduced(_Work(resources, _lane(loop, resources, project, model), found, kept, store), search=search)


def record_reproduction(resources: Resources, made: Reproduction, *, actor: str) -> None:
    """Write into the ledger that a version was built again, and what came of it."""
    at = resources.clock.now()
    body = {"same": made.same, "rebuilt": made.rebuilt, "changes": [msgspec.to_builtins(one) for one in made.changes]}
    with resources.database.transaction() as tx:
        chain.append(
            tx,
            project=made.project,
            at=at,
            kind="version.reproduced",
            actor=actor,
            subject=f"{made.model}:{made.version}",
            body=body,
            key=f"reproduced:{made.model}:{made.version}:{at.isoformat()}",
        )


def _reproduced(work: _Work, *, search: bool) -> Reproduction:
    changes = [*_definition_changes(work), *_code_changes(work), *_environment_changes(work)]
    try:
        trained_on, held_out = _rows(work, changes)
        changes += _data_changes(work.kept, trained_on)
        made = _built(work, trained_on)
    except LooplineError as error:
        return _told(work, [*changes, Change("failure", f"it cannot be built: {error.message}")])
    if search:
        changes += _search_changes(work)
    before = decode_package(work.resources.artifacts.get(work.found.package))
    changes += _library_changes(before, made)
    if made.digest == work.found.package:
        return _told(work, changes, made, trained_on)
    return _compared(work, changes, before, made, (trained_on, held_out))


def _compared(
    work: _Work,
    changes: list[Change],
    before: ModelPackage,
    made: ModelPackage,
    rows: tuple[LabelledRows, LabelledRows],
) -> Reproduction:
    """Where the two differ, and whether a second fit differs from the first."""
    trained_on, _ = rows
    differing = package_differences(before, made)
    again = _built(work, trained_on)
    if again.digest != made.digest:
        told = "two fits here, one after the other, differ from each other: the function does not give the same twice"
        changes = [*changes, Change("nondeterminism", told)]
    return _told(
        work,
        changes,
        made,
        trained_on,
        package=differing,
        scores=_scores(work, made, pl.concat([part.frame for part in rows], how="diagonal")),
        trees=tree_differences(before, made, work.resources.artifacts, work.artifacts),
    )


def _told(
    work: _Work, changes: list[Change], made: ModelPackage | None = None, rows: LabelledRows | None = None, **told: Any
) -> Reproduction:
    return Reproduction(
        project=work.lane.project,
        model=work.lane.model,
        version=work.found.version,
        same=made is not None and made.digest == work.found.package,
        registered=work.found.package,
        rebuilt=made.digest if made else None,
        rows=rows.frame.height if rows else None,
        changes=changes,
        advice=list(_advice(changes)),
        **told,
    )


def _lane(loop: Loop, resources: Resources, project: str, model: str) -> Lane:
    for lane in lanes(loop, seed=resources.seed, compare=True):
        if (lane.project, lane.model) == (project, model):
            return lane
    raise NotFound(
        "reproduce.other_loop",
        f"the loop file operates no {model} in project {project}",
        remedy="Give the loop file that the version was trained with.",
    )


def _rows(work: _Work, changes: list[Change]) -> tuple[LabelledRows, LabelledRows]:
    """The pinned rows; where a pinned version of a table is gone, what the tables hold now of what was known then."""
    as_of = datetime.fromisoformat(work.found.lineage["as_of"])
    try:
        return _pinned(work, as_of, work.found.lineage["tables"])
    except (NotFound, OSError, pl.exceptions.PolarsError) as error:
        changes.append(Change("data", f"a pinned table version cannot be read, and the newest is taken: {error}"))
        return _pinned(work, as_of, {})


def _pinned(work: _Work, as_of: datetime, versions: Mapping[str, int]) -> tuple[LabelledRows, LabelledRows]:
    kept = work.kept
    return pinned_rows(
        work.resources,
        work.lane,
        recipe_then(work.lane.recipe, work.found.lineage, kept),
        versions=versions,
        as_of=as_of,
        holdout=kept.holdout,
        leave_out=[(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in kept.leave_out],
    )


def _built(work: _Work, rows: LabelledRows) -> ModelPackage:
    fitted = fit(
        work.lane.operation.model.fit,
        work.found.lineage["params"],
        rows,
        seed=work.kept.seed,
        personal=personal_fields(work.resources, work.lane.project, work.lane.model),
    )
    return packaged(fitted, work.artifacts)


def _scores(work: _Work, made: ModelPackage, rows: pl.DataFrame) -> Scores:
    key = work.resources.key
    before = Predictors(work.resources).load(work.found.package, work.found.envelope).predict(rows)
    envelope = sign(key, PAYLOAD_TYPE, made.encoded())
    after = load_predictor(work.artifacts, made.digest, envelope=envelope, keys=key.public).predict(rows)
    apart = np.abs(before - after).reshape(rows.height, -1).max(axis=1, initial=0.0)
    return Scores(len(apart), int((apart > 0).sum()), float(apart.max(initial=0.0)))


def _definition_changes(work: _Work) -> Iterator[Change]:
    declared, kept, lineage = work.lane.recipe, work.kept, work.found.lineage
    if declared.label.describe() != lineage["label"]:
        yield Change("definition", "the label is declared otherwise now; its expression then is not kept")
    then = recipe_then(declared, lineage, kept)
    if then != declared:
        yield Change("definition", "features are declared otherwise now; those of then are used")


def _code_changes(work: _Work) -> Iterator[Change]:
    before, now = work.kept.code, code_parts(work.lane.operation.model.fit)
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            how = "is new" if name not in before else "is gone" if name not in now else "is another"
            yield Change("code", f"{name.removesuffix(' =')} {how}")


def _environment_changes(work: _Work) -> Iterator[Change]:
    now = environment()
    for name, before in sorted(work.kept.environment.items()):
        if now.get(name) != before:
            yield Change("environment", f"{name} was {before}, is {now.get(name)}")


def _data_changes(kept: Rebuild, rows: LabelledRows) -> Iterator[Change]:
    now = column_digests(rows.frame)
    if rows.frame.height != kept.rows:
        yield Change("data", f"there were {kept.rows} rows to train on, there are {rows.frame.height}")
    different = [name for name in sorted({*kept.columns, *now}) if kept.columns.get(name) != now.get(name)]
    if different and rows.frame.height == kept.rows:
        yield Change("data", f"values are others in: {', '.join(different)}")


def _library_changes(before: ModelPackage, made: ModelPackage) -> Iterator[Change]:
    for name in sorted({*before.libraries, *made.libraries}):
        old, new = before.libraries.get(name), made.libraries.get(name)
        if old != new:
            yield Change("libraries", f"{name} was {old}, is {new}")


def _search_changes(work: _Work) -> Iterator[Change]:
    """What comes out otherwise of the search that found the parameters, on the rows it was made on."""
    said = work.found.lineage.get("search", {})
    if "search" not in said:
        return
    rows, _ = _pinned(work, datetime.fromisoformat(said["as_of"]), work.found.lineage["tables"])
    for sentence in search_differences(work.resources, work.lane, rows, said["search"]):
        yield Change("search", sentence)


def _advice(changes: list[Change]) -> Iterator[str]:
    kinds = {change.kind for change in changes}
    if "code" in kinds or "definition" in kinds:
        yield "Check out the loop file as it was when the version was made, and try again."
    if "libraries" in kinds or "environment" in kinds:
        yield "Install the versions named above in an environment of their own, and try again."
    if "nondeterminism" in kinds:
        yield DETERMINISTIC
