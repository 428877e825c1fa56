"""The actions of the Delta log that Loopline reads and writes (Delta protocol, reader version 1, writer version 2).

https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from typing import Any

import msgspec

ENGINE = "loopline"


class CommitInfo(msgspec.Struct, rename="camel", omit_defaults=True):
    """Who committed what: `timestamp` in milliseconds since 1970 UTC; `loopline` holds writer, sequence, provenance."""

    timestamp: int = 0
    operation: str = ""
    operation_parameters: dict[str, Any] = {}
    engine_info: str = ""
    is_blind_append: bool | None = None
    loopline: dict[str, Any] | None = None


class Protocol(msgspec.Struct, rename="camel"):
    """What a reader and a writer of the table must know."""

    min_reader_version: int
    min_writer_version: int


class MetaData(msgspec.Struct, rename="camel"):
    """The table's schema (as Delta JSON) and settings."""

    id: str
    schema_string: str
    created_time: int | None = None
    partition_columns: list[str] = []
    configuration: dict[str, str] = {}
    format: dict[str, Any] = msgspec.field(default_factory=lambda: {"provider": "parquet", "options": {}})


class Add(msgspec.Struct, rename="camel"):
    """A data file that is part of the table from this version on; `path` is relative and URL-encoded."""

    path: str
    size: int
    modification_time: int
    data_change: bool
    stats: str | None = None
    tags: dict[str, str | None] | None = None
    partition_values: dict[str, str | None] = {}


class Remove(msgspec.Struct, rename="camel"):
    """A data file that is no longer part of the table; older versions still read it."""

    path: str
    data_change: bool
    deletion_timestamp: int | None = None


class Txn(msgspec.Struct, rename="camel"):
    """An application transaction: the last sequence that the writer `app_id` committed."""

    app_id: str
    version: int


class Action(msgspec.Struct, rename="camel", omit_defaults=True):
    """One line of a log entry: exactly one of the fields is set."""

    commit_info: CommitInfo | None = None
    protocol: Protocol | None = None
    meta_data: MetaData | None = None
    txn: Txn | None = None
    add: Add | None = None
    remove: Remove | None = None


class Stats(msgspec.Struct, rename="camel"):
    """A data file's statistics; times are ISO 8601 text."""

    num_records: int = 0
    min_values: dict[str, Any] = {}
    max_values: dict[str, Any] = {}
    null_count: dict[str, Any] = {}


def commit_info(kind: str, delta_operation: str, timestamp: int, told: dict[str, Any] | None = None) -> CommitInfo:
    """The first line of a log entry: Loopline's `kind` of operation and Delta's name of it; `timestamp` in milliseconds."""
    parameters = {"mode": "Append", "partitionBy": "[]"} if kind == "append" else {}
    blind = True if kind == "append" else None
    return CommitInfo(timestamp, delta_operation, parameters, ENGINE, blind, {"operation": kind, **(told or {})})


_decoder = msgspec.json.Decoder(Action)
_stats_decoder = msgspec.json.Decoder(Stats)


def encode_entry(actions: list[Action]) -> bytes:
    """A log entry: one JSON object a line."""
    return b"\n".join(msgspec.json.encode(action) for action in actions) + b"\n"


def decode_entry(content: bytes) -> list[Action]:
    """The actions of a log entry; kinds that Loopline has no use for come back empty."""
    return _decoder.decode_lines(content)


def encode_stats(stats: Stats) -> str:
    """Statistics as the text inside an `Add`."""
    return msgspec.json.encode(stats).decode()


def decode_stats(text: str | None) -> Stats:
    """Statistics of an `Add`; none given reads as none known."""
    return _stats_decoder.decode(text) if text else Stats()
