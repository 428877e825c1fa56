"""A model of a user's own Python, in a process of its own: for what no format can say, and only where it was allowed."""

import io
import json
import os
import selectors
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec
import numpy as np
import numpy.typing as npt
import structlog

from loopline.errors import Corrupt, InvalidInput, Unavailable
from loopline.evaluation.kind import Output
from loopline.models.runtimes.runtime import Floats, as_output

ENTRY, FACTS = "model.py", "loopline.json"

_CHILD = Path(__file__).with_name("python_child.py")
_LENGTH, _SHAPE = struct.Struct("<Q"), struct.Struct("<II")
_LARGEST = 1 << 32
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_MEBIBYTE = 1 << 20
_REMEDY = "See what the model's code does; until it answers, the next rung of the ladder does."
_SKIPPED = ("__pycache__", ".git", ".venv")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PythonModels:
    """Whether models of users' own code run at all here, and what each process of theirs may use. `memory_mb` bounds its address
    space (0: not at all), `timeout_s` an answer, `start_s` its start, imports included.
    """

    allowed: bool = False
    memory_mb: int = 0
    timeout_s: float = 5.0
    start_s: float = 60.0


NOT_ALLOWED = PythonModels()


class Facts(msgspec.Struct, frozen=True):
    """What lies beside the code: the fields in the order of the matrix, with the categories of those that have any, and the
    interpreter that runs it; without one, this very one.
    """

    fields: tuple[dict[str, Any], ...]
    python: str = ""


def pack(folder: Path, facts: Facts) -> bytes:
    """The files of `folder` with `facts` as one archive: the same bytes for the same files.

    Raises `InvalidInput` "python.no_entry" where there is no model.py.
    """
    if not (folder / ENTRY).is_file():
        raise InvalidInput(
            "python.no_entry",
            f"{folder} has no {ENTRY}",
            remedy="Write one that defines load(folder), which returns an object with predict(frame).",
        )
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            if name != FACTS and not any(part in _SKIPPED for part in PurePosixPath(name).parts):
                archive.writestr(zipfile.ZipInfo(name), files[name].read_bytes(), zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(FACTS), msgspec.json.encode(facts, order="sorted"), zipfile.ZIP_DEFLATED)
    return made.getvalue()


class PythonModel:
    """A folder with a model.py, unpacked and run by a child process that gets no token, no key and no setting of ours.

    The child is started when the model is opened. One that dies, or answers too late, is ended; the next is started in the
    background, later each time, and until it is up `outputs` raises `Unavailable`. Requests wait for each other.

    Raises `Unavailable` (`python.not_allowed`, `python.not_started`) and `Corrupt` for bytes that are no such folder.
    """

    def __init__(self, content: bytes, output: Output, allowed: PythonModels = NOT_ALLOWED) -> None:
        if not allowed.allowed:
            raise Unavailable(
                "python.not_allowed",
                "this model is a user's own Python code, which is not run here",
                remedy="If you trust whoever signed it: set LOOPLINE_PYTHON_MODELS=1 for the scoring process.",
            )
        self._output, self._terms = output, allowed
        self._folder = Path(tempfile.mkdtemp(prefix="loopline-python-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._facts = _unpacked(content, self._folder)
        self._lock, self._wait = threading.Lock(), _FIRST_WAIT
        self._starting: threading.Thread | None = None
        self._child: _Child | None = self._started()

    def outputs(self, matrix: npt.NDArray[np.float32]) -> Floats:
        """As `Runtime` says. Raises `Unavailable`: `python.busy`, `python.restarting`, `python.too_late`, `python.died`, and
        `python.failed` with the type of the error and its line in the model's code.
        """
        if not self._lock.acquire(timeout=self._terms.timeout_s):
            raise Unavailable("python.busy", "the model's process answers others", remedy=_REMEDY)
        try:
            child = self._child
            if child is None:
                raise Unavailable("python.restarting", "the model's process is being started again", remedy=_REMEDY)
            return self._asked(child, matrix)
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._child is not None:
                self._child.end()
                self._child = None

    def _asked(self, child: "_Child", matrix: npt.NDArray[np.float32]) -> Floats:
        cells = np.ascontiguousarray(matrix, dtype="<f4")
        try:
            answer = child.ask(_SHAPE.pack(*cells.shape) + cells.tobytes(), self._terms.timeout_s)
        except Unavailable:
            self._gone(child)
            raise
        self._wait = _FIRST_WAIT
        if answer[:1] != b"\0":
            raise Unavailable(
                "python.failed", f"the model raised {answer[1:].decode(errors='replace')}", remedy=_REMEDY
            )
        rows, width = _SHAPE.unpack_from(answer, 1)
        found = np.frombuffer(answer, dtype="<f8", offset=1 + _SHAPE.size).reshape(rows, width)
        if rows != len(matrix):
            raise Unavailable(
                "python.other_length", f"the model gave {rows} answers for {len(matrix)} rows", remedy=_REMEDY
            )
        return as_output(found, self._output)

    def _gone(self, child: "_Child") -> None:
        child.end()
        self._child = None
        self._starting = threading.Thread(target=self._start_again, daemon=True, name="python-model")
        self._starting.start()

    def _start_again(self) -> None:
        while self._child is None:
            time.sleep(self._wait)
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            try:
                self._child = self._started()
            except Unavailable as error:
                _log.warning("python model does not start", error=str(error))

    def _started(self) -> "_Child":
        python = self._facts.python or sys.executable
        child = _Child(python, self._folder, self._terms.memory_mb * _MEBIBYTE)
        weakref.finalize(self, child.end)
        try:
            answer = child.answer(self._terms.start_s)
        except Unavailable as error:
            child.end()
            raise Unavailable(
                "python.not_started", f"the model's process does not start: {error.message}", remedy=_REMEDY
            ) from error
        if answer[:1] != b"\0":
            child.end()
            raise Unavailable(
                "python.not_started", f"load() raised {answer[1:].decode(errors='replace')}", remedy=_REMEDY
            )
        return child


class _Child:
    """The process, and the two pipes to it."""

    def __init__(self, python: str, folder: Path, most: int) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - that is what it is for; it was signed, and allowed here
                [python, "-I", "-B", str(_CHILD), str(folder), str(most)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=dict(_environment(folder)),
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise Unavailable(
                "python.no_interpreter", f"{python} cannot be run: {error.strerror}", remedy=_REMEDY
            ) from error

    def ask(self, payload: bytes, seconds: float) -> bytes:
        """The answer to a frame. Raises `Unavailable`."""
        until = time.monotonic() + seconds
        try:
            self._write(_LENGTH.pack(len(payload)) + payload, until)
        except OSError as error:
            raise Unavailable("python.died", "the model's process has ended", remedy=_REMEDY) from error
        return self.answer(until - time.monotonic())

    def _write(self, payload: bytes, until: float) -> None:
        pipe, left = _pipe(self._process.stdin), memoryview(payload)
        os.set_blocking(pipe.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE)
            while left:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise Unavailable("python.not_read", "the model's process takes no rows", remedy=_REMEDY)
                left = left[pipe.write(left) or 0 :]

    def answer(self, seconds: float) -> bytes:
        """The next frame that the process sends. Raises `Unavailable` where none comes in time."""
        until = time.monotonic() + seconds
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, until))
        if not 0 < length < _LARGEST:
            raise Unavailable("python.died", "the model's process answers nothing that can be read", remedy=_REMEDY)
        return self._read(length, until)

    def _read(self, count: int, until: float) -> bytes:
        pipe, found = _pipe(self._process.stdout), bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while len(found) < count:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise Unavailable("python.too_late", "the model's process does not answer in time", remedy=_REMEDY)
                part = pipe.read(count - len(found))
                if not part:
                    raise Unavailable("python.died", "the model's process has ended", remedy=_REMEDY)
                found += part
        return bytes(found)

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()


def _environment(folder: Path) -> Mapping[str, str]:
    """Nothing of ours: what is in the environment of a scoring process is not for a user's code."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder), **_ONE_THREAD}


_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


def _unpacked(content: bytes, folder: Path) -> Facts:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _require_inside(archive.namelist())
            archive.extractall(folder)
        return msgspec.json.decode((folder / FACTS).read_bytes(), type=Facts)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Corrupt("python.unreadable", f"this is no folder of a Python model: {error}") from error


def _require_inside(names: Sequence[str]) -> None:
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in names):
        raise ValueError("a name leads out of the folder")


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise Unavailable("python.died", "the model's process has no pipe", remedy=_REMEDY)
    return pipe


def fields_of(names: Sequence[str], categories: Sequence[tuple[str, ...] | None]) -> tuple[dict[str, Any], ...]:
    """The fields as `Facts` keeps them: None for a number, for a category its texts by code."""
    return tuple(
        json.loads(msgspec.json.encode({"name": name, "categories": texts}))
        for name, texts in zip(names, categories, strict=True)
    )
