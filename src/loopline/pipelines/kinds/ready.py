"""Steps that are no function of the user's: what they do is a text that they are made with, and what they take is named in the call."""

import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loopline.errors import DeclarationError
from loopline.pipelines.codecs import Several
from loopline.pipelines.declare import Function, Step
from loopline.pipelines.graph import Options

_READERS: dict[str, Callable[[Any], pl.DataFrame]] = {".parquet": pl.read_parquet, ".csv": pl.read_csv}


class ReadyStep(Step):
    """A step of one of Loopline's own functions, called with inputs by name. `given` tells what it takes besides, when it is called."""

    def __init__(
        self, name: str, function: Function, options: Options, given: Callable[[], Mapping[str, Any]], returns: Any
    ) -> None:
        super().__init__(function, options)
        self.name, self._given = name, given
        self.__dict__["hints"] = {**self.hints, "return": returns}

    def __call__(self, *args: Any, when: Any = True, **inputs: Any) -> Any:
        """Run it on these inputs, or within a pipeline add it to the graph and return a handle on its output."""
        if args:
            raise _not_named(self.name)
        return super().__call__(when=when, inputs=inputs, **self._given())

    def each(self, *_: Any, **__: Any) -> Any:
        """Not for these: raises `DeclarationError` "step.not_named". Call it from a step of your own instead."""
        raise _not_named(self.name)


def _not_named(name: str) -> DeclarationError:
    frame = sys._getframe(2)  # noqa: SLF001 - the user's own line
    return DeclarationError(
        "step.not_named",
        f"`{name}` takes its inputs by name, and not for each element",
        file=frame.f_code.co_filename,
        line=frame.f_lineno,
        remedy=f"Write {name}(rows=rows).",
    )


def beside(path: str) -> Path:
    """The file at a path that is taken from the folder of the file that declares the step, two calls above."""
    declared = sys._getframe(2).f_globals.get("__file__")  # noqa: SLF001 - where the user wrote it
    return (Path(declared).resolve().parent if declared else Path.cwd()) / Path(path).expanduser()


def frame_of(value: Any) -> pl.DataFrame | None:
    """A frame of Polars, pandas or Arrow as one of Polars; None for any other value."""
    if isinstance(value, pl.DataFrame):
        return value
    library, kind = type(value).__module__.partition(".")[0], type(value).__name__
    if library == "pandas" and kind == "DataFrame":
        return pl.DataFrame({str(name): list(value.iloc[:, place]) for place, name in enumerate(value.columns)})
    if library == "pyarrow" and kind == "Table":
        return pl.DataFrame(pl.from_arrow(value))
    return None


def written(folder: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs as another program takes them: a frame is the file `NAME.parquet` in the folder, bytes are the file `NAME`, and their value is
    that name; the rest is plain data.
    """
    given: dict[str, Any] = {}
    for name, value in inputs.items():
        frame = frame_of(value)
        if frame is not None:
            given[name] = f"{name}.parquet"
            frame.write_parquet(folder / given[name])
        elif isinstance(value, bytes):
            given[name] = name
            (folder / name).write_bytes(value)
        else:
            given[name] = msgspec.to_builtins(value, str_keys=True)
    return given


def outputs_of(output: str | tuple[str, ...]) -> tuple[str, ...]:
    """The files that are to be read; none for an empty text."""
    return (output,) if isinstance(output, str) and output else tuple(output)


def gathered(files: Mapping[str, bytes], outputs: tuple[str, ...]) -> Any:
    """What a program wrote: the value of its one output, or those of several. Parquet and CSV are frames, all else is bytes."""
    values = [_read(name, files[name]) for name in outputs]
    return Several(values) if len(values) > 1 else values[0]


def kind_of(outputs: tuple[str, ...], otherwise: type) -> Any:
    """What a step returns that writes these files, or none."""
    kinds = tuple(pl.DataFrame if Path(one).suffix in _READERS else bytes for one in outputs)
    return tuple.__class_getitem__(kinds) if len(kinds) > 1 else kinds[0] if kinds else otherwise


def _read(name: str, content: bytes) -> Any:
    reader = _READERS.get(Path(name).suffix)
    return content if reader is None else reader(io.BytesIO(content))
