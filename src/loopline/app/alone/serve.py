"""Serve a model file: package it, sign it, and answer for it over HTTP with every prediction logged. No loop, no set-up."""

import signal
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType

import msgspec
import numpy as np
import polars as pl
import structlog

from loopline.access import tokens
from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.access.roles import Role
from loopline.app.alone.model_file import Asked, ModelFile, decision_at, read_model
from loopline.app.alone.python_folder import read_folder
from loopline.app.home import open_home
from loopline.app.ports import check_port
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.deploy.process import ScoringProcess
from loopline.errors import InvalidInput
from loopline.gates.promotion import promote
from loopline.gates.smoke import smoke_test
from loopline.loop.access_changes import ensure_role, issue_token
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.models.contract_terms import FLAGGED, ContractTerms
from loopline.models.ladder_terms import DEFAULT_LADDER, LadderTerms
from loopline.models.manifest import Deployment, Manifest, TokenGrant, read_manifest, write_manifest
from loopline.models.package import PAYLOAD_TYPE, ModelPackage
from loopline.models.packaging import Unproven, package_file, package_files
from loopline.models.predictor import load_predictor
from loopline.models.runtimes.python import PythonModels
from loopline.models.signing import sign
from loopline.scoring.record import prediction_table
from loopline.scoring.shipper import ship_all
from loopline.values import micros

PROJECT, CALLER = "alone", "caller"
VALID = timedelta(days=90)
PROOF_ROWS = 2000
STEP_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Request:
    """What to serve: the file, sample rows, the endpoint's name, and the columns that hold a row's key and time. With `others` the
    files answer together, by the mean of what they give, weighted by `weights`.
    """

    model: Path
    sample: pl.DataFrame
    name: str
    key: str
    at: str
    apart: tuple[str, ...]
    asked: Asked
    threshold: float = 0.5
    others: tuple[Path, ...] = ()
    weights: tuple[float, ...] = ()
    python: str = ""
    contract: ContractTerms = FLAGGED
    ladder: LadderTerms = DEFAULT_LADDER


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What serves, where, and how to ask. `token` is shown once and kept nowhere; `scores` are those of the first sample rows."""

    name: str
    url: str
    token: str
    format: str
    kind: str
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    features: tuple[str, ...]
    version: int
    package: str
    predictions: str
    row: dict[str, float | str | None]
    scores: list[float]
    refused: dict[str, str] = {}


class Serve:
    """One endpoint in a home of its own. `start` returns once it answers; `run` blocks until a signal ends it."""

    def __init__(self, settings: Settings, request: Request, caller: Identity) -> None:
        """Raises what `read_model` raises, and `InvalidInput` "serve.contract_field"; then nothing was changed."""
        self.settings, self.request, self._caller = settings, request, caller
        self._python = PythonModels(settings.python_models, settings.python_memory_mb, settings.python_timeout_s)
        self.model = self._read(request)
        self.models = [self.model, *(self._like_the_first(path) for path in request.others)]
        self._weights = _weights(request.weights, len(self.models))
        unknown = [name for name in request.contract.fields if name not in self.model.signature.names]
        if unknown:
            raise InvalidInput(
                "serve.contract_field",
                f"the contract speaks of {unknown[0]!r}, which the model does not take",
                remedy=f"It takes {', '.join(self.model.signature.names[:20])}.",
            )
        if not request.name.isidentifier():
            raise InvalidInput(
                "serve.bad_name",
                f"{request.name!r} cannot name an endpoint",
                remedy="Give one of letters, digits and underscores with --name.",
            )
        self.resources: Resources = open_home(settings)
        self._scoring = ScoringProcess(settings)
        self._stop = threading.Event()

    def start(self) -> Served:
        """Package, register, publish and serve."""
        version, package = self._registered()
        token = self._token()
        self._publish(version, package)
        self._scoring.end_outlived()
        check_port(self.settings.host, self.settings.scoring_port, "--port")
        try:
            self._scoring.start()
            self._scoring.ready()
            self._scoring.supervise()
        except BaseException:  # also a Ctrl-C: nobody would end the child then
            self._scoring.stop()
            raise
        return self._served(version, package, token)

    def run(self) -> None:
        """Ship what is predicted and follow new tokens, until SIGINT or SIGTERM; then drain."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)
        try:
            while not self._stop.wait(STEP_SECONDS):
                self._keep()
        finally:
            self.stop()

    def stop(self) -> None:
        """Requests under way are answered, and all that was predicted is in its table."""
        self._scoring.stop()
        self._keep()

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signals call
        self._stop.set()

    def _keep(self) -> None:
        try:
            ship_all(self.settings.spool_path, self.resources.tables)
            self._publish(*self._champion())
        except Exception as error:  # serving must outlive a bad moment
            log.warning("keeping_failed", error=repr(error))

    def _champion(self) -> tuple[int, ModelPackage]:
        return self._version, self._package

    def _registered(self) -> tuple[int, ModelPackage]:
        made, now = self._packaged(), self.resources.clock.now()
        envelope = self.resources.artifacts.put(sign(self.resources.key, PAYLOAD_TYPE, made.encoded()))
        content = self.resources.artifacts.get(envelope)
        keys = self.resources.key.public
        self._predictor = load_predictor(
            self.resources.artifacts, made.digest, envelope=content, keys=keys, python=self._python
        )
        smoke_test(self._predictor)
        name = self.request.name
        with self.resources.database.transaction() as tx:
            found = registry.register_version(
                tx,
                project=PROJECT,
                model=name,
                package=made.digest,
                envelope=envelope,
                run_id=None,
                lineage={"file": ", ".join(path.name for path in (self.request.model, *self.request.others))},
                metrics={},
                at=now,
                cause=f"serve:{made.digest}",
                created_by=self._caller.principal,
            )
            if registry.alias(tx, PROJECT, name, "champion") != found.version:
                evidence = {"cause": "served from a file", "package": made.digest}
                promote(
                    tx,
                    project=PROJECT,
                    model=name,
                    version=found.version,
                    actor=self._caller.principal,
                    at=now,
                    evidence=evidence,
                    key=f"serve:{made.digest}:{micros(now)}",
                )
        self._version, self._package, self._envelope = found.version, made, envelope
        return found.version, made

    def _packaged(self) -> ModelPackage:
        model, sample = self.model, self.request.sample
        rows = sample[np.linspace(0, sample.height - 1, min(PROOF_ROWS, sample.height)).astype(int).tolist()]
        matrix = model.signature.encode(rows.with_columns(pl.col(pl.Boolean).cast(pl.Float64)))
        found = [Unproven(one.format, one.content, one.runtime, one.takes_missing) for one in self.models]
        artifacts = self.resources.artifacts
        if len(found) > 1:
            return package_files(found, model.signature, matrix, weights=self._weights, artifacts=artifacts)
        return package_file(found[0], model.signature, matrix, artifacts=artifacts)

    def _read(self, request: Request) -> ModelFile:
        given = (request.model, request.sample, request.apart, request.asked)
        return read_folder(*given, self._python, request.python) if request.model.is_dir() else read_model(*given)

    def _like_the_first(self, path: Path) -> ModelFile:
        first = self.model.signature
        asked = Asked(first.names, first.output.kind, first.output.classes, first.output.targets)
        return read_model(path, self.request.sample, self.request.apart, asked)

    def _token(self) -> str:
        now = SystemClock().now()
        ensure_role(self.resources, self._caller, name=CALLER, role=Role.SCORER, at=now)
        scopes = [Permission.PREDICTIONS_CREATE]
        secret, _ = issue_token(
            self.resources, self._caller, principal=CALLER, name="serve", scopes=scopes, valid_for=VALID, at=now
        )
        return secret

    def _publish(self, version: int, package: ModelPackage) -> None:
        """Write the manifest where it says something new: another model, or other tokens."""
        path, now = self.settings.manifests_path / f"{PROJECT}.json", SystemClock().now()
        with self.resources.database.reading() as tx:
            grants = [
                TokenGrant(
                    digest=grant.digest,
                    principal=grant.principal,
                    permissions=[str(permission) for permission in grant.permissions],
                    expires_at=grant.expires_at,
                )
                for grant in tokens.grants(tx, now)
            ]
        deployment = self._deployment(version, package)
        before = read_manifest(path, self.resources.key.public) if path.exists() else None
        if before and (before.deployments, before.tokens) == ([deployment], grants):
            return
        sequence = before.sequence + 1 if before else 1
        made = Manifest(project=PROJECT, sequence=sequence, created_at=now, deployments=[deployment], tokens=grants)
        write_manifest(path, made, self.resources.key)

    def _deployment(self, version: int, package: ModelPackage) -> Deployment:
        return Deployment(
            endpoint=self.request.name,
            model=self.request.name,
            version=version,
            package=package.digest,
            package_envelope=self._envelope,
            decision=msgspec.to_builtins(decision_at(self.model, self.request.threshold)),
            decision_version=0,
            views=[],
            key=self.request.key,
            at=self.request.at,
            output=package.signature.output,
            fills=True,
            contract=self.request.contract,
            ladder=self.request.ladder,
        )

    def _served(self, version: int, package: ModelPackage, token: str) -> Served:
        request, signature = self.request, self.model.signature
        rows = request.sample.select(signature.names).head(3)
        output = signature.output
        scores = output.scores(self._predictor.predict(rows.with_columns(pl.col(pl.Boolean).cast(pl.Float64))))
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.settings.host, self.settings.host)  # noqa: S104 - shown, not bound
        table = prediction_table(PROJECT, request.name)
        return Served(
            name=request.name,
            url=f"http://{host}:{self.settings.scoring_port}",
            token=token,
            format=package.format,
            refused=package.refused,
            kind=output.kind,
            classes=output.classes,
            targets=output.targets,
            features=signature.names,
            version=version,
            package=package.digest,
            predictions=str(self.settings.home / "tables" / table),
            row={name: _plain(value) for name, value in rows.row(0, named=True).items()} if rows.height else {},
            scores=np.round(scores, 6).tolist(),
        )


def _weights(given: tuple[float, ...], models: int) -> tuple[float, ...]:
    weights = given or (1.0,) * models
    if len(weights) != models or not all(np.isfinite(one) and one > 0 for one in weights):
        raise InvalidInput(
            "serve.weights",
            f"{len(weights)} weights {list(weights)} do not go with {models} files",
            remedy="Give one positive weight for each file: --weights 0.5,0.5.",
        )
    return tuple(one / sum(weights) for one in weights)


def _plain(value: object) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    return float(value) if isinstance(value, (int, float, np.number)) else str(value)
