"""What IPython adds to Python, turned into Python or left out; the count of lines stays."""

import ast
import re
from collections.abc import Callable

from loopline.app.adopting.finding import Weight

# line, kind, weight, what, what to do
Noted = tuple[int, str, Weight, str, str]

_QUIET = {
    "matplotlib", "load_ext", "reload_ext", "autoreload", "config", "precision", "colors", "xmode", "pdb", "pinfo", "who", "whos",
    "history", "lsmagic", "timeit", "memit", "prun", "lprun", "mprun", "pprint", "ls", "pwd", "page", "doctest_mode",
}  # fmt: skip
_INSTALLS = {"pip", "conda", "mamba", "micromamba", "uv", "pip3"}
_SHOWN = {"html", "HTML", "javascript", "js", "markdown", "latex", "svg", "SVG"}
_TIMED = {"time", "capture", "timeit", "prun", "memit", "mprun"}
_LINE = re.compile(r"^(\s*)(?:([\w, ]+?)\s*=\s*)?([%!])\s*([\w.]*)(.*)$")
_ASKED = re.compile(r"^\s*(\?{1,2}[\w.]+|[\w.]+\?{1,2})\s*$")


def plain(cell: str) -> tuple[str, list[Noted]]:
    """The cell as Python, and what became of its magics. What parses as it is has none."""
    if _parses(cell) or not re.search(r"^\s*([%!?]|[\w, ]+=\s*[%!])|\?\s*$", cell, re.MULTILINE):
        return cell, []
    lines = cell.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        return _cell_magic(lines, first)
    noted: list[Noted] = []
    made = [_line(line, number, noted) for number, line in enumerate(lines, 1)]
    return "\n".join(made), noted


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _cell_magic(lines: list[str], first: int) -> tuple[str, list[Noted]]:
    name, _, rest = lines[first][2:].strip().partition(" ")
    below = lines[first + 1 :]
    if name in _TIMED:
        body, noted = plain("\n".join(below))
        shifted = [(line + first + 1, *others) for line, *others in noted]
        told: Noted = (
            first + 1,
            "magic.left_out",
            "note",
            f"%%{name} is left out",
            "Nothing; attempts of a step are timed.",
        )
        return "\n".join([*[""] * (first + 1), body]), [told, *shifted]  # type: ignore[list-item]
    if name in {"bash", "sh"} and '"""' not in "".join(below):
        body = "\n".join(below)
        made = "\n".join([*[""] * first, f'subprocess.run(["{name}", "-c", r"""', f'{body}"""], check=True)'])
        return made, [(first + 1, "effect.shell", "decide", f"%%{name} runs a shell", _SHELL)]
    kind, weight, what, do = _other(name, rest)
    return "\n".join([*[""] * first, *(f"# {line}" for line in lines[first:])]), [(first + 1, kind, weight, what, do)]


_SHELL = "See that its program is on every worker; a shell step with declared files says more."


def _other(name: str, rest: str) -> tuple[str, Weight, str, str]:
    if name in _SHOWN:
        return "magic.left_out", "note", f"%%{name} only shows something and is left out", "Nothing."
    if name == "sql":
        into = f" (its result goes to `{rest.split('<<', maxsplit=1)[0].strip()}`)" if "<<" in rest else ""
        return (
            "magic.sql", "decide", f"a %%sql cell is left out{into}: its connection is not in the code",
            "Make it a SQL step with named inputs, or read with Polars or pandas.",
        )  # fmt: skip
    if name == "writefile":
        return "magic.writefile", "decide", f"%%writefile {rest} is left out", "Keep that file beside the pipeline."
    return "magic.unknown", "blocks", f"%%{name} is not Python", "Write the cell in Python, or run it as a shell step."


def _line(line: str, number: int, noted: list[Noted]) -> str:
    if _ASKED.match(line):
        return ""
    match = _LINE.match(line)
    if match is None or (match[3] == "%" and not match[4]):
        return line
    indent, into, sign, name, rest = match.groups()
    empty = f"{indent}pass" if indent else ""
    word = name or rest.strip().partition(" ")[0]
    if word in _INSTALLS or (word in {"python", "python3"} and " pip " in rest):
        noted.append(
            (number, "magic.install", "decide", f"`{line.strip()}` installs while it runs; it is left out",
             "Name the package in the project's dependencies.")
        )  # fmt: skip
        return empty
    if sign == "!":
        noted.append((number, "effect.shell", "decide", f"`{line.strip()}` runs a shell command", _SHELL))
        return indent + _shell(into, (name + rest).strip())
    return _LINE_MAGICS.get(name, _rest)(indent, into, name, rest.strip(), number, noted)


def _shell(into: str | None, command: str) -> str:
    text = ("f" if "{" in command else "") + repr(command)
    if into is None:
        return f"subprocess.run({text}, shell=True, check=False)"
    return (
        f"{into} = subprocess.run({text}, shell=True, check=False, capture_output=True, text=True).stdout.splitlines()"
    )


def _time(indent: str, into: str | None, name: str, rest: str, number: int, noted: list[Noted]) -> str:
    noted.append((number, "magic.left_out", "note", f"%{name} is left out", "Nothing; attempts of a step are timed."))
    return f"{indent}{f'{into} = ' if into else ''}{rest}"


def _env(indent: str, _into: str | None, _name: str, rest: str, _number: int, _noted: list[Noted]) -> str:
    variable, _, value = rest.replace("=", " ", 1).partition(" ")
    return f"{indent}os.environ[{variable!r}] = {value.strip()!r}" if value else f"{indent}pass" if indent else ""


def _rest(indent: str, into: str | None, name: str, rest: str, number: int, noted: list[Noted]) -> str:
    told = f"%{name} {rest}".strip()
    if name in _QUIET and into is None:
        noted.append((number, "magic.left_out", "note", f"`{told}` is left out", "Nothing; it is about the notebook."))
        return f"{indent}pass" if indent else ""
    do = {
        "run": "Put what that file defines into a module and import it.",
        "cd": "Use paths that are params of the pipeline.",
    }.get(name, "Write it in Python.")
    noted.append((number, "magic.unknown", "blocks", f"`{told}` is not Python", do))
    return f"{indent}pass" if indent else ""


_LINE_MAGICS: dict[str, Callable[[str, str | None, str, str, int, list[Noted]], str]] = {
    "time": _time,
    "env": _env,
    "set_env": _env,
}
