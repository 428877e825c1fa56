"""Which part of a step's cache key differs from the nearest earlier one."""

from collections.abc import Mapping

import msgspec

from loopline.errors import LooplineError
from loopline.pipelines.cache import Parts
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.statements import Sql, Statements

_EARLIER = Sql(
    "select parts, execution from cached where function = ? and key <> ? and at < ? order by at desc limit 200"
)
_PARTS = msgspec.json.Decoder(Parts)
_SHOWN = 5


class Difference(msgspec.Struct, frozen=True):
    """One part that differs: `kind` is code, environment, param or input; `names` say which of them."""

    kind: str
    names: list[str]

    def __str__(self) -> str:
        shown = ", ".join(self.names[:_SHOWN]) + (
            f" and {len(self.names) - _SHOWN} more" if len(self.names) > _SHOWN else ""
        )
        return f"{self.kind} {shown}".strip()


class Nearest(msgspec.Struct, frozen=True):
    """The earlier result that differs in the fewest parts, and in which; the execution that made it."""

    execution: str
    differences: list[Difference]


def nearest(sql: Statements, artifacts: ArtifactStore, parts: Parts, *, before: int) -> Nearest | None:
    """The nearest result that was kept before that moment (microseconds); None where the step was never kept."""
    earlier = [
        (_PARTS.decode(text), execution) for text, execution in sql.rows(_EARLIER, parts.function, parts.key, before)
    ]
    if not earlier:
        return None
    found, execution = min(earlier, key=lambda one: _distance(parts, one[0]))
    return Nearest(execution, _differences(artifacts, parts, found))


def told(differences: list[Difference]) -> str:
    """What differs, as the beginning of a sentence that ends in `not as in ...`."""
    return f"{'; '.join(map(str, differences))} {'is' if len(differences) == 1 and len(differences[0].names) < 2 else 'are'}"  # noqa: PLR2004


def _distance(one: Parts, other: Parts) -> int:
    return (
        (one.code != other.code)
        + (one.environment != other.environment)
        + len(_changed(one.params, other.params))
        + len(_changed(one.inputs, other.inputs))
    )


def _differences(artifacts: ArtifactStore, one: Parts, other: Parts) -> list[Difference]:
    found = []
    if one.code != other.code:
        found.append(Difference("code", _within(artifacts, one.code, other.code)))
    if one.environment != other.environment:
        found.append(Difference("environment", _within(artifacts, one.environment, other.environment)))
    for kind, names in (("param", _changed(one.params, other.params)), ("input", _changed(one.inputs, other.inputs))):
        if names:
            found.append(Difference(kind, names))
    return found


def _within(artifacts: ArtifactStore, one: str, other: str) -> list[str]:
    """The names that differ between two artifacts of names and digests; empty where one is gone."""
    try:
        first, second = (msgspec.json.decode(artifacts.get(name), type=dict[str, str]) for name in (one, other))
    except LooplineError:
        return []
    return _changed(first, second)


def _changed(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
