"""The other side of `loopline.models.runtimes.python`: runs one model of a user's own code, by itself, in any interpreter.

Nothing is imported but the standard library: the interpreter may be another one, without Loopline.
"""

from __future__ import annotations  # the interpreter may be older than ours

import importlib.util
import json
import math
import os
import struct
import sys
from array import array
from pathlib import Path
from typing import Any, BinaryIO

_SHAPE = struct.Struct("<II")
_ANSWER, _FAILURE = b"\0", b"\1"


def main() -> None:
    """Load the model in the folder named first, bounded by the bytes named second (0: not), and answer until standard input ends."""
    folder, most = Path(sys.argv[1]), int(sys.argv[2])
    _bound(most)
    inbound, outbound = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the model prints is not an answer
    try:
        fields = json.loads((folder / "loopline.json").read_text(encoding="utf-8"))["fields"]
        model = _load(folder)
    except BaseException as error:  # whatever the user's code raises is told, and then it is over
        _send(outbound, _FAILURE, _told(error, folder).encode())
        return
    _send(outbound, _ANSWER, b"")
    while (asked := _receive(inbound)) is not None:
        try:
            _send(outbound, _ANSWER, _packed(model.predict(_frame(asked, fields))))
        except Exception as error:  # one bad row must not end it
            _send(outbound, _FAILURE, _told(error, folder).encode())


def _bound(most: int) -> None:
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if most:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _load(folder: Path) -> Any:
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("model", folder / "model.py")
    if spec is None or spec.loader is None:
        raise ImportError("model.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["model"] = module
    spec.loader.exec_module(module)
    return module.load(folder)


def _frame(asked: bytes, fields: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Columns by name: numbers or None, and for a category its text or None."""
    rows, width = _SHAPE.unpack_from(asked)
    cells = array("f")
    cells.frombytes(asked[_SHAPE.size :])
    if width != len(fields) or len(cells) != rows * width:
        raise ValueError("rows of another shape")
    return {field["name"]: _column(cells[place::width], field["categories"]) for place, field in enumerate(fields)}


def _column(cells: array[float], categories: list[str] | None) -> list[Any]:
    if categories is None:
        return [None if math.isnan(cell) else cell for cell in cells]
    return [None if math.isnan(cell) else categories[int(cell)] for cell in cells]


def _packed(found: Any) -> bytes:
    plain = found.tolist() if hasattr(found, "tolist") else list(found)
    rows = [one if isinstance(one, (list, tuple)) else [one] for one in plain]
    width = len(rows[0]) if rows else 1
    if any(len(one) != width for one in rows):
        raise ValueError("answers of different lengths")
    return _SHAPE.pack(len(rows), width) + array("d", [float(cell) for one in rows for cell in one]).tobytes()


def _told(error: BaseException, folder: Path) -> str:
    """The error's type and the line of the model's code it comes from: its text may quote the row."""
    place, frame = "", error.__traceback__
    while frame is not None:
        file = Path(frame.tb_frame.f_code.co_filename)
        if folder in file.parents:
            place = f" at {file.relative_to(folder)}:{frame.tb_lineno}"
        frame = frame.tb_next
    return f"{type(error).__name__}{place}"


def _send(outbound: BinaryIO, kind: bytes, payload: bytes) -> None:
    outbound.write(struct.pack("<Q", len(payload) + 1) + kind + payload)
    outbound.flush()


def _receive(inbound: BinaryIO) -> bytes | None:
    head = inbound.read(8)
    return inbound.read(struct.unpack("<Q", head)[0]) if len(head) == 8 else None  # noqa: PLR2004 - a length


if __name__ == "__main__":
    main()
