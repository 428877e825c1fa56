"""Metaflow: a flow written for each length, since its steps are methods; each step is a process, `foreach` fans out."""

import os
import subprocess
import sys

from timing import FOLDER, both

ADD = """
    @step
    def add_{number}(self):
        self.value += 1
        self.next(self.{following})
"""

SEQUENCE = """from metaflow import FlowSpec, step


class Sequence(FlowSpec):
    @step
    def start(self):
        self.value = 0
        self.next(self.add_0)
{adds}
    @step
    def end(self):
        open("answer", "w").write(str(self.value))


if __name__ == "__main__":
    Sequence()
"""

FAN_OUT = """from metaflow import FlowSpec, step


class FanOut(FlowSpec):
    @step
    def start(self):
        self.numbers = list(range({count}))
        self.next(self.add, foreach="numbers")

    @step
    def add(self):
        self.value = self.input + 1
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = sum(one.value for one in inputs)
        self.next(self.end)

    @step
    def end(self):
        open("answer", "w").write(str(self.total))


if __name__ == "__main__":
    FanOut()
"""


def run(name: str, text: str) -> int:
    (FOLDER / f"{name}.py").write_text(text)
    command = [
        sys.executable,
        f"{name}.py",
        "--quiet",
        "--no-pylint",
        "--datastore=local",
        "run",
        "--max-num-splits",
        "1000",
    ]
    environment = {**os.environ, "METAFLOW_USER": "bench"}
    subprocess.run(command, cwd=FOLDER, env=environment, check=True, stdout=subprocess.DEVNULL)
    return int((FOLDER / "answer").read_text())


def sequence(count: int) -> int:
    adds = [ADD.format(number=one, following=f"add_{one + 1}" if one + 1 < count else "end") for one in range(count)]
    return run(f"sequence_{count}", SEQUENCE.format(adds="".join(adds)))


both(sequence, lambda count: run(f"fan_out_{count}", FAN_OUT.format(count=count)))
