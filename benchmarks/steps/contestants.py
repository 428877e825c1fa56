"""Who runs trivial steps: the program of each, its database, what it is installed from, and how many steps it is given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

APPS = Path(__file__).parent / "apps"


@dataclass(frozen=True)
class Contestant:
    """`database` is "sqlite" or "postgresql"; `sequence` and `fan_out` are the most steps it is given: of slow ones a thousand would take
    hours. `role` is "limit", "ours" or "peer"; `limit` names the limit that it is held against.
    """

    name: str
    title: str
    app: str
    role: str
    database: str = "sqlite"
    packages: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    sequence: int = 1000
    fan_out: int = 1000

    @property
    def limit(self) -> str:
        return f"limit-{self.database}"


# Homes and telemetry: `{folder}` is the folder of the turn.
_PREFECT = {
    "PREFECT_HOME": "{folder}/prefect",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "DO_NOT_TRACK": "1",
}
_DAGSTER = {"DAGSTER_HOME": "{folder}", "DAGSTER_DISABLE_TELEMETRY": "1"}
_METAFLOW = {"METAFLOW_DATASTORE_SYSROOT_LOCAL": "{folder}", "METAFLOW_HOME": "{folder}"}

EVERYBODY = (
    Contestant("limit-sqlite", "limit: one commit, SQLite FULL", "limit.py", "limit"),
    Contestant("limit-postgresql", "limit: one commit, PostgreSQL", "limit.py", "limit", "postgresql"),
    Contestant("loopline", "Loopline inline, SQLite FULL", "ours.py", "ours"),
    Contestant("loopline-postgresql", "Loopline inline, PostgreSQL", "ours.py", "ours", "postgresql"),
    Contestant("loopline-worker", "Loopline worker, processes, SQLite FULL", "ours_worker.py", "ours"),
    Contestant("dbos", "DBOS, SQLite", "dbos_app.py", "peer", packages=("dbos==3.4.0",)),
    Contestant("dbos-postgresql", "DBOS, PostgreSQL", "dbos_app.py", "peer", "postgresql", ("dbos==3.4.0",)),
    Contestant("prefect", "Prefect", "prefect_app.py", "peer", "sqlite", ("prefect==3.9.1",), _PREFECT, 200, 200),
    Contestant("dagster", "Dagster", "dagster_app.py", "peer", "sqlite", ("dagster==1.13.29",), _DAGSTER, 50, 50),
    Contestant("metaflow", "Metaflow", "metaflow_app.py", "peer", "sqlite", ("metaflow==2.19.39",), _METAFLOW, 10, 10),
)
