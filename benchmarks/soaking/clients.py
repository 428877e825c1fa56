"""Callers: each keeps a connection, sends one request after the other, and never sends one again."""

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from soaking.site import ENDPOINT, FIELDS, SECRET

ROWS = 3
_TIMEOUT = 15.0
_OK = 200


@dataclass(frozen=True)
class Answered:
    """One prediction that was acknowledged: when its request went out and its answer came in, and what it says."""

    sent: float
    got: float
    key: str
    row: tuple[float, float]
    prediction_id: str
    version: int
    variant: str
    score: float


@dataclass(frozen=True)
class Lost:
    """A request that got no answer: its keys, when it was sent and given up, and the port its connection came from."""

    sent: float
    given_up: float
    keys: tuple[str, ...]
    port: int
    why: str


@dataclass
class Heard:
    """What all callers heard. `refused` are answers that are no 200."""

    answered: list[Answered] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    requests: int = 0


class Callers:
    """`count` callers in a thread of their own, as a context; they call until it is left, or told to `finish`."""

    def __init__(self, port: int, count: int, seed: int) -> None:
        self.heard = Heard()
        self._port, self._count, self._seed = port, count, seed
        self._done = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), name="callers")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """What is under way is waited for."""
        self._done.set()
        self._thread.join()

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._call_on(number))

    async def _call_on(self, number: int) -> None:
        rng, count, connection = np.random.default_rng([self._seed, number]), 0, None
        while not self._done.is_set():
            keys = tuple(f"{number}-{count}-{place}" for place in range(1 + ROWS * (count % 5 == 0)))
            rows = [(float(a), float(b)) for a, b in rng.normal(size=(len(keys), 2)).round(3)]
            count += 1
            connection = await self._call(connection, keys, rows)
        if connection is not None:
            connection.close()

    async def _call(
        self, connection: "Connection | None", keys: tuple[str, ...], rows: Sequence[tuple[float, float]]
    ) -> "Connection | None":
        sent, port = time.monotonic(), 0
        try:
            connection = connection or await Connection.open(self._port)
            port = connection.port
            sent = time.monotonic()
            status, body = await asyncio.wait_for(connection.post(_body(keys, rows)), _TIMEOUT)
        except (OSError, EOFError, TimeoutError) as error:
            self.heard.lost.append(Lost(sent, time.monotonic(), keys, port, repr(error)))
            if connection is not None:
                connection.close()
            return None
        finally:
            self.heard.requests += 1
        self._note(sent, keys, rows, status, body)
        if connection.closing:
            connection.close()
            return None
        return connection

    def _note(
        self, sent: float, keys: tuple[str, ...], rows: Sequence[tuple[float, float]], status: int, body: bytes
    ) -> None:
        if status != _OK:
            self.heard.refused.append(f"{status} {body[:200]!r}")
            return
        got, said = time.monotonic(), json.loads(body)["predictions"]
        if [one["key"] for one in said] != list(keys):
            self.heard.refused.append(f"other keys than were asked: {said}")
            return
        for key, row, one in zip(keys, rows, said, strict=True):
            about = (one["prediction_id"], one["model_version"], one["variant"], one["score"])
            self.heard.answered.append(Answered(sent, got, key, row, *about))


class Connection:
    """As much of HTTP/1.1 as a caller needs. `closing` says that the server closes it after the last answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.port: int = writer.get_extra_info("sockname")[1]
        self.closing = False

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), _TIMEOUT))

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body. Raises `EOFError` and `OSError` where the connection ends before the answer does."""
        self._writer.write(
            f"POST /predict/{ENDPOINT} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {SECRET}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower().decode("latin-1").split("\r\n")
        length = next(int(line.partition(":")[2]) for line in head if line.startswith("content-length:"))
        self.closing = "connection: close" in head
        return int(head[0].split()[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


def _body(keys: Sequence[str], rows: Sequence[tuple[float, float]]) -> bytes:
    asked = [
        {"key": key, "at": "2026-05-01T12:00:00Z", **dict(zip(FIELDS, row, strict=True))}
        for key, row in zip(keys, rows, strict=True)
    ]
    return json.dumps({"rows": asked}).encode()
