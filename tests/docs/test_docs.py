"""Every block of the documentation runs, or says why not; every link leads somewhere."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
RUN_BLOCK = re.compile(r"(?P<above>[^\n]*)\n```(?:bash|console|python)\n", re.MULTILINE)
FROM = re.compile(r"<!-- from: (?P<file>\S+) -->\n```python\n(?P<text>.*?)```", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
CUT = "\n# ...\n"


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _has_blocks(page: Path) -> bool:
    return bool(RUN_BLOCK.search(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", [page for page in PAGES if _has_blocks(page)], ids=_name)
def test_the_blocks_of_a_page_run(page: Path, read_page: Callable[[Path], Path]) -> None:
    read_page(page)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    for match in RUN_BLOCK.finditer(page.read_text(encoding="utf-8")):
        note = re.fullmatch(r"<!-- not run:(?P<reason>.*) -->", match["above"])
        assert note is None or len(note["reason"].split()) > 2


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for match in LINK.finditer(text):
        path, _, anchor = match["target"].partition("#")
        if path.startswith(("http://", "https://")):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{_name(page)} links to {match['target']}"
        if anchor:
            assert anchor in _anchors(target), f"{_name(page)} links to {match['target']}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_what_the_readme_shows_of_the_example_is_the_example() -> None:
    shown = FROM.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown
    for file, text in shown:
        rest = (ROOT / file).read_text(encoding="utf-8")
        for part in text.split(CUT):
            assert part.strip() in rest, f"{file} has not, or not in this order:\n{part}"
            rest = rest.partition(part.strip())[2]


def test_every_page_is_reached_from_the_index() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = [match["target"].partition("#")[0] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
        found = {(page.parent / target).resolve() for target in targets if target.endswith(".md")}
        waiting += sorted(found - reached)
    assert set(PAGES) <= reached
