"""What a statement is for: loading, cleaning, features, training, evaluation, plots, writing."""

import ast
import re

from loopline.app.adopting.calls import calls, dotted
from loopline.app.adopting.statement import Statement

ORDER = ["load", "clean", "prepare", "split", "train", "evaluate", "plot", "write", "compute"]
_CLEANS = {
    "dropna",
    "fillna",
    "drop_duplicates",
    "astype",
    "rename",
    "replace",
    "to_datetime",
    "to_numeric",
    "drop_nulls",
    "fill_null",
    "cast",
    "strip",
    "unique",
    "interpolate",
}
_METHODS = {
    "split": {"train_test_split", "TimeSeriesSplit", "KFold"},
    "train": {"fit", "fit_predict", "cross_val_score", "cross_validate", "partial_fit", "polyfit"},
    "evaluate": {"predict", "score", "predict_proba", "classification_report", "confusion_matrix"},
    "prepare": {
        "get_dummies",
        "fit_transform",
        "transform",
        "assign",
        "with_columns",
        "merge",
        "join",
        "map",
        "apply",
        "cut",
        "qcut",
        "rolling",
        "shift",
        "join_asof",
    },
}


def phase(statement: Statement) -> str:
    """The phase of one statement."""
    deeds = {effect.deed for effect in statement.effects}
    if deeds & {"read", "network", "database"} and statement.binds:
        return "load"
    if deeds & {"write", "send"}:
        return "write"
    if "draws" in deeds:
        return "plot"
    names = [dotted(call.func).rpartition(".")[2] or getattr(call.func, "attr", "") for call in calls(statement.node)]
    for found in ("split", "train", "evaluate"):
        if any(
            name in _METHODS[found] or (found == "evaluate" and name.endswith(("_score", "_error", "_loss")))
            for name in names
        ):
            return found
    if any(name in _CLEANS for name in names):
        return "clean"
    stored = any(isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Store) for one in ast.walk(statement.node))
    return "prepare" if stored or any(name in _METHODS["prepare"] for name in names) else "compute"


def is_shown(statement: Statement) -> bool:
    """Whether a statement only prints or draws: it makes nothing that others need."""
    deeds = {effect.deed for effect in statement.effects}
    said = (
        isinstance(statement.node, ast.Expr)
        and isinstance(statement.node.value, ast.Call)
        and dotted(statement.node.value.func) in {"print", "display", "pprint"}
    )
    return (said or "draws" in deeds) and not statement.makes and not deeds - {"draws"}


_HEADING = re.compile(r"^#+\s*[-=*#~\d. )]*\s*([A-Za-z][^\n]*?)\s*[-=*#~]*\s*$")


def heading(prose: str) -> str:
    """The last heading of what was written above a cell, without its number; empty if there is none."""
    found = [match[1] for line in prose.splitlines() if (match := _HEADING.match(line.strip()))]
    return re.sub(r"[*_`:]+", "", found[-1]).strip() if found else ""
