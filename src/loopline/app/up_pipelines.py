"""`up` of a home without a loop: the control plane and pipelines."""

import signal
import threading
from contextlib import closing
from types import FrameType

from loopline.app.addresses import Addresses, login
from loopline.app.claim import claim
from loopline.app.home import open_home
from loopline.app.home_clock import HomeClock, replay_ended
from loopline.app.pipeline_work import PipelineWork
from loopline.app.ports import check_port
from loopline.app.tidy import Tidying
from loopline.config import Settings
from loopline.loop.resources import Resources
from loopline.server.control.process import ControlPlane


class PipelinesUp:
    """The pipelines of a home in operation. Several may run against one PostgreSQL database, each with a home folder of its own."""

    def __init__(self, settings: Settings) -> None:
        """Raises `Conflict` "up.running" on a home where one runs."""
        self._settings, self._stop = settings, threading.Event()
        self._claim = claim(settings)
        self._resources = _open(settings)
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
        threading.Thread(target=lambda: self._tidying.run(self._stop), daemon=True).start()
        control = f"http://{self._settings.host}:{self._settings.port}"
        return Addresses(control, "", f"{control}/login?secret={login(self._resources)}", None)

    def run(self) -> None:
        """Wait for SIGINT or SIGTERM, then stop in order: steps are let finish, then the control plane ends."""

        def stop(_signal: int, _frame: FrameType | None) -> None:
            self._stop.set()

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        self._stop.wait()
        self.stop()

    def stop(self) -> None:
        """Stop everything that was started."""
        self._stop.set()
        self._pipelines.stop()
        self._control.stop()
        self._resources.database.close()
        self._claim.close()


def _open(settings: Settings) -> Resources:
    """The home; where it holds a replay, its clock goes on from the replay's end."""
    resources = open_home(settings)
    ended = replay_ended(resources)
    if ended is None:
        return resources
    with closing(resources.database):
        return open_home(settings, clock=HomeClock(settings.home, ended))
