"""Where an installation lives and how it behaves.

A *home* is everything one installation owns: the database, tables, artifacts, online store, spools, keys. A replay has a
home of its own, so nothing it does can touch the real one.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """All settings; each can be given as an environment variable `LOOPLINE_` plus its name in capitals.

    `webhook_private` lets the webhook be an address in a private or loopback range. `..._severity` is the least severity that
    a channel is told. `heartbeat_every` and `heartbeat_late` are durations; so are `tidy_every` (empty: never),
    `keep_artifacts` (how long artifacts that nothing names are kept; empty: a month in the home's own folder, for ever elsewhere) and
    `keep_replays` (empty: for ever), and `keep_executions`: how long an execution that ended keeps its steps, and the cache a
    result that nobody uses (empty: for ever). `python_models` lets models of users' own code run, each in a process that
    may take `python_memory_mb` of address space (0: any) and `python_timeout_s` for an answer. `database_url` and `artifacts_url` default to files under `home`. `durable` makes what is acknowledged survive the
    death of the machine (fsync), not only of any process; for predictions `sync_predictions` does, since every one of them waits for
    the disk then. `workers` is how many processes answer on the scoring port; without `grpc_port` none speaks gRPC; with
    `access_log` each of their answers is a line of the access log. `limits` are named limits of pipeline steps, as `api=4; mail=10/1m`;
    a worker that is not heard of for `lease_s` seconds loses its steps to others. `pipeline_cores` are the cores that steps may take under
    `loopline up` (none given: all; 0: steps are left to `loopline worker`), and `pipeline_grace_s` the seconds that running steps are given when it is stopped.
    `ray_address` is HOST:PORT of a Ray cluster's head, `ray_token_path` the file with its token, under `home` by default;
    `ray_grows_to` are the cores that a cluster with an autoscaler may come to (none given: it has the nodes it has).
    `executor` says where the loop's heavy work runs, fits, trials of searches and parts of batches: `local` processes, `ray`, or without one
    in the process that asks; `executor_cores` is how many of these run at once (none given: as many as this machine, or the Ray cluster, has cores).
    """

    home: Path
    database_url: str = ""
    artifacts_url: str = ""
    tables_url: str = ""
    durable: bool = True
    host: str = "127.0.0.1"
    port: int = 8321
    scoring_port: int = 8322
    grpc_port: int | None = None
    workers: int = 1
    sync_predictions: bool = False
    access_log: bool = False
    webhook_url: str = ""
    webhook_private: bool = False
    webhook_severity: str = "info"
    webhook_secret: str = field(default="", repr=False)
    slack_url: str = field(default="", repr=False)
    slack_severity: str = "info"
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_security: str = "starttls"
    smtp_user: str = ""
    smtp_password: str = field(default="", repr=False)
    smtp_from: str = "loopline@localhost"
    smtp_to: str = ""
    smtp_severity: str = "info"
    heartbeat_url: str = field(default="", repr=False)
    heartbeat_every: str = "1m"
    heartbeat_late: str = "1h"
    tidy_every: str = "1d"
    keep_artifacts: str = ""
    keep_replays: str = ""
    keep_executions: str = "90d"
    keep_predictions: str = ""
    keep_quarantine: str = ""
    python_models: bool = False
    python_memory_mb: int = 0
    python_timeout_s: float = 5.0
    limits: str = ""
    lease_s: float = 30.0
    ray_address: str = ""
    ray_token_path: str = ""
    ray_grows_to: float | None = None
    pipeline_cores: float | None = None
    pipeline_grace_s: float = 30.0
    executor: str = ""
    executor_cores: int | None = None

    @classmethod
    def read(cls, home: str | Path | None = None, environment: Mapping[str, str] | None = None) -> "Settings":
        """Settings from `environment` (the process's by default); an explicit `home` wins over `LOOPLINE_HOME`."""
        found = os.environ if environment is None else environment
        chosen = Path(home or found.get("LOOPLINE_HOME", ".loopline")).resolve()
        return cls(
            home=chosen,
            database_url=found.get("LOOPLINE_DATABASE_URL") or f"sqlite:///{chosen / 'loopline.db'}",
            artifacts_url=found.get("LOOPLINE_ARTIFACTS_URL") or str(chosen / "artifacts"),
            tables_url=found.get("LOOPLINE_TABLES_URL") or str(chosen / "tables"),
            durable=found.get("LOOPLINE_DURABLE", "1") not in {"0", "false", "no"},
            host=found.get("LOOPLINE_HOST", "127.0.0.1"),
            port=int(found.get("LOOPLINE_PORT", "8321")),
            scoring_port=int(found.get("LOOPLINE_SCORING_PORT", "8322")),
            grpc_port=int(found["LOOPLINE_GRPC_PORT"]) if found.get("LOOPLINE_GRPC_PORT") else None,
            workers=int(found.get("LOOPLINE_WORKERS", "1")),
            access_log=found.get("LOOPLINE_ACCESS_LOG", "") in {"1", "true", "yes"},
            sync_predictions=found.get("LOOPLINE_SYNC_PREDICTIONS", "") in {"1", "true", "yes"},
            webhook_url=found.get("LOOPLINE_WEBHOOK_URL", ""),
            webhook_private=found.get("LOOPLINE_WEBHOOK_PRIVATE", "") in {"1", "true", "yes"},
            webhook_severity=found.get("LOOPLINE_WEBHOOK_SEVERITY", "info"),
            webhook_secret=found.get("LOOPLINE_WEBHOOK_SECRET", ""),
            slack_url=found.get("LOOPLINE_SLACK_URL", ""),
            slack_severity=found.get("LOOPLINE_SLACK_SEVERITY", "info"),
            smtp_host=found.get("LOOPLINE_SMTP_HOST", ""),
            smtp_port=int(found.get("LOOPLINE_SMTP_PORT", "587")),
            smtp_security=found.get("LOOPLINE_SMTP_SECURITY", "starttls"),
            smtp_user=found.get("LOOPLINE_SMTP_USER", ""),
            smtp_password=found.get("LOOPLINE_SMTP_PASSWORD", ""),
            smtp_from=found.get("LOOPLINE_SMTP_FROM", "loopline@localhost"),
            smtp_to=found.get("LOOPLINE_SMTP_TO", ""),
            smtp_severity=found.get("LOOPLINE_SMTP_SEVERITY", "info"),
            heartbeat_url=found.get("LOOPLINE_HEARTBEAT_URL", ""),
            heartbeat_every=found.get("LOOPLINE_HEARTBEAT_EVERY", "1m"),
            heartbeat_late=found.get("LOOPLINE_HEARTBEAT_LATE", "1h"),
            tidy_every=found.get("LOOPLINE_TIDY_EVERY", "1d"),
            keep_artifacts=found.get("LOOPLINE_KEEP_ARTIFACTS", ""),
            keep_replays=found.get("LOOPLINE_KEEP_REPLAYS", ""),
            keep_executions=found.get("LOOPLINE_KEEP_EXECUTIONS", "90d"),
            keep_predictions=found.get("LOOPLINE_KEEP_PREDICTIONS", ""),
            keep_quarantine=found.get("LOOPLINE_KEEP_QUARANTINE", ""),
            python_models=found.get("LOOPLINE_PYTHON_MODELS", "") in {"1", "true", "yes"},
            python_memory_mb=int(found.get("LOOPLINE_PYTHON_MEMORY_MB", "0")),
            python_timeout_s=float(found.get("LOOPLINE_PYTHON_TIMEOUT_S", "5")),
            limits=found.get("LOOPLINE_LIMITS", ""),
            lease_s=float(found.get("LOOPLINE_LEASE_S", "30")),
            ray_address=found.get("LOOPLINE_RAY_ADDRESS", ""),
            ray_token_path=found.get("LOOPLINE_RAY_TOKEN_PATH") or str(chosen / "ray-token"),
            ray_grows_to=float(found["LOOPLINE_RAY_GROWS_TO"]) if found.get("LOOPLINE_RAY_GROWS_TO") else None,
            pipeline_cores=float(found["LOOPLINE_PIPELINE_CORES"]) if found.get("LOOPLINE_PIPELINE_CORES") else None,
            pipeline_grace_s=float(found.get("LOOPLINE_PIPELINE_GRACE_S", "30")),
            executor=found.get("LOOPLINE_EXECUTOR", ""),
            executor_cores=int(found["LOOPLINE_EXECUTOR_CORES"]) if found.get("LOOPLINE_EXECUTOR_CORES") else None,
        )

    @property
    def online_path(self) -> Path:
        """The folder of the embedded online store."""
        return self.home / "online"

    @property
    def explored_path(self) -> Path:
        """The folder in which scoring keeps what it explored on the day."""
        return self.home / "explored"

    @property
    def access_log_path(self) -> Path:
        """The file of the scoring process's access log."""
        return self.home / "log" / f"access-{self.scoring_port}.jsonl"

    @property
    def scoring_run_path(self) -> Path:
        """The folder in which the workers on the scoring port tell each other what they counted."""
        return self.home / "run" / f"scoring-{self.scoring_port}"

    @property
    def spool_path(self) -> Path:
        """The folder of the prediction spools, one per scoring process."""
        return self.home / "spool"

    @property
    def keys_path(self) -> Path:
        """The folder of the signing keys."""
        return self.home / "keys"

    @property
    def replays_path(self) -> Path:
        """The folder of the homes of replays, one below the other's."""
        return self.home / "replays"

    @property
    def locks_path(self) -> Path:
        """The folder of the locks of tables that are in an object store."""
        return self.home / "locks"

    @property
    def manifests_path(self) -> Path:
        """The folder of the signed deployment manifests."""
        return self.home / "manifests"
