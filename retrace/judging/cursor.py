"""A place in a row of tokens."""

from __future__ import annotations

from typing import NoReturn

from retrace.judging.tokens import NotMine, Token


class Cursor:
    """A place in a row of tokens, and what is to be found there."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def next(self) -> Token:
        token = self.peek()
        if token is None:
            self.fail("the end")
        self.at += 1
        return token

    def is_op(self, *texts: str) -> bool:
        token = self.peek()
        return token is not None and token.kind == "op" and token.text in texts

    def take(self, *texts: str) -> bool:
        if self.is_op(*texts):
            self.at += 1
            return True
        return False

    def expect(self, *texts: str) -> str:
        token = self.peek()
        if token is None or token.kind != "op" or token.text not in texts:
            self.fail(f"no {' or '.join(texts)}")
        self.at += 1
        return token.text

    def fail(self, what: str) -> NoReturn:
        raise NotMine(f"{what} at token {self.at}")
