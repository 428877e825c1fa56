"""A small client for the scoring process and the control plane."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import httpx
import msgspec

from loopline.errors import (
    Conflict,
    InvalidInput,
    LooplineError,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    Unavailable,
)

_SAMPLE = re.compile(r"(?P<name>\w+)(\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

_BY_STATUS: dict[int, type[LooplineError]] = {
    400: InvalidInput,
    401: NotAuthenticated,
    403: NotPermitted,
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    422: InvalidInput,
}


class Client:
    """Speaks to one server with one token. Share it between threads; close it, or use it in a `with` block."""

    def __init__(self, url: str, token: str, *, timeout: float = 30.0) -> None:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(self, model: str, rows: Sequence[Mapping[str, Any]], *, explain: bool = False) -> list[dict[str, Any]]:
        """A prediction for each row, in order; with `explain` each has an `explanation`, of at most 100 rows a call.

        Raises the server's error as the class of the tree that it is.
        """
        body = {"rows": list(rows), **({"explain": True} if explain else {})}
        answer = self.call("POST", f"/predict/{model}", body)
        predictions: list[dict[str, Any]] = answer["predictions"]
        return predictions

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Any call; JSON in, JSON out. Raises `Unavailable` where the server does not answer."""
        return msgspec.json.decode(self._answer(method, path, body).content)

    def metrics(self) -> list[tuple[str, dict[str, str], float]]:
        """The samples of the server's metrics: name, labels, value. Raises as `call`."""
        lines = self._answer("GET", "/metrics").text.splitlines()
        found = [_SAMPLE.fullmatch(line) for line in lines if not line.startswith("#")]
        return [(one["name"], dict(_LABEL.findall(one["labels"] or "")), float(one["value"])) for one in found if one]

    def _answer(self, method: str, path: str, body: Any = None) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        try:
            answer = self._http.request(method, path, content=content)
        except httpx.TransportError as error:
            raise Unavailable(
                "client.no_answer",
                f"{self._http.base_url} does not answer: {error}",
                remedy="Start it with `loopline up FILE`, or check the URL.",
            ) from error
        if answer.is_error:
            raise _error(answer)
        return answer


def _error(answer: httpx.Response) -> LooplineError:
    kind = _BY_STATUS.get(answer.status_code, Unavailable)
    try:
        told = msgspec.json.decode(answer.content)
        return kind(str(told["code"]), str(told["error"]), remedy=str(told.get("remedy", "")))
    except (msgspec.DecodeError, KeyError, TypeError):
        return kind("client.failed", f"the server answered {answer.status_code}: {answer.text[:200]}")
