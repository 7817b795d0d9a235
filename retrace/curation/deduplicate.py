"""The same problem twice: copies and near-duplicates, within a set and across sets.

Near-duplicates are found by MinHash with locality-sensitive hashing (`datasketch`: it
is maintained, deterministic by its seed and fast enough), then every pair is checked
by the Jaccard similarity of its pieces and by its numbers. Two problems that differ in
a number are two problems, however alike they are; one may only have more numbers.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from retrace.curation.candidates import Candidate, Fault
from retrace.curation.pieces import Hashes, encode, numbers, pieces
from retrace.curation.settings import Deduplication

COMPARISONS = 64
"""Candidates that one text is compared with: texts from one template are alike by the
thousand, and their pairs would grow with the square of their number."""


@dataclass(frozen=True)
class Clusters:
    """Groups of equal problems. `of`: the first member's id by every member's id; a
    problem of its own is its own first member. `exact`: ids that are copies of it.
    """

    of: dict[str, str]
    exact: frozenset[str]

    def groups(self) -> list[list[str]]:
        """Clusters of two or more, members and clusters in order of ids."""
        found: dict[str, list[str]] = defaultdict(list)
        for member, first in sorted(self.of.items()):
            found[first].append(member)
        return [members for _, members in sorted(found.items()) if len(members) > 1]


def clusters(texts: Mapping[str, str], settings: Deduplication) -> Clusters:
    """Group texts that are the same problem; the order of the mapping is irrelevant."""
    encoded = {key: encode(texts[key]) for key in sorted(texts)}
    first_with: dict[bytes, str] = {}
    of = {}
    for key, hashes in encoded.items():
        same = hashes.tobytes() if len(hashes) else texts[key].encode()
        of[key] = first_with.setdefault(hashlib.sha256(same).digest(), key)
    exact = frozenset(key for key, first in of.items() if key != first)
    if settings.near:
        distinct = {key: encoded[key] for key in encoded if of[key] == key}
        first_of = near_duplicates(distinct, settings)
        of = {key: first_of[first] for key, first in of.items()}
    return Clusters(of, exact)


def near_duplicates(
    encoded: Mapping[str, Hashes], settings: Deduplication
) -> dict[str, str]:
    """The first member of the cluster of each encoded text, by union and find."""
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]

    # Weights against false negatives: a false candidate costs one comparison only.
    lsh = MinHashLSH(settings.similarity, settings.permutations, weights=(0.05, 0.95))
    parent = {key: key for key in encoded}
    sets: dict[str, Hashes] = {}
    for key, hashes in encoded.items():
        size = min(settings.words, max(1, len(hashes)))
        found = np.unique(pieces(hashes, size))
        if not len(found):
            continue
        sketch = MinHash(num_perm=settings.permutations, hashfunc=_low_bits)
        sketch.update_batch(found.tolist())
        candidates = sorted(lsh.query(sketch))[:COMPARISONS]
        for other in candidates:
            if _root(parent, other) != _root(parent, key) and _alike(
                found, sets[other], hashes, encoded[other], settings.similarity
            ):
                low, high = sorted((_root(parent, key), _root(parent, other)))
                parent[high] = low
        sets[key] = found
        lsh.insert(key, sketch, check_duplication=False)
    return {key: _root(parent, key) for key in encoded}


def repeated(
    candidates: list[Candidate], found: Clusters
) -> Iterator[tuple[str, Fault]]:
    """Traces of problems that another problem of the cluster stands for, and copies of
    one answer to one problem.

    The problem that stays is the first with a candidate, by set and id.
    """
    stays: dict[str, Candidate] = {}
    texts: dict[tuple[str, str], str] = {}
    for one in sorted(candidates, key=lambda c: (c.set, c.problem.problem_id)):
        stays.setdefault(found.of[one.problem.problem_id], one)
    for one in candidates:
        problem_id = one.problem.problem_id
        kept = stays[found.of[problem_id]].problem
        text = hashlib.sha256(one.assistant.encode("utf-8", "replace")).hexdigest()
        if kept.problem_id != problem_id:
            copy = problem_id in found.exact or kept.problem_id in found.exact
            reason = "duplicate_problem" if copy else "near_duplicate_problem"
            yield one.trace_id, Fault(reason, f"of {kept.set}/{kept.problem_id}")
        elif (problem_id, text) in texts:
            detail = f"of trace {texts[problem_id, text]}"
            yield one.trace_id, Fault("duplicate_answer", detail)
        texts.setdefault((problem_id, text), one.trace_id)


def _alike(
    left: Hashes, right: Hashes, first: Hashes, second: Hashes, similarity: float
) -> bool:
    shorter, longer = sorted((len(left), len(right)))
    if shorter < similarity * longer:
        return False
    common = len(np.intersect1d(left, right, assume_unique=True))
    if common < similarity * (shorter + longer - common):
        return False
    return _contained(numbers(first), numbers(second))


def _contained(left: Counter[int], right: Counter[int]) -> bool:
    return left <= right or right <= left


def _root(parent: dict[str, str], key: str) -> str:
    while parent[key] != key:
        parent[key] = parent[parent[key]]
        key = parent[key]
    return key


def _low_bits(value: int) -> int:
    return (value ^ (value >> 32)) & 0xFFFFFFFF
