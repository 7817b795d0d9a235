"""How much memory a training needs on each rank, before it starts.

The sizes of what ZeRO-3 keeps follow from the number of parameters; those of a step
follow from the model's shape and the longest sequence, as autograd keeps them.
docs/training.md has the derivation and compares predictions with measured peaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

from retrace.training.deepspeed import BUCKET, PREFETCH
from retrace.training.settings import Lora, Settings, TrainingError
from retrace.training.shapes import Shape

GIB = 2**30

# Bytes of a parameter: float32 master copy and Adam's two moments; float32.
STATES, FULL = 12, 4
# Bytes of what a step computes with.
WIDTHS = {"bfloat16": 2, "float32": 4}
# DeepSpeed's defaults: elements that are updated at once, that stay gathered at most.
SUB_GROUP = 1_000_000_000
LIVE = 1_000_000_000
# TRL's output head works on tiles of tokens and words.
TILE_TOKENS, TILE_WORDS = 4096, 32768
# What a GPU holds beside tensors: CUDA's context, NCCL's buffers.
CONTEXT = 2.0 * GIB
# A process before it has a model: PyTorch, transformers, DeepSpeed; and with CUDA.
PROCESS, CUDA_PROCESS = 0.62 * GIB, 4.0 * GIB
# What DeepSpeed's own estimate (estimate_zero3_model_states_mem_needs) adds for pinned
# buffers, which are rounded up.
PINNED = 1.5
_RAN_OUT = re.compile("out of memory|can't allocate memory|failed to cuda malloc", re.I)
OFFLOADS = ("none", "optimizer", "optimizer+params")


@dataclass(frozen=True)
class Layout:
    """Ranks of the whole training and of one node."""

    ranks: int
    per_node: int
    on_gpu: bool = True


@dataclass(frozen=True)
class Node:
    """Bytes that a node offers, of each GPU and of its host; None if not known."""

    gpu: float | None
    host: float | None


@dataclass(frozen=True)
class Need:
    """Peak bytes: of a rank's GPU, of a rank's process, and of the first rank's process
    when it gathers the student."""

    gpu: float
    host: float
    gather: float

    def node(self, layout: Layout) -> float:
        """Host memory of the first node."""
        return layout.per_node * self.host + self.gather


def need(shape: Shape, settings: Settings, layout: Layout) -> Need:
    """What a rank needs. Without GPUs, all of it is host memory."""
    trained = _trained(shape, settings)
    per_rank = 1 / layout.ranks
    width = WIDTHS[settings.precision]
    weights = width * shape.parameters * per_rank
    states = (STATES + width) * trained * per_rank
    update = FULL * min(SUB_GROUP, trained * per_rank)
    step = activations(shape, settings) + _head(shape, settings, layout.on_gpu)
    # The buckets that gradients leave by; weights that are whole on a rank stay there.
    step += 2 * width * min(shape.parameters, BUCKET)
    if layout.ranks > 1 or settings.offload == OFFLOADS[-1]:
        step += width * min(shape.parameters, LIVE + PREFETCH)
    gather = float(width * shape.parameters)
    if not layout.on_gpu:
        # A CPU's allocator keeps what a step has freed when the update begins.
        host = PROCESS + weights + states + update + step
        return Need(0.0, host, gather)
    gpu, host = step, CUDA_PROCESS
    if settings.offload == "none":
        gpu += states + update
    else:
        # Gradients are kept in float32 there.
        host += PINNED * (STATES + FULL) * trained * per_rank
    if settings.offload == "optimizer+params":
        host += PINNED * weights
    else:
        gpu += weights
    return Need(gpu + CONTEXT, host, gather)


def activations(shape: Shape, settings: Settings) -> float:
    """Bytes that autograd keeps of the longest micro-batch, layers only.

    With gradient checkpointing, the input of every layer and all of one layer.
    """
    tokens = _tokens(settings)
    width = WIDTHS[settings.precision]
    hidden = shape.hidden
    queries = shape.heads * shape.head_size
    keys = shape.kv_heads * shape.head_size
    # Norms keep float32 copies; attention its input, queries, keys, values before and
    # after rotation, and output; the feed-forward part its input and four products.
    kept = 10 * hidden + 4 * (queries + keys) + 4 * shape.intermediate
    layer = FULL * hidden + width * kept
    if settings.gradient_checkpointing:
        return float(tokens * (width * hidden * shape.layers + layer))
    return float(tokens * layer * shape.layers)


def refusal(shape: Shape, settings: Settings, layout: Layout, node: Node) -> str | None:
    """Why a training cannot fit, and the nearest settings that do; None if it fits."""
    needed = need(shape, settings, layout)
    reasons = [
        f"{what} needs {wanted / GIB:,.0f} GiB and has {has / GIB:,.0f}"
        for what, wanted, has in (
            ("a GPU", needed.gpu, node.gpu),
            ("a node's host memory", needed.node(layout), node.host),
        )
        if has is not None and wanted > has
    ]
    if not reasons:
        return None
    near = next(_nearest(shape, settings, layout, node), None)
    return f"{' and '.join(reasons)}: {near or 'train on more nodes'}"


def cheaper(settings: Settings, host: bool = False) -> str:
    """The next setting that makes a step need less of a GPU, or of a host, in words."""
    if not settings.gradient_checkpointing:
        return "set gradient_checkpointing to true"
    if settings.micro_batch_size > 1 and not settings.packing:
        return f"halve micro_batch_size, which is {settings.micro_batch_size}"
    wanted = OFFLOADS.index(settings.offload) + (-1 if host else 1)
    if 0 <= wanted < len(OFFLOADS):
        return f"set offload to {OFFLOADS[wanted]}"
    return f"lower max_length, which is {settings.max_length}, or train on more ranks"


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Memory that runs out is told with the setting that needs less of it.

    PyTorch has a class of its own for its allocator on GPUs only; what CUDA, NCCL and
    the allocator of the host could not get is known by its words.

    Raises:
        TrainingError: instead of the allocator's error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        told = str(error) or type(error).__name__
        if not isinstance(error, MemoryError) and not _RAN_OUT.search(told):
            raise
        host = not re.search("CUDA|NCCL", told)
        raise TrainingError(
            f"out of {'host' if host else 'GPU'} memory ({told.splitlines()[0]}):"
            f" {cheaper(settings, host)}"
        ) from error


def _trained(shape: Shape, settings: Settings) -> float:
    if settings.lora is None:
        return shape.parameters
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    sides = 2 * (shape.hidden + queries) + 2 * (shape.hidden + keys)
    sides += 3 * (shape.hidden + shape.intermediate)
    return settings.lora.rank * shape.layers * sides


def _tokens(settings: Settings) -> int:
    """Tokens of the longest micro-batch, with padding."""
    return settings.max_length * (1 if settings.packing else settings.micro_batch_size)


def _head(shape: Shape, settings: Settings, on_gpu: bool) -> float:
    """The output head: its gradient twice, once in float32, and a tile of logits.

    On a GPU one kernel works on the tile; on a CPU float32 copies of it come and go.
    """
    width = WIDTHS[settings.precision]
    trained = 0 if settings.lora else (FULL + width) * shape.embedding
    tile = min(_tokens(settings), TILE_TOKENS) * min(shape.vocabulary, TILE_WORDS)
    return trained + (2 * width if on_gpu else 7 * FULL) * tile


def _nearest(
    shape: Shape, settings: Settings, layout: Layout, node: Node
) -> Iterator[str]:
    """Changes that make it fit, those first that change the training least."""
    now = OFFLOADS.index(settings.offload)
    near = sorted(OFFLOADS, key=lambda one: abs(OFFLOADS.index(one) - now))
    adapters = [settings.lora] if settings.lora else [None, Lora(rank=64, alpha=64)]
    lengths = [settings.max_length // part for part in (1, 2, 4)]
    for lora, length, offload, remember in product(
        adapters, lengths, near, (settings.gradient_checkpointing, True)
    ):
        changes = {
            "lora": lora,
            "max_length": length,
            "offload": offload,
            "gradient_checkpointing": remember,
        }
        changed = settings.model_copy(update=changes)
        told = [
            f"{key}: {'{rank: 64, alpha: 64}' if key == 'lora' else value}"
            for key, value in changes.items()
            if value != getattr(settings, key)
        ]
        if told and refusal_free(shape, changed, layout, node):
            yield f"nearest that fits: {', '.join(told)}".replace("True", "true")


def refusal_free(shape: Shape, settings: Settings, layout: Layout, node: Node) -> bool:
    needed = need(shape, settings, layout)
    return (node.gpu is None or needed.gpu <= node.gpu) and (
        node.host is None or needed.node(layout) <= node.host
    )
