"""`up`: control plane, scheduler, scoring and pipelines, started together and stopped together."""

import threading
from datetime import datetime

from loopline.app.addresses import Addresses, login
from loopline.app.claim import claim
from loopline.app.going_on import open_going_on
from loopline.app.heartbeat import DeadMansSwitch
from loopline.app.home_clock import replayed_until
from loopline.app.pipeline_work import PipelineWork
from loopline.app.ports import check_port
from loopline.app.stopping import stopping
from loopline.app.tidy import Tidying
from loopline.app.work import lane_works
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.deploy.process import ScoringProcess
from loopline.errors import Conflict
from loopline.features.online import OnlineFeatures
from loopline.loop.declare import Loop
from loopline.loop.history import History
from loopline.loop.operating import Operating
from loopline.loop.plan import plan
from loopline.loop.pushes import Intakes
from loopline.loop.resources import Resources
from loopline.server.control.process import ControlPlane
from loopline.storage.key_values import open_key_values

STEP_SECONDS = 2.0


class Up:
    """All of one loop in operation. `begin` is from when sources are asked the first time.

    `start` returns once requests are answered; `run` blocks until a signal ends it. Where all models are served elsewhere there is no scoring process.
    """

    def __init__(self, settings: Settings, loop: Loop, *, begin: datetime | None = None) -> None:
        """Raises `Conflict`: "up.running" on a home where one runs, "up.not_applied" for a loop file that was not applied."""
        self.settings, self.loop = settings, loop
        self._serves = not loop.operations or any(one.model.external is None for one in loop.operations.values())
        self._claim = claim(settings)
        self.resources, self.continues = open_going_on(settings, lambda resources: replayed_until(resources, loop.name))
        _check_applied(self.resources, loop)
        self._begin = begin
        self._stop = threading.Event()
        self._scoring = ScoringProcess(settings, behind=SystemClock().now() - self.resources.clock.now())
        self._control = ControlPlane(self.resources, settings.host, settings.port, Intakes.of(loop))
        self._store = open_key_values(str(settings.online_path))
        self._operating = self._make_operating()
        self._scheduler = threading.Thread(target=self._schedule, name="scheduler", daemon=True)
        self._pipelines = PipelineWork(settings, self.resources)
        self._switch = self._make_switch()
        self._tidying = Tidying(settings, self.resources)

    def start(self) -> Addresses:
        """Prepare, then start scoring, the control plane, the scheduler and pipelines; what fails leaves nothing running.

        Raises `Conflict` "up.port_taken" and what `ScoringProcess.ready` raises.
        """
        try:
            self._scoring.end_outlived()
            check_port(self.settings.host, self.settings.port, "LOOPLINE_PORT")
            if self._serves:
                check_port(self.settings.host, self.settings.scoring_port, "LOOPLINE_SCORING_PORT")
            self._operating.prepare()
            if self._serves:
                self._scoring.start()
                self._scoring.ready()
                self._scoring.supervise()
            self._control.start()
        except BaseException:
            self.stop()
            raise
        self._scheduler.start()
        self._pipelines.start()
        for work in (self._attend, lambda: self._switch.run(self._stop), lambda: self._tidying.run(self._stop)):
            threading.Thread(target=work, daemon=True).start()
        control = f"http://{self.settings.host}:{self.settings.port}"
        scoring = f"http://{self.settings.host}:{self.settings.scoring_port}" if self._serves else ""
        return Addresses(control, scoring, f"{control}/login?secret={login(self.resources)}", self.continues)

    def run(self) -> None:
        """Wait for SIGINT or SIGTERM, then stop in order: answers first, then what was logged is shipped, and steps are let finish."""
        with stopping(self._stop):
            self._stop.wait()
            self.stop()

    def stop(self) -> None:
        """Stop everything that was started."""
        self._stop.set()
        self._pipelines.leave()
        self._control.stop()
        self._scoring.stop()
        self._operating.ship()
        self._pipelines.stop()
        if self.resources.crew is not None:
            self.resources.crew.close()
        self.resources.database.close()
        self._claim.close()

    def _schedule(self) -> None:
        while not self._stop.wait(STEP_SECONDS):
            self._operating.keep()
            self._operating.watch()
            self._operating.step()

    def _attend(self) -> None:
        """In a thread of its own: people are told in time, however long a training takes."""
        while not self._stop.wait(STEP_SECONDS):
            self._operating.attend()

    def _make_switch(self) -> DeadMansSwitch:
        settings = self.settings
        return DeadMansSwitch(
            self.resources,
            self.loop,
            url=settings.heartbeat_url,
            every=settings.heartbeat_every,
            late=settings.heartbeat_late,
            trouble=lambda: self._pipelines.trouble() if self._scheduler.is_alive() else "the scheduler has died",
        )

    def _make_operating(self) -> Operating:
        history = History(self.resources.tables)
        works = lane_works(self.resources, self.loop, history, compare=False)
        online = OnlineFeatures(self._store)
        return Operating(self.resources, self.loop, works, online, self.settings.spool_path, self._begin)


def _check_applied(resources: Resources, loop: Loop) -> None:
    made = plan(resources.database, loop)
    if not made.empty:
        raise Conflict(
            "up.not_applied",
            f"the loop file differs from what is applied in {len(made.changes)} places",
            remedy="Look with `loopline plan FILE`, then `loopline apply FILE`.",
        )
