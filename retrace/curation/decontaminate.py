r"""Benchmark problems in training data: several methods, every hit with evidence.

Texts are compared as words (see `retrace.words`), so LaTeX, white space, punctuation,
the format of digits, case and the names of variables make no difference.

    exact       the statement is the benchmark problem, by its words or by its letters
                and digits alone
    pieces      it has most of the problem's pieces (runs of 8 words) that are not
                boilerplate, and most of its numbers
    contained   a problem too short to have pieces stands in the text as it is
    similar     nearly the same words, with the same numbers in the same order
    paraphrase  the same three or more numbers, and many words, rare ones among them
    meaning     a like vector, by an encoder that the recipe names, and the same numbers

The last three look at statements only; the others at the training text as well, where a
match must lie within twice the problem's length.

A piece is boilerplate if it stands in several different benchmark problems or in many
training problems: "where m and n are relatively prime positive integers", or the
template of a generated problem. Problems with other numbers are other problems, in
their words as in the drawings that some of them come with.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Indel

from retrace.curation.deduplicate import near_duplicates
from retrace.curation.pieces import (
    NUMBER,
    PLAIN,
    Hashes,
    counts,
    encode,
    numbers,
    pieces,
)
from retrace.curation.settings import Decontamination, Deduplication
from retrace.rows import Problem
from retrace.words import drawings, stable_hash, words

MIN_PIECES = 4
"""A problem with fewer pieces of its own is short: it is looked for as a whole."""
MIN_WORDS_INSIDE = 6
MIN_PLAIN_INSIDE = 3
"""What a short problem must have to be looked for inside longer texts."""
MIN_LETTERS = 40
"""Letters and digits of a problem that is known by these alone, without any sign."""
MIN_WORDS_DRAWN = 16
"""What a problem with a drawing must have to be known by its words alone."""
SAME_NUMBERS = 0.8
"""Least share of numbers that a problem and a text with its pieces have in common."""
NEARLY_ALL = 0.9
"""Share of a problem's pieces with which the text holds the problem, whatever else."""
SAME_DRAWING = 0.7
"""Least share of numbers that two drawings of one problem have in common."""
RARE = 0.01
"""A word is rare if this share of all problems has it, or less."""


class Encoder(Protocol):
    """What makes vectors of texts: see `retrace.curation.meaning`."""

    def read(self, texts: Iterable[str]) -> None: ...
    def vectors(self, texts: Sequence[str]) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Hit:
    """A benchmark problem found in a text.

    share: of the problem's pieces, words or numbers, as the method counts them.
    matched: the words of the training text that match, variables as dots.
    """

    set: str
    problem_id: str
    method: str
    where: str
    share: float
    matched: str


@dataclass(frozen=True, slots=True)
class _Item:
    """A distinct way to write a benchmark problem, under all its names."""

    names: tuple[tuple[str, str], ...]
    text: str
    words: Hashes
    numbers: Counter[int]
    sequence: tuple[int, ...]
    plain: frozenset[int]
    drawing: Counter[int]


class Index:
    """The benchmark problems, ready to be looked for.

    `training` are statements of the training problems, one of each cluster of
    duplicates: what many of them share is boilerplate. `encoder` is needed where the
    settings search by meaning.
    """

    def __init__(
        self,
        benchmarks: Iterable[Problem],
        training: Iterable[str],
        settings: Decontamination,
        encoder: Encoder | None = None,
    ) -> None:
        self.settings = settings
        self._encoder = encoder if settings.meaning else None
        self._items = _distinct(benchmarks)
        self._cluster = self._clusters()
        self._places: dict[str, int] = {}
        for place, item in enumerate(self._items):
            for _, problem_id in item.names:
                self._places.setdefault(problem_id, place)
        self._whole = {
            _key(item.words): place for place, item in enumerate(self._items)
        }
        self._bare = {
            _letters(item.text): place
            for place, item in enumerate(self._items)
            if len(_letters(item.text)) >= MIN_LETTERS
        }
        encoded = [encode(text) for text in training]
        own = self._own_pieces(encoded)
        self._sizes = [len(found) for found in own]
        self._pieces = _Postings(own)
        self._short = self._short_items(encoded)
        self._similar = _Postings([_salted(item.words) for item in self._items])
        self._by_numbers: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, item in enumerate(self._items):
            if item.numbers.total() >= 3:
                self._by_numbers[tuple(sorted(item.sequence))].append(place)
        self._rare = self._rare_words(encoded)
        if self._encoder:
            self._vectors = self._encoder.vectors([item.text for item in self._items])

    def __len__(self) -> int:
        return len({item.names for item in self._items})

    def is_short(self, problem_id: str) -> bool:
        """Whether a benchmark problem has too few pieces and is looked for whole."""
        return self._sizes[self._places[problem_id]] < MIN_PIECES

    def read(self, texts: Iterable[str]) -> None:
        """Take many statements at once that will be looked up: only encoders gain."""
        if self._encoder:
            self._encoder.read(texts)

    def in_statement(self, text: str, but: str = "") -> list[Hit]:
        """Benchmark problems that a statement is, holds or restates.

        `but`: id of a benchmark problem to pass over with its near-duplicates, to
        measure what else is hit.
        """
        found = encode(text)
        hits: dict[int, tuple[str, float, int, int]] = {}
        drawn = _drawn(text)
        whole = self._whole.get(_key(found), self._bare.get(_letters(text), -1))
        if whole >= 0 and len(found):
            hits[whole] = ("exact", 1.0, 0, len(found))
        for place, share, start, end in self._by_pieces(found, inside=False):
            hits.setdefault(place, ("pieces", share, start, end))
        for place, start, end in self._contained(found, inside=False):
            hits.setdefault(place, ("contained", 1.0, start, end))
        for place, method, share in self._restated(found):
            hits.setdefault(place, (method, share, 0, len(found)))
        for place, share in self._meant(text, found):
            hits.setdefault(place, ("meaning", share, 0, len(found)))
        for place in list(hits):
            if not self._may_be(self._items[place], hits[place][0], drawn):
                del hits[place]
        return self._hits(hits, text, "statement", but)

    def in_text(self, text: str, but: str = "") -> list[Hit]:
        """Benchmark problems that stand in a trace."""
        found = encode(text)
        hits: dict[int, tuple[str, float, int, int]] = {}
        for place, share, start, end in self._by_pieces(found, inside=True):
            hits.setdefault(place, ("pieces", share, start, end))
        for place, start, end in self._contained(found, inside=True):
            hits.setdefault(place, ("contained", 1.0, start, end))
        return self._hits(hits, text, "trace", but)

    # --- Methods ----------------------------------------------------------------------

    def _by_pieces(
        self, found: Hashes, inside: bool
    ) -> Iterator[tuple[int, float, int, int]]:
        """Items of which a text has many pieces: place, share, first and last word."""
        size = self.settings.words
        runs = pieces(found, size)
        for place, at in self._pieces.find(runs):
            if self._sizes[place] < MIN_PIECES:
                continue
            item = self._items[place]
            at = _densest(at, 2 * len(item.words)) if inside else at
            share = len(np.unique(runs[at])) / self._sizes[place]
            if share < self.settings.coverage:
                continue
            start, end = int(at[0]), int(at[-1]) + size
            margin = len(item.words) if inside else len(found)
            near = found[max(0, start - margin) : end + margin]
            # More numbers speak against a problem of the same template, not against
            # a whole problem with options or a second question behind it.
            larger = 2 * len(near) > 3 * len(item.words) or share >= NEARLY_ALL
            if _agreement(item.numbers, numbers(near), larger) >= SAME_NUMBERS:
                yield place, share, start, end

    def _contained(self, found: Hashes, inside: bool) -> Iterator[tuple[int, int, int]]:
        """Short items that stand in a text word by word."""
        for place, start in _occurrences(found, self._short, self._items):
            length = len(self._items[place].words)
            item = self._items[place]
            if _is_telling(item) or (
                not inside and (item.sequence or 2 * length >= len(found))
            ):
                yield place, start, start + length

    def _restated(self, found: Hashes) -> Iterator[tuple[int, str, float]]:
        sequence = tuple(found[(found & NUMBER) != 0].tolist())
        for place, at in self._similar.find(_salted(found)):
            item = self._items[place]
            if 3 * len(at) < len(item.words) or item.sequence != sequence:
                continue
            share = Indel.normalized_similarity(found.tolist(), item.words.tolist())
            if share >= self.settings.similarity:
                yield place, "similar", round(share, 4)
        plain = frozenset(found[(found & PLAIN) != 0].tolist())
        for place in self._by_numbers.get(tuple(sorted(sequence)), ()):
            item = self._items[place]
            common = plain & item.plain
            share = 2 * len(common) / max(1, len(plain) + len(item.plain))
            if share >= self.settings.paraphrase and len(common & self._rare) >= 2:
                yield place, "paraphrase", round(share, 4)

    def _meant(self, text: str, found: Hashes) -> Iterator[tuple[int, float]]:
        """Items with a like vector; without numbers, too much is alike."""
        if not self._encoder or not self.settings.meaning or not self._items:
            return
        cosines = self._vectors @ self._encoder.vectors([text])[0]
        theirs = numbers(found)
        least = self.settings.meaning.similarity
        for place in np.flatnonzero(cosines >= least).tolist():
            own = self._items[place].numbers
            if own.total() and _agreement(own, theirs) >= SAME_NUMBERS:
                yield place, float(cosines[place])

    def _may_be(self, item: _Item, method: str, drawn: Counter[int]) -> bool:
        """Whether a drawing speaks against a hit that little else speaks for."""
        certain = method == "exact" and len(item.words) >= MIN_WORDS_DRAWN
        own = item.numbers.total() >= 2
        return certain or own or _same_drawing(item.drawing, drawn)

    def _hits(
        self,
        found: dict[int, tuple[str, float, int, int]],
        text: str,
        where: str,
        but: str,
    ) -> list[Hit]:
        if not found:
            return []
        spelled = words(text, fold=True)
        passed = self._cluster[self._places[but]] if but else -1
        hits: dict[tuple[str, str], Hit] = {}
        for place, (method, share, start, end) in found.items():
            if self._cluster[place] == passed:
                continue
            matched = " ".join(spelled[start : min(end, start + 60)])
            for name in self._items[place].names:
                hit = Hit(*name, method, where, round(share, 4), matched)
                hits.setdefault(name, hit)
        return [hit for _, hit in sorted(hits.items())]

    # --- Preparation ------------------------------------------------------------------

    def _own_pieces(self, training: Sequence[Hashes]) -> list[Hashes]:
        """The telling pieces of each item that are not boilerplate."""
        size = self.settings.words
        telling = [_telling_pieces(item.words, size) for item in self._items]
        # Copies of a problem make no boilerplate of it: one of each cluster counts.
        every, in_items = _document_counts(
            telling[place] for place in sorted(set(self._cluster))
        )
        known = _Postings([every])
        common, in_training = _document_counts(
            known.among(pieces(text, size)) for text in training
        )
        boilerplate = np.union1d(
            every[in_items >= self.settings.boilerplate],
            common[in_training >= self.settings.common],
        )
        return [np.setdiff1d(found, boilerplate) for found in telling]

    def _clusters(self) -> list[int]:
        """The first item of the cluster of each item."""
        by_key = {f"{place:09d}": item.words for place, item in enumerate(self._items)}
        firsts = near_duplicates(by_key, Deduplication())
        by_name: dict[tuple[tuple[str, str], ...], int] = {}
        return [
            by_name.setdefault(item.names, int(firsts[key]))
            for key, item in zip(by_key, self._items, strict=True)
        ]

    def _short_items(self, training: Sequence[Hashes]) -> _Postings:
        """The first words of each short item, without those that are common phrases."""
        heads = [
            pieces(item.words[:_HEAD], _HEAD) if size < MIN_PIECES else _NOTHING
            for item, size in zip(self._items, self._sizes, strict=True)
        ]
        postings = _Postings(heads)
        seen: Counter[int] = Counter()
        for text in training:
            found = _occurrences(text, postings, self._items)
            seen.update({place for place, _ in found})
        for place, times in seen.items():
            if times >= self.settings.common:
                heads[place] = _NOTHING
        return _Postings(heads)

    def _rare_words(self, training: Sequence[Hashes]) -> frozenset[int]:
        seen: Counter[int] = Counter()
        for text in training:
            seen.update(set(text[(text & PLAIN) != 0].tolist()))
        for item in self._items:
            seen.update(item.plain)
        most = max(3.0, RARE * (len(training) + len(self._items)))
        return frozenset(word for word, times in seen.items() if times <= most)


class _Postings:
    """Which items have a hash: sorted hashes, each with its items."""

    def __init__(self, hashes: Sequence[Hashes]) -> None:
        sizes = [len(of_item) for of_item in hashes]
        every = np.concatenate([_NOTHING, *hashes])
        items = np.repeat(np.arange(len(hashes)), sizes)
        order = np.argsort(every, kind="stable")
        self._keys, starts = np.unique(every[order], return_index=True)
        self._starts = np.append(starts, len(every))
        self._items = items[order]
        # Most words of most texts are in no benchmark: one look-up tells that.
        bits = max(16, (16 * len(self._keys)).bit_length())
        self._mask = np.uint64((1 << bits) - 1)
        self._maybe = np.zeros(1 << bits, np.bool_)
        self._maybe[self._keys & self._mask] = True

    def among(self, runs: Hashes) -> Hashes:
        """Those of the hashes that any item has, each once."""
        return self._keys[np.unique(self._match(runs)[1])]

    def find(self, runs: Hashes) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Items that have any of these hashes, with the positions of those."""
        at, places = self._match(runs)
        if not len(at):
            return
        lengths = self._starts[places + 1] - self._starts[places]
        firsts = np.repeat(self._starts[places] - np.cumsum(lengths) + lengths, lengths)
        items = self._items[firsts + np.arange(lengths.sum())]
        positions = np.repeat(at, lengths)
        order = np.argsort(items, kind="stable")
        found, begins = np.unique(items[order], return_index=True)
        groups = np.split(positions[order], begins[1:])
        yield from zip(found.tolist(), groups, strict=True)

    def _match(
        self, runs: Hashes
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Positions of known hashes, and the place of each among the keys."""
        at = np.flatnonzero(self._maybe[runs & self._mask])
        if not len(at):
            return at, at
        places = np.searchsorted(self._keys, runs[at])
        places[places == len(self._keys)] = 0
        is_key = self._keys[places] == runs[at]
        return at[is_key], places[is_key]


def _distinct(benchmarks: Iterable[Problem]) -> list[_Item]:
    names: dict[bytes, set[tuple[str, str]]] = defaultdict(set)
    texts: dict[bytes, str] = {}
    for problem in benchmarks:
        # Without capitals, the points of a figure are words like others.
        for text in (problem.statement, problem.statement.lower()):
            found = encode(text)
            if len(found):
                key = _key(found)
                names[key].add((problem.set, problem.problem_id))
                texts[key] = min(text, texts.get(key, text))
    return [_item(names[key], texts[key]) for key in sorted(texts)]


def _item(names: set[tuple[str, str]], text: str) -> _Item:
    found = encode(text)
    return _Item(
        names=tuple(sorted(names)),
        text=text,
        words=found,
        numbers=numbers(found),
        sequence=tuple(found[(found & NUMBER) != 0].tolist()),
        plain=frozenset(found[(found & PLAIN) != 0].tolist()),
        drawing=_drawn(text),
    )


def _key(found: Hashes) -> bytes:
    return hashlib.sha256(found.tobytes()).digest()


def _letters(text: str) -> str:
    """Letters and digits alone: what is left of a text by any loss of punctuation."""
    return re.sub(r"[\W_]+", "", text.lower())


def _telling_pieces(found: Hashes, size: int) -> Hashes:
    """The distinct pieces with enough plain words to be more than a formula."""
    plain, number = counts(found, size, PLAIN), counts(found, size, NUMBER)
    telling = (plain >= 2) & (2 * (plain + number) >= size)
    return np.unique(pieces(found, size)[telling])


def _is_telling(item: _Item) -> bool:
    """Whether a short problem is seldom written by chance."""
    plain = int(((item.words & PLAIN) != 0).sum())
    enough = MIN_WORDS_INSIDE if item.sequence else MIN_WORDS_INSIDE + 2
    return len(item.words) >= enough and plain >= MIN_PLAIN_INSIDE


def _salted(found: Hashes) -> Hashes:
    """Pieces of three words that are equal only between texts with equal numbers."""
    salt = stable_hash(",".join(map(str, found[(found & NUMBER) != 0].tolist())))
    return np.unique(pieces(found, 3) ^ np.uint64(salt))


def _document_counts(
    texts: Iterable[Hashes],
) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Every hash and in how many texts it stands; each text has a hash once."""
    return np.unique(np.concatenate([_NOTHING, *texts]), return_counts=True)


def _occurrences(
    found: Hashes, heads: _Postings, items: Sequence[_Item]
) -> Iterator[tuple[int, int]]:
    """Items that stand in a text as a whole: place and first word."""
    for place, starts in heads.find(pieces(found, _HEAD)):
        wanted = items[place].words
        for start in starts.tolist():
            if np.array_equal(found[start : start + len(wanted)], wanted):
                yield place, start
                break


def _densest(at: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.int64]:
    """The positions within the stretch of `width` words that has most of them."""
    ends = np.searchsorted(at, at + width, side="right")
    first = int(np.argmax(ends - np.arange(len(at))))
    return at[first : ends[first]]


def _agreement(
    wanted: Counter[int], found: Counter[int], larger: bool = False
) -> float:
    """The share of numbers in common (Dice), or, of a larger text, of those wanted."""
    total = wanted.total() if larger else (wanted.total() + found.total()) / 2
    return (wanted & found).total() / total if total else 1.0


def _drawn(text: str) -> Counter[int]:
    """The numbers in a text's drawings."""
    return numbers(encode(" ".join(drawings(text))))


def _same_drawing(left: Counter[int], right: Counter[int]) -> bool:
    """Whether two problems may have one drawing: copies often come without it."""
    return not left or not right or _agreement(left, right) >= SAME_DRAWING


_HEAD = 4
_NOTHING = np.zeros(0, np.uint64)
