"""Faults of columns and rows that only show once the columns have their types."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import polars as pl

from loopline.tables.proposal.facts import ColumnFacts, plain_text
from loopline.tables.proposal.finding import Finding
from loopline.tables.proposal.reading import Reading

_SENTINELS = (-1, -9, -99, -999, -9999, -99999, -999999, 99, 999, 9999, 99999, 999999, 9999999, 99999999, 2147483647, -2147483648)  # fmt: skip
_SURE = 900
_SMALL = 9
_FEW = 3
_LEAST_SHARE = 0.001
_NEAR_CONSTANT = 0.995
_MOSTLY_NULL = 0.95
_FENCES = 10
_RARE = 0.01
_LONG_GAP = 10
_LEAST_TIMES = 100
_ANCIENT, _END = datetime(1900, 1, 2, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
_EPOCHS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC), datetime(1899, 12, 30, tzinfo=UTC))
_MANY = 50
_WIDE = 300


def column_faults(
    column: pl.Series, facts: ColumnFacts, reading: Reading, stand_ins: list[int], now: datetime
) -> Iterator[Finding]:
    """What is wrong with one column, in which `stand_ins` are still numbers; `now` tells which times are in the future."""
    if facts.rows and facts.nulls == facts.rows:
        yield _of(facts, "warning", "all-null", "every value is missing.", facts.rows, "Leave it out.")
        return
    if facts.null_share >= _MOSTLY_NULL:
        yield _of(facts, "note", "mostly-null", f"{facts.null_share:.1%} of the values are missing.", facts.nulls)
    yield from _constant(column, facts)
    if facts.personal:
        yield _personal(facts)
    if reading.kind in {"whole", "number"}:
        yield from _number_faults(column.drop_nulls(), facts, stand_ins)
    elif reading.kind in {"time", "date"}:
        yield from _time_faults(column.drop_nulls(), facts, now)
    elif reading.kind == "text":
        yield from _text_faults(column.drop_nulls(), facts)


def row_faults(frame: pl.DataFrame, raw: pl.DataFrame) -> Iterator[Finding]:
    """What is wrong with the rows together: duplicates of rows, and of columns."""
    if not frame.height or not frame.width:
        return
    twice = frame.height - raw.hash_rows().n_unique()
    if twice:
        message = f"{twice:,} rows are exact copies of others ({twice / frame.height:.1%})."
        yield Finding(level="warning", code="duplicate-rows", message=message, rows=twice, remedy="Were files joined twice, or written twice?")  # fmt: skip
    yield from _equal_columns(frame)


def sentinels(column: pl.Series) -> list[int]:
    """Numbers that stand for missing ones: -999, 9999 and the like, at an end of the values and far from all others."""
    values = column.drop_nulls()
    if not values.dtype.is_numeric() or len(values) < _FEW:
        return []
    numbers = values.to_numpy()
    numbers = numbers[np.isfinite(numbers)]
    known = np.isin(numbers, _SENTINELS)
    others = numbers[~known]
    if not known.any() or len(others) < _FEW or others.min() == others.max():
        return []
    ends = float(others.min()), float(others.max())
    values_, counts = np.unique(numbers[known], return_counts=True)
    share = counts / len(numbers)
    found = zip(values_.tolist(), counts.tolist(), share.tolist(), strict=True)
    return [int(value) for value, count, part in found if _is_sentinel(value, count, part, ends)]


def _is_sentinel(value: float, count: int, share: float, ends: tuple[float, float]) -> bool:
    """Whether a famous stand-in lies far from the `ends` of all other values; a small one must come more than once."""
    if abs(value) < _SURE and (count < _FEW or share < _LEAST_SHARE):
        return False
    low, high = ends
    far = max(high - low, 1) / 2
    if value >= 0:
        return value > high + far
    return low >= 0 or (value < low - far and value < -_SMALL)


def _constant(column: pl.Series, facts: ColumnFacts) -> Iterator[Finding]:
    known = facts.rows - facts.nulls
    if facts.distinct == 1 and known > 1:
        value = facts.top[0][0] if facts.top else ""
        yield _of(facts, "warning", "constant", f"it has one value only: {value!r}.", known, "It says nothing; leave it out.")  # fmt: skip
    elif facts.top and known >= _MANY and facts.top[0][1] >= _NEAR_CONSTANT * known and column.dtype != pl.Null:
        value, rows = facts.top[0]
        yield _of(facts, "note", "near-constant", f"{rows / known:.2%} of the values are {value!r}.", rows)


def _personal(facts: ColumnFacts) -> Finding:
    found = facts.personal
    kind = found.kind if found else ""
    by = f"{found.share:.0%} of its values look like it" if found and found.by == "values" else "its name says so"
    return _of(facts, "warning", "personal", f"it may be about persons: {kind} ({by}).", None, "Declare it in personal=, or leave it out.")  # fmt: skip


def _number_faults(values: pl.Series, facts: ColumnFacts, stand_ins: list[int]) -> Iterator[Finding]:
    numbers = values.cast(pl.Float64).to_numpy()
    broken = int((~np.isfinite(numbers)).sum())
    if broken:
        yield _of(facts, "warning", "not-finite", f"{broken:,} values are NaN or infinite.", broken, "Ingestion refuses them; make them null.")  # fmt: skip
    for value in stand_ins:
        rows = int((numbers == value).sum())
        yield _of(facts, "warning", "sentinel", f"{value} seems to stand for a missing value, in {rows:,} rows.", rows, "The proposed reading makes it null.")  # fmt: skip
    finite = numbers[np.isfinite(numbers) & ~np.isin(numbers, stand_ins)]
    if len(finite) >= _MANY and not facts.personal and not _is_id_like(values, facts):
        yield from _outliers(finite, facts)
    if _is_id_like(values, facts):
        yield _of(
            facts, "note", "id-like", "its values name rows; as a feature it would say nothing of new ones.", None
        )


def _outliers(finite: np.ndarray, facts: ColumnFacts) -> Iterator[Finding]:
    quarter, half, three = np.quantile(finite, (0.25, 0.5, 0.75))
    spread = three - quarter
    beyond = finite[(finite < quarter - _FENCES * spread) | (finite > three + _FENCES * spread)]
    if spread > 0 and 0 < len(beyond) <= _RARE * len(finite):
        worst = float(beyond[np.abs(beyond - half).argmax()])
        message = f"{len(beyond):,} values lie more than {_FENCES} quartile ranges out, such as {worst:.6g} (median {half:.6g})."
        yield _of(facts, "warning", "outliers", message, len(beyond), "Are they of another unit, or mistakes?")


def _is_id_like(values: pl.Series, facts: ColumnFacts) -> bool:
    return values.dtype.is_integer() and facts.distinct >= _MANY and facts.distinct == facts.rows - facts.nulls


def _time_faults(values: pl.Series, facts: ColumnFacts, now: datetime) -> Iterator[Finding]:
    moments = values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") if values.dtype == pl.Date else values.dt.replace_time_zone("UTC") if values.dtype.time_zone is None else values.dt.convert_time_zone("UTC")  # type: ignore[attr-defined]  # fmt: skip
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is None:
        yield _of(
            facts,
            "warning",
            "no-zone",
            "times have no zone; UTC was taken.",
            len(values),
            "Decide: put the zone they are in.",
        )
    placeholder = moments.filter(moments.is_in(list(_EPOCHS)) | (moments < _ANCIENT) | (moments >= _END))
    if len(placeholder):
        shown = plain_text(placeholder[0])
        yield _of(facts, "warning", "sentinel", f"times such as {shown} seem to stand for missing ones, in {len(placeholder):,} rows.", len(placeholder), "Make them null.")  # fmt: skip
    future = moments.filter((moments > now) & (moments < _END))
    if len(future):
        yield _of(facts, "warning", "future", f"{len(future):,} times are in the future, up to {plain_text(future.max())}.", len(future), "Right for plans and schedules; otherwise a clock or a zone is wrong.")  # fmt: skip
    yield from _gaps(moments.filter(moments.is_between(_ANCIENT, _END)), facts)


def _gaps(moments: pl.Series, facts: ColumnFacts) -> Iterator[Finding]:
    """Days without rows, where there is otherwise hardly a day without."""
    days = moments.dt.truncate("1d").unique().sort()
    if len(moments) < _LEAST_TIMES or len(days) < _LONG_GAP:
        return
    steps = days.diff().drop_nulls().dt.total_days()
    usual, longest = float(np.quantile(steps.to_numpy(), 0.9)), int(steps.to_numpy().max())
    if longest >= _LONG_GAP * max(usual, 0.5):
        place = int(steps.to_numpy().argmax())
        message = f"there are no rows for {longest - 1} days after {plain_text(days[place])}; usual are {usual:.0f}."
        yield _of(facts, "note", "gap", message, None, "Is a file missing?")


def _text_faults(values: pl.Series, facts: ColumnFacts) -> Iterator[Finding]:
    distinct = values.unique()
    if facts.distinct <= max(_MANY, len(values) // 4) and not facts.personal:
        folded = distinct.str.to_lowercase().str.strip_chars().str.replace_all(r"[\s_-]+", " ")
        groups = pl.DataFrame({"value": distinct, "folded": folded}).group_by("folded").agg(pl.col("value").sort())
        same = groups.filter(pl.col("value").list.len() > 1).sort("folded")
        if same.height:
            told = " and ".join(map(repr, same["value"][0].to_list()[:3]))
            yield _of(facts, "warning", "case-duplicates", f"{'a category is' if same.height == 1 else f'{same.height} categories are'} written in several ways: {told}.", None, "Write each in one way.")  # fmt: skip
    if facts.distinct >= _MANY and facts.distinct == len(values):
        yield _of(
            facts, "note", "id-like", "its values name rows; as a feature it would say nothing of new ones.", None
        )
    elif facts.distinct > _WIDE and not facts.personal:
        yield _of(facts, "note", "many-categories", f"it has {facts.distinct:,} categories.", None, "As a feature, group the rare ones.")  # fmt: skip


def _equal_columns(frame: pl.DataFrame) -> Iterator[Finding]:
    if frame.height < _FEW:
        return
    seen: dict[tuple[str, int], str] = {}
    for name in frame.columns:
        column = frame[name]
        if column.null_count() == len(column) or column.n_unique() <= 1:
            continue
        print_ = (str(column.dtype), hash(tuple(column.hash(0).head(1000).to_list())))
        other = seen.setdefault(print_, name)
        if other != name and frame[other].equals(column, check_names=False):
            yield Finding(level="warning", code="same-column", column=name, message=f"it is equal to {other!r}.", remedy="Leave one of them out.")  # fmt: skip


def _of(facts: ColumnFacts, level: str, code: str, message: str, rows: int | None, remedy: str = "") -> Finding:
    return Finding(level=level, code=code, column=facts.name, message=message, rows=rows, remedy=remedy)  # type: ignore[arg-type]
