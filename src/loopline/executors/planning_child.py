"""The program that traces pipelines: `python -m loopline.executors.planning_child SOCKET ARTIFACTS DURABLE CODE DIGEST`.

It imports the code pinned under DIGEST and nothing of what lies about here, and answers one question after the other.
"""

import os
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from loopline.errors import InvalidInput, LooplineError, Unavailable
from loopline.executors.frames import receive, send
from loopline.pipelines.code import import_from, named, unpack
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.fingerprint import Fingerprints
from loopline.pipelines.graph import Binding, Graph, Node
from loopline.pipelines.limits import Limit
from loopline.pipelines.params import given_params
from loopline.pipelines.planning import Plan, plan
from loopline.storage.artifacts import ArtifactStore, open_artifacts
from loopline.values import Window


class Question(msgspec.Struct, frozen=True):
    """Which pipeline is to be planned: `function` as `module:qualname`, `params` as plain data, `window` from and to (UTC)."""

    function: str
    params: dict[str, Any]
    window: tuple[datetime, datetime] | None


class Answer(msgspec.Struct, frozen=True):
    """A plan without its functions, or what went wrong: `unavailable` says that it may go well another time."""

    pipeline: str = ""
    nodes: list[Node] = []
    result: Binding | None = None
    params: str = ""
    window: tuple[datetime, datetime] | None = None
    code: str = ""
    limits: list[Limit] = []
    priority: int = 0
    error: str = ""
    message: str = ""
    remedy: str = ""
    unavailable: bool = False

    def plan(self) -> Plan:
        """The plan. Raises `InvalidInput` or `Unavailable` where there is none."""
        if self.result is None:
            kind = Unavailable if self.unavailable else InvalidInput
            raise kind(self.error, self.message, remedy=self.remedy)
        window = Window(*self.window) if self.window else None
        graph = Graph(self.pipeline, self.nodes, self.result, {})
        return Plan(self.pipeline, graph, self.params, window, self.code, self.limits, self.priority)


def main() -> None:
    """Answer until the other end of the socket is closed. What the user's code prints goes nowhere."""
    handle, artifacts_url, durable, folder, code = sys.argv[1:]
    with socket.socket(fileno=int(handle)) as channel:
        artifacts = open_artifacts(artifacts_url, durable=durable == "1")
        fingerprints = Fingerprints(artifacts)
        import_from(unpack(code, artifacts, Path(folder)))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        send(channel, b"ready")
        while (frame := receive(channel)) is not None:
            question = msgspec.json.decode(frame, type=Question)
            send(channel, msgspec.json.encode(answer(question, code, artifacts, fingerprints)))


def answer(question: Question, code: str, artifacts: ArtifactStore, fingerprints: Fingerprints) -> Answer:
    """The plan; whatever the user's code raises is told as an error of the pipeline."""
    window = Window(*question.window) if question.window else None
    try:
        found = named(question.function)
        if not isinstance(found, Pipeline):
            return Answer(error="pipeline.not_found", message=f"{question.function} is no pipeline any more")
        params = given_params(found, question.params, window)
        made = plan(found, params, artifacts, code=code, fingerprints=fingerprints)
    except LooplineError as error:
        away = isinstance(error, Unavailable)
        return Answer(error=error.code, message=error.message, remedy=error.remedy, unavailable=away)
    except Exception as error:  # whatever the user's code raises
        return Answer(
            error="pipeline.body_failed",
            message=f"the pipeline's body fails: {type(error).__name__}: {error}",
            remedy="The body only calls steps; let those do the work.",
        )
    times = (made.window.start, made.window.end) if made.window else None
    graph = made.graph
    return Answer(made.pipeline, graph.nodes, graph.result, made.params, times, code, made.limits, made.priority)


if __name__ == "__main__":
    main()
