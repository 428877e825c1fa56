"""What a code digest covers."""

import hashlib
import inspect
import sys
from pathlib import Path
from typing import Any

from loopline.loop.code import code_digest, code_parts
from loopline.loop.load import load_loop

FILES = {
    "helpers.py": "FACTOR = 3\ndef scale(x):\n    return x * FACTOR\ndef unused():\n    return 1\n",
    "beside.py": "def whole():\n    return 2\n",
    "loop.py": """
import math
from functools import cache
import beside
from helpers import scale
import loopline as ll
loop = ll.Loop("l")
SIZE, NAMES = 4, ("a", "b")
class Wrapped:
    def fit(self): return inner()
@cache
def inner(): return [one for one in NAMES if deep(one)]
def deep(x): return x
def alone(): return 1
def fit(train, params):
    return scale(SIZE), Wrapped(), (lambda: beside.whole())(), math.pi
""",
}


def loaded(folder: Path, **changes: str) -> Any:
    folder.mkdir(exist_ok=True)
    for name in ("helpers", "beside"):
        sys.modules.pop(name, None)
    for name, text in FILES.items():
        (folder / name).write_text(
            text.replace(*changes[name.removesuffix(".py")].split("->"))
            if name.removesuffix(".py") in changes
            else text
        )
    load_loop(folder / "loop.py")
    return sys.modules["loopline_loop_loop"]


def test_it_covers_what_the_function_uses_of_its_folder_and_names_each_part(tmp_path):
    parts = code_parts(loaded(tmp_path).fit)
    assert set(parts) == {"fit", "helpers.scale", "FACTOR =", "SIZE =", "NAMES =", "Wrapped", "inner", "deep", "beside"}


def test_a_change_of_any_part_is_a_change_of_the_whole(tmp_path):
    before = loaded(tmp_path / "a")
    digest, parts = code_digest(before.fit), code_parts(before.fit)
    changes = {
        "helpers.scale": {"helpers": "x * FACTOR->x + FACTOR"},
        "Wrapped": {"loop": "return inner()->return 5"},
        "deep": {"loop": "(x): return x->(x): return not x"},
        "beside": {"beside": "return 2->return 3"},
        "fit": {"loop": "math.pi->math.e"},
    }
    for name, change in changes.items():
        now = loaded(tmp_path / name, **change)
        assert code_digest(now.fit) != digest
        different = {part for part in parts if code_parts(now.fit).get(part) != parts[part]}
        assert name in different
        assert len(different) == 1 or name == "Wrapped"
    constant = loaded(tmp_path / "constant", helpers="FACTOR = 3->FACTOR = 4")
    assert {part for part in parts if code_parts(constant.fit)[part] != parts[part]} == {"FACTOR ="}
    assert code_digest(constant.fit) == digest, "a plan tells of code, not of values"


def test_what_is_not_used_does_not_count_nor_where_the_file_lies(tmp_path):
    digest = code_digest(loaded(tmp_path / "a").fit)
    assert code_digest(loaded(tmp_path / "b", helpers="return 1->return 9").fit) == digest
    assert code_digest(loaded(tmp_path / "c", loop="alone(): return 1->alone(): return 7").fit) == digest


def test_alone_it_is_the_digest_of_its_own_text(tmp_path):
    alone = loaded(tmp_path).alone
    assert code_digest(alone) == "sha256:" + hashlib.sha256(inspect.getsource(alone).encode()).hexdigest()


def test_what_has_no_source_has_a_digest_all_the_same():
    assert code_digest(len) == code_digest(len)
    assert code_digest(len) != code_digest(max)
