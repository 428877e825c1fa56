"""What is kept of an attempt that failed: plain data from the step's process, and what the rows say of it."""

import traceback

import msgspec

from loopline.errors import LooplineError
from loopline.pipelines.codecs import Value
from loopline.pipelines.healing.classes import Classified, ErrorClass, classify
from loopline.pipelines.healing.message import shape_of
from loopline.pipelines.healing.raised import Raised, exited, raised

_LONGEST = 4000
_KILLED = -9


class SetAside(msgspec.Struct, frozen=True):
    """The rows of a parameter that a step can go on with, the artifact that keeps those it called wrong, and how many these are."""

    parameter: str
    good: Value
    bad: str
    rows: int


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt's error: what it says, the error as data, and where it was raised.

    `missing` are artifacts of inputs that are gone. `set_aside` is there where the step said which rows are wrong: what can go on, or why
    nothing can. `remedy` is that of an error of ours.
    """

    message: str
    raised: Raised
    trace: str = ""
    missing: tuple[str, ...] = ()
    set_aside: SetAside | str | None = None
    remedy: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """What is kept of an exception that a step raised. Its text is the user's own and is kept."""
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if "/loopline/pipelines/" not in frame.filename
        ]
        text = "".join(traceback.format_list(frames))
        said = error.message if isinstance(error, LooplineError) else f"{type(error).__name__}: {error}"
        remedy = error.remedy if isinstance(error, LooplineError) else ""
        return cls(said[:_LONGEST], raised(error), text[-_LONGEST:], remedy=remedy)

    @classmethod
    def known(cls, error_class: ErrorClass, code: str, said: str) -> "Failure":
        """Of what an executor or worker met itself, and knows the class of; `code` is ours."""
        return cls(said, Raised(told=code, shape=shape_of(said), code=code, class_=error_class))

    @classmethod
    def killed(cls, code: str, said: str, *, out_of_memory: bool = False) -> "Failure":
        """Of a process that ended without a word, or was ended: `code` is ours, `said` tells why."""
        return cls(said, msgspec.structs.replace(exited(_KILLED, out_of_memory=out_of_memory), code=code))

    @classmethod
    def late(cls, said: str) -> "Failure":
        """Of a step whose time was up."""
        types = ("builtins.TimeoutError", "builtins.OSError", "builtins.Exception")
        return cls(said, Raised(types=types, told="its time was up", shape="its time was up", code="step.timeout"))

    @property
    def code(self) -> str:
        """Ours, dotted; `step.failed` for an exception of the user's."""
        return self.raised.code or "step.failed"

    @property
    def error_class(self) -> ErrorClass:
        """Its class by what Loopline knows, without the user's own table."""
        return classify(self.raised).class_

    @property
    def kinds(self) -> tuple[str, ...]:
        """The exception's types from the nearest up, as `module.qualname`."""
        return self.raised.types


class StepError(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure as the rows of a step and of its attempt keep it; `sentence` says what was tried against it."""

    error_class: str
    code: str
    message: str
    kinds: tuple[str, ...] = ()
    trace: str = ""
    sentence: str = ""

    @classmethod
    def of(cls, failure: Failure, found: Classified, sentence: str = "") -> "StepError":
        """A failure that was classified."""
        return cls(found.class_, failure.code, failure.message, failure.kinds, failure.trace, sentence)
