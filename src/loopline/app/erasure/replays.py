"""Homes below a home, which replays live in: a person goes from them in the same erasure."""

from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from loopline.access.erasure import Eraser, Person, Removed, Target, Traces
from loopline.config import Settings
from loopline.loop.resources import Resources

_PATIENCE_SECONDS = 60.0


Open = Callable[[Settings], Resources]


def homes_below(settings: Settings) -> list[Settings]:
    """The homes of replays below a home."""
    folders = sorted(path.parent for path in settings.replays_path.glob("*/keys") if path.is_dir())
    return [replace(Settings.read(folder, {}), durable=settings.durable) for folder in folders]


def eraser(settings: Settings, opened: Open) -> Eraser:
    """Sweeps every home below, which `opened` opens, with the erasers of its own."""

    def trace(person: Person) -> Traces:
        found = Traces()
        for _, resources in _each(settings, opened):
            for one in resources.erasing().erasers:
                found = found | one.trace(person)
        return found

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:
        done = []
        for folder, resources in _each(settings, opened):
            place = f"{folder.parent.name}/{folder.name}: "
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


def _each(settings: Settings, opened: Open) -> Iterator[tuple[Path, Resources]]:
    for below in homes_below(settings):
        resources = opened(below)
        with closing(resources.database):
            yield below.home, resources
