"""Writes the file of what was adopted; it never overwrites."""

from pathlib import Path

from loopline.app.adopting.adopt import Adopted
from loopline.errors import Conflict, InvalidInput


def write_pipeline(made: Adopted, to: Path) -> None:
    """Write the pipeline file. Raises `Conflict` if there is one, and `InvalidInput` where none can be written."""
    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(made.text)
    except FileExistsError:
        raise Conflict(
            "adopt.exists", f"{to} exists; nothing is ever overwritten", remedy="Give --to another name, or remove it."
        ) from None
    except OSError as problem:
        raise InvalidInput(
            "adopt.cannot_write",
            f"{to} cannot be written: {problem.strerror}",
            remedy="Give --to a path in a folder that exists.",
        ) from problem
