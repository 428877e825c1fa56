"""What a run is: one execution of training or evaluation, with everything that was logged about it."""

from datetime import datetime
from typing import Any, Literal

import msgspec

Status = Literal["running", "finished", "failed", "killed"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a metric at a step; it may be NaN or infinite. `at` is when it was measured (UTC), if told."""

    name: str
    step: int
    value: float
    at: datetime | None = None


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """Something a run read: `kind` is e.g. "table" or "model", `version` a version number or digest as text."""

    kind: str
    name: str
    version: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `metrics` holds the value at the greatest step of each metric, `history` all of them by name and step; it is
    empty where it was not asked for.

    Times are UTC; `ended_at` is None while it runs. `parent` is the run it is a part of, such as a search of its trial.
    `artifacts` are digests by name. `facts` tell how it was run: command, commit, error and the like.
    """

    project: str
    experiment: str
    run_id: str
    parent: str | None
    status: Status
    started_at: datetime
    ended_at: datetime | None
    params: dict[str, Any]
    metrics: dict[str, float]
    history: list[Metric]
    inputs: list[Input]
    artifacts: dict[str, str]
    facts: dict[str, Any] = {}
