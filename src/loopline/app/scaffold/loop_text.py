"""The loop file that `loopline init` writes; what a person must decide says so where it is."""

import os
from collections.abc import Sequence
from datetime import timedelta
from keyword import iskeyword
from pathlib import Path

from loopline.app.scaffold.choice import Choice
from loopline.app.scaffold.used import Used
from loopline.tables.proposal.columns import Columns
from loopline.tables.proposal.extract import Extract
from loopline.tables.proposal.reading import CODES, Code, literal
from loopline.tables.proposal.schema import MADE_UP, Proposal, reading_code, source_code
from loopline.values import duration_text

TOLD_AT = "told_at"
_TAKEN = {"loop", "rows", "labels", "pl", "ll", "Path", "cache", "HERE", "outcomes", "window", "train", "params"}
_LOSS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "squared_error"}
_TOLERANCE = {"binary": 0.02, "multiclass": 0.02}
_SHOWN = 30
_AS_MOMENT = '.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")'


def loop_text(used: Used, choice: Choice, folder: Path) -> str:
    """The file, to be written into `folder`. Paths to data are written from there."""
    names = _names(used, choice)
    parts = [
        _head(used, names[0]),
        _imports(choice),
        f"loop = ll.Loop({literal(names[0])}{_turn(choice)})\nHERE = Path(__file__).parent",
        _reading("rows", choice.proposal, choice.extract, choice.columns, folder),
    ]
    if choice.label_extract and choice.label_columns and choice.label_proposal:
        parts.append(_reading("labels", choice.label_proposal, choice.label_extract, choice.label_columns, folder))
    parts += [_subjects(choice, names[1]), _outcomes(used, choice), _model(used, choice, names), _operate(used, choice, names[2])]  # fmt: skip
    return "\n\n\n".join(parts) + "\n"


def _names(used: Used, choice: Choice) -> tuple[str, str, str]:
    """Of the loop, the source and the model: Python's names, no two alike."""
    model = _identifier(used.name or used.label, "model")
    source = _identifier(choice.proposal.name, "subjects")
    if source in _TAKEN or source == model:
        source = f"{source}_rows"
    if model in _TAKEN:
        model = f"{model}_model"
    return loop_name(used, choice), source, model


def loop_name(used: Used, choice: Choice) -> str:
    """What the loop is called."""
    return _identifier(used.name or choice.proposal.name, "loop")


def _identifier(text: str, otherwise: str) -> str:
    made = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in text.lower()).strip("_")
    return made if made.isidentifier() and not iskeyword(made) else f"{otherwise}_{made}".rstrip("_")


def _head(used: Used, name: str) -> str:
    told = "".join(f"\n{sentence}" for sentence in used.told)
    return f'"""{name}: what will {_quoted(used.label)} be? Written by `loopline init`. Lines that say `decide` need you.{_quoted(told)}\n"""'  # fmt: skip


def _quoted(text: str) -> str:
    """Text that may stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _imports(choice: Choice) -> str:
    estimator = "Regressor" if choice.label.facts.kind == "regression" else "Classifier"
    return "\n".join(
        [
            "from functools import cache",
            "from pathlib import Path",
            "",
            "import polars as pl",
            f"from sklearn.ensemble import HistGradientBoosting{estimator}",
            "",
            "import loopline as ll",
        ]
    )


def _turn(choice: Choice) -> str:
    return "" if choice.pace.times(1) == "1d" else f", turn={literal(choice.pace.times(1))}"


def _reading(name: str, made: Proposal, extract: Extract, columns: Columns, folder: Path) -> str:
    places = [
        Code(f"HERE / {literal(os.path.relpath(Path(one).resolve(), folder.resolve()))}") for one in extract.files
    ]
    what = "The data" if name == "rows" else "The labels"
    lines = ["@cache", f"def {name}() -> pl.DataFrame:", f'    """{what}, each column read as what it is."""']
    return "\n".join([*lines, *reading_code(made, extract, columns, places=places), "    return rows"])


def _subjects(choice: Choice, name: str) -> str:
    made = choice.proposal
    event = _event(made)
    kept = [*made.key, *([made.event] if made.event else []), *choice.numbers, *choice.categories]
    declared = source_code(made, choice.columns, only=list(dict.fromkeys(kept)), times=(event, event))
    columns = [*_key(made), event, *(made.named[one] for one in (*choice.numbers, *choice.categories))]
    lines = [
        declared,
        f"def {name}(window: ll.Window) -> pl.DataFrame:",
        "    # decide: every value here is taken to be known at the time of its row; is it?",
        f"    known = rows().filter({_within(event)})",
        f"    return known.select({', '.join(map(literal, dict.fromkeys(columns)))})",
    ]
    return "\n".join(lines)


def _outcomes(used: Used, choice: Choice) -> str:
    """The label, known one turn after its row, or when a column says."""
    made, columns = choice.label_proposal or choice.proposal, choice.label_columns or choice.columns
    label, key = made.named[used.label], _key(choice.label_proposal or choice.proposal)
    said = used.label_at if used.label_at in made.named else ""
    event = made.named[said] if said else _event(made)
    late = "" if said else f" + pl.duration(seconds={int(choice.pace.step.total_seconds())})"
    comment = "when it came, as the data says" if said else f"decide: it is taken to be known {choice.pace.times(1)} after its row"  # fmt: skip
    is_date = bool(said) and columns.readings[used.label_at].kind == "date"
    time = f"pl.col({literal(event)}){_AS_MOMENT if is_date else ''}"
    fields = {**_key_dtypes(made, columns), TOLD_AT: CODES["time"], label: CODES[columns.readings[used.label].kind]}
    lines = [
        "@loop.source(",
        f"    key={literal(key[0] if len(key) == 1 else tuple(key))},",
        f"    event_time={literal(TOLD_AT)},",
        f"    known_at={literal(TOLD_AT)},  # {comment}",
        f"    known={literal('measured' if said else 'assumed')},",
        f"    columns={{{', '.join(f'{literal(one)}: {dtype}' for one, dtype in fields.items())}}},",
        ")",
        "def outcomes(window: ll.Window) -> pl.DataFrame:",
        f"    told = {'labels' if choice.label_extract else 'rows'}().drop_nulls({literal(label)})",
        f"    told = told.with_columns({TOLD_AT}={time}{late})",
        f"    return told.filter({_within(TOLD_AT)}).select({', '.join(map(literal, fields))})",
    ]
    return "\n".join(lines)


def _model(used: Used, choice: Choice, names: Sequence[str]) -> str:
    made, pace, facts = choice.proposal, choice.pace, choice.label.facts
    features = [f"        {literal(made.named[one])}," for one in choice.numbers]
    features += [f"        ll.category({literal(made.named[one])})," for one in choice.categories]
    left = [f"        # left out: {name}: {why}".replace("\n", " ")[:150] for name, why in choice.left_out.items()]
    more = [f"        # ... and {len(left) - _SHOWN} more"] if len(left) > _SHOWN else []
    estimator = "Regressor" if facts.kind == "regression" else "Classifier"
    kind = [] if facts.kind == "binary" else [f"    kind={literal(facts.kind)},"]
    lines = [
        "@loop.model(",
        f"    on={names[1]},",
        f"    at={literal(_event(made))},",
        "    features=[",
        *features,
        *left[:_SHOWN],
        *more,
        "    ],",
        f"    label={_label(used, choice)},",
        *kind,
        f"    params={literal(dict(used.params))},",
        f"    holdout={literal(pace.holdout)},  # the newest labels, kept from training for the gates",
        ")",
        f"def {names[2]}(train: ll.TrainingSet, params: dict) -> HistGradientBoosting{estimator}:",
        f"    return HistGradientBoosting{estimator}(**params, random_state=train.seed).fit(train.X, train.y)",
    ]
    return "\n".join(lines)


def _label(used: Used, choice: Choice) -> str:
    made, columns = choice.label_proposal or choice.proposal, choice.label_columns or choice.columns
    facts = choice.label.facts
    column = f"pl.col({literal(made.named[used.label])})"
    if facts.kind == "binary":
        positive = choice.label.positive
        column = column if columns.readings[used.label].kind == "boolean" else f"{column} == {literal(positive)}"
    elif facts.kind == "multiclass":
        column = column if columns.readings[used.label].kind == "text" else f"{column}.cast(pl.String)"
    else:
        column = f"{column}.cast(pl.Float64)"
    classes = f", classes={literal([name for name, _ in facts.classes])}" if facts.kind == "multiclass" else ""
    matures = duration_text(max(timedelta(seconds=used.matures), timedelta(seconds=1))) if used.matures else choice.pace.times(1)  # fmt: skip
    return f"ll.label(outcomes, {column}, matures={literal(matures)}{classes})"


def _operate(used: Used, choice: Choice, model: str) -> str:
    pace, facts = choice.pace, choice.label.facts
    kind = facts.kind or "binary"
    loss = used.loss or _LOSS[kind]
    tolerance = used.tolerance or _TOLERANCE.get(kind) or _tenth_of_variance(choice)
    pages = used.pages or min(1.0, 365.25 * 86400 / pace.step.total_seconds() / 2)
    costs = ["    decide=ll.costs(false_positive=1, false_negative=1),  # decide: what do mistakes cost?"]
    said = "  # decide: how much worse is harm?"
    lines = [
        "loop.operate(",
        f"    {model},",
        *(costs if kind == "binary" else []),
        f"    promote=[ll.better({literal(loss)})],",
        f"    watch=ll.Risk({literal(loss)}, tolerance={tolerance:.4g}, block={literal(pace.times(1))}, false_pages_per_year={pages:.4g}, min_rows={pace.min_rows}),{said}",
        f"    respond=[ll.on(ll.harm, ll.retrain(cooldown={literal(pace.times(5))}))],",
        '    compare={"train_once": []},  # a replay shows what never retraining would have done',
        f"    first_after={literal(pace.times(pace.first_after))},  # the first model is trained so long after the first rows",
        ")",
    ]
    return "\n".join(lines)


def _tenth_of_variance(choice: Choice) -> float:
    columns = choice.label_columns or choice.columns
    deviation = columns.facts[choice.label.facts.column].deviation
    return 0.1 * deviation**2 if deviation else 0.1


def _event(made: Proposal) -> str:
    return made.named[made.event] if made.event else MADE_UP


def _key(made: Proposal) -> list[str]:
    return [made.named[one] for one in made.key] or ["row"]


def _key_dtypes(made: Proposal, columns: Columns) -> dict[str, str]:
    if not made.key:
        return {"row": CODES["text"]}
    times = {made.event, made.known}
    return {made.named[one]: CODES["time" if one in times else columns.readings[one].kind] for one in made.key}


def _within(column: str) -> str:
    return f'pl.col({literal(column)}).is_between(window.start, window.end, closed="right")'
