"""What users hand in, as what is kept: JSON values and floats."""

from collections.abc import Mapping
from typing import Any

from loopline.errors import InvalidInput

_DEEPEST = 20
_LARGEST = 2**63


def plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON knows it. Scalars of NumPy and its like become numbers; what JSON does not know, its text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _LARGEST else str(value)
    if isinstance(value, float):
        return float(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(name): plain(one, depth + 1) for name, one in value.items()}
    if depth < _DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        return [
            plain(one, depth + 1) for one in (sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value)
        ]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "size", None) == 1:
        found = item()
        return found if isinstance(found, (bool, int, float, str)) else str(found)
    return str(value)


def number(name: str, value: Any) -> float:
    """The value of a metric. Raises `InvalidInput` for what is no number."""
    if not isinstance(value, (str, bytes)):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    raise InvalidInput(
        "run.metric_not_a_number",
        f"metric {name} is {value!r}, which is no number",
        remedy="Log numbers as metrics, everything else with log_params or log_artifact.",
    )
