"""What a call asks for: of which endpoint, for whom and until when."""

from collections.abc import Awaitable

from loopline.errors import InvalidInput, NotFound
from loopline.models.explainer import require_few
from loopline.scoring.asked import Caller
from loopline.scoring.block import Predictions
from loopline.scoring.engine import Engine
from loopline.server.scoring.routes import Call
from loopline.server.scoring.serving import Serving

TIMEOUT_HEADER = b"x-timeout-ms"
_LONGEST_MS = 3_600_000


def engine_of(call: Call) -> Engine:
    """The engine of the endpoint and version in a call's path. Raises `NotFound` as `served_engine`."""
    return served_engine(call.serving, call.params["endpoint"], call.params.get("version"))


def served_engine(serving: Serving, endpoint: str, version: str | None = None) -> Engine:
    """Raises `NotFound`: "scoring.endpoint_not_found", "scoring.version_not_served"."""
    engine = serving.engine(endpoint)
    if version is not None and version != str(engine.deployment.version):
        raise NotFound(
            "scoring.version_not_served",
            f"endpoint {engine.deployment.endpoint!r} does not serve version {version[:20]!r}",
            remedy=f"It serves version {engine.deployment.version}.",
        )
    return engine


def caller(call: Call, request_id: str | None = None) -> Caller:
    """Who asks, by what the request's head says: its principal, its idempotency key, how long an answer is waited for."""
    header = call.headers.get(b"idempotency-key")
    return Caller(
        principal=call.identity.principal if call.identity else None,
        request_id=request_id or (header.decode("latin-1") if header else None),
        arrived=call.arrived,
        alone=call.alone,
        deadline=_deadline(call),
        trace_id=call.trace.id if call.trace else None,
        stages=call.trace.stages if call.trace else None,
    )


def require_explainable(engine: Engine, rows: int) -> None:
    """Before anything is scored: what cannot be explained is not predicted either, and the caller asks again without."""
    require_few(rows)
    engine.explainer()


async def awaited(found: Predictions | Awaitable[Predictions]) -> Predictions:
    """Predictions, waited for where they were not there at once."""
    return found if isinstance(found, Predictions) else await found


def _deadline(call: Call) -> float | None:
    given = call.headers.get(TIMEOUT_HEADER)
    if given is None:
        return None
    if not given.isdigit() or not 0 < int(given) <= _LONGEST_MS:
        raise InvalidInput(
            "http.bad_timeout",
            f"the header {TIMEOUT_HEADER.decode()} is not a number of milliseconds",
            remedy=f"Send a whole number from 1 to {_LONGEST_MS}, or leave it out.",
        )
    return call.arrived + int(given) / 1000
