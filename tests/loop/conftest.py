"""One small loop, replayed once with its policies; tests that change things work on a copy of its home."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import DeclarationError
from loopline.loop.declare import Loop
from loopline.loop.history import History
from loopline.loop.load import load_loop
from loopline.loop.replay import Period, replay
from loopline.loop.resources import Resources
from loopline.loop.turn import LaneWork

START = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = START + timedelta(days=32)
SMALL_LOOP = Path(__file__).with_name("small_loop.py")


class Replayed(NamedTuple):
    """A home after its replay. `works` are the loop's own lane and its policy's."""

    settings: Settings
    resources: Resources
    loop: Loop
    works: list[LaneWork]
    digests: dict[str, str]


def home_in(folder: Path, now: datetime) -> tuple[Settings, Resources]:
    settings = Settings.read(folder, environment={"LOOPLINE_DURABLE": "0"})
    return settings, open_home(settings, clock=ReplayClock(now), seed=7, silent=True)


@pytest.fixture(scope="session")
def small_loop() -> Loop:
    return load_loop(SMALL_LOOP)


@pytest.fixture(scope="session")
def replayed(small_loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    settings, resources = home_in(tmp_path_factory.mktemp("home") / "replayed", START)
    works: list[LaneWork] = []

    def make_work(history: History) -> list[LaneWork]:
        works.extend(lane_works(resources, small_loop, history, compare=True))
        return works

    digests = replay(resources, small_loop, Period(START, UNTIL), make_work, progress=lambda *_: None)
    yield Replayed(settings, resources, small_loop, works, digests)
    resources.database.close()


@pytest.fixture
def copied(replayed: Replayed, tmp_path: Path) -> Iterator[Resources]:
    """The replayed home, to be changed; its clock stands where the replay's ended."""
    with replayed.resources.database.transaction():  # nobody writes while it is copied
        shutil.copytree(replayed.settings.home, tmp_path / "home")
    _, resources = home_in(tmp_path / "home", replayed.resources.clock.now())
    yield resources
    resources.database.close()


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[str], DeclarationError]:
    """The error of a loop file; it must name the file and the line that ends with `# here`."""

    def load(text: str) -> DeclarationError:
        path = tmp_path / "loop.py"
        path.write_text(text)
        with pytest.raises(DeclarationError) as caught:
            load_loop(path)
        [line] = [number for number, part in enumerate(text.splitlines(), 1) if part.rstrip().endswith("# here")]
        assert (caught.value.context["file"], caught.value.context["line"]) == (str(path), line)
        assert caught.value.message.startswith(f"{path}:{line}: ")
        assert caught.value.remedy
        return caught.value

    return load


@pytest.fixture(scope="session")
def quick_processes() -> Iterator[None]:
    """Processes that are started share their bytecode: without, each would compile all it imports again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONDONTWRITEBYTECODE", "")
        patch.setenv("PYTHONPYCACHEPREFIX", str(Path(tempfile.gettempdir()) / "loopline-tests-bytecode"))
        yield
