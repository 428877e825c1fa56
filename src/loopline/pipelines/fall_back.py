"""The function that a step falls back to: found where the step is declared, or where it was given."""

import sys
from collections.abc import Callable
from functools import reduce
from typing import Any

from loopline.pipelines.codecs import hints_of
from loopline.pipelines.healing.remedies import FallBack
from loopline.pipelines.own_code import key_of

Function = Callable[..., Any]


def found(remedy: FallBack, beside: Function) -> tuple[Function, str, dict[str, Any]]:
    """The function that is named, its key, and its annotations. A bare name is one of the module of `beside`.

    Raises `LookupError` and `AttributeError` where nothing is called so, `TypeError` for what cannot be called.
    """
    module, _, path = (remedy.function or f"{beside.__module__}:{remedy.step}").partition(":")
    if module not in sys.modules:
        raise LookupError(f"there is no module {module}")
    named: Any = reduce(getattr, path.split("."), sys.modules[module])
    function = getattr(named, "function", named)
    if not callable(function):
        raise TypeError("it cannot be called")
    return function, key_of(function, f"{module}:{path}"), hints_of(function)
