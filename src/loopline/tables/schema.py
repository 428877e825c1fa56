"""What a table's rows look like, in Polars' words and in Delta's."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import msgspec
import polars as pl

from loopline.errors import Conflict, InvalidInput
from loopline.tables.dtypes import delta_type, instance, polars_dtype

UTC_TIME = pl.Datetime("us", "UTC")
SYSTEM_COLUMNS: Mapping[str, pl.DataType] = MappingProxyType(
    {"_key": pl.String(), "_event_time": UTC_TIME, "_known_at": UTC_TIME, "_tombstone": pl.Boolean()}
)
PERSONAL = "loopline.personal"
SUBJECT = "loopline.subject"
KEYS_OF = "loopline.keysOf"


@dataclass(frozen=True)
class TableSchema:
    """A table's payload columns (name to Polars dtype), which of them are `personal`, and whose its rows are.

    `personal` may name `_key` too. `subject` is the column that holds the id of the person whose row it is. Rows of a table
    without one may be of persons all the same: `keys_of` names the table whose keys they have (predictions and labels).

    The system columns `_key` (String), `_event_time`, `_known_at` (Datetime[us, UTC]) and `_tombstone` (Boolean) are always
    there and never listed. Raises `InvalidInput` for a dtype that Delta cannot keep (`table.unsupported_dtype`), a payload
    column named like a system column (`table.reserved_column`) or a personal column that is not there
    (`table.unknown_column`).
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    personal: tuple[str, ...] = ()
    subject: str | None = None
    keys_of: str | None = None

    def __post_init__(self) -> None:
        columns = {name: instance(dtype) for name, dtype in self.columns.items()}
        for name, dtype in columns.items():
            _check_name(name)
            delta_type(name, dtype)
        object.__setattr__(self, "columns", MappingProxyType(columns))
        object.__setattr__(self, "personal", tuple(sorted(set(self.personal))))
        tagged = {*self.personal, *([self.subject] if self.subject else [])}
        refuse_unknown(tagged - {*columns, "_key"}, columns)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self.columns), self.personal, self.subject, self.keys_of)

    def __hash__(self) -> int:
        return hash(self.to_json())

    @property
    def all_columns(self) -> dict[str, pl.DataType]:
        """System columns, then payload columns, in the order in which `Table.read` returns them."""
        return {**SYSTEM_COLUMNS, **self.columns}

    @property
    def guarded(self) -> tuple[str, ...]:
        """The columns whose values are not for everybody, in order: the personal ones, the subject, and with either the key,
        since it may be made of them.
        """
        if not (self.personal or self.subject or self.keys_of):
            return ()
        return tuple(name for name in self.all_columns if name in {"_key", self.subject, *self.personal})

    def widened(self, columns: Mapping[str, Any]) -> "TableSchema":
        """The same schema, tags and all, with further columns."""
        return replace(self, columns={**self.columns, **columns})

    def empty(self) -> pl.DataFrame:
        """A frame of no rows with all columns."""
        return pl.DataFrame(schema=self.all_columns)

    def check(self, frame: pl.DataFrame) -> None:
        """Raise `InvalidInput` unless `frame` has exactly these columns and dtypes, in any order, and no null where a system
        column stands: `table.unknown_column`, `table.missing_column`, `table.wrong_dtype`, `table.null_in_system_column`.
        """
        expected = self.all_columns
        refuse_unknown(set(frame.columns) - set(expected), expected)
        refuse_missing([name for name in expected if name not in frame.columns])
        for name, dtype in expected.items():
            if frame.schema[name] != dtype:
                raise wrong_dtype(name, frame.schema[name], dtype)
        for name in SYSTEM_COLUMNS:
            if frame[name].null_count():
                raise InvalidInput(
                    "table.null_in_system_column",
                    f"{frame[name].null_count()} rows have no {name}",
                    remedy="Every row needs a key, an event time, a known time and a tombstone flag.",
                    column=name,
                )

    def added_by(self, wanted: "TableSchema") -> tuple[str, ...]:
        """The columns that `wanted` has and this schema lacks. Raises `Conflict` (`table.schema_changed`) where `wanted` changes
        or drops a column, or takes the personal tag from one, or says of other persons that the rows are theirs.
        """
        changed = [name for name, dtype in self.columns.items() if wanted.columns.get(name, dtype) != dtype]
        removed = [name for name in self.columns if name not in wanted.columns]
        untagged = [name for name in self.personal if name not in wanted.personal and name not in removed]
        untagged += [name for name in _whose_before(self, wanted) if name not in {*untagged, *removed}]
        if changed or removed or untagged:
            raise _schema_changed(self, wanted, changed=changed, removed=removed, untagged=untagged)
        return tuple(name for name in wanted.columns if name not in self.columns)

    def to_json(self) -> str:
        """The schema as Delta's schema JSON, system columns included; tags are metadata of their columns."""
        fields = [
            {
                "name": name,
                "type": delta_type(name, dtype),
                "nullable": True,
                "metadata": self._metadata(name),
            }
            for name, dtype in self.all_columns.items()
        ]
        return msgspec.json.encode({"type": "struct", "fields": fields}).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "TableSchema":
        """Read what `to_json` wrote."""
        fields = msgspec.json.decode(text)["fields"]
        tags = {one["name"]: one.get("metadata", {}) for one in fields}
        return cls(
            {
                one["name"]: polars_dtype(one["name"], one["type"])
                for one in fields
                if one["name"] not in SYSTEM_COLUMNS
            },
            tuple(name for name, told in tags.items() if told.get(PERSONAL) == "true"),
            next((name for name, told in tags.items() if told.get(SUBJECT) == "true"), None),
            tags.get("_key", {}).get(KEYS_OF),
        )

    def _metadata(self, name: str) -> dict[str, str]:
        return {
            **({PERSONAL: "true"} if name in self.personal else {}),
            **({SUBJECT: "true"} if name == self.subject else {}),
            **({KEYS_OF: self.keys_of} if name == "_key" and self.keys_of else {}),
        }


def _whose_before(before: TableSchema, after: TableSchema) -> list[str]:
    """What said whose the rows are and says otherwise now."""
    pairs = ((before.subject, after.subject), (before.keys_of, after.keys_of))
    return [was for was, is_ in pairs if was is not None and was != is_]


def refuse_missing(names: list[str]) -> None:
    """Raise `InvalidInput` (`table.missing_column`) if any are named."""
    if names:
        raise InvalidInput(
            "table.missing_column",
            f"missing columns: {', '.join(names)}",
            remedy="Give every column of the table's schema; fill those without a value with null of the right dtype.",
            columns=names,
        )


def wrong_dtype(name: str, found: pl.DataType, expected: pl.DataType) -> InvalidInput:
    """The error for a column of another dtype than the table's."""
    return InvalidInput(
        "table.wrong_dtype",
        f"column {name!r} is {found}, the table has {expected}",
        remedy=f'Cast it first: pl.col("{name}").cast(pl.{expected!r}).',
        column=name,
        found=str(found),
        expected=str(expected),
    )


def refuse_unknown(names: set[str], known: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` (`table.unknown_column`) if any are named."""
    if names:
        raise InvalidInput(
            "table.unknown_column",
            f"unknown columns: {', '.join(sorted(names))}; the table has {', '.join(known) or 'none'}",
            remedy="Drop them, or add them to the schema (new columns are allowed).",
            columns=sorted(names),
        )


def _check_name(name: str) -> None:
    if name in SYSTEM_COLUMNS:
        raise InvalidInput(
            "table.reserved_column",
            f"{name!r} is a system column",
            remedy="Leave system columns out of the schema; every table has them.",
        )
    if not name or any(character in ' ,;{}()\n\t="' for character in name):
        raise InvalidInput(
            "table.bad_column_name",
            f"{name!r} cannot be a column name",
            remedy='Names may not be empty or hold spaces or any of , ; { } ( ) = ".',
        )


def _schema_changed(before: TableSchema, after: TableSchema, **names: list[str]) -> Conflict:
    told = [
        *(f"{name!r} changes from {before.columns[name]} to {after.columns[name]}" for name in names["changed"]),
        *(f"{name!r} is gone" for name in names["removed"]),
        *(f"{name!r} is no longer personal" for name in names["untagged"]),
    ]
    return Conflict(
        "table.schema_changed",
        "the table exists with another schema: " + "; ".join(told),
        remedy="Columns may be added. To change or drop one, write to a table of another name.",
        **names,
    )
