"""Loopline: `loopline watch` on the file; its pages are alarms of harm, of slices, and each fault of the inputs once it begins."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import scipy.special  # noqa: F401 - loaded when drift is first asked for, and nobody's imports are measured
from told import Answer, given

from loopline.app.alone.watch import Watched, watch_files
from loopline.app.study.columns import Said
from loopline.app.study.fresh import Request


def main() -> None:
    task = given()
    answer = Answer()
    if task["mode"] == "size":
        _drift(task, answer)
    elif task["mode"] == "series":
        _series(task, answer)
    elif task["mode"] == "many":
        _many(task, answer)
    else:
        watched = watch_files(_request(task), lambda *_: None)
        _pages(watched, answer)
        answer.more = {
            "causes": [{"kind": one.kind, "subject": one.subject, "columns": one.columns, "sentence": one.sentence} for one in watched.why.causes],
            "blocks": len(watched.blocks),
            "reference_blocks": sum(block.reference for block in watched.blocks),
        }  # fmt: skip
    answer.tell()


def _request(task: dict) -> Request:  # type: ignore[type-arg]
    said = Said(at="at", score=("score",), label="label", features=(*task["numbers"], *task["categories"]))
    return Request(
        task["stream"], said=said, block=task.get("block", ""), reference_blocks=task.get("reference_blocks")
    )


def _pages(watched: Watched, answer: Answer) -> None:
    ends, row = [], 0
    for block in watched.blocks:
        row += block.predictions
        ends.append(row)
    for place, block in enumerate(watched.blocks):
        if block.alarm:
            answer.page(ends[place], [], "harm")
    for harm in watched.why.slices:
        for place in harm.alarms:
            answer.page(ends[place], [harm.slice], "slice")
    spells: dict[int, list[tuple[str, str]]] = {}
    for fault in watched.why.spells:
        spells.setdefault(fault.seen, []).append((fault.column, fault.kind))
    for seen, faults in spells.items():
        answer.page(ends[seen], [column for column, _ in faults], faults[0][1])
    answer.pages.sort(key=lambda page: page["row"])


def _drift(task: dict, answer: Answer) -> None:  # type: ignore[type-arg]
    """The drift of every column."""
    import polars as pl

    from loopline.monitoring.drift import diagnose
    from loopline.monitoring.profile import profile_after

    rows = pl.scan_parquet(task["stream"]).select(*task["numbers"], *task["categories"]).head(task["ends"][-1])
    found = diagnose(*profile_after(rows, task["reference"]))
    answer.more = {"suspects": len(found)}


def _series(task: dict, answer: Answer) -> None:  # type: ignore[type-arg]
    """`loopline watch FILE --series value`, with its defaults."""
    import json

    import polars as pl

    from loopline.app.alone.series import watch_series_file
    from loopline.app.alone.series_file import SeriesRequest

    file = Path(task["stream"]).with_suffix(".csv")
    pl.DataFrame({"value": json.loads(Path(task["stream"]).read_text())}, schema={"value": pl.Float64}).write_csv(file)
    for move in watch_series_file(SeriesRequest(str(file), "value", "series")).answer.moves:
        answer.page(move.row, [], f"{move.way} {move.of}")


def _many(task: dict, answer: Answer) -> None:  # type: ignore[type-arg]
    """Each series by itself, as `loopline watch --series` watches it."""
    import json

    from loopline.app.alone.series import VALUES_APART
    from loopline.monitoring.series import SeriesState, watch_series

    fired = []
    for seed, values in enumerate(json.loads(Path(task["stream"]).read_text())):
        rows = range(1, len(values) + 1)
        _, moves = watch_series(SeriesState(), values, rows, threshold=VALUES_APART, seed=seed)
        fired.append([move.seen for move in moves])
    answer.more = {"fired": fired}


if __name__ == "__main__":
    main()
