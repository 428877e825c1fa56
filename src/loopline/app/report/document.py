"""What every page is: one HTML file that needs nothing else."""

from collections.abc import Callable, Iterable

from loopline.app.report.markup import Markup, element, join
from loopline.app.report.style import CSS

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The content security policy a page asks for and keeps to."""

WIDE, NARROW = 920.0, 380.0
"""The widths, in pixels, that charts are drawn at: for a screen and for a phone."""


def document(title: str, *content: str, style: str = "") -> str:
    """The page with this content: no script, nothing fetched. `style` adds to that of every page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(f"{CSS}\n{style}" if style else CSS)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', element('main', *content)), lang='en')}\n"


def heading(eyebrow: str, title: str, *sentences: str) -> Markup:
    """The head of a page: what it is, of what, and a few sentences."""
    told = [element("p", sentence, class_="quiet") for sentence in sentences]
    return element("header", element("p", eyebrow, class_="eyebrow"), element("h1", title), *told)


def section(title: str, *content: str) -> Markup:
    """A part of a page under its heading."""
    return element("section", element("h2", title), *content)


def headed(eyebrow: str, title: str, period: str, headlines: Iterable[str]) -> Markup:
    """The head of a page that begins with its answer: over which time, and the answer in large."""
    told = [element("p", sentence, class_="headline") for sentence in headlines]
    above = element("p", eyebrow, class_="eyebrow")
    return element("header", above, element("h1", title), element("p", period, class_="quiet"), *told)


def both(draw: Callable[[float, str], Markup | None], name: str) -> Markup | None:
    """The same chart for a screen and for a phone; the style shows one of them. None where there is nothing to draw."""
    wide, narrow = draw(WIDE, name), draw(NARROW, f"{name}-narrow")
    if wide is None or narrow is None:
        return None
    return join([element("div", wide, class_="wide"), element("div", narrow, class_="narrow")])
