"""One worker: an event loop that answers on a listening socket and follows the manifests, until it is told to stop."""

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from time import perf_counter
from typing import Protocol

import structlog
import uvloop

from loopline.clock import Clock
from loopline.errors import LooplineError
from loopline.server.scoring.app import App
from loopline.server.scoring.busy_poll import BusyPoll
from loopline.server.scoring.connection import Connection
from loopline.server.scoring.heads import Heads
from loopline.server.scoring.loading import Loader, sequences
from loopline.server.scoring.metrics import Metrics

DRAIN_SECONDS = 10.0
FAREWELL_SECONDS = 0.5
TICK_SECONDS = 0.5
BACKLOG = 2048

_log = structlog.get_logger(__name__)


class Beside(Protocol):
    """A server beside that of HTTP, in the same event loop."""

    async def start(self) -> int: ...

    async def stop(self, seconds: float) -> None: ...


class Worker:
    """Serves `app` on `listening`, and what is `beside` it. `tick` is called twice a second while it lives, `close` at its end.

    It listens only once what the manifests say is loaded and warm. Told to stop (SIGTERM, SIGINT) it takes no more connections,
    answers what is under way, gives callers who keep a connection a moment to hear of its end with an answer, and closes.
    """

    def __init__(
        self,
        app: App,
        loader: Loader,
        metrics: Metrics,
        listening: socket.socket,
        *,
        clock: Clock,
        tick: Callable[[], None],
        close: Callable[[], None],
        beside: Beside | None = None,
    ) -> None:
        self._app = app
        self._loader = loader
        self._metrics = metrics
        self._listening = listening
        self._clock = clock
        self._tick = tick
        self._close = close
        self._beside = beside
        self._peers: set[Connection] = set()
        self._reloading = asyncio.Lock()
        app.follower = self

    def run(self) -> None:
        """Serve until told to stop."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._live())

    def behind(self) -> bool:
        """Whether a manifest changed that is not served yet."""
        return self._loader.changed()

    async def catch_up(self) -> None:
        """Serve what the manifests say now. Whoever asks meanwhile waits for the same."""
        async with self._reloading:
            if self._loader.changed():
                await self._reload()

    async def _live(self) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        heads, poll = Heads(), BusyPoll(loop)
        self._keep_date()
        await self._reload()
        server = await loop.create_server(
            lambda: Connection(self._app, self._peers, loop, heads, poll), sock=self._listening, backlog=BACKLOG
        )
        if self._beside is not None:
            await self._beside.start()
        follower = asyncio.create_task(self._follow())
        await stop.wait()
        server.close()
        beside = asyncio.create_task(self._stop_beside())
        await self._drain()
        await beside
        follower.cancel()
        await asyncio.to_thread(self._close)

    async def _stop_beside(self) -> None:
        if self._beside is not None:
            await self._beside.stop(DRAIN_SECONDS)

    async def _drain(self) -> None:
        self._app.draining = True
        began = perf_counter()
        while self._peers and perf_counter() - began < DRAIN_SECONDS:
            said_farewell = perf_counter() - began > FAREWELL_SECONDS
            for peer in [peer for peer in self._peers if peer.idle and said_farewell]:
                peer.close()
            await asyncio.sleep(0.02)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._keep_date()
            for peer in list(self._peers):
                peer.expire(perf_counter())
            try:
                self._tick()
                await self.catch_up()
            except (LooplineError, OSError) as error:  # the next round tries again
                _log.error("following failed", error=repr(error))

    async def _reload(self) -> None:
        self._app.serving = await asyncio.to_thread(self._loader.load, self._app.serving)
        found: Mapping[str, int] = sequences(self._app.serving)
        self._metrics.note_manifests(found, self._loader.refused)

    def _keep_date(self) -> None:
        self._app.date = format_datetime(self._clock.now(), usegmt=True).encode()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; its connections wait in one queue for whichever worker is free. Raises `OSError`."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    found = socket.socket(family, kind)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
        found.settimeout(0)
    except OSError:
        found.close()
        raise
    return found
