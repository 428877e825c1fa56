"""What is served where: each environment's endpoint, its champion and what is deployed beside it, and how they answered lately."""

from datetime import datetime, timedelta

import msgspec
import polars as pl

from loopline.gates import variants
from loopline.gates.environment import alias_of, endpoint_of
from loopline.gates.variants import Deployed
from loopline.loop.deployment import served_elsewhere
from loopline.loop.release import declared_route
from loopline.loop.resources import Resources
from loopline.loop.status import require_project
from loopline.models import registry
from loopline.scoring.record import CHAMPION, FALLBACK, PREVIOUS, prediction_table
from loopline.scoring.variants import SHADOW, variant_failed
from loopline.storage.database import Transaction
from loopline.values import duration

LATELY = "1h"
_COLUMNS = ["variant", "degraded", "latency_ms"]


class Served(msgspec.Struct, frozen=True):
    """One variant, the champion among them, and what the log says of it lately.

    `share` is of the keys it answers (a shadow: scores). `version` 0 is the declared fallback. `predictions` counts rows,
    `rate` those a minute; `errors` is the share of them that failed or were degraded, `p50_ms` and `p99_ms` are how long they took.
    """

    variant: str
    role: str
    version: int
    share: float
    since: datetime | None
    predictions: int
    rate: float
    errors: float | None
    p50_ms: float | None
    p99_ms: float | None


class Endpoint(msgspec.Struct, frozen=True):
    """Where an environment of a model answers."""

    endpoint: str
    project: str
    model: str
    environment: str
    served: tuple[Served, ...]


def endpoints(resources: Resources, project: str, *, lately: str = LATELY) -> list[Endpoint]:
    """The endpoints of a project, production's first, with what was logged in the last `lately`.

    Raises `NotFound` "project.unknown", `InvalidInput` for a time that cannot be read.
    """
    span = duration(lately)
    with resources.database.reading() as tx:
        require_project(tx, project)
        elsewhere = served_elsewhere(tx, project)
        places = [
            (model, names, place)
            for model in registry.models(tx, project)
            if model not in elsewhere
            for names in [declared_route(tx, project, model).environments]
            for place in names[::-1]
        ]
        return [_endpoint(resources, tx, project, model, names, place, span) for model, names, place in places]


def _endpoint(
    resources: Resources,
    tx: Transaction,
    project: str,
    model: str,
    names: tuple[str, ...],
    environment: str,
    span: timedelta,
) -> Endpoint:
    changes = registry.alias_history(tx, project, model, alias_of(names, environment))
    last = changes[-1] if changes else None
    beside = variants.find(tx, project, model=model, environment=environment, only_running=True)
    endpoint = endpoint_of(model, names, environment)
    log = {shadow: _logged(resources, project, endpoint, span, shadow=shadow) for shadow in (False, True)}
    rest = 1 - sum(one.share for one in beside if one.answers)
    champion = _served(
        log[False],
        span,
        (CHAMPION, CHAMPION, last.version or 0 if last else 0, round(rest, 6), last.from_at if last else None),
    )
    return Endpoint(
        endpoint,
        project,
        model,
        environment,
        (champion, *(_variant(log[one.role == SHADOW], span, one) for one in beside)),
    )


def _variant(log: pl.DataFrame, span: timedelta, one: Deployed) -> Served:
    return _served(log, span, (one.name, one.role, one.version, one.share, one.started_at))


def _served(log: pl.DataFrame, span: timedelta, said: tuple[str, str, int, float, datetime | None]) -> Served:
    """A canary's failures are rows that the champion answered for it; the champion's own are those that no model answered, too."""
    name = said[0]
    failed = pl.col("degraded").list.contains(variant_failed(name))
    others = pl.col("degraded").list.eval(pl.element().str.starts_with(variant_failed(""))).list.any()
    if name == CHAMPION:
        rows = log.filter(pl.col("variant").is_in([CHAMPION, PREVIOUS, FALLBACK]) & ~others)
    else:
        rows = log.filter((pl.col("variant") == name) | failed)
    took = rows["latency_ms"].drop_nulls()
    errors = int((rows["degraded"].list.len() > 0).sum()) / rows.height if rows.height else None
    return Served(
        *said,
        predictions=rows.height,
        rate=rows.height / (span.total_seconds() / 60),
        errors=errors,
        p50_ms=took.quantile(0.5, "higher"),
        p99_ms=took.quantile(0.99, "higher"),
    )


def _logged(resources: Resources, project: str, endpoint: str, span: timedelta, *, shadow: bool) -> pl.DataFrame:
    name = prediction_table(project, endpoint, shadow=shadow)
    if not resources.tables.exists(name):
        return pl.DataFrame(
            schema={"variant": pl.String(), "degraded": pl.List(pl.String()), "latency_ms": pl.Float64()}
        )
    table = resources.tables.open(name)
    columns = [column for column in _COLUMNS if column in table.schema.columns]
    rows = table.read(columns=columns, known_after=resources.clock.now() - span)
    absent = [pl.lit(None, pl.Float64).alias(column) for column in _COLUMNS if column not in columns]
    return rows.with_columns(absent)
