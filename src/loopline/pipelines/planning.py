"""From a pipeline and params to what is submitted: traced, checked, its code pinned. Nothing is written but artifacts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loopline.errors import InvalidInput
from loopline.pipelines.code import pin
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.fingerprint import Fingerprints
from loopline.pipelines.graph import Graph
from loopline.pipelines.healing.remedies import SkipWindow
from loopline.pipelines.limits import Limit
from loopline.pipelines.params import kept_params, window_in
from loopline.pipelines.trace import Tracer, check_params
from loopline.storage.artifacts import ArtifactStore
from loopline.values import Window


@dataclass(frozen=True)
class Plan:
    """An execution before it is submitted. `code` is the digest of the pinned files; None binds it to this process."""

    pipeline: str
    graph: Graph
    params: str
    window: Window | None
    code: str | None
    limits: list[Limit]
    priority: int

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """The functions of its steps, by key."""
        return self.graph.functions


def check_skipping(graph: Graph, window: Window | None) -> None:
    """Raise `InvalidInput` "healing.no_window" where a step would put off a window that the execution does not have."""
    for node in graph.nodes if window is None else []:
        remedies = [remedy for one in node.options.heal or () for remedy in one.remedies]
        if any(isinstance(one, SkipWindow) and one.backfill_after for one in remedies):
            raise InvalidInput(
                "healing.no_window",
                f"`{node.name}` declares ll.skip_window(backfill_after=...), and {graph.pipeline} takes no window",
                remedy="Annotate one of the pipeline's parameters with ll.Window, or use ll.skip_window alone.",
            )


def plan(
    pipeline: Pipeline,
    params: Mapping[str, Any],
    artifacts: ArtifactStore,
    *,
    code: str | None = None,
    fingerprints: Fingerprints | None = None,
) -> Plan:
    """Trace the pipeline for these params. Code and large constants are durable in `artifacts` on return.

    `code` is the digest of the pinned files where the pipeline was imported from these; `fingerprints` are kept where many are planned.
    Raises `DeclarationError` for steps that do not fit together and `InvalidInput` for params that the pipeline does not take.
    """
    given = check_params(pipeline.name, pipeline.signature, params)
    kept = kept_params(pipeline.name, given)
    graph = pipeline.trace(Tracer(artifacts, fingerprints), **given)
    window = window_in(pipeline, given)
    check_skipping(graph, window)
    pinned = code or pin(graph.functions.values(), artifacts)
    return Plan(pipeline.name, graph, kept, window, pinned, pipeline.limits, pipeline.priority)
