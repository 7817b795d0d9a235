"""How packed rows stay blind to one another: PyTorch's own flash attention on GPUs.

On a CPU, transformers makes a block-diagonal mask of the positions, for the `sdpa`
attention. On a GPU that mask would be a square of the sequence, so rows are given to
the kernel as lengths (varlen), which also skips what the mask would hide.
"""

from __future__ import annotations

from typing import Any

import torch

VARLEN = "retrace_varlen"


def choose(packed: bool) -> str:
    """The name of the attention that a model is loaded with."""
    if not (packed and torch.cuda.is_available()):
        return "sdpa"
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(VARLEN, varlen)
    AttentionMaskInterface.register(VARLEN, _no_mask)
    return VARLEN


def varlen(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row of one sequence.

    Args:
        query: (1, heads, tokens, head size); key and value may have fewer heads.
        cu_seq_lens_q: where rows begin, and the number of tokens: (rows + 1,), int32.
        max_length_q: tokens of the longest row.

    Returns:
        (1, tokens, heads, head size).
    """
    from torch.nn.attention.varlen import varlen_attn

    queries, keys, values = (
        tensor[0].transpose(0, 1) for tensor in (query, key, value)
    )
    out = varlen_attn(
        queries,
        keys,
        values,
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        max_length_q,
        scale=scaling,
        window_size=(-1, 0),
        enable_gqa=True,
    )
    assert isinstance(out, torch.Tensor)
    return out[None], None


def _no_mask(*_: Any, **__: Any) -> None:
    return None
