"""Supervised fine-tuning: training rows → chat template → a student's weights.

Full fine-tuning with TRL's SFTTrainer on DeepSpeed ZeRO-3, on GPUs and on CPUs alike.
The loss falls on the assistant's text and the token that ends its turn, nothing else.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from retrace import weights
from retrace.rows import TrainingRow

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase
    from trl.trainer.sft_trainer import SFTTrainer

log = logging.getLogger(__name__)

# The label that PyTorch's cross-entropy leaves out.
IGNORED = -100


class Settings(BaseModel):
    """How a student is trained. Batches count rows, lengths count tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: float = Field(gt=0)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1, description="rows in an optimizer step, all ranks")
    micro_batch_size: int = Field(default=1, ge=1, description="rows at once on a rank")
    warmup_ratio: float = Field(default=0.1, ge=0, le=1)
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    max_length: int = Field(ge=16, description="longest row, in tokens")
    over_length: Literal["drop", "error"] = Field(
        default="error", description="what happens to a row over `max_length`"
    )
    offload: Literal["none", "optimizer", "optimizer+params"] = "none"
    gradient_checkpointing: bool = True
    seed: int = 42
    save_steps: int = Field(default=100, ge=1, description="steps between checkpoints")


class Example(TypedDict):
    """A row as tokens; a label is `IGNORED` where no loss falls."""

    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Run:
    """What a finished training leaves: history by step, and counts."""

    history: list[dict[str, float]]
    steps: int
    rows: int
    dropped: list[str]
    tokens_per_epoch: int
    trained_tokens_per_epoch: int


class TrainingError(RuntimeError):
    """Training that cannot start or must not go on."""


def encode(tokenizer: PreTrainedTokenizerBase, row: TrainingRow) -> Example:
    """Tokenize a row with the model's chat template.

    The prompt is the template up to where the assistant begins; the answer is the
    assistant's text and the end-of-turn token, which is what inference stops at.
    """
    user, assistant = row.conversations
    messages = [{"role": "user", "content": user.value}]
    if row.system:
        messages.insert(0, {"role": "system", "content": row.system})
    text = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=False
    )
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = tokenizer(assistant.value, add_special_tokens=False)["input_ids"]
    answer = [*answer, tokenizer.eos_token_id]
    return {
        "input_ids": [*prompt, *answer],
        "labels": [IGNORED] * len(prompt) + answer,
    }


def encode_all(
    tokenizer: PreTrainedTokenizerBase, rows: Iterable[TrainingRow], settings: Settings
) -> tuple[list[Example], list[str]]:
    """Tokenize rows; returns the examples and the ids of rows that were too long.

    Raises:
        TrainingError: a row is too long and the policy is `error`, or none is left.
    """
    examples, dropped = [], []
    for row in rows:
        example = encode(tokenizer, row)
        length = len(example["input_ids"])
        if length <= settings.max_length:
            examples.append(example)
        elif settings.over_length == "drop":
            dropped.append(row.id)
        else:
            raise TrainingError(
                f"row {row.id} has {length} tokens, max_length is "
                f"{settings.max_length}: raise it, or set over_length to drop"
            )
    if not examples:
        raise TrainingError("no row to train on: the dataset is empty or too long")
    return examples, dropped


def train(
    rows: Sequence[TrainingRow],
    base: str,
    settings: Settings,
    checkpoints: Path,
    out: Path,
    shards: int,
    threads: int,
    about: Mapping[str, Any],
) -> Run | None:
    """Train on every rank; rank 0 writes the student to `out` and returns the run.

    Resumes from the newest whole checkpoint in `checkpoints`, data order included.

    Args:
        base: directory or hub name of the model to start from.
        checkpoints: where checkpoints of exactly this run live.
        shards: safetensors files of the student.
        threads: CPU threads of all ranks together.
        about: facts for the manifest.
    """
    _start_ranks(threads)
    # The arguments come first: they switch ZeRO-3 on, and with it how a model loads.
    arguments = _arguments(settings, checkpoints)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    examples, dropped = encode_all(tokenizer, rows, settings)
    trainer = _trainer(arguments, base, tokenizer, examples)
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    run = Run(
        history=[entry for entry in trainer.state.log_history if "loss" in entry],
        steps=trainer.state.global_step,
        rows=len(examples),
        dropped=dropped,
        tokens_per_epoch=sum(len(e["input_ids"]) for e in examples),
        trained_tokens_per_epoch=sum(
            label != IGNORED for e in examples for label in e["labels"]
        ),
    )
    # Every rank takes part in gathering; only the first one holds the result.
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.is_world_process_zero():
        return None
    _save(trainer, tokenizer, state, out, shards, run, about)
    return run


def last_checkpoint(directory: Path) -> str | None:
    """The newest checkpoint that was written to its end, if there is one."""
    found = []
    for path in directory.glob("checkpoint-*"):
        # The trainer's state is the last file of a checkpoint to be written.
        if (path / "trainer_state.json").is_file() and (path / "latest").is_file():
            found.append((int(path.name.rpartition("-")[2]), path))
    return str(max(found)[1]) if found else None


def zero3(settings: Settings) -> dict[str, Any]:
    """DeepSpeed's ZeRO-3 configuration.

    There is no `optimizer` section: PyTorch's AdamW gives the same losses and needs no
    kernel compiled on the machine.
    """
    zero: dict[str, Any] = {
        "stage": 3,
        "overlap_comm": True,
        "contiguous_gradients": True,
        # In elements. The defaults take gigabytes; buckets in proportion to a small
        # model are so many that a step on a CPU takes half as long again.
        "reduce_bucket_size": 50_000_000,
        "stage3_prefetch_bucket_size": 50_000_000,
        "stage3_param_persistence_threshold": 100_000,
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    if "optimizer" in settings.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if "params" in settings.offload:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": "auto"},
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
    }


def _start_ranks(threads: int) -> None:
    """Start torch.distributed through DeepSpeed, before anything else can.

    If accelerate starts it first, DeepSpeed does not know the number of ranks when it
    partitions the model, and refuses the batch size.
    """
    import deepspeed
    import torch

    alone = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29500",
    }
    for name, value in alone.items():
        os.environ.setdefault(name, value)
    torch.set_num_threads(max(1, threads // int(os.environ["WORLD_SIZE"])))
    backend = None if torch.cuda.is_available() else "gloo"
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False)


def _arguments(settings: Settings, checkpoints: Path) -> Any:
    import torch
    from trl.trainer.sft_config import SFTConfig

    ranks = int(os.environ["WORLD_SIZE"])
    at_once = settings.micro_batch_size * ranks
    if settings.batch_size % at_once:
        raise TrainingError(
            f"batch_size {settings.batch_size} is not a multiple of micro_batch_size "
            f"{settings.micro_batch_size} x {ranks} ranks: change one of them"
        )
    return SFTConfig(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=settings.batch_size // at_once,
        warmup_steps=settings.warmup_ratio,
        lr_scheduler_type=settings.scheduler,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        gradient_checkpointing=settings.gradient_checkpointing,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        deepspeed=zero3(settings),
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
    )


def _trainer(
    arguments: Any,
    base: str,
    tokenizer: PreTrainedTokenizerBase,
    examples: list[Example],
) -> SFTTrainer:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl.trainer.sft_trainer import SFTTrainer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return SFTTrainer(
        model=model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([dict(example) for example in examples]),
    )


def _save(
    trainer: SFTTrainer,
    tokenizer: PreTrainedTokenizerBase,
    state: Mapping[str, torch.Tensor],
    out: Path,
    shards: int,
    run: Run,
    about: Mapping[str, Any],
) -> None:
    import torch

    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    model.config.dtype = torch.bfloat16
    weights.save(
        out,
        model,
        tokenizer,
        shards,
        {
            **about,
            "training": {
                "steps": run.steps,
                "rows": run.rows,
                "rows_dropped": run.dropped,
                "tokens_per_epoch": run.tokens_per_epoch,
                "trained_tokens_per_epoch": run.trained_tokens_per_epoch,
                "ranks": trainer.args.world_size,
            },
        },
        {name: tensor.to(torch.bfloat16) for name, tensor in state.items()},
    )


def metric_lines(run: Run) -> list[str]:
    """The history as JSON lines: step, loss, learning_rate, grad_norm, ..."""
    keys = {
        "step": "step",
        "epoch": "epoch",
        "loss": "loss",
        "learning_rate": "learning_rate",
        "grad_norm": "grad_norm",
        "mean_token_accuracy": "token_accuracy",
        "num_tokens": "tokens",
    }
    return [
        json.dumps(
            {ours: entry[theirs] for theirs, ours in keys.items() if theirs in entry}
        )
        for entry in run.history
    ]
