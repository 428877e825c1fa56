"""`import loopline` and `loopline --help` stay fast because they load nothing heavy: what is loaded says more than a stopwatch."""

import json
import subprocess
import sys

import pytest

HEAVY = [
    "alembic",
    "cryptography",
    "deltalake",
    "httpx",
    "litestar",
    "lmdb",
    "msgspec",
    "numpy",
    "obstore",
    "onnx",
    "onnxruntime",
    "polars",
    "psycopg",
    "rich",
    "scipy",
    "skl2onnx",
    "sklearn",
    "sqlalchemy",
    "structlog",
    "typer",
    "uvicorn",
]

COMMANDS = {
    "import": "import loopline",
    "version": "import loopline; loopline.__version__; dir(loopline)",
    "help": "sys.argv = ['loopline', '--help']; from loopline.cli.main import main; main()",
    "no_arguments": "sys.argv = ['loopline']; from loopline.cli.main import main; main()",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_heavy_is_loaded(command):
    loaded = loaded_by(COMMANDS[command])
    assert sorted(loaded & set(HEAVY)) == []
    ours = {name for name in loaded if name.startswith("loopline.")}
    assert ours <= {"loopline.cli", "loopline.cli.main", "loopline.errors"}


@pytest.mark.parametrize("command", ["incidents", "status", "models", "tables", "executions"])
def test_commands_that_compute_nothing_wait_for_no_library_that_does(command):
    loaded = loaded_by(f"import loopline.cli.{command}")
    assert sorted(loaded & {"alembic", "deltalake", "onnx", "onnxruntime", "optuna", "ray", "scipy", "sklearn"}) == []


def test_names_load_only_what_they_need():
    """The words of a playbook need neither the models nor the frames."""
    loaded = loaded_by("import loopline; loopline.harm, loopline.retrain, loopline.on, loopline.Window")
    assert sorted(loaded & {"polars", "sklearn", "onnx", "sqlalchemy", "deltalake", "numpy"}) == []


def loaded_by(statements: str) -> set[str]:
    """The modules, by full name, that a fresh interpreter holds after running the statements."""
    told = "import json, sys\ntry:\n    " + statements.replace("; ", "\n    ")
    told += "\nfinally:\n    print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))
