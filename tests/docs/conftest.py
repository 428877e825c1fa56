"""Pages of the documentation, read and run: each block in its order, in a folder of its own, as a reader would."""

import doctest
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from loopline.testing.postgres import scratch_database

ROOT = Path(__file__).parents[2]
FOUND = re.compile(r"^<!-- (?P<note>.+?) -->$|^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = {"bash", "console", "python"}
POSTGRES = "postgresql://loopline@db.example.org/loopline"
S3, BUCKET = "https://s3.example.org", "s3://ml-team"
WITHIN = 120


@dataclass(frozen=True)
class Block:
    """One block of a page; `note` is the comment right above it."""

    language: str
    text: str
    note: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The blocks that are run, files to write and the notes that stand alone (language "note"), in order."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    pending, ends = "", -1
    for match in FOUND.finditer(text):
        line = text[: match.start()].count("\n") + 1
        if match["note"]:
            pending, ends = match["note"], match.end()
            found.append(Block("note", pending, "", line))
            continue
        note = pending if text[ends : match.start()].strip() == "" and ends >= 0 else ""
        found.append(Block(match["language"], match["text"], note, line))
        pending, ends = "", -1
    return found


class Reader:
    """Someone who follows one page: a folder, a shell that remembers, and what runs in another terminal."""

    def __init__(self, folder: Path, environment: dict[str, str], replaced: dict[str, str]) -> None:
        self.folder, self._replaced = folder, replaced
        self._memory = folder.parent / f"{folder.name}.shell"
        self._remembered = f"[ ! -e {self._memory} ] || source {self._memory}"
        self._environment = environment
        self._other: subprocess.Popen[bytes] | None = None

    def follow(self, page: Path) -> None:
        """Run every block of the page that is run."""
        try:
            for block in blocks(page):
                self._take(block, page)
        finally:
            self.interrupt()

    def _take(self, block: Block, page: Path) -> None:
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.text == "ctrl-c" and block.language == "note":
            self.interrupt()
        elif block.language not in RUN or block.note.startswith(("not run: ", "from: ")):
            return
        elif block.note.startswith("file: "):
            (self.folder / block.note.removeprefix("file: ")).write_text(block.text, encoding="utf-8")
        elif block.text.startswith("loopline up "):
            self._start(block.text, where)
        elif block.language == "console":
            for command, expected in _commands(block.text):
                _check_output(where, command, self.run(command, where), expected)
        else:
            self.run(block.text if block.language == "bash" else f"python - <<'END'\n{block.text}END", where)

    def run(self, script: str, where: str) -> str:
        """Run it in the shell; what it printed."""
        memory = f"{self._remembered}; trap 'export -p > {self._memory}' EXIT\n"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", memory + self._as_here(script)],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=WITHIN,
        )
        assert done.returncode == 0, f"{where}: exit code {done.returncode} from\n{script}\n{done.stdout}"
        return done.stdout

    def _start(self, command: str, where: str) -> None:
        log = self.folder.parent / f"{self.folder.name}.log"
        with log.open("wb") as output:
            self._other = subprocess.Popen(
                ["bash", "-c", f"{self._remembered}; exec {self._as_here(command)}"],
                cwd=self.folder,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + WITHIN
        while "For a token" not in (told := log.read_text()) or ("Scoring" in told and not self._answers()):
            assert self._other.poll() is None, f"{where}: it ended\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{where}: it does not answer\n{log.read_text()}"
            time.sleep(0.1)

    def _answers(self) -> bool:
        port = self._environment["LOOPLINE_SCORING_PORT"]
        try:
            with urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def interrupt(self) -> None:
        """Ctrl-C in the other terminal."""
        if self._other is not None:
            self._other.send_signal(signal.SIGINT)
            assert self._other.wait(timeout=WITHIN) == 0
            self._other = None

    def _as_here(self, script: str) -> str:
        for there, here in self._replaced.items():
            script = script.replace(there, here)
        return script


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what is shown below it."""
    starts = [match.start() for match in re.finditer(r"^\$ ", text, re.MULTILINE)]
    for start, end in pairwise([*starts, len(text)]):
        command, _, shown = text[start + 2 : end].partition("\n")
        yield command, shown


def _check_output(where: str, command: str, printed: str, expected: str) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    same = doctest.OutputChecker().check_output(expected, printed, flags)
    assert same, f"{where}: $ {command}\nprinted\n{printed}\nbut the page shows\n{expected}"


def _short_demo() -> str:
    """What `make demo` runs, as the Makefile says it, over a month and two days of the year."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^demo:.*\n\t@(?P<command>.+)$", makefile, re.MULTILINE)
    home = re.search(r"^DEMO_HOME := (?P<home>.+)$", makefile, re.MULTILINE)
    assert found
    assert home
    command = found["command"].replace("$(BIN)/", "").replace("$(DEMO_HOME)", home["home"])
    return re.sub(r"--until \S+", "--until 2013-02-02", command)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def read_page(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """Follow a page once, after the page that it says it goes on from; gives the folder it leaves."""
    done: dict[Path, Path | None] = {}

    def read(page: Path) -> Path:
        if page not in done:
            done[page] = None
            folder = tmp_path_factory.mktemp(page.stem) / "work"
            before = next((note.text for note in blocks(page) if note.text.startswith("continues: ")), None)
            if before is None:
                folder.mkdir()
                shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copytree(read((page.parent / before.removeprefix("continues: ")).resolve()), folder)
            _follow(page, folder, request)
            done[page] = folder
        left = done[page]
        assert left is not None, f"{page.name} failed before"
        return left

    return read


def _follow(page: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    control, scoring = _free_port(), _free_port()
    replaced = {"127.0.0.1:8321": f"127.0.0.1:{control}", "127.0.0.1:8322": f"127.0.0.1:{scoring}"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOOPLINE_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LOOPLINE_PORT": str(control),
        "LOOPLINE_SCORING_PORT": str(scoring),
        "LOOPLINE_SCORING_URL": f"http://127.0.0.1:{scoring}",
        "LOOPLINE_DURABLE": "0",
        "COLUMNS": "160",
    }
    replaced["make demo"] = _short_demo()
    text = page.read_text(encoding="utf-8")
    if S3 in text:
        server = request.getfixturevalue("_s3")
        environment |= server.environment
        replaced |= {S3: server.environment["AWS_ENDPOINT_URL"], BUCKET: server.make_bucket(f"docs-{page.stem}")}
    if POSTGRES not in text:
        Reader(folder, environment, replaced).follow(page)
        return
    with ExitStack() as made:
        for place, there in enumerate((f"{POSTGRES}-restored", POSTGRES)):
            if there in text:
                name = f"docs_{os.getpid()}_{place}"
                replaced[there] = made.enter_context(scratch_database(request.getfixturevalue("postgres_url"), name))
        Reader(folder, environment, replaced).follow(page)
