"""What was used before: data, or a record that another command kept of its use."""

from pathlib import Path
from typing import Any

import msgspec

from loopline.errors import InvalidInput, NotFound

_FIT = ("learning_rate", "max_iter", "max_depth", "max_leaf_nodes", "min_samples_leaf", "l2_regularization", "max_bins")
_LABELS = ("label", "target", "label_column", "target_column")
_LOSSES = ("log_loss", "brier", "zero_one", "squared_error", "absolute_error")


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What to make a loop from. Empty where it does not say; `data` and `labels` are files, the other words columns.

    `features` are empty where all that fit are to be taken. `told` are sentences for whoever reads the loop.
    """

    data: str
    labels: str = ""
    name: str = ""
    key: tuple[str, ...] = ()
    at: str = ""
    label: str = ""
    label_at: str = ""
    features: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    loss: str = ""
    tolerance: float | None = None
    pages: float | None = None
    matures: float | None = None
    positive: str = ""
    kind: str = ""
    params: dict[str, Any] = {}
    told: tuple[str, ...] = ()


def used_from(where: str, *, data: str | None = None, label: str | None = None) -> Used:
    """What `where` names: data, or a JSON record of `loopline check`, `watch`, `serve`, or of a run (`loopline runs show --json`).

    `data` and `label` say what a record does not. Raises `InvalidInput` where it is not known what to learn from or to predict.
    """
    record = _record(where)
    if record is None:
        return Used(data=data or where, label=label or "")
    readers = {"check": _from_check, "watch": _from_watch, "serve": _from_serve}
    if "run_id" in record:
        found = _from_run(record, data)
    elif record.get("command") in readers:
        found = readers[record["command"]](record)
    else:
        return Used(data=data or where, label=label or "")
    changed = {name: value for name, value in (("data", data), ("label", label)) if value}
    found = msgspec.structs.replace(found, **changed)
    if not found.data:
        raise InvalidInput(
            "init.no_data", f"{where} does not say which data was used", remedy="Name it with --data FILE."
        )
    return found


def _record(where: str) -> dict[str, Any] | None:
    path = Path(where)
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    try:
        found = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) else None


def _from_check(record: dict[str, Any]) -> Used:
    label = record.get("label") or {}
    return Used(data=str(record.get("where", "")), label=str(label.get("column", "")))


def _from_watch(record: dict[str, Any]) -> Used:
    columns = {name: value for name, value in (record.get("columns") or {}).items() if value}
    loss, kind = str(record.get("loss", "")), str(record.get("kind", ""))
    classes = record.get("classes") or []
    left = [columns.get(name) for name in ("decision", "version", "earlier")]
    scores = _texts(columns.get("score"))
    return Used(
        data=str(record.get("predictions") or ""),
        labels=str(record.get("labels") or "") if columns.get("label_in") != "predictions" else "",
        key=_texts(columns.get("id")),
        at=str(columns.get("at", "")),
        label=str(columns.get("label", "")),
        label_at=str(columns.get("label_at", "")),
        features=_texts(columns.get("features")),
        leave_out=(*scores, *(str(one) for one in left if one)),
        loss=loss if loss in _LOSSES else "",
        tolerance=record.get("tolerance"),
        pages=record.get("false_pages_per_year"),
        matures=record.get("matures"),
        positive=str(classes[-1]) if kind == "binary" and classes else "",
        kind=kind,
        told=(f"The model that was watched stays where it is; its scores ({', '.join(scores)}) are no feature.",) if scores else (),
    )  # fmt: skip


def _from_serve(record: dict[str, Any]) -> Used:
    model = str(record.get("model", ""))
    return Used(
        data=str(record.get("sample") or ""),
        name=Path(model).stem,
        told=(f"{model} is served as it is, until this loop has trained a model that its gates promote.",),
    )


def _from_run(record: dict[str, Any], data: str | None) -> Used:
    """A tracked run: the first file it read, the params that the model below takes, the column that they name as label."""
    read = [one["name"] for one in record.get("inputs", []) if one.get("kind") == "file"]
    params = record.get("params") or {}
    if not read and data is None:
        raise InvalidInput(
            "init.run_without_input",
            f"run {record['run_id']} does not say what it read",
            remedy="Name it with --data FILE, or log it in the script: run.log_input(FILE).",
        )
    if read and data is None and not Path(read[0]).exists():
        raise NotFound(
            "init.input_gone", f"{read[0]}, which the run read, is not there", remedy="Name it with --data FILE."
        )
    taken = {name: value for name, value in params.items() if name in _FIT}
    others = {name: value for name, value in params.items() if name not in _FIT}
    told = f"Run {record['run_id']} had these params too: {others}." if others else f"From run {record['run_id']}."
    label = next((str(params[name]) for name in _LABELS if isinstance(params.get(name), str)), "")
    return Used(data=read[0] if read else "", name=str(record.get("experiment", "")), label=label, params=taken, told=(told,))  # fmt: skip


def _texts(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(map(str, value))
