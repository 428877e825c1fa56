"""The graph of a pipeline as plain data: nodes, and where each of their parameters comes from."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from loopline.pipelines.codecs import Value
from loopline.pipelines.healing.remedies import When
from loopline.pipelines.retries import Retrying


class Constant(msgspec.Struct, frozen=True, tag_field="is", tag="value"):
    """A value that was there when the pipeline was traced."""

    value: Value


class FromStep(msgspec.Struct, frozen=True, tag_field="is", tag="step"):
    """What the step of this number gives; of a fan-out, the list of what its elements give."""

    number: int


class Part(msgspec.Struct, frozen=True, tag_field="is", tag="part"):
    """One of the values that a step gives as a tuple, by its place."""

    number: int
    place: int


class ListOf(msgspec.Struct, frozen=True, tag_field="is", tag="list"):
    """A list put together from several sources."""

    items: list["Binding"]


class NamedOf(msgspec.Struct, frozen=True, tag_field="is", tag="named"):
    """A dict put together from several sources."""

    items: dict[str, "Binding"]


Binding = Constant | FromStep | Part | ListOf | NamedOf

_BINDING = msgspec.json.Decoder(Binding)
_BINDINGS = msgspec.json.Decoder(dict[str, Binding])


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a step is run: seconds it may take (None: any), its cores, bytes of memory (0: any), and the rest of `step`.

    `heal` is what is tried against its errors (None: what the pipeline says), `owner` who is told of them, `classes` the classes of errors that
    the pipeline knows better.
    """

    retries: Retrying = Retrying()
    timeout: float | None = None
    cores: float = 1.0
    memory: int = 0
    reuse: bool = True
    priority: int = 0
    limit: str | None = None
    hints: dict[str, Any] = {}
    heal: tuple[When, ...] | None = None
    owner: str = ""
    classes: dict[str, str] = {}


class Defaults(msgspec.Struct, frozen=True):
    """What a pipeline says for all of its steps; see `Options`."""

    heal: tuple[When, ...] | None = None
    owner: str = ""
    classes: dict[str, str] = {}

    def within(self, outer: "Defaults") -> "Defaults":
        """These, and where they say nothing those of the pipeline around."""
        heal = outer.heal if self.heal is None else self.heal
        return Defaults(heal, self.owner or outer.owner, {**outer.classes, **self.classes})


class Node(msgspec.Struct, frozen=True):
    """A step of the graph, or with `mapped` one for each element of those parameters.

    `condition` must come out true for it to run. `optional` are the parameters that take None, so that a skipped source does not skip it.
    `at` is where the pipeline calls it.
    """

    number: int
    name: str
    function: str
    code: str
    options: Options
    bindings: dict[str, Binding]
    mapped: tuple[str, ...]
    condition: Binding | None
    optional: frozenset[str]
    at: str

    @property
    def kind(self) -> str:
        """`step` or `each`."""
        return "each" if self.mapped else "step"

    def sources(self) -> Iterator[tuple[int, bool]]:
        """The number of each step it waits for, and whether it can do without that one's value."""
        for name, binding in self.bindings.items():
            for number in numbers_in(binding):
                yield number, name in self.optional
        if self.condition is not None:
            for number in numbers_in(self.condition):
                yield number, False


class Graph(msgspec.Struct, frozen=True):
    """A traced pipeline: its nodes in an order in which each comes after its sources, and what it returns."""

    pipeline: str
    nodes: list[Node]
    result: Binding
    functions: dict[str, Callable[..., Any]]


def numbers_in(binding: Binding) -> Iterator[int]:
    """The steps that a binding reads."""
    if isinstance(binding, FromStep | Part):
        yield binding.number
    elif isinstance(binding, ListOf):
        for one in binding.items:
            yield from numbers_in(one)
    elif isinstance(binding, NamedOf):
        for one in binding.items.values():
            yield from numbers_in(one)


def read_binding(text: str) -> Binding:
    """A binding as a row keeps it."""
    found: Binding = _BINDING.decode(text)
    return found


def read_bindings(text: str) -> dict[str, Binding]:
    """The bindings of a step as its row keeps them."""
    return _BINDINGS.decode(text)


def text_of(value: Any) -> str:
    """Plain data as rows keep it: canonical JSON."""
    return msgspec.json.encode(value, order="deterministic").decode()
