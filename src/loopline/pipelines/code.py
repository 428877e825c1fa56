"""The code that an execution was planned with, as one artifact, so that any worker runs that and not what was edited since."""

import importlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from loopline.errors import NotFound, Unavailable
from loopline.pipelines.own_code import file_of, files_of, located, territory
from loopline.storage.artifacts import ArtifactStore
from loopline.values import canonical_json


def pin(functions: Iterable[Callable[..., Any]], artifacts: ArtifactStore) -> str | None:
    """Keep the Python files that the functions belong to; the digest. None where one has no file, so that only this process can run it.

    Pinned are all files of a function's package, or of its folder where it is in none. Data files are not.
    """
    found = list(functions)
    if any(file_of(function) is None or "<locals>" in function.__qualname__ for function in found):
        return None
    return keep_files(own_files(found), artifacts)


def own_files(found: Iterable[Any]) -> dict[str, bytes]:
    """The user's own files that functions or modules belong to, by the paths they are imported by."""
    territories: dict[Path, Path] = {}
    for one in found:
        own, file = territory(one), file_of(one)
        if own is not None and file is not None:
            territories[own] = located(file)[0]
    files: dict[str, bytes] = {}
    for own, root in territories.items():
        files.update(files_of(own, root))
    return files


def keep_files(files: dict[str, bytes], artifacts: ArtifactStore) -> str:
    """Keep them as one artifact, as `unpack` reads it; the digest."""
    return artifacts.put(canonical_json(files))


def unpack(digest: str, artifacts: ArtifactStore, folder: Path) -> Path:
    """The pinned files below `folder`, written whole on first use; the folder to import them from."""
    place = folder / digest.removeprefix("sha256:")[:20]
    if place.is_dir():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    pending = Path(tempfile.mkdtemp(prefix=".pending-", dir=folder))
    for name, content in msgspec.json.decode(artifacts.get(digest), type=dict[str, bytes]).items():
        path = pending / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        pending.rename(place)
    except OSError:  # another process was faster
        shutil.rmtree(pending, ignore_errors=True)
    return place


def function_named(key: str) -> Callable[..., Any]:
    """The function of a step by `module:qualname`, imported. Raises `Unavailable` "step.import_failed" and `NotFound` "step.unknown"."""
    found = named(key)
    inner: Callable[..., Any] = getattr(found, "function", found)
    return inner


def named(key: str) -> Any:
    """What stands at `module:qualname`, imported: a step, a pipeline, a function. Raises as `function_named`."""
    module_name, _, path = key.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise Unavailable(
            "step.import_failed",
            f"the module {module_name} cannot be imported here: {error}",
            remedy="Install what it needs where the worker runs.",
        ) from error
    for name in path.split("."):
        found = getattr(found, name, None)
    if found is None:
        raise NotFound(
            "step.unknown",
            f"there is no {key} in the code",
            remedy="The code that was pinned does not have it; run anew.",
        )
    return found


def import_from(folder: Path) -> None:
    """Let this process import the pinned files before anything else."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
