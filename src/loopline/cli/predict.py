"""`loopline predict`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from loopline.cli.options import AsJson
from loopline.cli.output import bar, show, table
from loopline.client.client import Client
from loopline.errors import InvalidInput

app = typer.Typer(add_completion=False)


@app.command()
def command(
    model: Annotated[str, typer.Argument(help="The endpoint, e.g. late_arrival.")],
    rows: Annotated[
        Path,
        typer.Option("--rows", help='A JSON file with a row, a list of rows or {"rows": [...]}; - is standard input.'),
    ],
    token: Annotated[
        str, typer.Option("--token", envvar="LOOPLINE_TOKEN", help="A token that may ask for predictions.")
    ] = "",
    url: Annotated[
        str, typer.Option("--url", envvar="LOOPLINE_SCORING_URL", help="The scoring process.")
    ] = "http://127.0.0.1:8322",
    explain: Annotated[
        bool, typer.Option("--explain", help="Also what each field added to each prediction, in log-odds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a running endpoint for predictions. Each is logged before it is answered."""
    if not token:
        raise InvalidInput(
            "predict.no_token", "a token is needed", remedy="`loopline tokens issue NAME`, then set LOOPLINE_TOKEN."
        )
    with Client(url, token) as client:
        found = client.predict(model, _read(rows), explain=explain)
    columns = ["key", "score", "decision", "model_version", "variant", "prediction_id", "degraded"]
    cells = [[one.get(column) if one.get(column) != [] else None for column in columns] for one in found]
    show(found, as_json=as_json, render=lambda console: _print(console, table(model, columns, cells), found))


def _print(console: Console, predictions: table, found: list[dict[str, Any]]) -> None:
    console.print(predictions)
    for one in found:
        told = one.get("explanation")
        if told:
            most = max(map(abs, told["contributions"].values()), default=0.0)
            rows = [(name, bar(added, most), f"{added:+.4f}") for name, added in told["contributions"].items()]
            title = f"{one['key']}: {told['base']:+.4f} on average, {told['total']:+.4f} here ({told['unit']})"
            console.print(table(title, ["field", "", "added"], rows))
        elif "explanation" in one:
            console.print(f"{one['key']}: there is nothing to explain; {one['variant']} answered.", markup=False)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        found = msgspec.json.decode(content)
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(
            "predict.unreadable", f"cannot read rows from {path}: {error}", remedy="Give a JSON file."
        ) from error
    if isinstance(found, dict):
        found = found.get("rows", [found])
    return list(found)
