"""Adapters merged into the weights they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from retrace.training.settings import Lora

if TYPE_CHECKING:
    import torch

_PREFIX = "base_model.model."
_BASE, _DOWN, _UP = ".base_layer.", ".lora_A.default.", ".lora_B.default."


def merge(state: Mapping[str, torch.Tensor], settings: Lora) -> dict[str, torch.Tensor]:
    """The tensors of a model with adapters as those of the model itself.

    The sum is taken in float32: the adapters' change is small beside the weights.
    """
    merged = {}
    for name, tensor in state.items():
        if _DOWN in name or _UP in name:
            continue
        plain = name.removeprefix(_PREFIX)
        if _BASE in name:
            plain = plain.replace(_BASE, ".")
            down = state.get(name.replace(_BASE, _DOWN))
            if down is not None:
                up = state[name.replace(_BASE, _UP)]
                change = up.float() @ down.float()
                scale = settings.alpha / settings.rank
                tensor = (tensor.float() + scale * change).to(tensor.dtype)
        merged[plain] = tensor
    return merged
