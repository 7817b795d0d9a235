"""The shape of a decoder and what follows from it: parameters, and operations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A decoder of the Llama and Qwen families, in elements."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tied: bool
    head_size: int
    attention_bias: bool = False

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def layer(self) -> int:
        """Parameters of a layer."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = 2 * self.hidden * queries + 2 * self.hidden * keys
        biases = queries + 2 * keys if self.attention_bias else 0
        return (
            attention + biases + 3 * self.hidden * self.intermediate + 2 * self.hidden
        )

    @property
    def parameters(self) -> int:
        embeddings = self.embedding * (1 if self.tied else 2)
        return embeddings + self.layers * self.layer + self.hidden

    def operations(self, tokens: float, squares: float) -> float:
        """Floating-point operations of training, forward and backward.

        Layers that gradient checkpointing computes again are not counted, as is usual
        for utilisation.

        Args:
            squares: sum of the squared lengths of the rows, which causal attention is
                in proportion to.
        """
        matrices = self.layers * self.layer + self.embedding
        attention = self.layers * self.heads * self.head_size
        return 6.0 * matrices * tokens + 6.0 * attention * squares

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Shape | None:
        """From a model's config.json; None for another kind of model."""
        try:
            heads = int(config["num_attention_heads"])
            hidden = int(config["hidden_size"])
            return cls(
                hidden,
                int(config["num_hidden_layers"]),
                heads,
                int(config.get("num_key_value_heads") or heads),
                int(config["intermediate_size"]),
                int(config["vocab_size"]),
                bool(config.get("tie_word_embeddings", False)),
                int(config.get("head_dim") or hidden // heads),
                config.get("model_type") == "qwen2",
            )
        except (KeyError, TypeError):
            return None

    @classmethod
    def of_directory(cls, directory: Path) -> Shape | None:
        path = directory / "config.json"
        if not path.is_file():
            return None
        return cls.of_config(json.loads(path.read_text("utf-8")))


# From the config.json that each model is published with: Qwen2.5 and its fine-tunes.
_QWEN = {
    "0.5": Shape(896, 24, 14, 2, 4864, 151936, True, 64, True),
    "1.5": Shape(1536, 28, 12, 2, 8960, 151936, True, 128, True),
    "3": Shape(2048, 36, 16, 2, 11008, 151936, True, 128, True),
    "7": Shape(3584, 28, 28, 4, 18944, 152064, False, 128, True),
    "14": Shape(5120, 48, 40, 8, 13824, 152064, False, 128, True),
    "32": Shape(5120, 64, 40, 8, 27648, 152064, False, 128, True),
    "72": Shape(8192, 80, 64, 8, 29568, 152064, False, 128, True),
}


def named(repo: str) -> Shape | None:
    """The shape of a model on the hub that is known by its name."""
    found = re.search(r"Qwen2\.5-(?:Coder-|Math-)?(\d+(?:\.\d+)?)B", repo)
    return _QWEN.get(found[1]) if found else None


# Dense bfloat16 operations in a second, by the makers' data sheets; the first name that
# is part of a device's name counts.
_PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "GH200": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "L40S": 362e12,
}


def peak(device: str) -> float | None:
    """Operations a second that a device can do at most, if it is known."""
    return next((value for name, value in _PEAKS.items() if name in device), None)
