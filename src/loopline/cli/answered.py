"""Questions with their answers, as the commands that watch print them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text


def print_answered(
    console: Console, questions: Iterable[tuple[str, Sequence[str]]], report: Path | None, following: Sequence[str]
) -> None:
    """Each question with its sentences, where the report is, and which commands come next."""
    for question, sentences in questions:
        console.print(f"\n{question}", style="bold", markup=False)
        for sentence in sentences:
            console.print(Padding(Text(sentence), (0, 0, 0, 2), expand=False))
    if report is not None:
        console.print(f"\nReport: {report}", markup=False)
    console.print("\nWhat next:", markup=False)
    for line in following:
        console.print(f"  {line}", markup=False, soft_wrap=True)
