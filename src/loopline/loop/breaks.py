"""What a changed declaration would break: which change of which column, and who reads it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from loopline.features.definitions import View, payload_columns
from loopline.loop.consumer import Consumer, unkept
from loopline.scoring.record import prediction_columns, prediction_table
from loopline.tables.schema import SYSTEM_COLUMNS

Declaration = Mapping[str, Any]
Columns = Mapping[str, str]
"""Dtypes as text, by column."""

_NUMBERS = re.compile(r"U?Int\d+|Float\d+|Boolean|Decimal.*")
_COLUMN = re.compile(r'col\("([^"]+)"\)')


class Break(msgspec.Struct, frozen=True):
    """One change of a column that readers count on. `kind` is "removed", "retyped" or "missing" (it was never there); `change` is
    the path of the change in the plan; `readers` are e.g. "view shop_rate_5d", "model returns", "endpoint returns",
    "consumer billing (team@example.org)".
    """

    change: str
    kind: str
    table: str
    column: str
    before: str | None
    after: str | None
    readers: list[str]

    @property
    def sentence(self) -> str:
        """In words."""
        was = {
            "removed": "is removed",
            "missing": "is not there",
            "retyped": f"changes from {self.before} to {self.after}",
        }
        return f"{self.table}.{self.column} {was[self.kind]}: breaks {', '.join(self.readers)}"


@dataclass(frozen=True)
class _Read:
    """A column that someone reads, and who."""

    table: str
    column: str
    readers: tuple[str, ...]
    consumer: Consumer | None = None


def breaks(
    before: Declaration,
    after: Declaration,
    *,
    served: Mapping[str, Sequence[View]],
    consumers: Sequence[Consumer],
) -> list[Break]:
    """What would break: of what `after` reads, of what is served now (`served`: the views of each model's champion), and of what
    `consumers` count on. Only columns that are declared can be told; numbers may become other numbers, but for consumers.
    """
    had, has = _tables(before), _tables(after)
    reads = [*_declared_reads(after), *_served_reads(after, served), *_consumed(consumers)]
    found: dict[tuple[str, str], Break] = {}
    for read in reads:
        kind = _broken(read, had, has)
        if kind is None:
            continue
        place = (read.table, read.column)
        known = found.get(place)
        readers = list(dict.fromkeys([*(known.readers if known else []), *read.readers]))
        found[place] = Break(
            change=_path(after, read),
            kind=kind,
            table=read.table,
            column=read.column,
            before=(had.get(read.table) or {}).get(read.column),
            after=(has.get(read.table) or {}).get(read.column),
            readers=readers,
        )
    return [found[place] for place in sorted(found)]


def _broken(read: _Read, had: Mapping[str, Columns | None], has: Mapping[str, Columns | None]) -> str | None:
    before = had.get(read.table)
    if read.table not in has:
        return "removed" if read.table in had else None
    after = has[read.table]
    if after is None:  # not declared: nobody can tell
        return None
    if read.column not in after and read.column not in SYSTEM_COLUMNS:
        # Where columns were not declared until now, it may have been there.
        return "removed" if read.table in had and (before is None or read.column in before) else "missing"
    if read.consumer is not None:
        return "retyped" if unkept(read.consumer, read.column, after) else None
    was, is_ = (before or {}).get(read.column), after.get(read.column)
    return "retyped" if was is not None and is_ is not None and not _alike(was, is_) else None


def _alike(one: str, other: str) -> bool:
    return one == other or bool(_NUMBERS.fullmatch(one) and _NUMBERS.fullmatch(other))


def _tables(said: Declaration) -> dict[str, Columns | None]:
    """The columns of each table that a declaration makes; None for a source that does not declare them."""
    loop = said.get("loop", "")
    sources = {f"{loop}.{name}": source["columns"] for name, source in said["sources"].items()}
    return sources | {prediction_table(loop, name): _predicted(said["models"][name]) for name in said["operations"]}


def _predicted(model: Mapping[str, Any]) -> Columns:
    views = [msgspec.convert(view, View) for view in model["views"]]
    names = [*model["given"], *(name for view in views for name in view.features)]
    kinds = {name: "category" if name in model["categories"] else "number" for name in names}
    latest = {name for view in views if view.__struct_config__.tag == "latest" for name in view.features}
    told = {name: str(dtype) for name, dtype in prediction_columns(kinds).items()}
    # The last value of a column may be an amount or a name: the model that is trained decides.
    return {name: dtype for name, dtype in told.items() if name.removeprefix("feature_") not in latest}


def _declared_reads(said: Declaration) -> Iterator[_Read]:
    for name, model in said["models"].items():
        users = _users(said, name)
        external = model.get("external", {})
        told = (*external.get("score", ()), *(external.get(one) for one in ("id", "version", "decision")))
        for column in (*model["given"], model["at"], model.get("target"), model.get("group"), *told):
            if column:
                yield _Read(model["on"], column, users)
        label = model["label"]
        for column in dict.fromkeys([*_COLUMN.findall(str(label["expression"])), *label.get("by", [])]):
            yield _Read(label["table"], column, (f"label of {name}", *users))
        yield from _viewed([msgspec.convert(view, View) for view in model["views"]], users)


def _served_reads(said: Declaration, served: Mapping[str, Sequence[View]]) -> Iterator[_Read]:
    for name, views in served.items():
        if name in said["operations"]:
            yield from _viewed(views, (f"endpoint {name}",))


def _viewed(views: Sequence[View], users: tuple[str, ...]) -> Iterator[_Read]:
    for view in views:
        for column in (view.by, *payload_columns(view)):
            features = [name for name, read in _features(view).items() if column in {read, view.by}]
            yield _Read(view.table, column, (*(f"view {name}" for name in features), *users))


def _features(view: View) -> dict[str, str]:
    return {name: one if isinstance(one, str) else one.column for name, one in view.features.items()}


def _users(said: Declaration, model: str) -> tuple[str, ...]:
    return (f"model {model}", *([f"endpoint {model}"] if model in said["operations"] else []))


def _consumed(consumers: Sequence[Consumer]) -> Iterator[_Read]:
    for one in consumers:
        told = f"consumer {one.name}" + (f" ({one.owner})" if one.owner else "")
        for column in one.columns:
            yield _Read(one.reads, column, (told,), one)


def _path(said: Declaration, read: _Read) -> str:
    loop, _, name = read.table.partition(".")
    if loop == said["loop"]:
        return f"sources.{name}.columns.{read.column}" if name in said["sources"] else f"sources.{name}"
    return f"models.{read.table.rsplit('.', 1)[1]}"
