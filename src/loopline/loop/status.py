"""How things stand: what serves, since when, on what it was last fed, and what is wrong."""

from collections import Counter
from datetime import datetime

import msgspec

from loopline.errors import NotFound
from loopline.gates import approval
from loopline.gates.approval import Approval
from loopline.gates.environment import alias_of, endpoint_of
from loopline.gates.promotion import CHAMPION
from loopline.incidents import freeze as freezes
from loopline.incidents import incident, outbox
from loopline.incidents.calendar import first_covering
from loopline.incidents.incident import Incident
from loopline.incidents.measures import ENDS, SERVE_FALLBACK, in_force
from loopline.incidents.people import People
from loopline.labels.review.counts import waiting_by_model
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.deployment import decision_alias, resting
from loopline.loop.freshness import newest_known
from loopline.loop.owner import declared_owner, declared_people
from loopline.loop.release import declared_route
from loopline.loop.resources import Resources
from loopline.loop.watch import HARM_MONITOR
from loopline.models import decision_versions, registry
from loopline.monitoring.alarm import list_alarms
from loopline.monitoring.performance import read_performance, read_restated
from loopline.monitoring.watch import list_monitors, watched_projects
from loopline.pipelines.applied.applied import pipeline_projects
from loopline.storage.database import Transaction
from loopline.values import duration


class MonitorStatus(msgspec.Struct, frozen=True):
    """A monitor's evidence for harm, from 0 (none) to 1 (alarm), the last block it saw, its share of the budget and how many alarms it
    raised. The first of a model is of what it is held to.
    """

    name: str
    watermark: datetime
    evidence: float
    last_excess: float | None
    allowed_excess: float | None
    coverage: float | None
    censored: float | None = None
    restated: int = 0
    false_pages_per_year: float = 0.0
    alarms: int = 0


class EnvironmentStatus(msgspec.Struct, frozen=True):
    """What serves in an environment, and where it answers."""

    environment: str
    endpoint: str
    version: int | None
    since: datetime | None
    decision: int | None


class Calm(msgspec.Struct, frozen=True):
    """A freeze window: from when until when (UTC); whether it holds now."""

    start: datetime
    end: datetime
    now: bool


class ModelStatus(msgspec.Struct, frozen=True):
    """What a model serves: champion version (None: the fallback), since when, and under which decision. These are production's;
    `environments` has them all, in their order. `owner` answers for the model. `reviews` counts its predictions that wait for a reviewer.
    `measures` are those in force: with `serve_fallback` the champion rests.
    """

    model: str
    champion: int | None
    since: datetime | None
    decision: int | None
    versions: int
    turns: int
    last_turn: datetime | None
    monitors: list[MonitorStatus]
    owner: str = ""
    environments: list[EnvironmentStatus] = []
    reviews: int = 0
    measures: list[str] = []

    @property
    def serves(self) -> int:
        """The version that answers; 0 for the fallback."""
        return 0 if SERVE_FALLBACK in self.measures else self.champion or 0


class SourceStatus(msgspec.Struct, frozen=True):
    """A source: when its newest row became known, whether that is as fresh as promised, and how it went when it was asked last.

    `asked` and `until` are in the loop's time, `seconds` is how long it took. `state` is "ok", "stale", "failing" or "not asked".
    """

    source: str
    table: str
    newest: datetime | None
    freshness: str | None
    state: str
    asked: datetime | None
    until: datetime | None
    seconds: float | None
    rows: int | None
    quarantined: int | None
    failures: int
    error: str | None


class ProjectStatus(msgspec.Struct, frozen=True):
    """One project. `ledger` is the digest of its newest entry; `calm` the freeze window that holds now, or the next;
    `approvals` are those that wait to be given or used; `untold` counts notifications that a channel could not tell yet.
    """

    project: str
    frozen: freezes.Freeze | None
    models: list[ModelStatus]
    sources: list[SourceStatus]
    incidents: list[Incident]
    ledger_entries: int
    ledger: str
    owner: str = ""
    calm: Calm | None = None
    approvals: list[Approval] = []
    untold: int = 0


def status(resources: Resources) -> list[ProjectStatus]:
    """Every project of this home."""
    with resources.database.reading() as tx:
        return [_project(resources, tx, name) for name in projects(tx)]


def projects(tx: Transaction) -> list[str]:
    """The projects of this home: each applied loop, the policies it was replayed against, and models watched without a loop; where
    there are none of these, those of pipelines.
    """
    of_loops = [
        project
        for loop in store.applied_loops(tx)
        for project in [loop, *(f"{loop}.{policy}" for policy in _policies(tx, loop))]
    ]
    found = [*of_loops, *(name for name in watched_projects(tx) if name not in of_loops)]
    return found or pipeline_projects(tx)


def require_project(tx: Transaction, name: str) -> None:
    """Raise `NotFound` "project.unknown" unless there is such a project in this home."""
    known = projects(tx)
    if name not in known and name not in pipeline_projects(tx):
        raise NotFound(
            "project.unknown", f"there is no project {name!r}", remedy=f"There are: {', '.join(known) or 'none'}."
        )


def _policies(tx: Transaction, loop: str) -> list[str]:
    applied = store.latest_applied(tx, loop)
    if applied is None or store.one_replay(tx, loop) is None:
        return []
    operations = applied["declaration"]["operations"].values()
    return list(dict.fromkeys(policy for operation in operations for policy in operation["compare"]))


def _project(resources: Resources, tx: Transaction, project: str) -> ProjectStatus:
    head, people, now = chain.head(tx, project), declared_people(tx, project), resources.clock.now()
    reviews = waiting_by_model(tx, project)
    return ProjectStatus(
        project=project,
        frozen=freezes.frozen(tx, project),
        models=[_model(tx, project, model, reviews.get(model, 0)) for model in _models(tx, project)],
        sources=sources_of(resources, tx, project),
        incidents=incident.find(tx, project, only_open=True),
        ledger_entries=head.seq,
        ledger=head.digest,
        owner=people.owner,
        calm=_calm(people, now),
        approvals=approval.find(tx, project, only_open=True),
        untold=sum(one.attempts > 0 for one in outbox.waiting(tx, project)),
    )


def _calm(people: People, now: datetime) -> Calm | None:
    held = first_covering([one.span for one in people.calm], now)
    ahead = min((found for one in people.calm if (found := one.span.upcoming(now))), default=None)
    found = held or ahead
    return Calm(*found, held is not None) if found else None


def _models(tx: Transaction, project: str) -> list[str]:
    """Registered models, and those that are watched while something else serves them."""
    known = registry.models(tx, project)
    watched = dict.fromkeys(monitor.model for monitor in list_monitors(tx, project))
    return [*known, *(model for model in watched if model not in known)]


def sources_of(resources: Resources, tx: Transaction, project: str) -> list[SourceStatus]:
    """The sources of an applied loop; none for the policies that it was replayed against, which share them."""
    applied = store.latest_applied(tx, project)
    said = applied["declaration"]["sources"] if applied else {}
    return [_source(resources, tx, name, f"{project}.{name}", one.get("freshness")) for name, one in said.items()]


def _source(resources: Resources, tx: Transaction, name: str, table: str, freshness: str | None) -> SourceStatus:
    asked = store.last_asked(tx, table)
    newest = newest_known(resources.tables, table)
    since = newest or store.ingested_since(tx, table)
    late = freshness is not None and since is not None and resources.clock.now() - since > duration(freshness)
    failing = bool(asked and asked["failures"])
    told = asked or dict.fromkeys(("at", "until", "seconds", "rows", "quarantined", "error"))
    return SourceStatus(
        source=name,
        table=table,
        newest=newest,
        freshness=freshness,
        state="failing" if failing else "stale" if late else "ok" if asked else "not asked",
        asked=told["at"],
        until=told["until"],
        seconds=told["seconds"],
        rows=told["rows"],
        quarantined=told["quarantined"],
        failures=told.get("failures") or 0,
        error=told["error"],
    )


def _model(tx: Transaction, project: str, model: str, reviews: int) -> ModelStatus:
    changes = registry.alias_history(tx, project, model, CHAMPION)
    decision = decision_versions.current_decision(tx, project, model)
    last = store.last_turn(tx, project, model)
    return ModelStatus(
        model=model,
        champion=changes[-1].version if changes else None,
        since=changes[-1].from_at if changes else None,
        decision=decision.version if decision else None,
        versions=len(registry.versions(tx, project, model)),
        turns=last["number"] if last else 0,
        last_turn=last["window_end"] if last else None,
        monitors=_monitors(tx, project, model),
        owner=declared_owner(tx, project, model),
        environments=_environments(tx, project, model),
        reviews=reviews,
        measures=_measures(tx, project, model),
    )


def _measures(tx: Transaction, project: str, model: str) -> list[str]:
    lasting = [name for name in ENDS if name != SERVE_FALLBACK and in_force(tx, project, model, name)]
    return [SERVE_FALLBACK, *lasting] if resting(tx, project, model) else lasting


def _environments(tx: Transaction, project: str, model: str) -> list[EnvironmentStatus]:
    names = declared_route(tx, project, model).environments
    return [_environment(tx, project, model, names, name) for name in names]


def _environment(
    tx: Transaction, project: str, model: str, names: tuple[str, ...], environment: str
) -> EnvironmentStatus:
    alias = alias_of(names, environment)
    changes = registry.alias_history(tx, project, model, alias)
    decision = decision_versions.current_decision(tx, project, model, alias=decision_alias(alias))
    return EnvironmentStatus(
        environment,
        endpoint_of(model, names, environment),
        changes[-1].version if changes else None,
        changes[-1].from_at if changes else None,
        decision.version if decision else None,
    )


def _monitors(tx: Transaction, project: str, model: str) -> list[MonitorStatus]:
    found = []
    own = [monitor for monitor in list_monitors(tx, project) if monitor.model == model]
    raised = Counter(one.monitor for one in list_alarms(tx, project) if one.model == model)
    for monitor in sorted(own, key=lambda one: one.name != HARM_MONITOR):
        rows = read_performance(tx, project, model, monitor.name)
        last = rows[-1] if rows else None
        found.append(
            MonitorStatus(
                name=monitor.name,
                watermark=monitor.watermark,
                evidence=monitor.evidence,
                last_excess=last.excess if last else None,
                allowed_excess=None if monitor.of_change else monitor.allowed,
                coverage=last.coverage if last else None,
                censored=last.censored / last.predictions if last and last.predictions else None,
                restated=len(read_restated(tx, project, model, monitor.name)),
                false_pages_per_year=monitor.spec.false_pages_per_year,
                alarms=raised[monitor.name],
            )
        )
    return found
