"""Composes and runs a scoring process from its settings: a parent, and the workers that answer."""

import logging
import shutil
import socket
import sys
import time
from datetime import timedelta
from functools import cache

import structlog

from loopline.clock import Clock, ContinuingClock, SystemClock
from loopline.config import Settings
from loopline.errors import Unavailable
from loopline.features.online import OnlineFeatures
from loopline.scoring.features import OnlineValues
from loopline.scoring.spool import Spool, claim_spool
from loopline.server.scoring.access_log import AccessLog
from loopline.server.scoring.app import App
from loopline.server.scoring.batcher import Batchers
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.grpc_methods import GrpcMethods
from loopline.server.scoring.grpc_server import GrpcServer, require_grpc
from loopline.server.scoring.inference import Inference
from loopline.server.scoring.loading import Loader
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.repository import Repository
from loopline.server.scoring.surface import all_routes
from loopline.server.scoring.tracing import open_tracing
from loopline.server.scoring.unloaded import Unloaded
from loopline.server.scoring.worker import DRAIN_SECONDS, Worker, listen
from loopline.server.scoring.workers import Workers
from loopline.storage.artifacts import open_artifacts
from loopline.storage.key_values import open_key_values

_PORT_PATIENCE_SECONDS = 5.0


def run(settings: Settings, *, behind: timedelta = timedelta()) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    Predictions are dated `behind` the real time: that of a loop which goes on where its replay ended. Raises `Unavailable`
    "scoring.port_taken", "grpc.not_installed".
    """
    _log_to_stderr()
    if settings.grpc_port is not None:
        require_grpc()
        _listening(settings.host, settings.grpc_port, "LOOPLINE_GRPC_PORT").close()  # told here, not by every worker
    listening = _listening(settings.host, settings.scoring_port, "LOOPLINE_SCORING_PORT")
    counts = settings.scoring_run_path
    shutil.rmtree(counts, ignore_errors=True)
    counts.mkdir(parents=True)

    def work(slot: int) -> None:
        clock = ContinuingClock(SystemClock().now() - behind) if behind else SystemClock()
        spool = claim_spool(settings.spool_path, fsync=settings.sync_predictions)
        compose(settings, spool, clock, listening, slot).run()

    Workers(work, settings.workers, drain_seconds=DRAIN_SECONDS + 2).run()


def compose(settings: Settings, spool: Spool, clock: Clock, listening: socket.socket, slot: int) -> Worker:
    """A worker over the manifests, artifacts, online store and spool of a home.

    `clock` dates the predictions; tokens expire by the real time, whatever the loop's clock says.
    """

    @cache
    def connect() -> OnlineValues:
        return OnlineFeatures(open_key_values(settings.online_path, read_only=True))

    metrics = Metrics(settings.scoring_run_path, slot)
    loader = Loader(
        settings,
        open_artifacts(settings.artifacts_url),
        connect,
        clock=clock,
        instance=spool.instance,
        slot=slot,
        changed=metrics.note_breaker,
    )
    unloaded = Unloaded(settings.scoring_run_path)
    predicting = Predicting(GroupCommit(spool, fsync=settings.sync_predictions), metrics, Batchers(), unloaded)
    repository = Repository(unloaded)
    tracing = open_tracing(SystemClock())
    access_log = AccessLog(settings.access_log_path, SystemClock()) if settings.access_log else None
    app = App(
        all_routes(predicting, metrics, repository, clock=SystemClock()),
        metrics,
        clock=SystemClock(),
        host=settings.host,
        tracing=tracing,
        access_log=access_log,
    )
    methods = GrpcMethods(
        Inference(predicting), repository, lambda: app.serving, lambda: app.follower, clock=SystemClock()
    )
    beside = (
        None
        if settings.grpc_port is None
        else GrpcServer(methods, metrics, tracing, access_log, host=settings.host, port=settings.grpc_port)
    )

    def tick() -> None:
        metrics.keep()
        if access_log is not None:
            access_log.write()
        unloaded.look()
        spool.seal_if_due()

    def close() -> None:
        metrics.keep()
        if access_log is not None:
            access_log.write()
        spool.close()
        tracing.close()

    return Worker(app, loader, metrics, listening, clock=SystemClock(), tick=tick, close=close, beside=beside)


def _listening(host: str, port: int, setting: str) -> socket.socket:
    """The workers of a parent that was killed let the port go within a moment."""
    deadline = time.monotonic() + _PORT_PATIENCE_SECONDS
    while True:
        try:
            return listen(host, port)
        except OSError as error:
            if time.monotonic() > deadline:
                raise Unavailable(
                    "scoring.port_taken",
                    f"{host}:{port} cannot be listened on: {error.strerror}",
                    remedy=f"Stop what listens there, or choose another port with {setting}.",
                ) from error
        time.sleep(0.05)


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
