"""Texts as arrays of hashes, and their pieces: runs of n words as one hash each.

A hash is 64 bits wide and the same in every process. Its two lowest bits say what the
word is, so pieces can be told apart by kind without going back to the text.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from retrace.words import canonical, is_number, is_plain, stable_hash, tokens

Hashes: TypeAlias = npt.NDArray[np.uint64]

PLAIN = np.uint64(1)
NUMBER = np.uint64(2)
_MULTIPLIER = 0x9E3779B97F4A7C15
_WIDTH = (1 << 64) - 1


def encode(text: str) -> Hashes:
    """The words of a text as hashes, variables folded, typesetting left out."""
    found = tokens(text, fold=True)
    hashes = np.fromiter(map(_TABLE.__getitem__, found), np.uint64, len(found))
    kept: Hashes = hashes[hashes != 0]
    return kept


def pieces(hashes: Hashes, size: int) -> Hashes:
    """One hash for each run of `size` words, in order; empty if there are fewer."""
    if len(hashes) < size:
        return np.zeros(0, np.uint64)
    result: Hashes | None = None
    width, done = 1, 0
    power = hashes
    while size:
        if size & 1:
            rest = power[done:]
            result = rest if result is None else _joined(result, rest, width)
            done += width
        size >>= 1
        if size:
            power = _joined(power, power[width:], width)
            width *= 2
    assert result is not None
    return result


def counts(hashes: Hashes, size: int, kind: np.uint64) -> npt.NDArray[np.int64]:
    """How many words of a kind (PLAIN, NUMBER) each run of `size` words has."""
    flags = np.concatenate([[0], np.cumsum((hashes & kind) != 0)])
    result: npt.NDArray[np.int64] = flags[size:] - flags[:-size]
    return result if len(hashes) >= size else result[:0]


def numbers(hashes: Hashes) -> Counter[int]:
    """The numbers of a text, with how often each stands there."""
    return Counter(hashes[(hashes & NUMBER) != 0].tolist())


class _Table(dict[str, int]):
    """Token to hash, 0 for typesetting; each token is worked out once."""

    def __missing__(self, token: str) -> int:
        word = canonical(token, fold=True)
        value = 0
        if word:
            kind = (1 if is_plain(word) else 0) | (2 if is_number(word) else 0)
            value = (stable_hash(word) & ~3) | kind
        if len(self) < _TABLE_LIMIT:
            self[token] = value
        return value


_TABLE_LIMIT = 2_000_000
_TABLE = _Table()


def _joined(left: Hashes, right: Hashes, width: int) -> Hashes:
    """Hashes of runs from those of a left part and of the `width` words after it."""
    length = min(len(left), len(right))
    power = np.uint64(pow(_MULTIPLIER, width, _WIDTH + 1))
    joined: Hashes = left[:length] * power + right[:length]
    return joined
