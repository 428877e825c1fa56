"""`up` of a home without a loop: the control plane and pipelines."""

import threading

import structlog

from loopline.app.addresses import Addresses, login
from loopline.app.claim import claim
from loopline.app.going_on import open_going_on
from loopline.app.home_clock import replay_ended
from loopline.app.pipeline_work import STEP_SECONDS, PipelineWork
from loopline.app.ports import check_port
from loopline.app.stopping import stopping
from loopline.app.tidy import Tidying
from loopline.config import Settings
from loopline.errors import told
from loopline.loop.notices import attend
from loopline.server.control.process import ControlPlane

log = structlog.get_logger(__name__)


class PipelinesUp:
    """The pipelines of a home in operation. Several may run against one PostgreSQL database, each with a home folder of its own."""

    def __init__(self, settings: Settings) -> None:
        """Raises `Conflict` "up.running" on a home where one runs."""
        self._settings, self._stop = settings, threading.Event()
        self._claim = claim(settings)
        self._resources, _ = open_going_on(settings, replay_ended)
        self._control = ControlPlane(self._resources, settings.host, settings.port)
        self._pipelines = PipelineWork(settings, self._resources)
        self._tidying = Tidying(settings, self._resources)

    def start(self) -> Addresses:
        """Start the control plane and the pipelines; what fails leaves nothing running. Raises `Conflict` "up.port_taken"."""
        try:
            check_port(self._settings.host, self._settings.port, "LOOPLINE_PORT")
            self._control.start()
            self._pipelines.start()
        except BaseException:
            self.stop()
            raise
        for work in (self._attend, lambda: self._tidying.run(self._stop)):
            threading.Thread(target=work, daemon=True).start()
        control = f"http://{self._settings.host}:{self._settings.port}"
        return Addresses(control, "", f"{control}/login?secret={login(self._resources)}", None)

    def _attend(self) -> None:
        """People are told of steps that failed. An error is logged, and tried again."""
        while not self._stop.wait(STEP_SECONDS):
            try:
                attend(self._resources, self._resources.clock.now())
            except Exception as error:  # pipelines must outlive a bad hour
                log.warning("attend_failed", error=told(error))

    def run(self) -> None:
        """Wait for SIGINT or SIGTERM, then stop in order: steps are let finish, then the control plane ends."""
        with stopping(self._stop):
            self._stop.wait()
            self.stop()

    def stop(self) -> None:
        """Stop everything that was started."""
        self._stop.set()
        self._pipelines.stop()
        self._control.stop()
        self._resources.database.close()
        self._claim.close()
