"""`loopline watch`: files in, answers out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loopline.app.alone.budget import answer_budget
from loopline.app.alone.custom import answer_custom, load_monitors
from loopline.app.alone.earlier import answer_earlier
from loopline.app.alone.estimated import answer_unlabelled
from loopline.app.alone.harm import answer_harm, headline, headline_of_slices
from loopline.app.alone.why import answer_why
from loopline.app.study.answers import BlockFigures, Coverage, Earlier, Watched
from loopline.app.study.calibration import answer_calibration, answer_costs
from loopline.app.study.columns import Columns, guess_columns
from loopline.app.study.coverage import answer_coverage
from loopline.app.study.files import Table, open_table
from loopline.app.study.fresh import Request, check_request, study_afresh
from loopline.app.study.reading import read_rows
from loopline.app.study.rows import Rows
from loopline.app.study.scores import Expected
from loopline.app.study.shelf import Shelf
from loopline.app.study.study import Study
from loopline.storage.scratch import scratch_folder
from loopline.values import from_micros

Progress = Callable[[str, int], None]
"""Told a step's name, and how many steps there are in all."""

_OTHER_STEPS = 4


@dataclass(frozen=True)
class Files:
    """What was given, opened, and which column is what; and where what is made of the rows is put."""

    predictions: Table
    labels: Table | None
    earlier: Table | None
    columns: Columns
    shelf: Shelf


def watch_files(request: Request, progress: Progress) -> Watched:
    """Watch the predictions of a model that anything serves, from its files alone.

    Raises `NotFound` and `InvalidInput` for files, columns and choices that do not do, with what to do instead.
    """
    monitors = load_monitors(request.monitors)
    with scratch_folder() as scratch:
        files = open_files(request, scratch)
        steps = steps_of(files.columns)
        progress("rows", steps)
        rows = rows_of(request, files)
        study = study_afresh(request, files.predictions, files.columns, rows, lambda step: progress(step, steps))
        said = answer_custom(study, files.predictions, monitors)
        return msgspec.structs.replace(answers(study, request, files.predictions), custom=said)


def open_files(request: Request, scratch: Path) -> Files:
    """Open the files and find out what each column is. Raises `NotFound` and `InvalidInput`."""
    check_request(request)
    table = open_table(request.predictions, scratch / "predictions")
    labels = open_table(request.labels, scratch / "labels") if request.labels else None
    earlier = open_table(request.earlier, scratch / "earlier") if request.earlier else None
    columns = guess_columns(table.typed, labels.typed if labels else None, request.said)
    return Files(table, labels, earlier, columns, Shelf(scratch / "rows"))


def rows_of(request: Request, files: Files, classes: tuple[str, ...] = ()) -> Rows:
    """The rows of the files. Raises `InvalidInput`."""
    expected = Expected(request.kind, request.positive, classes)
    return read_rows(files.predictions, files.labels, files.columns, expected, files.earlier, files.shelf)


def steps_of(columns: Columns) -> int:
    """How many steps a progress bar has."""
    return len(columns.features) + _OTHER_STEPS


def answers(study: Study, request: Request, table: Table) -> Watched:
    """All answers of a study of the predictions in `table`."""
    harm, coverage, earlier = answer_harm(study), answer_coverage(study), answer_earlier(study)
    calibration, costs = answer_calibration(study), answer_costs(study, request.prices)
    why = answer_why(study)
    return Watched(
        name=study.setup.name,
        verdict=harm.verdict,
        headline=headline(study, harm, why.causes) + headline_of_slices(study, harm, why.slices),
        start=from_micros(study.start_of(0)),
        end=from_micros(study.end_of(len(study.blocks) - 1)),
        setup=study.setup,
        harm=harm,
        why=why,
        earlier=earlier,
        calibration=calibration,
        costs=costs,
        budget=answer_budget(study),
        coverage=coverage,
        unlabelled=answer_unlabelled(study, table),
        unanswered=_unanswered(study, request, coverage, earlier),
        notices=_notices(study),
        blocks=figures(study),
    )


def figures(study: Study) -> list[BlockFigures]:
    """Each block's figures."""
    alarms = set(study.trial.alarms)
    versions = [""] * len(study.blocks) if study.rows.version is None else None
    return [
        BlockFigures(
            start=start,
            end=end,
            predictions=int(study.blocks.predictions[place]),
            judged=int(study.losses.units[place]),
            loss=float(study.losses.loss[place]),
            due=float(study.trial.due[place]),
            base=float(study.losses.base[place]),
            excess=float(study.trial.excess[place]),
            log_evidence=float(study.trial.evidence[place]),
            reference=place < study.reference,
            faulty=int(study.inputs.stretch[place]) in study.faults,
            alarm=place in alarms,
            version=versions[place] if versions else _version(study, place),
        )
        for place, (start, end) in enumerate(study.blocks.times())
    ]


def _version(study: Study, block: int) -> str:
    assert study.rows.version is not None  # noqa: S101 - asked for before
    part = study.rows.version.part(int(study.blocks.first[block]), int(study.blocks.last[block])).drop_nulls()
    return ", ".join(part.unique(maintain_order=True).to_list())


def _unanswered(study: Study, request: Request, coverage: Coverage, earlier: Earlier) -> list[str]:
    """What could not be answered, and what would let it."""
    columns, rows, told = study.setup.columns, study.rows, []
    if not columns.features:
        told.append("Why: give the features as columns of the predictions.")
    if earlier.difference is None:
        told.append(
            "Would the earlier model help: give its scores of the same rows, as --earlier FILE (id and score) or a column earlier_score."
        )
    if rows.version is None:
        told.append("Did a new version bring it: give a column model_version.")
    if not rows.timed:
        told.append("Since which day: give a column of times, with --at.")
    if coverage.lateness is None and rows.timed and not request.matures:
        told.append("How late labels come: give the time of each label (column labelled_at), or say --matures.")
    if rows.kind == "binary" and request.prices is None:
        told.append(
            "What it costs: give --false-positive and --false-negative, and --threshold or a column of decisions."
        )
    if rows.hard:
        told.append("Are the scores honest: give probabilities instead of chosen classes.")
    return told


def _notices(study: Study) -> list[str]:
    """What was assumed, chosen and left out."""
    setup, risk = study.setup, study.setup.risk
    scaled = setup.scale.get("margins") is not None
    block = f"Blocks are of {risk.block}" if study.rows.timed else f"Blocks are of {setup.rows_a_block:,} rows"
    chosen = (
        f"{block}; the first {study.reference} of {len(study.blocks)}, up to {study.when(setup.reference_until)}, are the reference. "
        f"Watched is the {study.loss_name}; the tolerance is {risk.tolerance:.3g}."
    )
    level = [
        "Whole blocks are good or bad here, so each block's level is taken out: watched is how well the model tells its rows apart."
    ]
    cycle = "week" if risk.block == "1d" else "day"
    season = [
        f"The loss above what was due has a season of the {cycle} in the reference: that much is due in later blocks too."
    ]
    season = season if setup.reference.season else []
    levels = level if setup.scale.get("level_free") else []
    kind = f"The model is taken as {setup.kind}."
    margins = ["The scores are no probabilities: a line fitted on the reference made them some."] if scaled else []
    sampled = (
        []
        if study.inputs.sample.whole
        else [f"Causes are read from {len(study.inputs.sample.rows):,} rows, spread evenly over all blocks."]
    )
    return [
        setup.columns.told(),
        kind,
        chosen,
        *levels,
        *season,
        *_judge(study),
        *margins,
        *study.rows.notices,
        *study.inputs.notices,
        *sampled,
    ]


def _judge(study: Study) -> list[str]:
    """How few labels there are, and how far the judge is trusted."""
    if study.rows.judged is None:
        return []
    rows, labelled, trust = (
        study.rows.count(study.rows.made_in),
        study.rows.count(study.rows.known_in),
        study.setup.scale.get("trust") or 0.0,
    )
    how = "as probably as the column says" if study.rows.propensity is not None else "by pure chance"
    judge = study.setup.columns.judge
    expected = f"every row stands for what {judge} expects of it, trusted to {trust:.0%}, and a labelled one for what that missed"
    return [f"Of {rows:,} rows {labelled:,} have labels, taken as asked for {how}; {expected}."]


def as_record(request: Request, watched: Watched) -> bytes:
    """What was used, as JSON, for commands that go on from it."""
    record = {
        "command": "watch",
        "predictions": request.predictions,
        "labels": request.labels,
        "earlier": request.earlier,
        "columns": watched.setup.columns,
        "kind": watched.setup.kind,
        "classes": watched.setup.classes,
        "loss": watched.setup.risk.loss,
        "block": watched.setup.risk.block,
        "tolerance": watched.setup.risk.tolerance,
        "false_pages_per_year": watched.setup.false_pages_per_year,
        "matures": watched.setup.matures,
    }
    return msgspec.json.format(msgspec.json.encode(record), indent=2)
