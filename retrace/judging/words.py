"""Answers in words: which texts say the same."""

from __future__ import annotations

import re

from retrace.judging.tree import Node

_OPTION = re.compile(r"^\(?([A-Z])\)(?:[.:\s]|$)|^([A-Z])[.:]\s")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


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
    return plain_words(one) == plain_words(other) != ""


def word_count(node: Node) -> int:
    """Words of a text, without articles; 0 for what is no text."""
    return len(plain_words(_words(node) or "").split())


def plain_words(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", re.sub(r"\W+", " ", text).casefold()).split())


def _words(node: Node) -> str | None:
    if node.kind == "text":
        return str(node.args[0])
    if node.kind == "sym":
        return str(node.args[0])
    if node.kind == "mul" and all(part.kind == "sym" for part in node.args):
        return "".join(part.args[0] for part in node.args)
    return None
