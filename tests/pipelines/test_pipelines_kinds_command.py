"""Commands as steps: real processes, ended with all they started."""

import os
import sys
import time
from pathlib import Path

import pytest

from loopline.errors import InvalidInput, NotFound, Unavailable
from loopline.pipelines.kinds.command import run_command


def test_a_program_gets_arguments_environment_and_input_files(tmp_path):
    script = "import os, sys; print(sys.argv[1:], os.environ['WHO']); print(open('in/a.txt').read(), file=sys.stderr)"
    done = run_command(
        [sys.executable, "-c", script, "a b", "$HOME"],
        folder=tmp_path,
        environment={"WHO": "me"},
        inputs={"in/a.txt": b"given"},
    ).checked()
    assert done.exit_code == 0
    assert done.stdout == b"['a b', '$HOME'] me\n"
    assert done.stderr == b"given\n"


def test_a_text_goes_through_the_shell_and_declared_files_come_back(tmp_path):
    done = run_command(
        "mkdir out; for n in 1 2; do echo $n > out/$n.txt; done; echo x > other",
        folder=tmp_path,
        outputs=["out/*.txt", "other"],
    ).checked()
    assert done.files == {"out/1.txt": b"1\n", "out/2.txt": b"2\n", "other": b"x\n"}


def test_our_token_is_not_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPLINE_TOKEN", "ll_secret")
    assert run_command("echo [$LOOPLINE_TOKEN]", folder=tmp_path).stdout == b"[]\n"


@pytest.mark.parametrize(
    ("command", "code", "kind"), [("echo no >&2; exit 3", 3, "code"), ("nonsuch_program", 127, "dependency")]
)
def test_an_exit_code_is_an_error_with_what_was_said_last(tmp_path, command, code, kind):
    done = run_command(command, folder=tmp_path, outputs=["never"])
    assert done.exit_code == code
    assert done.files == {}
    with pytest.raises(InvalidInput) as caught:
        done.checked()
    assert caught.value.code == "command.exit_code"
    assert caught.value.context["failure"] == kind
    assert done.stderr.decode().strip().splitlines()[-1] in caught.value.message


def test_secrets_of_the_environment_are_masked_in_the_error(tmp_path):
    done = run_command(
        "echo cannot log in with $DB_PASSWORD >&2; exit 1", folder=tmp_path, environment={"DB_PASSWORD": "hunter22"}
    )
    assert "hunter22" not in str(done.failure)
    assert "***" in str(done.failure)


def test_a_signal_is_an_error(tmp_path):
    done = run_command("kill -9 $$", folder=tmp_path)
    assert done.exit_code == 137
    assert isinstance(done.failure, Unavailable)
    assert done.failure.context["failure"] == "capacity"


def test_time_up_ends_the_whole_group_even_what_ignores_being_asked(tmp_path):
    stubborn = "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    started = "; ".join(
        f'{sys.executable} -c "{stubborn}" {name} &'
        if name == "child"
        else f'while [ ! -s child ]; do sleep 0.05; done; {sys.executable} -c "{stubborn}" {name}'
        for name in ("child", "parent")
    )
    done = run_command(started.replace("&;", "&"), folder=tmp_path, timeout=6)
    assert done.failure is not None
    assert done.failure.code == "command.timeout"
    assert done.failure.context["failure"] == "timeout"
    for name in ("child", "parent"):
        assert is_gone(int((tmp_path / name).read_text()))


def test_what_is_left_running_is_ended_and_does_not_hold_us_up(tmp_path):
    begun = time.monotonic()
    done = run_command("sleep 600 & echo $!", folder=tmp_path).checked()
    assert time.monotonic() - begun < 300
    assert is_gone(int(done.stdout))


def is_gone(pid: int) -> bool:
    """No such process, or one that ended and that nobody has waited for."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_file_that_was_declared_and_not_written_is_an_error(tmp_path):
    done = run_command("true", folder=tmp_path, outputs=["a.csv"])
    assert done.failure is not None
    assert done.failure.code == "command.no_output"
    assert "a.csv" in done.failure.message


def test_links_out_of_the_folder_are_no_results(tmp_path):
    (tmp_path / "secret").write_text("s")
    folder = tmp_path / "own"
    folder.mkdir()
    done = run_command("ln -s ../secret out", folder=folder, outputs=["out"])
    assert done.files == {}
    assert done.failure is not None


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", ""])
def test_paths_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(InvalidInput) as caught:
        run_command("true", folder=tmp_path, outputs=[name])
    assert caught.value.code == "command.bad_path"
    with pytest.raises(InvalidInput):
        run_command("true", folder=tmp_path, inputs={name: b""})


def test_a_program_that_is_not_there(tmp_path):
    with pytest.raises(NotFound) as caught:
        run_command(["nonsuch_program"], folder=tmp_path)
    assert caught.value.code == "command.cannot_start"


def test_of_much_output_the_end_is_kept(tmp_path):
    done = run_command([sys.executable, "-c", "print('x' * 100_000); print('end')"], folder=tmp_path, keep=10)
    assert done.stdout == b"xxxxx\nend\n"
