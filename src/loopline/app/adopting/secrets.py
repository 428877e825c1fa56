"""Secrets written in code: they are never copied; the pipeline reads them from the environment."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from loopline.app.adopting.edits import Edit, edited
from loopline.app.adopting.source import Source
from loopline.runs.secrets import is_secret_name, masked_text

_SHORTEST = 4
_NOT_SECRET = re.compile(
    r"^(<.*>|\[.*\]|None|none|basic|bearer|oauth2?|true|false|\$\{.*\}|x+|\*+|\.+)$", re.IGNORECASE
)
_DO = "Revoke it, since whoever has the file has it, and set the variable {name} where the pipeline runs."


def withhold(source: Source) -> None:
    """Put `os.environ[...]` in place of secrets in the text, mask them in comments and prose, and say where they were."""
    edits: list[Edit] = []
    known: dict[str, str] = {}
    tree = ast.parse(source.text)
    for name, node in _named(tree):
        if isinstance(node.value, str) and len(node.value) >= _SHORTEST and not _NOT_SECRET.match(node.value):
            known.setdefault(node.value, _variable(name))
    inside = {
        id(within)
        for one in ast.walk(tree)
        if isinstance(one, ast.JoinedStr)
        for within in ast.walk(one)
        if within is not one
    }
    for part in ast.walk(tree):
        if id(part) in inside:
            continue
        name = _secret(part, known, len(known))
        if name:
            edits.append(Edit.of(part, f'os.environ["{name}"]'))
            source.find(
                getattr(part, "lineno", 1), "secret.in_code", "decide", f"a secret stands in the code; it is read from the environment as {name}", _DO.format(name=name)
            )  # fmt: skip
    source.text = _masked_comments(edited(source.text, edits), list(known))
    source.closing = masked_text(source.closing, list(known))
    source.cells = [type(cell)(cell.number, masked_text(cell.prose, list(known)), cell.count) for cell in source.cells]


def _secret(node: ast.AST, known: dict[str, str], count: int) -> str:
    """The variable that stands for the secret that a literal is or holds; empty for any other code."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        texts = [node.value]
    elif isinstance(node, ast.JoinedStr):
        texts = [part.value for part in node.values if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    else:
        return ""
    for text in texts:
        if text in known:
            return known[text]
        if masked_text(text) != text or any(len(one) > _SHORTEST and one in text for one in known):
            name = "DATABASE_URL" if "://" in text else f"SECRET_{count + 1}"
            taken = set(known.values())
            name = name if name not in taken else f"{name}_{count + 1}"
            known[text] = name
            return name
    return ""


def _named(tree: ast.Module) -> Iterator[tuple[str, ast.Constant]]:
    """Literals that go by a name: assigned, given for a keyword, a default or a key."""
    for node in ast.walk(tree):
        for name, value in _pairs(node):
            if isinstance(value, ast.Constant) and name and is_secret_name(name):
                yield name, value


def _pairs(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(node, ast.Assign):
        yield from ((_target(target), node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign):
        yield _target(node.target), node.value
    elif isinstance(node, ast.keyword):
        yield node.arg or "", node.value
    elif isinstance(node, ast.Dict):
        yield from ((_text(key), value) for key, value in zip(node.keys, node.values, strict=True))
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        arguments = [*node.args.posonlyargs, *node.args.args]
        yield from ((one.arg, value) for one, value in zip(arguments[::-1], node.args.defaults[::-1], strict=False))
        yield from ((one.arg, value) for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    elif (
        isinstance(node, ast.Call)
        and node.args
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "add_argument"
    ):
        default = next((one.value for one in node.keywords if one.arg == "default"), None)
        yield _text(node.args[-1]), default


def _target(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _text(node.slice)
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _variable(name: str) -> str:
    return re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).strip("_").upper()


def _masked_comments(text: str, known: list[str]) -> str:
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            line = lines[row - 1]
            lines[row - 1] = line[:column] + _assigned(
                masked_text(line[column:], [one for one in known if len(one) > _SHORTEST])
            )
    return "\n".join(lines)


_COMMENTED = re.compile(r"(\b\w+)(\s*[=:]\s*)([\"'])(.{4,}?)\3")


def _assigned(comment: str) -> str:
    """Code that was commented out keeps its secrets no better."""
    return _COMMENTED.sub(
        lambda found: f"{found[1]}{found[2]}{found[3]}***{found[3]}" if is_secret_name(found[1]) else found[0], comment
    )
