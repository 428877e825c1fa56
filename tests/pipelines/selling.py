"""A pipeline in a file of its own, as a user writes it."""

import math
from dataclasses import dataclass

import loopline as ll

FACTOR = 2


@dataclass
class Found:
    """What a step gives."""

    name: str
    score: float


def scaled(value: int) -> int:
    return FACTOR * value


@ll.step
def look(name: str) -> Found:
    return Found(name, math.inf)


@ll.step
def score(value: int) -> int:
    return scaled(value)


@ll.step
def name_of(found: Found) -> str:
    return found.name


@ll.pipeline
def inner(name: str):
    return look(name)


@ll.pipeline
def outer(window: ll.Window, name: str = "a", value: int = 1):
    return {"found": inner(name), "score": score(value), "name": name_of(inner(name))}
