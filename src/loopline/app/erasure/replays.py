"""Homes below a home, which replays live in: a person goes from them in the same erasure."""

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from loopline.access.erasure import Eraser, Person, Removed, Target, Traces
from loopline.app.home import REPLAYS, open_home
from loopline.config import Settings
from loopline.loop.resources import Resources

_PATIENCE_SECONDS = 60.0


def homes_below(home: Path) -> list[Path]:
    """The homes of replays below a home."""
    return sorted(path.parent for path in (home / REPLAYS).glob("*/keys") if path.is_dir())


def eraser(settings: Settings) -> Eraser:
    """Sweeps every home below with the erasers of its own."""

    def trace(person: Person) -> Traces:
        found = Traces()
        for _, resources in _opened(settings):
            for one in resources.erasing().erasers:
                found = found | one.trace(person)
        return found

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:
        done = []
        for folder, resources in _opened(settings):
            place = f"{REPLAYS}/{folder.name}: "
            held = frozenset(one.removeprefix(place) for one in target.held)
            with resources.activity.alone(patience=_PATIENCE_SECONDS):
                for one in resources.erasing().erasers:
                    told = one.sweep(replace(target, held=held), dry=dry)
                    done += [_placed(line, place) for line in told]
                if not dry:
                    resources.database.forget()
        return done

    return Eraser("homes of replays", sweep, trace)


def _placed(line: Removed, place: str) -> Removed:
    return Removed(f"{place}{line.place}", line.what, line.count, line.before, line.after, line.note)


def _opened(settings: Settings) -> Iterator[tuple[Path, Resources]]:
    for folder in homes_below(settings.home):
        with _home(folder) as resources:
            yield folder, resources


@contextmanager
def _home(folder: Path) -> Iterator[Resources]:
    resources = open_home(Settings.read(folder, {}), silent=True)
    with closing(resources.database):
        yield resources
