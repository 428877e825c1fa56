"""Who watches a model: the program of each, what it is installed from, what it can do, and how it is held to account."""

from dataclasses import dataclass
from pathlib import Path

APPS = Path(__file__).parent / "apps"


@dataclass(frozen=True)
class Contestant:
    """`role` is "ours" or "peer". `chunk` is how many days it gets at once; a peer that takes seconds a chunk gets weeks.

    In streams where nothing happens it gets `null_chunk` days at once, at most `null_chunks` times. `most_rows` is what it can take in a sitting.
    """

    name: str
    title: str
    app: str
    role: str
    packages: tuple[str, ...] = ()
    chunk: int = 1
    null_chunk: int = 1
    null_chunks: int = 1_000_000
    most_rows: int = 10_000_000


EVERYBODY = (
    Contestant("loopline", "Loopline", "ours.py", "ours"),
    Contestant("evidently", "Evidently", "evidently_app.py", "peer", ("evidently==0.7.23", "pyarrow", "pandas<3"), 7, null_chunk=30, null_chunks=24, most_rows=1_000_000),
    Contestant("nannyml", "NannyML", "nannyml_app.py", "peer", ("nannyml==0.13.1", "statsmodels", "pandas<3", "pyarrow"), 1, most_rows=1_000_000),
    Contestant("alibi-detect", "alibi-detect", "alibi_app.py", "peer", ("alibi-detect==0.13.0", "pyarrow<20"), 1, null_chunk=7, most_rows=1_000_000),
    Contestant("river", "river", "river_app.py", "peer", ("river==0.26.1",), 1, most_rows=100_000),
)  # fmt: skip
