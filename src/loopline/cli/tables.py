"""`loopline tables`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, opened
from loopline.cli.output import show, table
from loopline.tables.table import Table

app = typer.Typer(add_completion=False)


@app.command()
def command(
    name: Annotated[str | None, typer.Argument(help="A table; all of them by default.")] = None,
    home: Home = None,
    rows: Annotated[int, typer.Option("--rows", help="Show so many of its newest rows.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List tables with their versions and rows; or show one: schema, provenance of its last versions, newest rows."""
    tables = opened(home).tables
    if name is None:
        found = [_summary(tables.open(one)) for one in tables.names()]
        columns = ["table", "version", "rows", "columns", "last write (UTC)"]
        show(
            found,
            as_json=as_json,
            render=lambda console: console.print(table("Tables", columns, [list(one.values()) for one in found])),
        )
        return
    told = _detail(tables.open(name), rows)
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


def _detail(one: Table, rows: int) -> dict[str, Any]:
    newest = one.read().tail(rows).to_dicts() if rows else []
    return {
        **_summary(one),
        "uri": one.uri,
        "schema": {name: str(dtype) for name, dtype in one.schema.columns.items()},
        "personal": list(one.schema.personal),
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
        "newest_rows": newest,
    }


def _print(console: Console, told: dict[str, Any]) -> None:
    console.print(f"[bold]{told['table']}[/] version {told['version']}, {told['rows']:,} rows, {told['uri']}")
    console.print(table("Columns", ["name", "dtype"], told["schema"].items()))
    rows = [(one["version"], one["at"], one["operation"], one["rows"], one["provenance"]) for one in told["versions"]]
    console.print(table("Last versions", ["version", "at (UTC)", "operation", "rows", "provenance"], rows))
    for row in told["newest_rows"]:
        console.print(str(row), markup=False)
