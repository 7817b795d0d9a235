"""A canonical text for Python values, so that they can be compared out of the jail.

Only built-in types exist here. An object of a subclass is encoded as the built-in value
it holds, read by the built-in type's own methods, so overridden operators have no say.
Integers beyond 64 bits are hexadecimal: no length limit, and linear time to read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_MAX_PLAIN = 2**63


class NotEncodableError(TypeError):
    """The value is not made of built-in types only."""


def encode(value: Any) -> str:
    """Write a value made of None, bool, numbers, str, bytes and built-in containers.

    Raises:
        NotEncodableError: for anything else, and for values nested too deeply.
    """
    try:
        return _dumps(_tagged(value))
    except RecursionError:
        raise NotEncodableError(
            "the value is nested too deeply or holds itself"
        ) from None


def decode(text: str) -> Any:
    """Read what `encode` wrote, as Python values. For text that can be trusted."""
    return _value(json.loads(text))


def structure(text: str, as_json: bool) -> Any:
    """Read encoded text that can't be trusted, for comparison only.

    Nothing is hashed: sets and dictionaries stay `{"set": [...]}` and
    `{"dict": [[key, value], ...]}`, sorted.

    Args:
        as_json: make equal what JSON can't tell apart: tuples become lists, and integer
            keys become strings.

    Raises:
        ValueError: if the text is not what `encode` writes.
    """
    try:
        return _structure(json.loads(text), as_json)
    except (
        RecursionError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
    ) as error:
        raise ValueError(f"not an encoded value: {error}") from error


_dumps = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def _tagged(value: Any) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    writer = _WRITERS.get(kind)
    if writer is None:
        writer = next(
            (_WRITERS[base] for base in kind.__mro__ if base in _WRITERS), None
        )
    if writer is not None:
        return writer(value)
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        return _tagged(value.tolist())
    raise NotEncodableError(f"a value of type {kind.__name__} can't be compared")


def _int(value: int) -> Any:
    plain = int.__add__(value, 0)
    if -_MAX_PLAIN < plain < _MAX_PLAIN:
        return plain
    return {"int": hex(plain)}


def _complex(value: complex) -> Any:
    plain = complex.__add__(value, 0j)
    return {"complex": [float.hex(plain.real), float.hex(plain.imag)]}


def _set(value: Any) -> Any:
    iterate = frozenset.__iter__ if isinstance(value, frozenset) else set.__iter__
    return {"set": sorted((_tagged(item) for item in iterate(value)), key=_dumps)}


def _dict(value: dict[Any, Any]) -> Any:
    pairs = [[_tagged(key), _tagged(item)] for key, item in dict.items(value)]
    return {"dict": sorted(pairs, key=lambda pair: _dumps(pair[0]))}


_WRITERS: dict[type, Callable[[Any], Any]] = {
    int: _int,
    float: lambda value: {"float": float.hex(value)},
    complex: _complex,
    str: lambda value: str.__str__(value),
    bytes: lambda value: {"bytes": bytes.hex(value)},
    bytearray: lambda value: {"bytes": bytearray.hex(value)},
    list: lambda value: [_tagged(item) for item in list.__iter__(value)],
    tuple: lambda value: {"tuple": [_tagged(item) for item in tuple.__iter__(value)]},
    set: _set,
    frozenset: _set,
    dict: _dict,
}


def _value(tagged: Any) -> Any:
    if isinstance(tagged, list):
        return [_value(item) for item in tagged]
    if not isinstance(tagged, dict):
        return tagged
    ((tag, content),) = tagged.items()
    return _READERS[tag](content)


_READERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "float": float.fromhex,
    "complex": lambda parts: complex(*map(float.fromhex, parts)),
    "bytes": bytes.fromhex,
    "tuple": lambda items: tuple(map(_value, items)),
    "set": lambda items: set(map(_value, items)),
    "dict": lambda pairs: {_value(key): _value(item) for key, item in pairs},
}


def _structure(tagged: Any, as_json: bool) -> Any:
    if isinstance(tagged, list):
        return [_structure(item, as_json) for item in tagged]
    if not isinstance(tagged, dict):
        return tagged
    ((tag, content),) = tagged.items()
    if tag == "dict":
        pairs = [
            [_key(key, as_json), _structure(item, as_json)] for key, item in content
        ]
        return {"dict": sorted(pairs, key=lambda pair: _dumps(pair[0]))}
    if tag in ("set", "tuple"):
        items = [_structure(item, as_json) for item in content]
        if tag == "set":
            return {"set": sorted(items, key=_dumps)}
        return items if as_json else {"tuple": items}
    if tag in ("int", "float"):
        return _READERS[tag](content)
    if tag in ("bytes", "complex"):
        return {tag: content}
    raise ValueError(f"not an encoded value: unknown tag {tag[:20]!r}")


def _key(tagged: Any, as_json: bool) -> Any:
    key = _structure(tagged, as_json)
    small = type(key) is int and abs(key) < _MAX_PLAIN
    return str(key) if as_json and small else key
