"""A PostgreSQL of one test alone, which is stopped, started again, and cut off."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from loopline.storage.database import Database
from loopline.testing.postgres import _programs, running_postgres


class Controlled:
    """The server at `url`."""

    def __init__(self, url: str) -> None:
        self.url, self.port = url, sa.make_url(url).port
        opened = Database.open(url)
        with opened.reading() as tx:
            self.data = Path(str(tx.exec_driver_sql("show data_directory").scalar_one()))
        opened.close()
        self._user = self.data.owner()

    def restart(self) -> None:
        """Crash it, and start it again: what was in memory is gone."""
        self._control("restart", "-l", str(self.data.parent / "log-again"))

    def stop(self) -> None:
        """For good, if it runs still."""
        self._control("stop", check=False)

    @contextmanager
    def cut_off(self, seconds: float) -> Iterator[None]:
        """Every packet to and from it is dropped for so long, then the block begins: nobody is told that a connection is gone."""
        rules = [["INPUT", "-p", "tcp", way, str(self.port), "-j", "DROP"] for way in ("--dport", "--sport")]
        for rule in rules:
            subprocess.run(["iptables", "-w", "-I", *rule], check=True)
        try:
            time.sleep(seconds)
        finally:
            for rule in rules:
                subprocess.run(["iptables", "-w", "-D", *rule], check=True)
        yield

    def _control(self, what: str, *more: str, check: bool = True) -> None:
        command = [str(_programs() / "pg_ctl"), what, "-m", "immediate", "-w", "-D", str(self.data), *more]
        user = self._user if self._user != "root" else None
        subprocess.run(
            command, user=user, cwd=self.data.parent, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


@contextmanager
def controlled() -> Iterator[Controlled]:
    """A server that the test may stop and cut off."""
    with running_postgres() as url:
        server = Controlled(url)
        try:
            yield server
        finally:
            server.stop()
