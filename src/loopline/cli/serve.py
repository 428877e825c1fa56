"""`loopline serve`."""

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import polars as pl
import typer
from rich.console import Console

from loopline.app.alone.model_file import Asked
from loopline.app.alone.serve import Request, Serve, Served
from loopline.app.study.files import open_table
from loopline.cli.options import AsJson, Home, operator
from loopline.cli.output import show
from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.evaluation.kind import Kind
from loopline.models.contract_terms import read_contract
from loopline.models.ladder_terms import LadderTerms
from loopline.storage.scratch import scratch_folder

app = typer.Typer(add_completion=False)

_SAMPLED = 100_000


@app.command()
def command(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...",
            help="An ONNX file, a LightGBM or XGBoost model, or one kept by skops; several answer by their mean. "
            "Or a folder with a model.py of your own, where LOOPLINE_PYTHON_MODELS=1 allows it.",
            show_default=False,
        ),
    ],
    sample: Annotated[
        str,
        typer.Option("--sample", help="Rows such as will be sent (Parquet, CSV, JSON lines): names, types, ranges."),
    ],
    name: Annotated[str, typer.Option("--name", help="The endpoint; the file's name by default.")] = "",
    features: Annotated[str, typer.Option("--features", help="The model's columns in its order: a,b,c.")] = "",
    without: Annotated[str, typer.Option("--without", help="Columns of the sample that are no features: a,b,c.")] = "",
    key: Annotated[str, typer.Option("--key", help="The field of a row's key, which labels are joined by.")] = "key",
    at: Annotated[str, typer.Option("--at", help="The field of a row's time; without it, the present.")] = "at",
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="binary, multiclass, regression, multioutput or ranking; found in the file by default."
        ),
    ] = "",
    classes: Annotated[str, typer.Option("--classes", help="The names of the classes, in order: a,b,c.")] = "",
    targets: Annotated[str, typer.Option("--targets", help="The names of several numbers a row: a,b,c.")] = "",
    weights: Annotated[
        str, typer.Option("--weights", help="Of several files, in order: 0.7,0.3; alike by default.")
    ] = "",
    threshold: Annotated[float, typer.Option("--threshold", help="For two classes: positive from here on.")] = 0.5,
    python: Annotated[
        str, typer.Option("--python", help="The interpreter that runs a folder's model.py; Loopline's own by default.")
    ] = "",
    contract: Annotated[
        str,
        typer.Option(
            "--contract",
            help="What is done about odd values, by violation or field: unseen_category=refuse,age.out_of_range=impute. "
            "Violations: unseen_category, out_of_range, null_unseen; policies: refuse, impute, flag.",
        ),
    ] = "",
    on_log_failure: Annotated[
        str, typer.Option("--on-log-failure", help="refuse or serve: what is done while the disk takes no predictions.")
    ] = "refuse",
    port: Annotated[int | None, typer.Option("--port", help="Where to listen; LOOPLINE_SCORING_PORT or 8322.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="How many processes answer.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Serve a model that something else trained: signed, authenticated, every prediction logged before it is answered.

    Nothing is needed but the file and rows to try it on. Ends on Ctrl-C. Everything is kept in HOME/serve/NAME.
    """
    model, *others = models
    called = name or _identifier(model.stem)
    above = Settings.read(home)
    settings = Settings.read(above.home / "serve" / called, environment=_environment(above))
    settings = replace(settings, scoring_port=port or above.scoring_port, workers=workers or above.workers)
    rows = _read(sample)
    apart = (key, at, *_names(without), *(one for one, dtype in rows.schema.items() if dtype.is_temporal()))
    asked = Asked(_names(features), _kind(kind), _names(classes), _names(targets))
    terms, ladder = read_contract(contract), _ladder(on_log_failure)
    several = (tuple(others), _shares(weights), python)
    request = Request(model, rows, called, key, at, apart, asked, threshold, *several, terms, ladder)
    serving = Serve(settings, request, operator())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was begun, as a Ctrl-C does
    served = serving.start()
    _keep(settings.home, model, sample, served)
    show(served, as_json=as_json, render=lambda console: _print(console, served, key))
    sys.stdout.flush()
    serving.run()


def _environment(above: Settings) -> dict[str, str]:
    """A home of its own: of the environment's settings only those of the process."""
    return {
        "LOOPLINE_DURABLE": "1" if above.durable else "0",
        "LOOPLINE_SYNC_PREDICTIONS": "1" if above.sync_predictions else "0",
        "LOOPLINE_ACCESS_LOG": "1" if above.access_log else "0",
        "LOOPLINE_HOST": above.host,
        "LOOPLINE_PYTHON_MODELS": "1" if above.python_models else "0",
        "LOOPLINE_PYTHON_MEMORY_MB": str(above.python_memory_mb),
        "LOOPLINE_PYTHON_TIMEOUT_S": str(above.python_timeout_s),
    }


def _read(where: str) -> pl.DataFrame:
    with scratch_folder() as scratch:
        table = open_table(where, scratch)
        return table.read(list(table.schema)).head(_SAMPLED)


def _ladder(on_log_failure: str) -> LadderTerms:
    if on_log_failure not in {"refuse", "serve"}:
        raise InvalidInput(
            "serve.on_log_failure",
            f"{on_log_failure!r} says not what is done while predictions cannot be logged",
            remedy="Say refuse or serve.",
        )
    return LadderTerms(on_log_failure="serve" if on_log_failure == "serve" else "refuse")


def _names(said: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in said.split(",") if name.strip())


def _shares(said: str) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in _names(said))
    except ValueError as error:
        raise InvalidInput(
            "serve.weights_unread", f"{said!r} are no weights", remedy="Give numbers: --weights 0.7,0.3."
        ) from error


def _kind(said: str) -> Kind | None:
    if not said:
        return None
    try:
        kind: Kind = msgspec.convert(said, Kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "serve.unknown_kind",
            f"there is no kind {said!r}",
            remedy="Use binary, multiclass, regression, multioutput or ranking.",
        ) from error
    return kind


def _identifier(stem: str) -> str:
    text = "".join(letter if letter.isalnum() else "_" for letter in stem)
    return text if text[:1].isalpha() else f"model_{text}"


def _keep(home: Path, model: Path, sample: str, served: Served) -> None:
    """What was used, for `loopline init --from`."""
    used: dict[str, Any] = {"command": "serve", "model": str(model.resolve()), "sample": str(Path(sample).resolve())}
    used |= {"name": served.name, "kind": served.kind, "features": served.features, "predictions": served.predictions}
    (home / "serve.json").write_bytes(msgspec.json.format(msgspec.json.encode(used), indent=2))


def _print(console: Console, served: Served, key: str) -> None:
    row = msgspec.json.encode({"rows": [{key: "first", **served.row}]}).decode()
    console.print(
        f"[bold]{served.name}[/] is a {served.kind} model of {len(served.features)} fields ({served.format})."
    )
    for name, reason in served.refused.items():
        console.print(f"It serves as it is, not as {name}: {reason}.", soft_wrap=True)
    console.print(f"The first sample rows score {', '.join(f'{score:.6g}' for score in served.scores)}.\n")
    console.print(f"Answers at  {served.url}/predict/{served.name}")
    console.print(f"            {served.url}/v2/models/{served.name}/infer (Open Inference Protocol)")
    console.print(f"Token       {served.token}", soft_wrap=True)
    console.print(f"Logged in   {served.predictions}\n", soft_wrap=True)
    console.print("Ask it:", markup=False)
    ask = f"curl -s {served.url}/predict/{served.name} -H 'Authorization: Bearer {served.token}' -d '{row}'"
    console.print(ask, markup=False, soft_wrap=True)
    console.print("\nWhat next: send labels by key when they are known, and watch it:")
    console.print(f"  loopline watch --predictions {served.predictions} --labels labels.parquet", soft_wrap=True)
    console.print("[dim]Ctrl-C stops.[/]")
