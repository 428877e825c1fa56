"""Tracking: what runs read, were given, measured and made. Every call can be repeated without doubling anything."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, get_args

import msgspec
import sqlalchemy as sa

from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.runs import store
from loopline.runs.run import Input, Metric, Run, Status
from loopline.storage.database import Transaction, insert_once, upsert
from loopline.values import canonical_json

_ENDED = tuple(status for status in get_args(Status) if status != "running")
_METRIC = "metrics."
_FEW = 10


def every_artifact(tx: Transaction) -> list[tuple[str, str, str]]:
    """What runs have logged: run, name and digest of each artifact."""
    return store.every_artifact(tx)


def start(
    tx: Transaction, *, project: str, experiment: str, run_id: str, at: datetime, parent: str | None = None
) -> None:
    """Start a run. Starting one that there is already changes nothing; raises `Conflict` where it belongs elsewhere."""
    owner = {"project": project, "experiment": experiment, "parent": parent}
    values = {**owner, "run_id": run_id, "status": "running", "started_at": at, "ended_at": None}
    if insert_once(tx, store.run, values):
        return
    known = _require(tx, run_id)
    if any(known[name] != value for name, value in owner.items()):
        raise Conflict(
            "run.id_reused",
            f"run {run_id} belongs to experiment {known['experiment']} of {known['project']}",
            remedy="Give each run an id of its own.",
        )


def log_params(tx: Transaction, run_id: str, params: Mapping[str, Any]) -> None:
    """Log parameters: JSON values by name. Raises `NotFound`, and `Conflict` for a name that was logged with another
    value: a parameter is what a run was given, and does not change.
    """
    _require(tx, run_id)
    for name, value in params.items():
        if insert_once(tx, store.run_param, {"run_id": run_id, "name": name, "value": value}):
            continue
        known = store.param(tx, run_id, name)
        if known is not None and canonical_json(known["value"]) != canonical_json(value):
            raise Conflict(
                "run.param_changed",
                f"param {name} of run {run_id} is {known['value']!r} already, not {value!r}",
                remedy="Log what changes as a metric, or start another run.",
            )


def log_metrics(
    tx: Transaction, run_id: str, metrics: Mapping[str, float], step: int = 0, *, at: datetime | None = None
) -> None:
    """Log values by name at `step`; NaN and infinities are kept. The last value logged for a step holds. Raises `NotFound`."""
    _require(tx, run_id)
    for name, value in metrics.items():
        values = {"run_id": run_id, "name": name, "step": step, "value": value, "at": at}
        upsert(tx, store.run_metric, values, key=["run_id", "name", "step"])


def log_history(tx: Transaction, run_id: str, metrics: Iterable[Metric]) -> None:
    """Log many values, each with the time it was measured (UTC); the one measured last holds for its name and step, in
    whatever order they are logged. Raises `NotFound`.
    """
    _require(tx, run_id)
    last = {(metric.name, metric.step): metric for metric in metrics}
    store.put_metrics(tx, [{"run_id": run_id, **msgspec.structs.asdict(metric)} for metric in last.values()])


def log_facts(tx: Transaction, run_id: str, facts: Mapping[str, Any]) -> None:
    """Log how the run was run, JSON values by name: its command, commit, error. The last value holds. Raises `NotFound`."""
    _require(tx, run_id)
    for name, value in facts.items():
        upsert(tx, store.run_fact, {"run_id": run_id, "name": name, "value": value}, key=["run_id", "name"])


def log_inputs(tx: Transaction, run_id: str, inputs: Iterable[Input]) -> None:
    """Log what the run read. Raises `NotFound`."""
    _require(tx, run_id)
    for read in inputs:
        values = {"run_id": run_id, "kind": read.kind, "name": read.name, "version": read.version}
        insert_once(tx, store.run_input, values)


def log_artifacts(tx: Transaction, run_id: str, artifacts: Mapping[str, str]) -> None:
    """Log digests of artifacts by name; their bytes must be durable already. The last digest logged for a name holds.
    Raises `NotFound`.
    """
    _require(tx, run_id)
    for name, digest in artifacts.items():
        upsert(tx, store.run_artifact, {"run_id": run_id, "name": name, "digest": digest}, key=["run_id", "name"])


def finish(tx: Transaction, run_id: str, status: Status, at: datetime) -> None:
    """End a run as "finished", "failed" or "killed". Ending it the same way again changes nothing.

    Raises `NotFound`, `InvalidInput` for another status and `Conflict` where it ended otherwise.
    """
    if status not in _ENDED:
        raise InvalidInput("run.status", f"{status!r} is no end of a run", remedy=f"Use one of {', '.join(_ENDED)}.")
    known = _require(tx, run_id, hold=True)
    if known["status"] == "running":
        store.set_status(tx, run_id, {"status": status, "ended_at": at})
    elif known["status"] != status:
        raise Conflict("run.ended", f"run {run_id} is {known['status']} already", remedy="Start another run.")


def get(tx: Transaction, run_id: str) -> Run:
    """A run with everything that was logged about it. Raises `NotFound`."""
    return _assemble(tx, [_require(tx, run_id)], history=True)[0]


def exists(tx: Transaction, run_id: str) -> bool:
    """Whether there is such a run."""
    return store.by_id(tx, run_id) is not None


def status(tx: Transaction, run_id: str) -> Status:
    """The status of a run. Raises `NotFound`."""
    found: Status = _require(tx, run_id)["status"]
    return found


def resolve(tx: Transaction, text: str) -> str:
    """The id of the one run whose id is `text` or begins with it. Raises `NotFound` and `InvalidInput`."""
    found = store.starting_with(tx, text, _FEW)
    if text in found or len(found) == 1:
        return text if text in found else found[0]
    if found:
        raise InvalidInput("run.which", f"{text!r} begins several ids", remedy=f"Say more of it: {', '.join(found)}.")
    return str(_require(tx, text)["run_id"])


def search(
    tx: Transaction,
    project: str | None,
    experiment: str | None = None,
    *,
    parent: str | None = None,
    order_by: str = "-started_at",
    limit: int = 100,
    history: bool = True,
) -> list[Run]:
    """Runs of a project (of all with None), at most `limit`; `history=False` leaves all values but the last ones out.

    `order_by` is "started_at", "ended_at" or "metrics.<name>" (its value at the greatest step), with "-" before it for
    descending. Runs without the value, or with NaN, come last; ties are by id. Raises `InvalidInput` for another order.
    """
    rows = store.select(tx, project, experiment=experiment, parent=parent, order=_order(order_by), limit=limit)
    return _assemble(tx, rows, history=history)


def _order(text: str) -> sa.ColumnElement[Any]:
    name = text.removeprefix("-")
    if name in {"started_at", "ended_at"}:
        column: sa.ColumnElement[Any] = store.run.c[name]
    elif name.startswith(_METRIC):
        column = store.last_value(name.removeprefix(_METRIC))
    else:
        raise InvalidInput(
            "run.order",
            f"runs cannot be ordered by {name!r}",
            remedy='Use "started_at", "ended_at" or "metrics.<name>".',
        )
    return column.desc() if text.startswith("-") else column.asc()


def _require(tx: Transaction, run_id: str, *, hold: bool = False) -> sa.RowMapping:
    row = store.by_id(tx, run_id, hold=hold)
    if row is None:
        raise NotFound("run.not_found", f"there is no run {run_id}", remedy="Start it first, or check the id.")
    return row


def _assemble(tx: Transaction, rows: list[sa.RowMapping], *, history: bool) -> list[Run]:
    ids = [row["run_id"] for row in rows]
    tables = (store.run_param, store.run_input, store.run_artifact, store.run_fact)
    params, inputs, artifacts, facts = (_by_run(store.logged(tx, table, ids)) for table in tables)
    metrics = _by_run(store.logged(tx, store.run_metric, ids) if history else store.last_metrics(tx, ids))
    return [
        Run(
            **row,
            params={logged["name"]: logged["value"] for logged in params[row["run_id"]]},
            metrics={logged["name"]: logged["value"] for logged in metrics[row["run_id"]]},
            history=[Metric(**_but_run(logged)) for logged in metrics[row["run_id"]]] if history else [],
            inputs=[Input(**_but_run(logged)) for logged in inputs[row["run_id"]]],
            artifacts={logged["name"]: logged["digest"] for logged in artifacts[row["run_id"]]},
            facts={logged["name"]: logged["value"] for logged in facts[row["run_id"]]},
        )
        for row in rows
    ]


def _by_run(rows: list[sa.RowMapping]) -> dict[str, list[sa.RowMapping]]:
    grouped: dict[str, list[sa.RowMapping]] = defaultdict(list)
    for logged in rows:
        grouped[logged["run_id"]].append(logged)
    return grouped


def _but_run(logged: sa.RowMapping) -> dict[str, Any]:
    return {name: value for name, value in logged.items() if name != "run_id"}
