"""Who watches a model: the program of each, what it is installed from, what it can do, and how it is held to account."""

from dataclasses import dataclass
from pathlib import Path

APPS = Path(__file__).parent / "apps"


@dataclass(frozen=True)
class Contestant:
    """`role` is "ours" or "peer". `chunk` is how many of Loopline's blocks it gets at once; a peer that takes seconds a chunk gets weeks."""

    name: str
    title: str
    app: str
    role: str
    packages: tuple[str, ...] = ()
    chunk: int = 1
    size: bool = True
    most_rows: int = 10_000_000


EVERYBODY = (
    Contestant("loopline", "Loopline", "ours.py", "ours"),
    Contestant("evidently", "Evidently", "evidently_app.py", "peer", ("evidently==0.7.23", "pyarrow", "pandas<3"), 7, most_rows=1_000_000),
    Contestant("nannyml", "NannyML", "nannyml_app.py", "peer", ("nannyml==0.13.1", "statsmodels", "pandas<3", "pyarrow"), 1, most_rows=1_000_000),
    Contestant("alibi-detect", "alibi-detect", "alibi_app.py", "peer", ("alibi-detect==0.13.0", "pyarrow<20"), 1, most_rows=1_000_000),
    Contestant("river", "river", "river_app.py", "peer", ("river==0.26.1",), 1, most_rows=100_000),
)  # fmt: skip
