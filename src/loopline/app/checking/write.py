"""A check, written to a file."""

from pathlib import Path

from loopline.app.checking.check_report import CheckReport
from loopline.errors import InvalidInput


def write_report(report: CheckReport, path: Path) -> None:
    """Write the report as one HTML file. Raises `InvalidInput` where it cannot be written."""
    from loopline.app.checking.page import check_html  # noqa: PLC0415 - it takes as long to import as a check takes

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(check_html(report), encoding="utf-8")
    except OSError as problem:
        raise InvalidInput(
            "check.not_written", f"cannot write {path}: {problem.strerror}", remedy="Give --report another file."
        ) from problem
