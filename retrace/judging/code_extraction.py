"""The program in a response: the last fenced block of its solution that is Python."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from retrace import sections

# A line that opens or closes a block: a fence and, to open one, an info string.
_FENCE = re.compile(r"[ \t]*(?P<fence>```+|~~~+)[ \t]*(?P<tag>[^`]*)")
# A fence that starts or ends within a line, as some models write it.
_INLINE_FENCE = re.compile(r"```(?P<tag>[a-zA-Z0-9+#]*)\s(?P<body>.*?)```", re.DOTALL)
_OTHER_LANGUAGES = re.compile(
    "text|plaintext|output|console|bash|sh|shell|json|yaml|diff|cpp|c\\+\\+|c|java|go"
    "|rust|javascript|js|typescript|csharp|kotlin|ruby|html|latex|tex|markdown"
)


@dataclass(frozen=True)
class _Block:
    tag: str
    source: str

    @property
    def other(self) -> bool:
        return _OTHER_LANGUAGES.fullmatch(self.tag) is not None


def extract_program(response: str, entry: str | None = None) -> str | None:
    """The program that a response gives as its answer, or None.

    Of several fenced blocks the last wins among those that define `entry` (where one is
    asked for), else among those that are Python, else of all: a program with a syntax
    error is still the answer. A tag that names another language only counts against a
    block that does not parse. Without any block, text that is Python is the program.
    """
    text = sections.parse(response).solution.replace("\r\n", "\n")
    text = text.replace("\ufeff", "")  # a byte order mark, valid in files alone
    blocks = [*_fenced(text)] or [
        _Block(match["tag"].lower(), match["body"])
        for match in _INLINE_FENCE.finditer(text)
    ]
    blocks = [block for block in blocks if block.source.strip()]
    if not blocks:
        return text if _is_program(_parse(text)) else None
    trees = [_parse(block.source) for block in blocks]
    if entry:
        for block, tree in zip(reversed(blocks), reversed(trees), strict=True):
            if tree is not None and _defines(tree, entry):
                return block.source
    for block, tree in zip(reversed(blocks), reversed(trees), strict=True):
        if _is_program(tree):
            return block.source
    written = [block for block in blocks if not block.other]
    return written[-1].source if written else None


def _fenced(text: str) -> Iterator[_Block]:
    """The fenced blocks of a Markdown text; the end of the text closes the last one."""
    fence, tag, body = "", "", list[str]()
    for line in text.split("\n"):
        match = _FENCE.fullmatch(line)
        if not fence:
            if match is not None:
                fence, tag, body = match["fence"], match["tag"].strip().lower(), []
        elif (
            match is not None and match["fence"].startswith(fence) and not match["tag"]
        ):
            yield _Block(tag, textwrap.dedent("\n".join(body)))
            fence = ""
        else:
            body.append(line)
    if fence:
        yield _Block(tag, textwrap.dedent("\n".join(body)))


def _parse(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a response's invalid escapes
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_program(tree: ast.Module | None) -> bool:
    """Whether the code does anything: sample data and single words parse as well."""
    if tree is None:
        return False
    return any(
        not isinstance(node, ast.Expr) or _calls_something(node) for node in tree.body
    )


def _calls_something(node: ast.Expr) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


def _defines(tree: ast.Module, name: str) -> bool:
    functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return any(
        (isinstance(node, functions) and node.name == name)
        or (isinstance(node, ast.Name) and node.id == name and _stored(node))
        for node in ast.walk(tree)
    )


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
