"""Composes and runs a scoring process from its settings."""

import logging
import sys
from datetime import timedelta
from functools import cache

import structlog
import uvicorn

from loopline.clock import Clock, ContinuingClock, SystemClock
from loopline.config import Settings
from loopline.features.online import OnlineFeatures
from loopline.scoring.features import OnlineValues
from loopline.scoring.spool import Spool, claim_spool
from loopline.server.scoring.app import App
from loopline.server.scoring.endpoints import Endpoints
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.loading import Loader
from loopline.server.scoring.metrics import Metrics
from loopline.storage.artifacts import open_artifacts
from loopline.storage.key_values import open_key_values

_DRAIN_SECONDS = 10


def run(settings: Settings, *, behind: timedelta = timedelta()) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    Predictions are dated `behind` the real time: that of a loop which goes on where its replay ended.
    """
    _log_to_stderr()
    spool = claim_spool(settings.spool_path, fsync=settings.durable)
    config = uvicorn.Config(
        compose(settings, spool, ContinuingClock(SystemClock().now() - behind) if behind else SystemClock()),
        host=settings.host,
        port=settings.scoring_port,
        loop="auto",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    uvicorn.Server(config).run()


def compose(settings: Settings, spool: Spool, clock: Clock) -> App:
    """The application over the manifests, artifacts, online store and spool of a home.

    `clock` dates the predictions; tokens expire by the real time, whatever the loop's clock says.
    """

    @cache
    def connect() -> OnlineValues:
        return OnlineFeatures(open_key_values(settings.online_path, read_only=True))

    metrics = Metrics()
    loader = Loader(settings, open_artifacts(settings.artifacts_url), connect, clock=clock, instance=spool.instance)
    endpoints = Endpoints(GroupCommit(spool, fsync=settings.durable), metrics)
    return App(
        loader, endpoints, metrics, clock=SystemClock(), host=settings.host, tick=spool.seal_if_due, close=spool.close
    )


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
