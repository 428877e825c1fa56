"""Signed messages from outside that fire schedules."""

import asyncio
from typing import Any

import msgspec
from litestar import Request, post
from litestar.params import FromPath

from loopline.pipelines.schedules import webhook
from loopline.server.control.guard import Public
from loopline.server.control.inputs import Home, MachineClock


class Taken(msgspec.Struct, frozen=True):
    """A message is durable. `new` says whether it came for the first time."""

    new: bool


@post(
    "/hooks/{project:str}/{hook:str}",
    permission=Public("the message's signature says who sent it; it opens nothing but its own webhook"),
    status_code=202,
)
async def receive(
    home: Home,
    machine_clock: MachineClock,
    request: Request[Any, Any, Any],
    project: FromPath[str],
    hook: FromPath[str],
) -> Taken:
    """Take a message signed as Standard Webhooks 1.0 says; schedules that wait for it fire.

    Sent again, it changes nothing.
    """
    body = await request.body()
    told, sealing = dict(request.headers), home.pseudonyms.secret(webhook.PURPOSE)

    def take() -> bool:
        machine, at = machine_clock.now(), home.clock.now()
        with home.database.transaction() as tx:
            return webhook.receive(
                tx, project=project, hook=hook, told=told, body=body, sealing=sealing, machine=machine, at=at
            )

    return Taken(await asyncio.to_thread(take))
