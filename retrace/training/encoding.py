"""Training rows as tokens: chat template, end of turn, and rows that are too long."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from retrace import sections
from retrace.rows import TrainingRow
from retrace.training.settings import Settings, TrainingError

if TYPE_CHECKING:
    import numpy.typing as npt
    from transformers import PreTrainedTokenizerBase

# The label that PyTorch's cross-entropy leaves out.
IGNORED = -100
_PROBE = "retrace probe"


@dataclass(frozen=True, slots=True)
class Example:
    """A row as tokens. Loss falls on what follows the first `prompt` tokens."""

    row: str
    ids: npt.NDArray[np.int32]
    prompt: int

    def labels(self) -> npt.NDArray[np.int32]:
        labels = self.ids.copy()
        labels[: self.prompt] = IGNORED
        return labels

    @property
    def trained(self) -> int:
        return len(self.ids) - self.prompt


@dataclass
class Lengths:
    """What became of the rows, by row id where a row was changed or left out."""

    rows: int = 0
    kept: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    longest: int = 0
    dropped: list[str] = field(default_factory=list)
    truncated: dict[str, int] = field(default_factory=dict)
    """Tokens that the thought lost."""

    def count(self, example: Example) -> None:
        self.kept += 1
        self.tokens += len(example.ids)
        self.trained_tokens += example.trained
        self.longest = max(self.longest, len(example.ids))


class Encoder:
    """Makes tokens of rows with a model's own chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: Settings) -> None:
        self._tokenizer: Any = tokenizer
        self._settings = settings
        self.end = end_of_turn(tokenizer, settings.end_token)

    def encode(self, row: TrainingRow, answer: str | None = None) -> Example:
        """Tokenize a row, or the row with another answer.

        The prompt is the template up to where the assistant begins; then come the
        assistant's text and the end token, which is what inference stops at. Prompt and
        answer are tokenized apart, as they are when the model answers.

        Raises:
            TrainingError: the row is not one question and one answer.
        """
        who = [turn.from_ for turn in row.conversations]
        if who != ["user", "assistant"]:
            raise TrainingError(
                f"row {row.id} has the turns {', '.join(who) or 'none'}: expected one"
                " of the user and then one of the assistant"
            )
        user, assistant = row.conversations
        text = self._tokenizer.apply_chat_template(
            _messages(row.system, user.value),
            add_generation_prompt=True,
            tokenize=False,
        )
        prompt = self._tokens(text)
        said = self._tokens(assistant.value if answer is None else answer)
        ids = np.array([*prompt, *said, self.end], dtype=np.int32)
        return Example(row.id, ids, len(prompt))

    def encode_all(self, rows: Iterable[TrainingRow]) -> tuple[list[Example], Lengths]:
        """Tokenize rows; what is too long goes the way that `over_length` says.

        Raises:
            TrainingError: a row is too long and the policy is `error`, or none is left.
        """
        examples, lengths = [], Lengths()
        limit = self._settings.max_length
        for row in rows:
            lengths.rows += 1
            example: Example | None = self.encode(row)
            assert example is not None
            size = len(example.ids)
            if size > limit:
                example = self._shortened(row, size)
                if example is None:
                    lengths.dropped.append(row.id)
                    continue
                lengths.truncated[row.id] = size - len(example.ids)
            lengths.count(example)
            examples.append(example)
        if not examples:
            raise TrainingError(
                f"no row to train on: of {lengths.rows}, {len(lengths.dropped)} are"
                f" over max_length {limit}"
            )
        return examples, lengths

    def _shortened(self, row: TrainingRow, size: int) -> Example | None:
        """The row within the limit, or none: then it is dropped."""
        policy, limit = self._settings.over_length, self._settings.max_length
        if policy == "error":
            raise TrainingError(
                f"row {row.id} has {size} tokens, max_length is {limit}: raise it, or"
                " set over_length to drop or to truncate_thought"
            )
        if policy == "drop":
            return None
        steps, rest = divide(row.conversations[1].value)
        # The most first steps that fit, by bisection: more steps are more tokens.
        best, low, high = None, 1, len(steps) - 1
        while low <= high:
            middle = (low + high) // 2
            example = self.encode(row, "".join(steps[:middle]).rstrip() + rest)
            if len(example.ids) <= limit:
                best, low = example, middle + 1
            else:
                high = middle - 1
        return best

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def end_of_turn(tokenizer: PreTrainedTokenizerBase, wanted: str | None) -> int:
    """The token that ends an assistant's turn.

    It is read off the chat template, not off the tokenizer's `eos_token`, which base
    models have set to the end of a document.

    Raises:
        TrainingError: the wanted token is none, or the template ends with no token.
    """
    known: Any = tokenizer
    if wanted is not None:
        ids = known(wanted, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise TrainingError(
                f"end_token {wanted!r} is {len(ids)} tokens of this model's tokenizer,"
                " expected one: name a special token, such as <|im_end|>"
            )
        return int(ids[0])
    turn = {"role": "assistant", "content": _PROBE}
    text = known.apply_chat_template([*_messages("", "?"), turn], tokenize=False)
    after = text.rpartition(_PROBE)[2].strip()
    ids = known(after, add_special_tokens=False)["input_ids"]
    added = known.added_tokens_decoder
    if ids and ids[0] in added and added[ids[0]].special:
        return int(ids[0])
    if known.eos_token_id is None:
        raise TrainingError(
            "the chat template ends an answer with no special token and the tokenizer"
            " has no eos_token: set end_token"
        )
    return int(known.eos_token_id)


def divide(response: str) -> tuple[list[str], str]:
    """The steps of a response's thought, its opening with the first, and what follows.

    Steps are divided at blank lines, which stay with them. A response without a thought
    that ends has no steps.
    """
    ends = list(re.finditer(r"\s*(?:<\|end_of_thought\|>|</think>)", response))
    if not ends or not sections.parse(response).thought:
        return [], response
    start = ends[-1].start()
    steps = re.split(r"(?<=\n\n)(?!\n)", response[:start])
    return steps, response[start:]


def _messages(system: str, user: str) -> list[dict[str, str]]:
    messages = [{"role": "user", "content": user}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return messages
