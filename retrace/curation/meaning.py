"""Texts as vectors of their meaning, by a small encoder that the recipe names.

A sentence encoder puts texts that say the same near one another, whatever their words.
Vectors are the mean of the last layer over the tokens, scaled to length one, as the
models of the sentence-transformers family are trained to be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

# Packages whose version can change a vector.
SOFTWARE = ("torch",)
Vectors = npt.NDArray[np.float32]
BATCH = 64
MOST_TOKENS = 512
"""A longer text is known by its beginning: encoders read no more."""


class Encoder:
    """A model with its tokenizer, and the vectors of the texts that it has read."""

    def __init__(self, location: str, revision: str | None = None) -> None:
        """Load an encoder from a folder, or from the hub at a revision."""
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(location, revision=revision)
        self._model = AutoModel.from_pretrained(location, revision=revision).eval()
        self._limit = min(MOST_TOKENS, int(self._tokenizer.model_max_length))
        self._known: dict[str, Vectors] = {}

    def read(self, texts: Iterable[str]) -> None:
        """Make the vectors of many texts at once, those of like length together."""
        new = sorted(
            set(texts) - self._known.keys(), key=lambda text: (len(text), text)
        )
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            self._known.update(zip(batch, self._encode(batch), strict=True))

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """A row of length one for each text."""
        self.read(texts)
        if not texts:
            return np.zeros((0, 0), np.float32)
        return np.stack([self._known[text] for text in texts])

    def _encode(self, texts: list[str]) -> Vectors:
        import torch

        tokens = self._tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self._limit,
            return_tensors="pt",
        )
        with torch.inference_mode():
            last = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        mean = (last * mask).sum(1) / mask.sum(1)
        found: Vectors = torch.nn.functional.normalize(mean, dim=1).numpy()
        return found
