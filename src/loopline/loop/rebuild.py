"""What a version's lineage keeps so that it can be made again."""

import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import msgspec

from loopline.evaluation.kind import Output
from loopline.features.definitions import View
from loopline.loop.code import code_parts
from loopline.loop.lane import Lane
from loopline.training.fingerprint import column_digests
from loopline.training.training_set import LabelledRows, Recipe

REBUILD = "rebuild"
_LIBRARIES = ("polars", "scipy", "threadpoolctl")


class Rebuild(msgspec.Struct, frozen=True):
    """What there is to a training set and a fit that no other part of the lineage says.

    `seed` is the fit's, `table`, `at`, `given`, `categories`, `output`, `group` and `target` are the model's, beside the lineage's views; `holdout` and
    `leave_out` say which rows were not trained on; `rows` and `columns` are how many there were and digests of what they
    held; `code` those of the functions, by name; `environment` what is not in the package's libraries.
    """

    seed: int
    table: str
    at: str
    given: list[str]
    categories: list[str]
    holdout: str
    leave_out: list[list[str]]
    rows: int
    columns: dict[str, str]
    code: dict[str, str]
    environment: dict[str, str]
    output: Output = Output()
    group: str | None = None
    target: str | None = None


def rebuilt_from(lane: Lane, rows: LabelledRows, *, seed: int) -> dict[str, Any]:
    """The record of a training on `rows`, as plain values for the lineage."""
    model = lane.operation.model
    kept = Rebuild(
        seed=seed,
        table=rows.recipe.table,
        at=rows.recipe.at,
        given=list(rows.recipe.given),
        categories=list(rows.recipe.categories),
        holdout=model.holdout,
        leave_out=[[start.isoformat(), end.isoformat()] for start, end in rows.pins.get("leave_out", [])],
        rows=rows.frame.height,
        columns=column_digests(rows.frame),
        code=code_parts(model.fit),
        environment=environment(),
        output=rows.recipe.output,
        group=rows.recipe.group,
        target=rows.recipe.target,
    )
    plain: dict[str, Any] = msgspec.to_builtins(kept)
    return plain


def recipe_then(declared: Recipe, lineage: Mapping[str, Any], kept: Rebuild) -> Recipe:
    """What the training set was made of; the label's expression is not kept as such, and is the declared one."""
    views = tuple(msgspec.convert(view, View) for view in lineage["views"])
    return replace(
        declared,
        table=kept.table,
        at=kept.at,
        given=tuple(kept.given),
        categories=tuple(kept.categories),
        views=views,
        output=kept.output,
        group=kept.group,
        target=kept.target,
    )


def environment() -> dict[str, str]:
    """What can change a bit of a fit and is not in the model's package."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: version(name) for name in _LIBRARIES},
    }
