"""Copies that a killed command left are gone with the next command; those of a living one stay."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loopline.storage.scratch import drop_left_behind, scratch_folder

_HOLD = """
from loopline.storage.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "copy.parquet").write_text("PLANTED")
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_a_folder_is_gone_with_its_block(temporary):
    with scratch_folder() as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "copy").write_text("x")
        assert folder.parent == temporary
        assert drop_left_behind() == 0
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_dropped_and_what_a_living_one_holds_is_not(temporary):
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", _HOLD]
    with subprocess.Popen(command, stdin=-1, stdout=-1, env=environment, text=True) as child:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().strip())
        assert drop_left_behind() == 0
        assert (folder / "copy.parquet").read_text() == "PLANTED"
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert folder.exists()
    other = temporary / "loopline-scratch-of-somebody"
    other.symlink_to(temporary)
    assert drop_left_behind() == 1
    assert not folder.exists()
    assert other.is_symlink()
