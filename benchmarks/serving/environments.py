"""A virtual environment for each peer: resolved together they would give ancient versions of each other."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".venv-peers"

_PATIENCE = 900
SCORING = ("onnxruntime", "scikit-learn", "numpy")


class CannotInstall(Exception):
    """Says why."""


def python_of(name: str, packages: tuple[str, ...], place: Path = PLACE, *, as_ours: tuple[str, ...] = SCORING) -> Path:
    """The Python of the environment `name` with `packages`, made where it is not there yet; `as_ours` get the versions that we have.

    Raises `CannotInstall`.
    """
    python = place / name / "bin" / "python"
    pinned = _pinned(packages, as_ours)
    wanted = "\n".join(pinned)
    mark = place / name / ".packages"
    if mark.exists() and mark.read_text() == wanted:
        return python
    uv = str(Path(sys.executable).parent / "uv")
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place / name)])
    _run([uv, "pip", "install", "--quiet", "--python", str(python), *pinned])
    mark.write_text(wanted)
    return python


def installed(python: Path, package: str) -> str:
    """The version of `package` in that environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _pinned(packages: tuple[str, ...], as_ours: tuple[str, ...]) -> list[str]:
    """Everybody gets the libraries that we have: what is compared is what is around them."""
    return [*packages, *(f"{name}=={version(name)}" for name in as_ours)]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"took more than {_PATIENCE} s") from error
    if done.returncode:
        raise CannotInstall(" ".join(done.stderr.split())[-300:])
