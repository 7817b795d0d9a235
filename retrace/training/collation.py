"""Row numbers → the tensors of a micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from retrace.training.encoding import IGNORED, Example

# Of a micro-batch: row numbers; tokens, tokens with padding, sum of squared lengths.
ROWS = "rows"
COUNTS = "counts"
WEIGHTS = "weights"


class Collator:
    """Looks rows up by number and makes a micro-batch of them.

    Rows are padded to the longest, or put end to end in one sequence (`packed`) with
    positions that begin at 0 in every row, from which attention knows where it stops.
    With `by_row`, a weight for every token makes rows weigh the same.
    """

    def __init__(
        self, examples: Sequence[Example], pad_token: int, packed: bool, by_row: bool
    ) -> None:
        self._examples = examples
        self._pad_token = pad_token
        self._by_row = by_row
        self._collate = DataCollatorForLanguageModeling(
            pad_token_id=pad_token, padding_free=packed
        )

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Items are {"rows": numbers}; an item without any becomes a token unheeded."""
        numbers = [number for item in items for number in item[ROWS]]
        examples = [self._examples[number] for number in numbers] or [self._nothing()]
        batch: dict[str, Any] = self._collate(
            [{"input_ids": e.ids, "labels": e.labels()} for e in examples]
        )
        # Arrays of int32 made small tensors; models and losses want int64.
        batch["input_ids"] = batch["input_ids"].long()
        batch["labels"] = batch["labels"].long()
        lengths = np.array([len(example.ids) for example in examples])
        batch[ROWS] = torch.tensor(numbers, dtype=torch.long)
        batch[COUNTS] = torch.tensor(
            [lengths.sum(), batch["input_ids"].numel(), (lengths**2).sum()],
            dtype=torch.float64,
        )
        if self._by_row:
            batch[WEIGHTS] = _row_weights(batch["labels"], examples)
        return batch

    def _nothing(self) -> Example:
        return Example("", np.array([self._pad_token], dtype=np.int32), 1)


def _row_weights(labels: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
    """1 / (trained tokens of the row) at every trained token of a batch."""
    weights = torch.zeros(labels.shape, dtype=torch.float32)
    flat = labels.shape[0] == 1 and len(examples) > 1
    start = 0
    for number, example in enumerate(examples):
        row, first = (0, start) if flat else (number, 0)
        end = first + len(example.ids)
        weights[row, first + example.prompt : end] = 1 / max(example.trained, 1)
        start = end
    return weights * (labels != IGNORED)
