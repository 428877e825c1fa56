"""The cache of results, by content: the same code, environment, params and inputs give the earlier result."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec

from loopline.pipelines.arguments import digest_of
from loopline.pipelines.codecs import Value, artifacts_of
from loopline.pipelines.engine import Claimed, read_value
from loopline.pipelines.fingerprint import environment_digest
from loopline.pipelines.graph import Binding, Constant, text_of
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.statements import Sql, Statements
from loopline.values import digest

_FIND = Sql("select result, execution, number from cached where function = ? and key = ?")
_FORGET = Sql("delete from cached where function = ? and key = ?")
_KEEP = Sql(
    "insert into cached (function, key, parts, result, execution, number, at) values (?, ?, ?, ?, ?, ?, ?)"
    " on conflict (function, key) do nothing"
)


class Parts(msgspec.Struct, frozen=True, dict=True):
    """What a result depends on, each by its digest."""

    function: str
    code: str
    environment: str
    params: dict[str, str]
    inputs: dict[str, str]

    @cached_property
    def key(self) -> str:
        """What the result is found by."""
        return digest(text_of(self).encode())


@dataclass(frozen=True)
class Hit:
    """An earlier result, and the execution and step that gave it."""

    result: Value
    execution: str
    number: int


def parts_of(
    function: str,
    code: str,
    bindings: Mapping[str, Binding],
    resolved: Mapping[str, Binding],
    mapped: Collection[str] = (),
) -> Parts:
    """What the result of a step depends on; `mapped` are the parameters that a fan-out gives an element each, which are inputs."""
    params = {
        name: digest_of(resolved[name])
        for name, one in bindings.items()
        if isinstance(one, Constant) and name not in mapped
    }
    inputs = {name: digest_of(one) for name, one in resolved.items() if name not in params}
    return Parts(function, code, environment_digest(), params, inputs)


def find(sql: Statements, artifacts: ArtifactStore, parts: Parts) -> Hit | None:
    """The earlier result; one whose artifacts are gone is forgotten, so that it is computed anew."""
    hit = _kept(sql, parts)
    if hit is None or is_there(hit.result, artifacts):
        return hit
    sql.change(_FORGET, parts.function, parts.key)
    return None


def peek(sql: Statements, artifacts: ArtifactStore, parts: Parts) -> Hit | None:
    """As `find`, and nothing is changed."""
    hit = _kept(sql, parts)
    return hit if hit is not None and is_there(hit.result, artifacts) else None


def _kept(sql: Statements, parts: Parts) -> Hit | None:
    row = sql.first(_FIND, parts.function, parts.key)
    return None if row is None else Hit(read_value(row[0]), row[1], row[2])


def is_there(value: Value, artifacts: ArtifactStore) -> bool:
    """Whether every artifact of a value is kept."""
    if value.codec not in {"list", "tuple"} and (value.text is not None or value.data is not None):
        return True
    return all(artifacts.exists(one) for one in artifacts_of(value, artifacts))


def remember(sql: Statements, parts: Parts, result: str, claimed: Claimed, at: int) -> None:
    """Keep a result for others."""
    sql.later(_KEEP, parts.function, parts.key, text_of(parts), result, claimed.execution, claimed.number, at)
