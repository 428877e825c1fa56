"""What a test set would not show: fits on all rows, the target among the features, a shuffled split of data in time."""

import ast
import re

from loopline.app.adopting.calls import calls, dotted, keyword, root
from loopline.app.adopting.source import Source
from loopline.app.adopting.statement import Statement
from loopline.app.adopting.study import Study

_PREPARES = re.compile(
    r"(Scaler|Imputer|Encoder|Normalizer|PCA|Vectorizer|Discretizer|Transformer|SelectKBest|SelectFromModel|RFE|Binarizer)$"
)
_TIME = re.compile(r"(^|_)(date|datetime|time|timestamp|day|month|year|week|hour)s?($|_)|_at$", re.IGNORECASE)


def look_for_leaks(source: Source, study: Study) -> None:
    """Note leaks around each `train_test_split` of the top level, and targets that are among the features."""
    work = [one for one in study.statements if one.role == "work"]
    for place, one in enumerate(work):
        for call in calls(one.node):
            if dotted(call.func).endswith("train_test_split"):
                before = _ancestors(work[:place], call)
                _fitted_before(source, before, work[:place])
                _shuffled(source, study, call, before)
    _target_among_features(source, work)


def _ancestors(before: list[Statement], call: ast.Call) -> set[str]:
    """Names that went into what is split."""
    names = {name for argument in call.args if (name := root(argument)) is not None}
    for one in reversed(before):
        if one.makes & names:
            names |= set(one.reads)
    return names


def _fitted_before(source: Source, names: set[str], before: list[Statement]) -> None:
    makers = {
        name: dotted(value.func)
        for one in before
        if isinstance(one.node, ast.Assign) and isinstance(value := one.node.value, ast.Call)
        for name in one.binds
    }
    for one in before:
        for call in calls(one.node):
            if not isinstance(call.func, ast.Attribute) or not (one.makes & names):
                continue
            of = call.func.value
            maker = dotted(of.func) if isinstance(of, ast.Call) else makers.get(root(of) or "", "")
            if call.func.attr in {"fit", "fit_transform", "fit_resample"} and (
                _PREPARES.search(maker) or call.func.attr == "fit_resample"
            ):
                source.find(
                    call.lineno, "leak.fit_before_split", "decide", f"{maker.rpartition('.')[2] or root(of)} is fitted on all rows before they are split: the test rows are in it",
                    "Fit it on the training rows alone, best within a Pipeline.",
                )  # fmt: skip
            elif call.func.attr == "fillna" and any(
                isinstance(inner.func, ast.Attribute) and inner.func.attr in {"mean", "median", "mode"}
                for inner in calls(call)
                if inner is not call
            ):
                source.find(
                    call.lineno, "leak.statistic_before_split", "decide", "gaps are filled with a figure of all rows, test rows too", "Compute it from the training rows, or use SimpleImputer in a Pipeline."
                )  # fmt: skip
            elif (
                call.func.attr == "transform"
                and "groupby" in ast.unparse(of)
                and call.args
                and "mean" in ast.unparse(call.args[0])
            ):
                source.find(
                    call.lineno, "leak.encoding_before_split", "decide", "a mean of groups over all rows, test rows too, becomes a column", "Compute it from the training rows; if it is of the target, out of fold."
                )  # fmt: skip


def _shuffled(source: Source, study: Study, call: ast.Call, names: set[str]) -> None:
    shuffle = keyword(call, "shuffle")
    if isinstance(shuffle, ast.Constant) and shuffle.value is False:
        return
    texts = [
        one.value
        for statement in study.statements
        for one in ast.walk(statement.node)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]
    parsed = any(
        "to_datetime" in ast.unparse(one.node) or "parse_dates" in ast.unparse(one.node)
        for one in study.statements
        if one.makes & names
    )
    if parsed or any(_TIME.search(text) and len(text) < 30 and text.isidentifier() for text in texts):  # noqa: PLR2004 - names of columns
        source.find(
            call.lineno, "leak.shuffled_in_time", "decide", "rows with times are split at random: the model is tested on days it was trained on",
            "Split by time: shuffle=False on sorted rows, or a cut-off date.",
        )  # fmt: skip


def _target_among_features(source: Source, work: list[Statement]) -> None:
    targets: dict[str, tuple[str, str]] = {}
    for one in work:
        value = one.node.value if isinstance(one.node, ast.Assign) else None
        if (
            isinstance(value, ast.Subscript)
            and isinstance(value.slice, ast.Constant)
            and isinstance(value.slice.value, str)
        ):
            for name in one.binds:
                if name.lower().startswith(("y", "target", "label")):
                    targets[name] = (root(value) or "", value.slice.value)
    for frame, column in set(targets.values()):
        for one in work:
            value = one.node.value if isinstance(one.node, ast.Assign) else None
            if (
                value is not None
                and _holds(value, frame, column)
                and any(name.lower() in {"x", "features", "x_all", "x_full", "inputs"} for name in one.binds)
            ):
                source.find(
                    one.node.lineno, "leak.target_in_features", "decide", f"the target {column!r} is among the features", f"Leave it out: .drop(columns=[{column!r}])."
                )  # fmt: skip


def _holds(value: ast.expr, frame: str, column: str) -> bool:
    """Whether features are taken from the frame with the target's column."""
    if (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in {"copy", "to_numpy"}
    ):
        value = value.func.value
    if isinstance(value, ast.Name):
        return value.id == frame
    if isinstance(value, ast.Subscript) and root(value) == frame and isinstance(value.slice, ast.List):
        return any(isinstance(one, ast.Constant) and one.value == column for one in value.slice.elts)
    dropped = (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr == "drop"
        and root(value) == frame
    )
    if dropped:
        literals = [one.value for one in ast.walk(value) if isinstance(one, ast.Constant)]
        names = [one for one in ast.walk(value) if isinstance(one, ast.Name) and one.id != frame]
        return column not in literals and not names
    return False
