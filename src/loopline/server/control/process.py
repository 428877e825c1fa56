"""The control plane in a thread of the process that schedules: they share the home, and stop together."""

import threading

import uvicorn

from loopline.errors import Conflict
from loopline.loop.pushes import Intakes
from loopline.loop.resources import Resources
from loopline.server.control.app import control_app


class ControlPlane:
    """The control plane's server. `start` returns once it answers."""

    def __init__(self, resources: Resources, host: str, port: int, intakes: Intakes | None = None) -> None:
        hosts = {f"{name}:{port}" for name in {host, "127.0.0.1", "localhost"}}
        config = uvicorn.Config(
            control_app(resources, hosts=hosts, intakes=intakes),
            host=host,
            port=port,
            log_level="warning",
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="control-plane", daemon=True)

    def start(self) -> None:
        """Raises `Conflict` where the port is taken."""
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            threading.Event().wait(0.02)
        if not self._server.started:
            raise Conflict(
                "up.port_taken", "the control plane could not start", remedy="Is its port taken? Set LOOPLINE_PORT."
            )

    def stop(self) -> None:
        """Answer what was asked, then end."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        try:
            self._server.run()
        except SystemExit:  # how uvicorn says that it could not bind
            return
