"""Group commit: requests that arrive while the disk is busy share its next write."""

import asyncio
from collections.abc import Awaitable, Sequence

from loopline.scoring.spool import Spool


class GroupCommit:
    """Appends to a spool for the tasks of one event loop.

    With `fsync` the write runs in a thread, and what arrives meanwhile goes out together in the next one: throughput does
    not suffer from a slow disk, and the loop never waits for it. Without, a write takes microseconds and is done at once.
    """

    def __init__(self, spool: Spool, *, fsync: bool) -> None:
        self._spool = spool
        self._fsync = fsync
        self._waiting: list[tuple[Sequence[bytes], asyncio.Future[None]]] = []
        self._drainer: asyncio.Task[None] | None = None

    def append(self, payloads: Sequence[bytes]) -> Awaitable[None] | None:
        """Put `payloads` in the spool: at once and give None, or give what to wait for. Raises as `Spool.append` does."""
        if not self._fsync:
            self._spool.append(payloads)
            return None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((payloads, done))
        if self._drainer is None:
            self._drainer = asyncio.create_task(self._drain())
        return done

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error = await asyncio.to_thread(self._write, [payload for payloads, _ in batch for payload in payloads])
            for _, done in batch:
                if done.cancelled():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
        self._drainer = None

    def _write(self, payloads: Sequence[bytes]) -> Exception | None:
        try:
            self._spool.append(payloads)
        except Exception as error:  # told to every request of the batch
            return error
        return None
