"""A document as blocks, written once and rendered as Markdown or as a page."""

from collections.abc import Sequence
from dataclasses import dataclass

from loopline.app.report.bars import Bar, bars
from loopline.app.report.document import document, heading, section
from loopline.app.report.markup import Markup, element
from loopline.app.report.table import column, table

_BAR = 24


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table; a cell that starts with a digit or a sign stands to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Drawing:
    """Bars; in Markdown, where figures stand in tables beside them, they are left out unless `in_text`."""

    title: str
    bars: tuple[Bar, ...]
    in_text: bool = False


Block = Text | Grid | Drawing


@dataclass(frozen=True)
class Part:
    """A part of a document under its heading."""

    title: str
    blocks: tuple[Block, ...]


def as_markdown(eyebrow: str, title: str, lead: str, parts: Sequence[Part]) -> str:
    """The document in Markdown (GitHub's, with tables)."""
    told = [f"# {_plain(eyebrow)}: {_plain(title)}", _plain(lead)]
    for part in parts:
        shown = [block for block in part.blocks if not isinstance(block, Drawing) or block.in_text]
        told += [f"## {_plain(part.title)}", *map(_markdown, shown)]
    return "\n\n".join(told) + "\n"


def as_html(eyebrow: str, title: str, lead: str, parts: Sequence[Part]) -> str:
    """The document as one HTML file that needs nothing else."""
    made = [section(part.title, *(_html(block) for block in part.blocks)) for part in parts]
    return document(f"{eyebrow} of {title}", heading(eyebrow, title, lead), *made)


def _markdown(block: Block) -> str:
    if isinstance(block, Text):
        return _plain(block.text)
    if isinstance(block, Drawing):
        most = max((abs(bar.value) for bar in block.bars), default=0.0) or 1.0
        width = max((len(bar.name) for bar in block.bars), default=0)
        drawn = [f"{bar.name:<{width}}  {_letters(bar.value, most)} {bar.value:+.4g}" for bar in block.bars]
        return "\n".join(["```text", *drawn, "```"])
    head = [" | ".join(map(_cell, block.columns)), " | ".join("---" for _ in block.columns)]
    rows = [" | ".join(map(_cell, row)) for row in block.rows]
    return "\n".join(f"| {line} |" for line in [*head, *rows]) + (
        f"\n\n{_plain(block.caption)}" if block.caption else ""
    )


def _letters(value: float, most: float) -> str:
    return ("#" if value >= 0 else "-") * max(round(_BAR * abs(value) / most), 1 if value else 0)


def _plain(text: str) -> str:
    """Text that stays text: what a value holds must not become markup of the page that shows it."""
    flat = " ".join(text.split())
    for sign in ("\\", "`", "*", "_", "<", "[", "#"):
        flat = flat.replace(sign, f"\\{sign}")
    return flat


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|") or " "


def _html(block: Block) -> Markup:
    if isinstance(block, Text):
        return element("p", block.text)
    if isinstance(block, Drawing):
        return element("figure", bars(block.bars, title=block.title), element("figcaption", block.title))
    head = element("tr", *map(column, block.columns))
    body = [element("tr", element("th", row[0], scope="row"), *map(_data, row[1:])) for row in block.rows]
    return table(block.caption, head, element("tbody", *body))


def _data(text: str) -> Markup:
    numeric = text[:1].isdigit() or text[:1] in {"+", "\N{MINUS SIGN}"}
    return element("td", text, class_="number" if numeric else None)
