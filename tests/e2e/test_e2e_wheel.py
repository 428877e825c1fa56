"""The built wheel in an environment of its own: it holds what it needs, and works away from the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from loopline import native

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of what the repository declares, so that no build leaves a trace in it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A fresh environment with the wheel and what it asks for, within the constraints; gives its folder of programs."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True, capture_output=True)
    programs = environment / "bin"
    install = [UV, "pip", "install", "--quiet", "--python", programs / "python"]
    done = subprocess.run(
        [*install, "--constraints", ROOT / "constraints.txt", wheel], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return programs


@pytest.fixture
def run(installed, tmp_path):
    """Runs one of its programs in an empty folder, with nothing of this environment."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    environment = {**kept, "PATH": f"{installed}:/usr/bin:/bin", "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}

    def call(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [installed / program, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {"loopline", wheel.name.rpartition("-py3")[0] + ".dist-info"}
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "loopline").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources
    assert "loopline/py.typed" in names
    assert "loopline/server/control/page.css" in names
    folders = [f"loopline/{library.folder}" for library in native.LIBRARIES]
    assert {f"{folder}/kernel.c" for folder in folders} <= set(names)
    built = [name for name in names if re.fullmatch(r".*/kernel-[0-9a-f]{12}\.so", name)]
    assert sorted(name.rpartition("/")[0] for name in built) == (sorted(folders) if shutil.which("cc") else [])
    assert wheel.name.endswith("-py3-none-any.whl") == (not built)
    assert any(re.fullmatch(r"loopline/storage/migrations/versions/\d{4}_\w+\.py", name) for name in names)
    assert not [name for name in names if "test_" in name or "__pycache__" in name or "conftest" in name]


def test_it_is_imported_from_its_own_environment(run, installed):
    found = run("python", "-c", "import loopline; print(loopline.__file__, loopline.__version__)").split()
    assert found[0].startswith(str(installed.parent))
    assert str(ROOT) not in run("python", "-c", "import sys; print(sys.path)")


def test_its_libraries_are_loaded(run):
    program = "from loopline.native import LIBRARIES, loaded; print([loaded(one) is not None for one in LIBRARIES])"
    there = shutil.which("cc") is not None
    assert run("python", "-c", program) == f"{[there, there]}\n"


def test_without_a_compiler_the_wheel_is_pure_python(tmp_path):
    command = [UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "CC": "/bin/false"})
    (built,) = tmp_path.glob("*.whl")
    assert built.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(built) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]


def test_the_command_helps_and_tells_its_version(run):
    assert run("loopline", "--help").startswith("Usage: loopline COMMAND")
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert run("loopline", "--version") == f"loopline {version}\n"


def test_it_replays_a_loop_from_an_empty_folder(run, tmp_path):
    shutil.copy(Path(__file__).parent / "tiny_loop.py", tmp_path / "loop.py")
    printed = run("loopline", "replay", "loop.py", "--from", "2024-01-01", "--until", "2024-01-20", "--json")
    policies = json.loads(printed)[0]["comparison"]["policies"]
    assert [policy["promotions"] for policy in policies] == [1, 1, 1]
    assert policies[0]["predictions"] > 1000
    (home,) = (tmp_path / ".loopline" / "replays").iterdir()
    assert json.loads(run("loopline", "models", "--home", str(home), "--json"))[0]["champion"] is True
    assert "unbroken" in run("loopline", "ledger", "verify", "--home", str(home))
