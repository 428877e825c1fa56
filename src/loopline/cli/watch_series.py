"""What `loopline watch --series` prints."""

from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from loopline.app.alone.series import SeriesAnswer, WatchedSeries, watch_series_file
from loopline.app.alone.series_file import SeriesRequest
from loopline.app.alone.series_page import series_html
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
    for question, sentences in (
        ("Has it moved?", [one.sentence for one in answer.moves]),
        ("How sure is this?", answer.sentences),
        ("What was taken as what?", answer.notices),
    ):
        if sentences:
            console.print(f"\n{question}", style="bold", markup=False)
        for sentence in sentences:
            console.print(Padding(Text(sentence), (0, 0, 0, 2), expand=False))
    if report is not None:
        console.print(f"\nReport: {report}", markup=False)
    console.print("\nWhat next:", markup=False)
    for line in _next(answer, report, home):
        console.print(f"  {line}", markup=False, soft_wrap=True)


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
