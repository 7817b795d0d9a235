"""Answers in words: which texts say the same."""

from __future__ import annotations

import re

from retrace.judging.tree import Node

_SMALL = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen
""".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBERS = {
    **{name: value for value, name in enumerate(_SMALL)},
    **{name: 10 * (i + 2) for i, name in enumerate(_TENS)},
    **{
        f"{tens} {unit}": 10 * (i + 2) + j
        for i, tens in enumerate(_TENS)
        for j, unit in enumerate(_SMALL[1:10], 1)
    },
    "hundred": 100,
    "one hundred": 100,
}
"""Numbers that have a word of their own."""

_OPTION = re.compile(r"^\(?([A-Z])\)(?:[.:\s]|$)|^([A-Z])[.:]\s")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_DENIES = re.compile(r"\b(?:not|no|never|nor|neither|none|if|false|unless|or)\b|n t\b")


def same_words(gold: Node, answer: Node) -> bool:
    """The same words; an option's letter stands for the option."""
    one, other = _words(gold), _words(answer)
    if one is None or other is None:
        return False
    letters = [_OPTION.match(side.strip()) for side in (one, other)]
    if any(letters):
        named = [m.group(1) or m.group(2) if m else None for m in letters]
        bare = [named[i] or side.strip("() .") for i, side in enumerate((one, other))]
        both = named[0] is not None and named[1] is not None
        if both or len(bare[0]) == 1 or len(bare[1]) == 1:
            return bare[0] == bare[1]
    left, right = plain_words(one), plain_words(other)
    return left == right != "" or _says(left, right) or _says(right, left)


def _says(sentence: str, word: str) -> bool:
    """Whether a sentence such as "the function is even" says just that word."""
    subject, said, predicate = sentence.rpartition(" is ")
    return bool(said) and predicate == word and not _DENIES.search(subject)


def word_count(node: Node) -> int:
    """Words of a text, without articles; 0 for what is no text."""
    return len(plain_words(_words(node) or "").split())


def plain_words(text: str) -> str:
    """Words without case, punctuation and articles, unless there is but an article."""
    every = re.sub(r"\W+", " ", text).casefold()
    return " ".join((_ARTICLES.sub(" ", every).strip() or every).split())


def _words(node: Node) -> str | None:
    if node.kind == "text":
        return str(node.args[0])
    if node.kind == "sym":
        return str(node.args[0])
    if node.kind == "mul" and all(part.kind == "sym" for part in node.args):
        return "".join(part.args[0] for part in node.args)
    return None
