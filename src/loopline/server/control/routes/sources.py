"""Rows that are pushed by whoever has them."""

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, SkipValidation

from loopline.access.permissions import Permission
from loopline.errors import NotFound
from loopline.loop.pushes import Intakes, push_rows
from loopline.server.control.inputs import Body, Caller, Home
from loopline.sources.bodies import rows_in
from loopline.sources.pushed import Received
from loopline.tables.source import SourceSpec

_BODY_LIMIT = 8 << 20

PushedTo = NamedDependency[SkipValidation[Intakes]]
Key = Annotated[str | None, HeaderParameter(name="Idempotency-Key", max_length=200, min_length=1)]


class Rows(Body):
    """Rows of a source, with its columns by name."""

    rows: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=20_000)]


@post(
    "/projects/{project:str}/sources/{source:str}/rows",
    permission=Permission.SOURCES_PUSH,
    status_code=200,
    request_max_body_size=_BODY_LIMIT,
    sync_to_thread=True,
)
def push(
    home: Home,
    caller: Caller,
    intakes: PushedTo,
    project: FromPath[str],
    source: FromPath[str],
    data: JSONBody[Rows],
    idempotency_key: Key = None,
) -> Received:
    """Keep rows for the next ingestion. Repeating a push, by its `Idempotency-Key` or else by its rows, changes nothing."""
    return push_rows(home, _spec(intakes, project, source), data.rows, key=idempotency_key, actor=caller.principal)


@post(
    "/projects/{project:str}/sources/{source:str}/rows/batch",
    permission=Permission.SOURCES_PUSH,
    status_code=200,
    request_max_body_size=_BODY_LIMIT,
)
async def push_batch(
    home: Home,
    caller: Caller,
    intakes: PushedTo,
    request: Request[Any, Any, Any],
    project: FromPath[str],
    source: FromPath[str],
    idempotency_key: Key = None,
) -> Received:
    """The same for lines of JSON (`application/x-ndjson`) or an Arrow stream (`application/vnd.apache.arrow.stream`), as the Content-Type says."""
    spec, kind, body = _spec(intakes, project, source), request.headers.get("content-type", ""), await request.body()

    def keep() -> Received:
        return push_rows(home, spec, rows_in(body, kind), key=idempotency_key, actor=caller.principal)

    return await asyncio.to_thread(keep)


def _spec(intakes: Intakes, project: str, source: str) -> SourceSpec:
    spec = intakes.specs.get((project, source))
    if spec is None:
        known = ", ".join(name for owner, name in intakes.specs if owner == project)
        raise NotFound(
            "source.not_pushed",
            f"{project} has no source {source!r} that rows are pushed to",
            remedy=f"It has: {known or 'none'}. loop.pushed(...) in the loop file declares one.",
        )
    return spec


HANDLERS = (push, push_batch)
