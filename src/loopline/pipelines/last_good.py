"""The last good result of a step: of an earlier execution of the same pipeline with the same params, its window apart."""

from typing import Any, NamedTuple

import msgspec

from loopline.pipelines.cache import is_there
from loopline.pipelines.codecs import Value
from loopline.pipelines.engine import Claimed, Engine, read_value
from loopline.pipelines.healing.remedies import LastGood
from loopline.storage.statements import Sql, Statements
from loopline.values import duration

_FIND = Sql(
    "select s.result, s.execution, s.ended_at, e.params from step s join execution e on e.id = s.execution"
    " where e.project = ? and e.pipeline = ? and s.name = ? and s.kind = 'step' and s.state = 'done' and s.instead is null"
    " and s.result is not null and s.execution <> ? order by s.ended_at desc limit 200"
)
_PARAMS = Sql("select params from execution where id = ?")
_WINDOW = {"start", "end"}


class Good(NamedTuple):
    """An earlier result, the execution that gave it, and how many seconds ago."""

    result: Value
    execution: str
    stale_seconds: float


def last_good(engine: Engine, sql: Statements, claimed: Claimed, remedy: LastGood) -> Good | str:
    """The result to go on with, or why there is none. What was itself got by a remedy is none."""
    if claimed.parent is not None:
        return "an element of a fan-out has no earlier result of its own"
    facts = engine.facts(sql, claimed.execution)
    wanted = _apart(sql.rows(_PARAMS, claimed.execution)[0][0])
    now = engine.now()
    for text, execution, ended, params in sql.rows(
        _FIND, facts.project, facts.pipeline, claimed.name, claimed.execution
    ):
        seconds = (now - ended) / 1_000_000
        if remedy.max_age and seconds > duration(remedy.max_age).total_seconds():
            return f"no good result of it is younger than {remedy.max_age}"
        if _apart(params) == wanted and is_there(result := read_value(text), engine.artifacts):
            return Good(result, execution, seconds)
    return "there is no good result of it"


def _apart(params: str) -> dict[str, Any]:
    """The params without windows."""
    found = msgspec.json.decode(params)
    return {name: one for name, one in found.items() if not (isinstance(one, dict) and one.keys() == _WINDOW)}
