"""The dead-man's switch: tells an outside URL that all is well, so that silence itself alarms there.

The convention is that of healthchecks.io: the URL for success, the URL and `/fail` for trouble.
"""

from collections.abc import Callable
from datetime import datetime
from threading import Event

import httpx
import structlog

from loopline.clock import Clock, SystemClock
from loopline.errors import InvalidInput
from loopline.loop import heartbeat
from loopline.loop.declare import Loop
from loopline.loop.resources import Resources
from loopline.values import duration

log = structlog.get_logger(__name__)

TIMEOUT = 10.0


class DeadMansSwitch:
    """Judges, keeps and tells how the loop is, `every` so often, until it is stopped.

    `trouble` says what else is wrong, such as a thread that died; empty where nothing is. Without a `url` the database alone
    is told, which `loopline alive` reads. Raises `InvalidInput` for a URL that is none.
    """

    def __init__(
        self,
        resources: Resources,
        loop: Loop,
        *,
        url: str,
        every: str,
        late: str,
        trouble: Callable[[], str],
    ) -> None:
        _check_url(url)
        self._resources, self._loop, self._url, self._trouble = resources, loop, url, trouble
        self._every, self._late = duration(every), duration(late)
        self._clock: Clock = SystemClock()
        self._since: datetime = resources.clock.now()

    def run(self, stop: Event) -> None:
        """Beat until `stop` is set. What fails is logged; the next beat comes."""
        while True:
            try:
                self.beat()
            except Exception as error:  # silence would say that the loop is dead
                log.exception("heartbeat_failed", error=str(error))
                self._tell(well=False)
            if stop.wait(self._every.total_seconds()):
                return

    def beat(self) -> heartbeat.Heartbeat:
        """Judge, keep, tell: in this order, so that the outside hears only what is kept."""
        with self._resources.database.reading() as tx:
            well, sentence = heartbeat.judge(
                tx,
                self._loop.name,
                list(self._loop.operations),
                turn=duration(self._loop.turn),
                late=self._late,
                since=self._since,
                now=self._resources.clock.now(),
            )
        trouble = self._trouble()
        with self._resources.database.transaction() as tx:
            made = heartbeat.keep(
                tx, self._loop.name, well=well and not trouble, sentence=trouble or sentence, at=self._clock.now()
            )
        self._tell(well=made.well)
        return made

    def _tell(self, *, well: bool) -> None:
        if not self._url:
            return
        url = httpx.URL(self._url)
        target = url if well else url.copy_with(path=url.path.rstrip("/") + "/fail")
        try:
            status = httpx.get(target, timeout=TIMEOUT, follow_redirects=False).status_code
        except httpx.HTTPError as error:
            log.warning("heartbeat_not_told", host=url.host, error=str(error))  # the whole URL is often a secret
            return
        if not httpx.codes.is_success(status):
            log.warning("heartbeat_not_told", host=url.host, error=f"it answered {status}")


def _check_url(text: str) -> None:
    try:
        known = not text or httpx.URL(text).scheme in {"http", "https"}
    except httpx.InvalidURL:
        known = False
    if not known:
        raise InvalidInput(
            "heartbeat.bad_url", "the heartbeat's URL is no http(s) URL", remedy="Set LOOPLINE_HEARTBEAT_URL to one."
        )
