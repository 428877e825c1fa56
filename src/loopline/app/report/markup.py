"""Markup that is escaped by construction: text given to an element is text, whatever it holds.

What comes out is HTML and well-formed XML at once.
"""

import html
import re
from collections.abc import Iterable

_VOID = {"meta", "br"}
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


def escape(text: str) -> Markup:
    """The text as markup; characters that no page may hold become U+FFFD."""
    return text if isinstance(text, Markup) else Markup(html.escape(_UNPRINTABLE.sub("\ufffd", text)))


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """An element. `class_` is written `class`, `aria_label` `aria-label`; an attribute of None is left out."""
    written = "".join(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    if name in _VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{''.join(map(escape, children))}</{name}>")


def join(parts: Iterable[str], between: str = "") -> Markup:
    """Parts one after the other, escaped."""
    return Markup(escape(between).join(map(escape, parts)))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
