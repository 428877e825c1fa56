"""Endpoints, and what is deployed beside their champions: canaries, splits, shadows."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody

from loopline.access.permissions import Permission
from loopline.gates import variants as deployed
from loopline.gates.canary_terms import canary_terms
from loopline.gates.variants import CANARY, Deployed, Role, Wanted
from loopline.incidents.actions import Outcome
from loopline.loop import deploy as deploying
from loopline.loop.canary_status import CanaryStatus, canaries
from loopline.loop.endpoints import Endpoint, endpoints
from loopline.loop.resources import Resources
from loopline.loop.shadow import Comparison, compare, the_shadow
from loopline.server.control.inputs import Because, Body, Caller, Duration, Home, Name, Reason, Version

_MODEL = "/projects/{project:str}/models/{model:str}"
_VARIANT = f"{_MODEL}/variants/{{name:str}}"

Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Tolerance = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Rows = Annotated[int, msgspec.Meta(ge=1, le=10**9)]


class Terms(Body):
    """What a canary is held to; see `CanaryTerms`. `slow` null leaves time out, `labels` null does not wait for labels."""

    alpha: Share = 0.05
    errors: Tolerance = 0.01
    slow: Tolerance | None = 0.02
    labels: Tolerance | None = None
    loss: Annotated[str, msgspec.Meta(max_length=40)] = ""
    cap: Tolerance | None = None
    min_rows: Rows = 500
    min_time: Duration = "10m"
    steps: Annotated[tuple[Share, ...], msgspec.Meta(max_length=20)] = ()
    promotes: bool = True


class Deployment(Body):
    """Which version to put beside the champion, as what, for which share of the keys; in production by default."""

    version: Version
    role: Role
    share: Share
    reason: Reason
    name: Annotated[str, msgspec.Meta(max_length=40)] = ""
    environment: Name | None = None
    terms: Terms | None = None


class NewShare(Because):
    """The share a variant is to have."""

    share: Share


@get("/projects/{project:str}/endpoints", permission=Permission.MODELS_READ, sync_to_thread=True)
def list_endpoints(home: Home, project: FromPath[str]) -> list[Endpoint]:
    """What is served where, and how it answered in the last hour."""
    return endpoints(home, project)


@get(f"{_MODEL}/variants", permission=Permission.MODELS_READ, sync_to_thread=True)
def list_variants(home: Home, project: FromPath[str], model: FromPath[str]) -> list[CanaryStatus]:
    """What runs beside the model's champions; for canaries how near a verdict is."""
    return canaries(home, project, model=model)


@post(f"{_MODEL}/variants", permission=Permission.MODELS_PROMOTE, status_code=200, sync_to_thread=True)
def deploy(
    home: Home, caller: Caller, project: FromPath[str], model: FromPath[str], data: JSONBody[Deployment]
) -> Outcome:
    """Put a version beside the champion; where that takes an approval, ask for it, or use it."""
    with home.database.reading() as tx:
        environment = deploying.environment_of(tx, project, model, data.environment)
    given = data.terms or Terms()
    terms = canary_terms(**msgspec.structs.asdict(given)) if data.role == CANARY else None
    wanted = Wanted(
        project=project,
        model=model,
        environment=environment,
        version=data.version,
        role=data.role,
        share=data.share,
        name=data.name,
        terms=terms,
    )
    return deploying.deploy(home, wanted, actor=caller.principal, reason=data.reason)


@post(f"{_VARIANT}/share", permission=Permission.MODELS_PROMOTE, status_code=200, sync_to_thread=True)
def change_share(
    home: Home,
    caller: Caller,
    project: FromPath[str],
    model: FromPath[str],
    name: FromPath[str],
    data: JSONBody[NewShare],
    environment: FromQuery[str | None] = None,
) -> Outcome:
    """Give a variant another share; its keys stay its own where it grows."""
    found = _running(home, project, model, name, environment)
    return deploying.change_share(home, found, data.share, actor=caller.principal, reason=data.reason)


@post(f"{_VARIANT}/promote", permission=Permission.MODELS_PROMOTE, status_code=200, sync_to_thread=True)
def promote_variant(
    home: Home,
    caller: Caller,
    project: FromPath[str],
    model: FromPath[str],
    name: FromPath[str],
    data: JSONBody[Because],
    environment: FromQuery[str | None] = None,
) -> Outcome:
    """Make a variant's version the champion."""
    found = _running(home, project, model, name, environment)
    return deploying.promote_variant(home, found, actor=caller.principal, reason=data.reason)


@post(f"{_VARIANT}/stop", permission=Permission.MODELS_PROMOTE, status_code=200, sync_to_thread=True)
def stop_variant(
    home: Home,
    caller: Caller,
    project: FromPath[str],
    model: FromPath[str],
    name: FromPath[str],
    data: JSONBody[Because],
    environment: FromQuery[str | None] = None,
) -> Outcome:
    """Take a variant away; the champion answers its keys."""
    found = _running(home, project, model, name, environment)
    return deploying.stop(home, found, actor=caller.principal, reason=data.reason)


@get(f"{_VARIANT}/comparison", permission=Permission.MODELS_READ, sync_to_thread=True)
def compare_shadow(
    home: Home,
    project: FromPath[str],
    model: FromPath[str],
    name: FromPath[str],
    environment: FromQuery[str | None] = None,
) -> Comparison:
    """A shadow beside the champion, on the rows that both scored."""
    with home.database.reading() as tx:
        place = deploying.environment_of(tx, project, model, environment)
    return compare(home, the_shadow(home, project, model, place, name))


def _running(home: Resources, project: str, model: str, name: str, environment: str | None) -> Deployed:
    with home.database.reading() as tx:
        place = deploying.environment_of(tx, project, model, environment)
        return deployed.named(tx, project, model, place, name)


HANDLERS = (
    list_endpoints,
    list_variants,
    deploy,
    change_share,
    promote_variant,
    stop_variant,
    compare_shadow,
)
