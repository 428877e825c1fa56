"""Whether what one step returns is what another takes, by their annotations."""

import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

_WIDER = {float: (int,), complex: (int, float)}
_LISTS: tuple[Any, ...] = (list, Sequence, Iterable, Collection, tuple)


def accepts(wanted: Any, given: Any) -> bool:
    """Whether a value annotated `given` may go where `wanted` is annotated; what is not annotated goes anywhere."""
    wanted, given = _bare(wanted), _bare(given)
    if wanted is Any or given is Any or wanted == given or wanted is object:
        return True
    if _is_union(given):
        return all(accepts(wanted, one) for one in get_args(given))
    if _is_union(wanted):
        return any(accepts(one, given) for one in get_args(wanted))
    if Literal in (get_origin(wanted), get_origin(given)):
        return _literal(wanted, given)
    return _classes(wanted, given) and _arguments(wanted, given)


def takes_none(wanted: Any) -> bool:
    """Whether a parameter so annotated says that it takes None."""
    wanted = _bare(wanted)
    return wanted is type(None) or (_is_union(wanted) and type(None) in get_args(wanted))


def element_of(given: Any) -> Any:
    """What the elements of a list-like annotation are; None where it is no list."""
    given = _bare(given)
    if given is Any:
        return Any
    origin = get_origin(given) or given
    if origin not in _LISTS:
        return None
    arguments = [one for one in get_args(given) if one is not Ellipsis]
    return arguments[0] if arguments else Any


def name_of(annotation: Any) -> str:
    """An annotation as a person writes it."""
    if get_origin(annotation) is None and isinstance(annotation, type):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if isinstance(annotation, TypeVar | str):
        return Any
    return type(None) if annotation is None else annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _literal(wanted: Any, given: Any) -> bool:
    if get_origin(given) is not Literal:
        return False
    if get_origin(wanted) is Literal:
        return set(get_args(given)) <= set(get_args(wanted))
    return all(accepts(wanted, type(one)) for one in get_args(given))


def _classes(wanted: Any, given: Any) -> bool:
    outer, inner = get_origin(wanted) or wanted, get_origin(given) or given
    if not isinstance(outer, type) or not isinstance(inner, type):
        return True
    try:
        return issubclass(inner, (outer, *_WIDER.get(outer, ())))
    except TypeError:  # a protocol that cannot be asked
        return True


def _arguments(wanted: Any, given: Any) -> bool:
    outer, inner = get_args(wanted), get_args(given)
    if not outer or not inner:
        return True
    if element_of(wanted) is not None and element_of(given) is not None and Ellipsis not in (*outer, *inner):
        outer, inner = (
            outer[:1] if len(outer) != len(inner) else outer,
            inner[:1] if len(outer) != len(inner) else inner,
        )
    if len(outer) != len(inner):
        return not issubclass(get_origin(wanted) or object, Mapping)
    return all(accepts(one, other) for one, other in zip(outer, inner, strict=True) if Ellipsis not in (one, other))
