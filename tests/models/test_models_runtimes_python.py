"""A user's own Python runs where it was allowed, apart from everything of ours, and its death is an answer from the next rung."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loopline.app.alone.model_file import Asked
from loopline.app.alone.python_folder import read_folder
from loopline.errors import Corrupt, InvalidInput, Unavailable
from loopline.evaluation.kind import Output
from loopline.models.package import PAYLOAD_TYPE
from loopline.models.packaging import Unproven, package_file
from loopline.models.predictor import load_predictor
from loopline.models.runtimes.python import Facts, PythonModel, PythonModels, fields_of, pack
from loopline.models.signing import sign

NUMBER = Output("regression")
ALLOWED = PythonModels(allowed=True, timeout_s=5.0)
WHOLE = """
    import os, signal, time
    from pathlib import Path

    class Model:
        def __init__(self, slope):
            self.slope = slope

        def predict(self, frame):
            print("noise on standard output")
            size, shop = frame["size"], frame["shop"]
            if size[0] == -1:
                os.kill(os.getpid(), signal.SIGKILL)
            if size[0] == -2:
                time.sleep(60)
            if size[0] == -3:
                raise ValueError("secret row content")
            if size[0] == -4:
                bytearray(3 << 30)
            return [-1.0 if s is None or t is None else self.slope * s + len(t) for s, t in zip(size, shop)]

    def load(folder):
        return Model(float((Path(folder) / "weights" / "slope.txt").read_text()))
"""


def folder_of(where: Path, code: str = WHOLE, slope: str = "2.5") -> Path:
    (where / "weights").mkdir(parents=True)
    (where / "weights" / "slope.txt").write_text(slope)
    (where / "model.py").write_text(textwrap.dedent(code))
    return where


def content_of(folder: Path, python: str = "") -> bytes:
    return pack(folder, Facts(fields_of(["size", "shop"], [None, ("é", "north")]), python))


@pytest.fixture
def content(tmp_path):
    return content_of(folder_of(tmp_path / "model"))


@pytest.fixture
def model(content):
    made = PythonModel(content, NUMBER, ALLOWED)
    yield made
    made.close()


def rows(*cells: tuple[float, float]) -> np.ndarray:
    return np.array(cells, dtype=np.float32)


def code_of(model: PythonModel, *cells: tuple[float, float]) -> str:
    with pytest.raises(Unavailable) as caught:
        model.outputs(rows(*cells))
    return caught.value.code


def alive_again(model: PythonModel) -> np.ndarray:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            return model.outputs(rows((4, 0)))
        except Unavailable:
            time.sleep(0.05)
    raise AssertionError("it does not come back")


def test_numbers_and_texts_reach_the_code_and_missing_values_are_none(model):
    found = model.outputs(rows((1, 0), (2, 1), (np.nan, 1), (3, np.nan)))
    assert found.tolist() == [3.5, 10.0, -1.0, -1.0]
    assert found.dtype == np.float64
    many = np.column_stack([np.arange(50_000), np.zeros(50_000)]).astype(np.float32)  # more than a pipe holds
    np.testing.assert_allclose(model.outputs(many), 2.5 * many[:, 0] + 1)


def test_it_is_not_run_unless_that_was_allowed(content):
    for allowed in (PythonModels(), PythonModels(allowed=False, memory_mb=10)):
        with pytest.raises(Unavailable) as caught:
            PythonModel(content, NUMBER, allowed)
        assert caught.value.code == "python.not_allowed"
        assert "LOOPLINE_PYTHON_MODELS=1" in caught.value.remedy


def test_an_error_of_the_code_is_told_without_the_row(model):
    with pytest.raises(Unavailable) as caught:
        model.outputs(rows((-3, 0)))
    assert caught.value.code == "python.failed"
    assert "ValueError at model.py:17" in caught.value.message
    assert "secret" not in str(caught.value)
    assert model.outputs(rows((4, 0))).tolist() == [11.0]  # one bad row does not end it


def test_a_process_that_dies_is_started_again_and_meanwhile_the_next_rung_answers(model):
    first = model._child._process.pid
    assert code_of(model, (-1, 0)) == "python.died"
    assert code_of(model, (4, 0)) == "python.restarting"
    assert alive_again(model).tolist() == [11.0]
    second = model._child._process.pid
    assert second != first
    os.kill(second, signal.SIGKILL)
    assert code_of(model, (4, 0)) == "python.died"
    assert alive_again(model).tolist() == [11.0]


def test_an_answer_too_late_ends_the_process(content):
    model = PythonModel(content, NUMBER, PythonModels(allowed=True, timeout_s=0.5))
    try:
        slow = model._child._process
        assert code_of(model, (-2, 0)) == "python.too_late"
        assert slow.poll() is not None
        assert alive_again(model).tolist() == [11.0]
    finally:
        model.close()


@pytest.mark.skipif(sys.platform != "linux", reason="address space is bounded on Linux")
def test_memory_is_bounded(content):
    model = PythonModel(content, NUMBER, PythonModels(allowed=True, memory_mb=512))
    try:
        with pytest.raises(Unavailable, match="MemoryError"):
            model.outputs(rows((-4, 0)))
    finally:
        model.close()


def test_the_code_sees_nothing_of_our_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPLINE_TOKEN", "a token")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a key")
    code = """
        import os
        class Model:
            def predict(self, frame):
                ours = [name for name in os.environ if name.startswith(("LOOPLINE", "AWS", "PYTHONPATH"))]
                return [float(len(ours))]
        def load(folder):
            return Model()
    """
    model = PythonModel(content_of(folder_of(tmp_path / "m", code)), NUMBER, ALLOWED)
    try:
        assert model.outputs(rows((1, 0))).tolist() == [0.0]
        environment = Path(f"/proc/{model._child._process.pid}/environ")
        if environment.exists():
            assert b"a token" not in environment.read_bytes()
    finally:
        model.close()


def test_it_ends_with_the_process_that_started_it(content, tmp_path):
    (tmp_path / "model.zip").write_bytes(content)
    program = f"""
        import sys, os
        from pathlib import Path
        from loopline.evaluation.kind import Output
        from loopline.models.runtimes.python import PythonModel, PythonModels
        made = PythonModel(Path({str(tmp_path / "model.zip")!r}).read_bytes(), Output("regression"), PythonModels(allowed=True))
        print(made._child._process.pid, flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    until = time.monotonic() + 20
    while time.monotonic() < until and _lives(child):
        time.sleep(0.05)
    assert not _lives(child)


def _lives(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def load(folder):\n    raise RuntimeError('no')", "RuntimeError at model.py:2"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError at model.py:1"),
        ("import os\nos._exit(3)\n", "has ended"),
    ],
)
def test_code_that_does_not_start_is_told_with_its_line(tmp_path, code, told):
    with pytest.raises(Unavailable, match=told) as caught:
        PythonModel(content_of(folder_of(tmp_path / "m", code)), NUMBER, ALLOWED)
    assert caught.value.code == "python.not_started"


def test_an_interpreter_that_is_not_there_is_told(tmp_path):
    with pytest.raises(Unavailable, match="cannot be run"):
        PythonModel(content_of(folder_of(tmp_path / "m"), "/nowhere/python"), NUMBER, ALLOWED)


def test_the_same_folder_is_the_same_bytes_and_other_archives_are_refused(tmp_path):
    folder = folder_of(tmp_path / "m")
    first = content_of(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "model.pyc").write_bytes(b"x")
    os.utime(folder / "model.py", (1, 1))
    assert content_of(folder) == first
    with pytest.raises(InvalidInput, match=r"no model\.py"):
        pack(tmp_path, Facts(()))
    outside = io.BytesIO()
    with zipfile.ZipFile(outside, "w") as archive:
        archive.writestr("../outside.py", "x")
    for content in (outside.getvalue(), b"nothing"):
        with pytest.raises(Corrupt):
            PythonModel(content, NUMBER, ALLOWED)


def test_a_folder_is_read_packaged_signed_and_loaded_with_texts(tmp_path, artifacts, key):
    folder = folder_of(tmp_path / "m")
    sample = pl.DataFrame({"key": ["a", "b"], "size": [1.0, 2.0], "shop": ["north", "é"]})
    found = read_folder(folder, sample, ("key",), Asked(), ALLOWED)
    assert (found.format, found.signature.output, found.takes_missing) == ("python", NUMBER, True)
    unproven = Unproven(found.format, found.content, found.runtime, found.takes_missing)
    made = package_file(unproven, found.signature, found.signature.encode(sample), artifacts=artifacts)
    envelope = sign(key, PAYLOAD_TYPE, made.encoded())
    with pytest.raises(Unavailable, match="not run here"):
        load_predictor(artifacts, made.digest, envelope=envelope, keys=key.public)
    loaded = load_predictor(artifacts, made.digest, envelope=envelope, keys=key.public, python=ALLOWED)
    assert loaded.predict(sample).tolist() == [7.5, 6.0]
    assert json.loads(zipfile.ZipFile(io.BytesIO(found.content)).read("loopline.json"))["python"] == ""
    for one in (found.runtime, *loaded._models):
        one.close()
