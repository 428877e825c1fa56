"""`loopline tables`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Reason, opened, operator
from loopline.cli.output import show, table
from loopline.clock import SystemClock
from loopline.loop.personal_reads import rows_for
from loopline.loop.resources import Resources
from loopline.tables.newest import newest_rows
from loopline.tables.table import Table

app = typer.Typer(add_completion=False)


@app.command()
def command(
    name: Annotated[str | None, typer.Argument(help="A table; all of them by default.")] = None,
    home: Home = None,
    rows: Annotated[int, typer.Option("--rows", help="Show so many of its newest rows.")] = 0,
    clear: Annotated[
        bool, typer.Option("--clear", help="Show personal values, not pseudonyms; the ledger says who did.")
    ] = False,
    reason: Reason = "asked on the command line",
    as_json: AsJson = False,
) -> None:
    """List tables with their versions and rows; or show one: schema, provenance of its last versions, newest rows.

    Values of personal columns are shown as pseudonyms.
    """
    resources = opened(home)
    tables = resources.tables
    if name is None:
        found = [_summary(tables.open(one)) for one in tables.names()]
        columns = ["table", "version", "rows", "columns", "last write (UTC)"]
        show(
            found,
            as_json=as_json,
            render=lambda console: console.print(table("Tables", columns, [list(one.values()) for one in found])),
        )
        return
    told = _detail(tables.open(name)) | {"newest_rows": _newest(resources, name, rows, clear=clear, reason=reason)}
    show(told, as_json=as_json, render=lambda console: _print(console, told))


def _summary(one: Table) -> dict[str, Any]:
    versions = one.versions()
    return {
        "table": one.name,
        "version": versions[-1].version,
        "rows": sum(version.rows for version in versions),
        "columns": len(one.schema.columns),
        "last_write": versions[-1].committed_at,
    }


def _newest(resources: Resources, name: str, rows: int, *, clear: bool, reason: str) -> list[dict[str, Any]]:
    if not rows:
        return []
    frame = newest_rows(resources.tables.open(name), rows)
    at = SystemClock().now()
    return rows_for(resources, operator(), name, frame, clear=clear, reason=reason, at=at).to_dicts()


def _detail(one: Table) -> dict[str, Any]:
    return {
        **_summary(one),
        "uri": one.uri,
        "schema": {name: str(dtype) for name, dtype in one.schema.columns.items()},
        "personal": list(one.schema.personal),
        "subject": one.schema.subject,
        "keys_of": one.schema.keys_of,
        "versions": [
            {
                "version": version.version,
                "at": version.committed_at,
                "operation": version.operation,
                "rows": version.rows,
                "provenance": dict(version.provenance),
            }
            for version in one.versions()[-10:]
        ],
    }


def _print(console: Console, told: dict[str, Any]) -> None:
    console.print(f"[bold]{told['table']}[/] version {told['version']}, {told['rows']:,} rows, {told['uri']}")
    columns = [(name, dtype, _tag(told, name)) for name, dtype in told["schema"].items()]
    console.print(table("Columns", ["name", "dtype", "about persons"], columns))
    if told["keys_of"]:
        console.print(f"Its keys are those of {told['keys_of']}.")
    rows = [(one["version"], one["at"], one["operation"], one["rows"], one["provenance"]) for one in told["versions"]]
    console.print(table("Last versions", ["version", "at (UTC)", "operation", "rows", "provenance"], rows))
    for row in told["newest_rows"]:
        console.print(str(row), markup=False)


def _tag(told: dict[str, Any], name: str) -> str:
    return "subject" if name == told["subject"] else "personal" if name in told["personal"] else ""
