"""Monitors of the user's own, tried on files as a loop would run them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl

from loopline.app.study.answers import CustomAlarm, CustomAnswer
from loopline.app.study.files import Table
from loopline.app.study.measure import watch
from loopline.app.study.sample import Sample, columns_of
from loopline.app.study.study import Study, figure
from loopline.errors import InvalidInput, LooplineError, NotFound
from loopline.evaluation.kind import as_column
from loopline.monitoring.block import BlockSummary, large_enough
from loopline.monitoring.custom import Custom
from loopline.monitoring.parts import custom_blocks
from loopline.monitoring.risk import MIN_REFERENCE_BLOCKS, Reference, reference_of
from loopline.monitoring.state import MonitorState
from loopline.pipelines.own_code import line_in, run_file
from loopline.values import MICROSECOND, duration, micros


def load_monitors(given: Sequence[str]) -> list[Custom]:
    """The monitors of each FILE.py, or the one that FILE.py:NAME names. A file with a loop will do.

    Raises `NotFound` for a file or a name that is not there, and `InvalidInput` for a file that fails or holds none.
    """
    found: list[Custom] = []
    for one in given:
        path, _, name = one.rpartition(":") if not one.endswith(".py") else (one, "", "")
        found += _of_file(Path(path), name)
    return found


def _of_file(path: Path, name: str) -> list[Custom]:
    if not path.is_file():
        raise NotFound(
            "alone.no_monitor_file",
            f"there is no file {path}",
            remedy="Give --monitor FILE.py, or FILE.py:NAME for one of it.",
        )
    held = [one for one in vars(_run(path)).values() if isinstance(one, Custom)]
    wanted = [one for one in held if not name or one.name == name]
    if not wanted:
        names = ", ".join(one.name for one in held)
        raise NotFound(
            "alone.no_monitor",
            f"{path} has no monitor{f' {name!r}' if name else ''}",
            remedy=f"It has {names}." if held else "Write @ll.monitor(at_most=...) above a function of it.",
        )
    return wanted


def _run(path: Path) -> ModuleType:
    file = path.resolve()
    try:
        module = run_file(file, f"loopline_monitors_{path.stem}")
    except LooplineError:
        raise
    except Exception as error:
        line = line_in(file, error)
        raise InvalidInput(
            "alone.monitor_file",
            f"{path}{f':{line}' if line else ''} failed: {type(error).__name__}: {error}",
            remedy="Mend the file; it must run without doing work.",
        ) from error
    if module is None:
        raise InvalidInput("alone.monitor_file", f"{path} is no Python file", remedy="Name it .py.")
    return module


def answer_custom(study: Study, table: Table, monitors: Sequence[Custom]) -> list[CustomAnswer]:
    """What each monitor would have said of the rows. Raises `InvalidInput` as `Custom.counts`."""
    if not monitors:
        return []
    return [_answer(study, one, _blocks(study, table, one)) for one in monitors]


def _blocks(study: Study, table: Table, custom: Custom) -> list[BlockSummary]:
    """The blocks of a monitor, from some rows after the other; no block is cut."""
    found: list[BlockSummary] = []
    memory = custom.start
    for part in _parts(study, duration(custom.block) // MICROSECOND):
        found += custom_blocks(_rows(study, table, part), custom, memory)
        memory = found[-1].memory
        study.rows.shelf.let_go()
    return found


def _parts(study: Study, length: int) -> Iterator[slice]:
    """The rows of all blocks, about as many at a time as are read at once, up to the end of a block of that length."""
    at, last, begin = study.rows.at, int(study.blocks.last[-1]), 0
    while begin < last:
        newest = int(at[min(begin + study.rows.shelf.part, last) - 1])
        end = min(last, int(np.searchsorted(at, -(-newest // length) * length, side="right")))
        yield slice(begin, end)
        begin = end


def _rows(study: Study, table: Table, part: slice) -> pl.DataFrame:
    """Some rows, in the order of time, as a loop gives them; times are those of the blocks where the files hold none."""
    rows = study.rows
    sample = Sample(np.arange(part.start, part.stop), np.zeros(part.stop - part.start, dtype=np.int64), whole=False)
    label = pl.Series("label", rows.label[part]).fill_nan(None)
    outputs = as_column("score" if rows.outputs.ndim == 1 else "outputs", rows.outputs[part])
    columns = [
        pl.Series("at", rows.at[part]).cast(pl.Datetime("us", "UTC")),
        outputs.fill_nan(None) if rows.outputs.ndim == 1 else outputs,
        label,
    ]
    for name, told in (("decision", rows.decision), ("model_version", rows.version), ("group", rows.group)):
        nothing = pl.Series(name, [None] * (part.stop - part.start), dtype=pl.String)
        columns.append(nothing if told is None else told.part(part.start, part.stop).alias(name))
    taken = {one.name for one in columns}
    features = columns_of(table, study.setup.columns.features, rows, sample)
    return pl.DataFrame(columns).hstack([one for one in features if one.name not in taken])


def _answer(study: Study, custom: Custom, blocks: Sequence[BlockSummary]) -> CustomAnswer:
    watched = large_enough(blocks, custom.min_rows)
    before = [block for block in watched if micros(block.end) <= study.setup.reference_until]
    if custom.at_most is not None:
        reference = Reference(0.0, 0.0, 0.0, 0, bounds=(0.0, custom.highest))
    elif len(before) < MIN_REFERENCE_BLOCKS:
        why = f"{custom.name}: the reference has {len(before)} blocks of {custom.block} with {custom.min_rows} rows that count, and five are needed to say what is usual."
        return CustomAnswer(custom.name, None, None, None, 0.0, [], why)
    else:
        usual = [block.excess(custom.risk) for block in before]
        reference = reference_of(usual, starts=[block.start for block in before], block=custom.block)
        watched = watched[len(before) :]
    trial = watch(custom.risk, reference, MonitorState(), watched, 0, np.zeros(len(watched)))
    alarms = [
        CustomAlarm(watched[place].end, harm.onset, harm.excess_since_onset)
        for place, harm in zip(trial.alarms, trial.found, strict=True)
    ]
    allowed = reference.upper + custom.risk.tolerance
    mean = float(trial.excess.mean()) if watched else None
    evidence = max(0.0, float(np.expm1(trial.state.process.log_evidence))) / custom.risk.threshold
    told = _sentence(study, custom, alarms, allowed, mean, len(watched), evidence)
    return CustomAnswer(
        custom.name, allowed, None if custom.at_most is not None else reference.mean, mean, evidence, alarms, told
    )


def _sentence(
    study: Study,
    custom: Custom,
    alarms: Sequence[CustomAlarm],
    allowed: float,
    mean: float | None,
    blocks: int,
    evidence: float,
) -> str:
    if mean is None:
        return f"{custom.name}: there is no block with {custom.min_rows} rows that count."
    level = f"{custom.name} is {figure(mean)} in the mean of {blocks} blocks of {custom.block}; allowed is {figure(allowed)}."
    if not alarms:
        return f"{level} It would not have alarmed; the evidence stands at {evidence:.0%} of an alarm."
    first = alarms[0]
    page = "paged" if custom.pages else "warned"
    times = "once" if len(alarms) == 1 else f"{len(alarms)} times"
    since = study.when(micros(first.onset))
    return f"{level} It would have {page} {times}, first with the block to {study.when(micros(first.at) - 1)}: since about {since} it was {figure(first.value)}."
