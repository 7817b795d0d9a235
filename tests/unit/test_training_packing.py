"""Packed rows: which go where, and that each is blind to the others."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples_of
from hypothesis import strategies as st

from retrace.training.encoding import IGNORED, Encoder
from retrace.training.packing import plan
from tests import tiny_model
from tests.unit.test_training_encoding import settings
from tests.unit.training_rows import rows


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=60),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from([0.5, 1, 2.5]),
)
@examples_of(max_examples=80, deadline=None)
def test_no_row_is_lost_and_no_sequence_is_too_long(
    lengths: list[int], batch: int, ranks: int, epochs: float
) -> None:
    how = settings(batch_size=batch, max_length=100, epochs=epochs, packing=True)
    found = plan(lengths, how, ranks)
    at_once = ranks * found.per_rank
    assert len(found.sequences) == found.steps * at_once
    steps = [
        [row for one in found.sequences[start : start + at_once] for row in one]
        for start in range(0, len(found.sequences), at_once)
    ]
    for sequence in found.sequences:
        assert sum(lengths[row] for row in sequence) <= 100
    per_epoch = found.steps_per_epoch
    for start in range(0, found.steps - per_epoch + 1, per_epoch):
        seen = Counter(row for step in steps[start : start + per_epoch] for row in step)
        assert seen == Counter(range(len(lengths)))
    assert all(len(step) <= batch for step in steps)


def test_a_step_has_the_same_rows_on_any_number_of_ranks() -> None:
    lengths = [random.Random(n).randint(10, 100) for n in range(50)]
    how = settings(batch_size=8, max_length=200, packing=True)

    def steps(ranks: int) -> list[list[int]]:
        found = plan(lengths, how, ranks)
        size = ranks * found.per_rank
        return [
            sorted(row for one in found.sequences[start : start + size] for row in one)
            for start in range(0, len(found.sequences), size)
        ]

    assert steps(1) == steps(2) == steps(4)


def test_the_order_changes_with_the_epoch_and_the_seed() -> None:
    how = settings(batch_size=8, max_length=64, epochs=2, packing=True)
    lengths = [8] * 64
    first = plan(lengths, how, 1).sequences
    assert first == plan(lengths, how, 1).sequences
    assert first != plan(lengths, how.model_copy(update={"seed": 1}), 1).sequences
    assert first[:8] != first[8:]


def test_ranks_get_about_the_same_number_of_tokens() -> None:
    """Rows as long as Sky-T1's: without packing a step waits for its longest row."""
    chance = random.Random(0)
    lengths = [min(16384, int(chance.lognormvariate(8.2, 0.7))) for _ in range(960)]
    how = settings(batch_size=96, max_length=16384, packing=True)
    found = plan(lengths, how, 8)
    waits = 0
    for start in range(0, len(found.sequences), 8):
        sizes = [
            sum(lengths[r] for r in one) for one in found.sequences[start : start + 8]
        ]
        waits += max(sizes) * 8 - sum(sizes)
    assert waits < 0.05 * sum(lengths)


@pytest.fixture(scope="module")
def model_and_batches(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Any, Any, list[Any]]:
    """The tiny model, a tokenizer and examples."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    tiny_model.build(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    encoder = Encoder(tiny_model.tokenizer(), settings())
    return model.eval(), encoder, encoder.encode_all(rows(12))[0]


def collator(examples: list[Any], packed: bool, by_row: bool = False) -> Any:
    from retrace.training.collation import Collator

    return Collator(examples, 0, packed, by_row)


@pytest.mark.slow
def test_logits_of_packed_rows_are_those_of_the_rows_alone(
    model_and_batches: tuple[Any, Any, list[Any]],
) -> None:
    import torch

    from retrace.training import attention

    model, _, examples = model_and_batches
    model.set_attn_implementation(attention.choose(packed=True))
    packed = collator(examples, packed=True)([{"rows": list(range(len(examples)))}])
    inputs = {name: packed[name] for name in ("input_ids", "position_ids")}
    with torch.no_grad():
        together = model(**inputs, use_cache=False).logits[0]
        blind_to_nothing = model(packed["input_ids"], use_cache=False).logits[0]
        alone = torch.cat(
            [model(torch.tensor(e.ids)[None].long()).logits[0] for e in examples]
        )
    assert torch.allclose(together, alone, atol=1e-4)
    assert not torch.allclose(blind_to_nothing, alone, atol=1e-1)


@pytest.mark.slow
def test_the_kernel_for_gpus_is_called_as_its_signature_says() -> None:
    """On tensors without values, which go through PyTorch's own checks of shapes."""
    import torch

    from retrace.training.attention import varlen

    def heads(count: int) -> Any:
        return torch.empty(1, count, 10, 8, dtype=torch.bfloat16, device="meta")

    starts = torch.empty(3, dtype=torch.int32, device="meta")
    out, _ = varlen(
        torch.nn.Module(),
        *(heads(4).requires_grad_(), heads(2), heads(2)),
        None,
        scaling=0.5,
        cu_seq_lens_q=starts,
        max_length_q=6,
        dropout=0.0,
    )
    assert out.shape == (1, 10, 4, 8)
    assert out.requires_grad


def by_row(
    query: Any, key: Any, value: Any, starts: Any, *_: Any, scale: float, **options: Any
) -> Any:
    """What `varlen_attn` is documented to do, row by row."""
    import torch

    assert options == {"window_size": (-1, 0), "enable_gqa": True}
    parts = []
    for start, end in itertools.pairwise(starts.tolist()):
        q, k, v = (one[start:end].transpose(0, 1) for one in (query, key, value))
        parts.append(
            torch.nn.functional.scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=scale, enable_gqa=True
            ).transpose(0, 1)
        )
    return torch.cat(parts)


@pytest.mark.slow
def test_attention_by_lengths_is_wired_into_a_model(
    model_and_batches: tuple[Any, Any, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel itself needs a GPU: here its documented meaning stands in for it."""
    import torch

    from retrace.training import attention

    model, _, examples = model_and_batches
    batch = collator(examples, packed=True)([{"rows": list(range(len(examples)))}])
    told = {
        name: batch[name]
        for name in batch.keys() - {"labels", "rows", "counts", "seq_idx"}
    }
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    name = attention.choose(packed=True)
    monkeypatch.undo()
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", by_row)
    with torch.no_grad():
        masked = model(**told, use_cache=False).logits
        model.set_attn_implementation(name)
        by_lengths = model(**told, use_cache=False).logits
    model.set_attn_implementation("sdpa")
    assert name == attention.VARLEN
    assert torch.allclose(masked, by_lengths, atol=1e-4)


@pytest.mark.slow
def test_packed_and_padded_batches_train_the_same_tokens(
    model_and_batches: tuple[Any, Any, list[Any]],
) -> None:
    _, _, examples = model_and_batches
    items = [{"rows": [n]} for n in range(len(examples))]
    padded = collator(examples, packed=False)(items)
    packed = collator(examples, packed=True)(items)
    for batch in (padded, packed):
        labels = batch["labels"]
        assert labels[labels != IGNORED].tolist() == [
            int(token) for e in examples for token in e.ids[e.prompt :]
        ]
        tokens = sum(len(e.ids) for e in examples)
        squares = sum(len(e.ids) ** 2 for e in examples)
        assert batch["counts"].tolist() == [tokens, batch["input_ids"].numel(), squares]
    assert packed["input_ids"].numel() == sum(len(e.ids) for e in examples)


@pytest.mark.slow
def test_losses_agree_packed_or_not_and_rows_weigh_the_same_if_asked(
    model_and_batches: tuple[Any, Any, list[Any]],
) -> None:
    import torch

    model, _, examples = model_and_batches
    items = [{"rows": [n]} for n in range(len(examples))]

    def losses(batch: dict[str, Any]) -> torch.Tensor:
        names = {"input_ids", "position_ids", "attention_mask"} & batch.keys()
        logits = model(**{name: batch[name] for name in names}, use_cache=False).logits
        return torch.nn.functional.cross_entropy(
            logits[:, :-1].transpose(1, 2), batch["labels"][:, 1:], reduction="none"
        )

    by_row = []
    with torch.no_grad():
        for packed in (False, True):
            batch = collator(examples, packed, by_row=True)(items)
            by_row.append((losses(batch) * batch["weights"][:, 1:]).sum())
            assert batch["weights"].sum().item() == pytest.approx(len(examples))
        single = [losses(collator(examples, False)([item])) for item in items]
    means = [float(one[one != 0].mean()) for one in single]
    assert by_row[0].item() == pytest.approx(by_row[1].item(), rel=1e-4)
    assert by_row[0].item() == pytest.approx(sum(means), rel=1e-4)


@pytest.mark.slow
def test_a_sequence_without_rows_trains_nothing(
    model_and_batches: tuple[Any, Any, list[Any]],
) -> None:
    _, _, examples = model_and_batches
    batch = collator(examples, packed=True)([{"rows": []}])
    assert batch["input_ids"].shape == (1, 1)
    assert batch["labels"].tolist() == [[IGNORED]]
