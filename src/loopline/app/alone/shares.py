"""What the slices of models watched from files have of their budgets, as it is kept in a home."""

from pathlib import Path

import msgspec

FOLDER = "alone"


class _Setup(msgspec.Struct, frozen=True):
    of_slices: float = 0.0


class _Record(msgspec.Struct, frozen=True):
    setup: _Setup


def shares_of_slices(home: Path) -> dict[str, float]:
    """For each model that `loopline watch` keeps in the home, by name, how many false pages a year its slices may raise; what cannot be read is left out."""
    found = {}
    for path in sorted((home / FOLDER).glob("*.json")):
        try:
            found[path.stem] = msgspec.json.decode(path.read_bytes(), type=_Record).setup.of_slices
        except (OSError, msgspec.DecodeError):
            continue
    return {name: share for name, share in found.items() if share}
