"""Digests of code: what a script does, whatever its comments say.

The digest of a module covers its syntax tree without docstrings; comments and layout
are not in the tree at all. So a comment costs no GPU hours, and a changed function
makes stale exactly the steps whose scripts can reach it by imports.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from retrace.rows import write_lines

PACKAGE = "retrace"
# Where a checkout keeps what was parsed before, and of how many files at most.
PARSED = Path(".snakemake/parsed.json")
MOST = 5000


def code_digests(root: Path, script: Path, *modules: str) -> list[str]:
    """One `file digest` line for each file that a script can reach by imports.

    Only files inside the repository count: libraries are covered by their pins. Modules
    that the script loads by name, such as a judge, are given as `modules`.

    Args:
        root: the repository, against which imports resolve.
        script: the script's path, relative to `root`.
        modules: dotted names of further modules that the step uses.
    """
    waiting = [script, *(_module_file(root, name) for name in modules)]
    closure = set(waiting)
    while waiting:
        file = waiting.pop()
        found = _read(root, file).imports - closure
        closure |= found
        waiting.extend(found)
    _parsed(root).save()
    return [f"{file.as_posix()} {_read(root, file).digest}" for file in sorted(closure)]


def file_digest(root: Path, file: Path) -> str:
    """The digest of one file's code, as `code_digests` writes it."""
    return _read(root, file).digest


def constant(root: Path, module: str, name: str) -> tuple[str, ...]:
    """The strings that a module assigns to a name, read without importing it."""
    text = (root / _module_file(root, module)).read_text("utf-8")
    for node in ast.parse(text).body if name in text else ():
        if isinstance(node, ast.Assign):
            targets: list[ast.expr] = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        named = any(isinstance(t, ast.Name) and t.id == name for t in targets)
        if named and node.value is not None:
            return tuple(ast.literal_eval(node.value))
    return ()


def _module_file(root: Path, name: str) -> Path:
    file = _find(root, name)
    if file is None:
        raise ValueError(f"no module {name} in this repository")
    return file


class _Read(NamedTuple):
    """What there is to know of a file: a digest of its tree, and what it imports."""

    digest: str
    imports: frozenset[Path]


def _read(root: Path, file: Path) -> _Read:
    return _read_at(root, file, (root / file).stat().st_mtime_ns)


@cache
def _read_at(root: Path, file: Path, _modified: int) -> _Read:
    """Read a file; the time only keys the cache within one process."""
    digest, names = _parsed(root).look_up(file, (root / file).read_bytes())
    return _Read(digest, frozenset(f for name in names for f in _files_of(root, name)))


class _Parsed:
    """Digests and imported names by a file's path and content, kept between processes.

    Only what changed is parsed, which is most of the time of planning nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = False
        self._known: dict[str, tuple[str, list[str]]] = {}
        with suppress(OSError, ValueError, TypeError):
            self._known = {
                key: (digest, list(names))
                for key, (digest, names) in dict(json.loads(path.read_text())).items()
            }

    def look_up(self, file: Path, content: bytes) -> tuple[str, list[str]]:
        about = f"{sys.version_info[:2]} {file.as_posix()}\n".encode()
        key = hashlib.sha256(about + content).hexdigest()
        if key not in self._known:
            self._known[key] = _parse(file, content)
            self._new = True
        return self._known[key]

    def save(self) -> None:
        """Keep what is new, in a checkout where Snakemake has run."""
        if self._new and self._path.parent.is_dir():
            newest = list(self._known.items())[-MOST:]
            # A checkout that is read-only is parsed anew each time.
            with suppress(OSError):
                write_lines(self._path, [json.dumps(dict(newest))])
            self._new = False


@cache
def _parsed(root: Path) -> _Parsed:
    return _Parsed(root / PARSED)


def _parse(file: Path, content: bytes) -> tuple[str, list[str]]:
    """A digest of a file's tree, and the names of this package that it imports."""
    tree = ast.parse(content, filename=str(file))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ):
            _drop_docstring(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(_imports(file, node))
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]
    return digest, sorted(names)


def _drop_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> None:
    first = node.body[0] if node.body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        node.body = node.body[1:]


def _imports(file: Path, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Names within this package that a statement imports."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        base = _absolute(file, node)
        names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
    yield from (name for name in names if name.split(".")[0] == PACKAGE)


def _absolute(file: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = file.parent.parts[: len(file.parent.parts) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _files_of(root: Path, name: str) -> Iterator[Path]:
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        file = _find(root, ".".join(parts[:length]))
        if file is not None:
            yield file


def _find(root: Path, name: str) -> Path | None:
    # Thousands of times in a plan: paths as strings take a tenth of the time.
    base = name.replace(".", "/")
    for candidate in (f"{base}.py", f"{base}/__init__.py"):
        if os.path.isfile(os.path.join(root, candidate)):
            return Path(candidate)
    return None
