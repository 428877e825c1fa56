"""What `loopline watch --series` prints."""

from importlib import import_module
from pathlib import Path

from rich.console import Console

from loopline.app.alone.series import SeriesAnswer, WatchedSeries, watch_series_file
from loopline.app.alone.series_file import SeriesRequest
from loopline.app.alone.series_page import series_html
from loopline.cli.answered import print_answered
from loopline.cli.output import show


def answer_series(request: SeriesRequest, home: Path | None, report: Path | None, *, as_json: bool) -> bool:
    """Watch a series and print the answer; says whether this run found that it moved."""
    watched = _in_home(home, request) if home else watch_series_file(request)
    if report is not None:
        report.write_text(series_html(watched), encoding="utf-8")
    show(watched.answer, as_json=as_json, render=lambda console: _print(console, watched.answer, report, home))
    return watched.answer.found > 0


def _in_home(home: Path, request: SeriesRequest) -> WatchedSeries:
    """A home's whole machinery is loaded only where there is one."""
    found: WatchedSeries = import_module("loopline.app.alone.series_keep").watch_series_in_home(home, request)
    return found


def _print(console: Console, answer: SeriesAnswer, report: Path | None, home: Path | None) -> None:
    console.print(answer.headline, style="bold yellow" if answer.found else "bold green", markup=False)
    asked = (
        ("Has it moved?", [one.sentence for one in answer.moves]),
        ("How sure is this?", answer.sentences),
        ("What was taken as what?", answer.notices),
    )
    print_answered(console, (one for one in asked if one[1]), report, _next(answer, report, home))


def _next(answer: SeriesAnswer, report: Path | None, home: Path | None) -> list[str]:
    if home is not None:
        return [f"loopline incidents --home {home}"]
    same = "loopline watch ... (as before)"
    lines = [] if report else [f"{same} --report report.html    the picture"]
    if answer.timed:
        lines.append(
            f"{same} --home watched --name {answer.name}    again every day: each value counts once, moves become incidents"
        )
    return lines
