"""From signed manifests to what is served: read, verify, load, warm up; and again when a file changes.

A manifest that cannot be taken is refused and logged, and what was served before goes on. Only when there is no before (the
process starts) does a deployment whose model cannot be loaded begin on a lower rung of its ladder.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec
import structlog

from loopline.clock import Clock
from loopline.config import Settings
from loopline.errors import LooplineError
from loopline.features.definitions import View
from loopline.models.explainer import Explainer, load_explainer
from loopline.models.manifest import Deployment, Manifest, read_manifest
from loopline.models.predictor import Predictor, load_predictor
from loopline.models.runtimes.python import PythonModels
from loopline.models.signing import load_public_keys
from loopline.scoring.engine import Engine, Explainers
from loopline.scoring.exploration import DayBudget
from loopline.scoring.features import FEATURES, FeatureReader, OnlineReader, OnlineValues
from loopline.scoring.guarded import Scorer
from loopline.scoring.pace import Pace
from loopline.scoring.record import CHAMPION, PREVIOUS
from loopline.server.scoring.breakers import Breakers, Changed
from loopline.server.scoring.serving import Project, Serving
from loopline.storage.artifacts import ArtifactStore

_log = structlog.get_logger(__name__)

_Mark = tuple[int, int, int]


class Loader:
    """Keeps a `Serving` in step with the manifest files. Used by one thread at a time, of the worker in `slot`."""

    def __init__(
        self,
        settings: Settings,
        artifacts: ArtifactStore,
        connect: Callable[[], OnlineValues],
        *,
        clock: Clock,
        instance: str,
        slot: int = 0,
        changed: Changed = lambda *_: None,
    ) -> None:
        self._settings = settings
        self._python = PythonModels(settings.python_models, settings.python_memory_mb, settings.python_timeout_s)
        self._slot = slot
        self._artifacts = artifacts
        self._connect = connect
        self._breakers = Breakers(changed, seed=slot)
        self._readers: dict[str, tuple[object, OnlineReader]] = {}
        self._clock = clock
        self._instances = (f"{instance}:{number}" for number in itertools.count())
        self._marks: dict[Path, _Mark] = {}
        self._budgets: dict[str, DayBudget] = {}
        self._predictors: dict[tuple[str, str], Predictor] = {}
        self._explainers: dict[str, Explainer] = {}
        self._paces: dict[str, Pace] = {}
        self.refused = 0

    def changed(self) -> bool:
        """Whether a manifest file is new or another than when it was last looked at."""
        return dict(self._files()) != self._marks

    def load(self, serving: Serving) -> Serving:
        """`serving` with every manifest that changed since the last call. Raises nothing: what is wrong is logged."""
        for path, mark in self._files():
            if self._marks.get(path) != mark:
                self._marks[path] = mark
                serving = self._with(serving, path)
        self._marks = {path: mark for path, mark in self._marks.items() if path.exists()}
        self._forget_unused(serving)
        return serving

    def _with(self, serving: Serving, path: Path) -> Serving:
        before = serving.projects.get(path.stem)
        try:
            project = self._project(path, before)
            loaded = Serving({**serving.projects, path.stem: project})
        except Exception as error:  # whatever is wrong with it, the old one keeps serving
            self.refused += 1
            _log.error("manifest refused", path=str(path), error=repr(error), keeps=before and before.manifest.sequence)
            return serving
        _log.info(
            "manifest taken", project=path.stem, sequence=project.manifest.sequence, endpoints=list(project.engines)
        )
        return loaded

    def _project(self, path: Path, before: Project | None) -> Project:
        at_least = before.manifest.sequence if before else 0
        manifest = read_manifest(path, load_public_keys(self._settings.keys_path), at_least=at_least)
        if manifest.project != path.stem:
            raise ValueError(f"the manifest of project {manifest.project!r} lies at {path.name!r}")
        engines = {
            deployment.endpoint: self._engine(manifest, deployment, strict=before is not None)
            for deployment in manifest.deployments
        }
        return Project(manifest, engines)

    def _engine(self, manifest: Manifest, deployment: Deployment, *, strict: bool) -> Engine:
        champion = self._predictor(deployment.package, deployment.package_envelope, strict=strict)
        former = deployment.previous
        previous = self._predictor(former.package, former.package_envelope, strict=False) if former else None
        terms, endpoint = deployment.ladder.model_breaker, deployment.endpoint
        return Engine(
            manifest.project,
            deployment,
            self._breakers.guarded(endpoint, CHAMPION, deployment.package, champion, terms),
            self._breakers.guarded(endpoint, PREVIOUS, former.package if former else "", previous, terms),
            self._features(deployment),
            clock=self._clock,
            instance=next(self._instances),
            explainers=self._lazy_explainers(deployment, champion, previous),
            budget=self._budget(manifest.project, deployment.endpoint),
            pace=self._paces.get(deployment.package),
            variants=self._guarded(deployment),
        )

    def _guarded(self, deployment: Deployment) -> dict[str, Scorer]:
        """The models of the variants, each behind its breaker."""
        packages = {one.name: one.served.package for one in deployment.variants}
        terms, endpoint = deployment.ladder.model_breaker, deployment.endpoint
        found = {
            name: self._breakers.guarded(endpoint, name, packages[name], model, terms)
            for name, model in self._beside(deployment).items()
        }
        return {name: model for name, model in found.items() if model is not None}

    def _beside(self, deployment: Deployment) -> dict[str, Predictor]:
        """The models of the variants; where one cannot be loaded the champion answers its rows, and says so."""
        found = {
            one.name: self._predictor(one.served.package, one.served.package_envelope, strict=False)
            for one in deployment.variants
        }
        return {name: predictor for name, predictor in found.items() if predictor is not None}

    def _lazy_explainers(
        self, deployment: Deployment, champion: Predictor | None, previous: Predictor | None
    ) -> Explainers:
        former = deployment.previous
        found: dict[str, Callable[[], Explainer]] = {}
        if champion is not None:
            found[CHAMPION] = partial(self._explainer, champion, deployment.background)
        if previous is not None and former is not None:
            found[PREVIOUS] = partial(self._explainer, previous, former.background)
        beside = self._beside(deployment)
        for one in deployment.variants:
            if one.name in beside:
                found[one.name] = partial(self._explainer, beside[one.name], one.served.background)
        return found

    def _explainer(self, predictor: Predictor, background: str) -> Explainer:
        """Loaded when it is first asked for: most requests want no explanation. Two threads may load it; both are right."""
        if background and not self._artifacts.exists(background):  # erased rows must not stay in memory either
            self._explainers.pop(background, None)
        found = self._explainers.get(background)
        if found is None:
            keys = load_public_keys(self._settings.keys_path)
            found = load_explainer(self._artifacts, predictor, background=background, keys=keys)
            self._explainers[background] = found
        return found

    def _budget(self, project: str, endpoint: str) -> DayBudget:
        """One for each endpoint and worker, whatever engines follow each other; it survives the process."""
        named = f"{project}.{endpoint}"
        if named not in self._budgets:
            path = self._settings.explored_path / f"{named}.{self._slot}.json"
            self._budgets[named] = DayBudget(path, share=(self._slot, self._settings.workers))
        return self._budgets[named]

    def _features(self, deployment: Deployment) -> FeatureReader | None:
        """The reader of before where it is to read the same in the same way: it has what was last known."""
        if not deployment.views:
            return None
        terms = (deployment.views, deployment.contract, deployment.ladder)
        known = self._readers.get(deployment.endpoint)
        if known is not None and known[0] == terms:
            return known[1]
        reader = OnlineReader(
            self._connect,
            msgspec.convert(deployment.views, list[View]),
            contract=deployment.contract,
            ladder=deployment.ladder,
            breaker=self._breakers.breaker(deployment.endpoint, FEATURES, "", deployment.ladder.store_breaker),
        )
        self._readers[deployment.endpoint] = (terms, reader)
        return reader

    def _predictor(self, package: str, envelope: str, *, strict: bool) -> Predictor | None:
        if (package, envelope) not in self._predictors:
            try:
                self._predictors[package, envelope] = self._load(package, envelope)
            except LooplineError as error:
                if strict:
                    raise
                _log.error("model cannot be loaded", package=package, error=repr(error))
                return None
        return self._predictors[package, envelope]

    def _load(self, package: str, envelope: str) -> Predictor:
        keys = load_public_keys(self._settings.keys_path)
        predictor = load_predictor(
            self._artifacts, package, envelope=self._artifacts.get(envelope), keys=keys, python=self._python
        )
        self._paces[package] = Pace.measured(predictor.outputs, len(predictor.signature.fields))
        return predictor

    def _forget_unused(self, serving: Serving) -> None:
        used = set(_packages(serving))
        self._predictors = {digests: model for digests, model in self._predictors.items() if digests in used}
        compared = set(_backgrounds(serving))
        self._explainers = {digest: found for digest, found in self._explainers.items() if digest in compared}

    def _files(self) -> Iterator[tuple[Path, _Mark]]:
        for path in sorted(self._settings.manifests_path.glob("[!.]*.json")):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            yield path, (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def sequences(serving: Serving) -> Mapping[str, int]:
    """The sequence of each project's manifest."""
    return {name: project.manifest.sequence for name, project in serving.projects.items()}


def _packages(serving: Serving) -> Iterator[tuple[str, str]]:
    for engine in serving.engines.values():
        deployment = engine.deployment
        yield deployment.package, deployment.package_envelope
        if deployment.previous is not None:
            yield deployment.previous.package, deployment.previous.package_envelope
        for one in deployment.variants:
            yield one.served.package, one.served.package_envelope


def _backgrounds(serving: Serving) -> Iterator[str]:
    for engine in serving.engines.values():
        yield engine.deployment.background
        if engine.deployment.previous is not None:
            yield engine.deployment.previous.background
        yield from (one.served.background for one in engine.deployment.variants)
