"""Assert statements taken apart: what to evaluate in the jail, what to expect outside.

A program that runs in one process with its asserts can pass them without being right:
it can exit, patch `__eq__`, or read the expected value from its caller's frame. So an
assert becomes a question. `assert f(2) == 4` asks for the value of `f(2)`; the 4 stays
outside. What is not of that form is examined, because a program could replace what the
test uses (`all`, `math.isclose`): the test runs in a jail of its own, where the
program's functions are stand-ins whose calls are answered from another jail (see
`code_examiner`).
"""

from __future__ import annotations

import ast
import builtins
import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Relation = Literal["equal", "unequal", "identical", "true", "false"]

_RELATIONS: dict[type[ast.cmpop], Relation] = {
    ast.Eq: "equal",
    ast.NotEq: "unequal",
    ast.Is: "identical",
}


@dataclass(frozen=True)
class ValueQuestion:
    """Evaluate `text` after the program; its value must be in `relation` to `expected`.

    `expected` is a Python value made of literals; nothing for true and false.
    """

    text: str
    relation: Relation
    expected: object
    shown: str


@dataclass(frozen=True)
class ExamQuestion:
    """Run `text`, which asserts, with stand-ins for the program's functions `names`."""

    text: str
    names: tuple[str, ...]
    shown: str


Question = ValueQuestion | ExamQuestion


def questions(script: str, defined: frozenset[str]) -> list[Question]:
    """Take a test script apart; one question for each assert or block of asserts.

    Args:
        defined: the names that the program defines.

    Raises:
        SyntaxError: if the script is not Python.
    """
    tree = ast.parse(script)
    defined = _not_taken(defined, _loaded(tree))
    statements = list(_flatten(tree.body, _functions(tree)))
    found: list[Question] = []
    before: list[ast.stmt] = []
    for statement in statements:
        if isinstance(statement, ast.Assert):
            if not _is_constant_truth(statement.test):
                found.append(_ask(statement, before, defined))
                before += _effects(statement.test, _roots(before, defined) - defined)
        elif _asserts(statement):
            found.append(_examine(statement, before, defined))
        else:
            before.append(statement)
    return found


def defined_names(source: str) -> frozenset[str]:
    """The names that a program defines at its top level, none if it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    return frozenset(name for node in tree.body for name in _stored(node))


_TAKEN = frozenset(dir(builtins)) | sys.stdlib_module_names


def _not_taken(defined: frozenset[str], used: set[str]) -> frozenset[str]:
    """The names that a test means when it uses them.

    A program's own `abs` or `math` is not what a test means by it, unless the test uses
    nothing else of the program, because that is what was asked for.
    """
    own = defined - _TAKEN
    return own if used & own else defined


def _functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _flatten(
    body: Sequence[ast.stmt], functions: dict[str, ast.FunctionDef]
) -> Iterator[ast.stmt]:
    """Put the bodies of test functions in the place of their calls.

    A test function that nothing calls is run at the end, as test runners do.
    """
    called: set[str] = set()
    for statement in body:
        function = _called_test(statement, functions)
        if function is not None:
            called.add(function.name)
            assert isinstance(statement, ast.Expr)
            assert isinstance(statement.value, ast.Call)
            yield from _inline(function, statement.value.args)
        elif not _is_test(statement):
            yield statement
    for name, function in functions.items():
        if _is_test(function) and name not in called and not function.args.args:
            yield from _inline(function, [])


def _is_test(statement: ast.stmt) -> bool:
    """Whether this defines a function that can be put in the place of its call."""
    return (
        isinstance(statement, ast.FunctionDef)
        and _asserts(statement)
        and not any(
            isinstance(node, ast.Return | ast.Yield) for node in _own(statement)
        )
    )


def _own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions within it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


def _called_test(
    statement: ast.stmt, functions: dict[str, ast.FunctionDef]
) -> ast.FunctionDef | None:
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return None
    call = statement.value
    if not isinstance(call.func, ast.Name) or call.keywords:
        return None
    function = functions.get(call.func.id)
    if function is None or not _is_test(function):
        return None
    return function if len(function.args.args) == len(call.args) else None


def _inline(
    function: ast.FunctionDef, arguments: Sequence[ast.expr]
) -> Iterator[ast.stmt]:
    for parameter, argument in zip(function.args.args, arguments, strict=True):
        target = ast.Name(id=parameter.arg, ctx=ast.Store())
        same = isinstance(argument, ast.Name) and argument.id == parameter.arg
        if not same:
            yield ast.Assign(targets=[target], value=argument)
    yield from function.body


def _asserts(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(statement))


def _is_constant_truth(test: ast.expr) -> bool:
    return isinstance(test, ast.Constant) and bool(test.value)


def _ask(
    statement: ast.Assert, before: list[ast.stmt], defined: frozenset[str]
) -> Question:
    """The question of one assert statement."""
    asked, relation, expected = statement.test, "true", None
    if isinstance(asked, ast.UnaryOp) and isinstance(asked.op, ast.Not):
        asked, relation = asked.operand, "false"
    elif isinstance(asked, ast.Compare):
        comparison = _literal_side(asked)
        if comparison is None:
            return _examine(statement, before, defined)
        asked, relation, expected = comparison
    known = relation == "equal" and not isinstance(expected, bool | None)
    if not _answered(asked, _roots(before, defined), wrapped=known):
        return _examine(statement, before, defined)
    return ValueQuestion(
        text=_source([*_needed_for(asked, before), ast.Expr(asked)]),
        relation=relation,  # type: ignore[arg-type]
        expected=expected,
        shown=ast.unparse(asked),
    )


_WRAPPER_NAMES = """
dict float frozenset int iter len list next repr round set sorted str sum tuple
"""
_WRAPPERS = frozenset(_WRAPPER_NAMES.split())


def _roots(before: list[ast.stmt], defined: frozenset[str]) -> set[str]:
    """The names by which a test reaches the program: `f`, and `g` after `g = f`."""
    roots = set(defined)
    for statement in before:
        stored = _stored(statement)
        value = statement.value if isinstance(statement, ast.Assign) else None
        if value is not None and (_rooted(value, roots) or _answered(value, roots)):
            roots |= stored
        else:
            roots -= stored
    return roots


def _answered(asked: ast.expr, roots: set[str], wrapped: bool = False) -> bool:
    """Whether a value is what the program returns, or an item or attribute of it.

    Args:
        wrapped: it may be put into a list and the like first. A program could replace
            `len`, but would have to know what stays outside.
    """
    if isinstance(asked, ast.Subscript | ast.Attribute):
        return _answered(asked.value, roots, wrapped)
    if isinstance(asked, ast.Tuple | ast.List):
        return wrapped and all(_answered(item, roots, True) for item in asked.elts)
    if not isinstance(asked, ast.Call):
        return False
    if _rooted(asked.func, roots):
        return True
    wrapper = isinstance(asked.func, ast.Name) and asked.func.id in _WRAPPERS
    if not (wrapped and wrapper and asked.args):
        return False
    others = [*asked.args[1:], *(keyword.value for keyword in asked.keywords)]
    plain = all(isinstance(other, ast.Constant) for other in others)
    return plain and _answered(asked.args[0], roots, True)


def _rooted(function: ast.expr, roots: set[str]) -> bool:
    """Whether a function is the program's: `f`, `Solution().f`, `f(2)`."""
    while not isinstance(function, ast.Name):
        if isinstance(function, ast.Attribute):
            function = function.value
        elif isinstance(function, ast.Call):
            function = function.func
        else:
            return False
    return function.id in roots


def _effects(test: ast.expr, objects: set[str]) -> list[ast.stmt]:
    """The calls of methods in an assert: they may change an object for later asserts.

    What the assert compares them with is left out.
    """
    method = isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute)
    if method and _rooted(test, objects):
        return [ast.Expr(test)]
    inner = (node for node in ast.iter_child_nodes(test) if isinstance(node, ast.expr))
    return [effect for node in inner for effect in _effects(node, objects)]


def _literal_side(test: ast.Compare) -> tuple[ast.expr, str, object] | None:
    """The side to evaluate, the relation and the literal on the other side."""
    if len(test.ops) != 1 or type(test.ops[0]) not in _RELATIONS:
        return None
    relation = _RELATIONS[type(test.ops[0])]
    for asked, literal in (
        (test.left, test.comparators[0]),
        (test.comparators[0], test.left),
    ):
        try:
            return asked, relation, ast.literal_eval(literal)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def _needed_for(asked: ast.expr, before: list[ast.stmt]) -> list[ast.stmt]:
    """The earlier statements that an expression depends on, and no others.

    What the test defines for other asserts, expected values above all, stays outside.
    """
    needed = _loaded(asked)
    kept: list[ast.stmt] = []
    for statement in reversed(before):
        touched = _stored(statement)
        if isinstance(statement, ast.Expr | ast.AugAssign | ast.For | ast.While):
            touched |= _loaded(statement)  # it may change what it uses
        if touched & needed or _imports_everything(statement):
            needed |= _loaded(statement)
            kept.append(statement)
    return kept[::-1]


def _imports_everything(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*"


def _examine(
    statement: ast.stmt, before: list[ast.stmt], defined: frozenset[str]
) -> ExamQuestion:
    statements = [*before, statement]
    own = {name for each in statements for name in _stored(each)}
    used = {name for each in statements for name in _loaded(each)}
    return ExamQuestion(
        text=_source(statements),
        names=tuple(sorted((used - own) & defined)),
        shown=ast.unparse(statement),
    )


def _source(statements: Sequence[ast.stmt]) -> str:
    module = ast.Module(body=copy.deepcopy(list(statements)), type_ignores=[])
    return ast.unparse(ast.fix_missing_locations(module))


def _loaded(node: ast.AST) -> set[str]:
    return {
        part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
    }


def _stored(statement: ast.stmt) -> set[str]:
    """The names that a statement binds in its own scope."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names: set[str] = set()
    for part in ast.walk(statement):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            names.add(part.id)
        elif isinstance(part, ast.alias):
            names.add((part.asname or part.name).partition(".")[0])
        elif isinstance(part, ast.FunctionDef | ast.ClassDef):
            names.add(part.name)
    return names
