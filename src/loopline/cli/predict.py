"""`loopline predict`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from loopline.cli.options import AsJson
from loopline.cli.output import show, table
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
    as_json: AsJson = False,
) -> None:
    """Ask a running endpoint for predictions. Each is logged before it is answered."""
    if not token:
        raise InvalidInput(
            "predict.no_token", "a token is needed", remedy="`loopline tokens issue NAME`, then set LOOPLINE_TOKEN."
        )
    with Client(url, token) as client:
        found = client.predict(model, _read(rows))
    columns = ["key", "score", "decision", "model_version", "variant", "prediction_id", "degraded"]
    cells = [[one.get(column) if one.get(column) != [] else None for column in columns] for one in found]
    show(found, as_json=as_json, render=lambda console: console.print(table(model, columns, cells)))


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
