"""A whole training, from rows to a student's weights.

Full fine-tuning or LoRA with TRL's SFTTrainer on DeepSpeed ZeRO-3, on GPUs and on CPUs
alike. The loss falls on the assistant's text and the token that ends its turn.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrace import weights
from retrace.locking import Lock
from retrace.rows import TrainingRow
from retrace.stopping import Stopped
from retrace.training import checkpoints, follow, memory
from retrace.training.deepspeed import (
    agreed,
    end_ranks,
    rank,
    return_memory,
    start_ranks,
    zero3,
)
from retrace.training.encoding import Encoder, Example, Lengths
from retrace.training.packing import Plan, plan
from retrace.training.settings import Settings, TrainingError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from retrace.training.trainer import Trainer

log = logging.getLogger(__name__)

# Seconds to wait for a run's directory: longer than a dead node keeps its lock.
WAIT = 90.0


@dataclass(frozen=True)
class Job:
    """What is trained from what, and where.

    base: directory or hub name of the model to start from, and there its `revision`.
    checkpoints: where checkpoints of exactly this run live.
    shards: safetensors files of the student.
    threads: CPU threads of this node's ranks together.
    about: facts for the manifest.
    """

    student: str
    base: str
    checkpoints: Path
    out: Path
    shards: int
    threads: int
    about: Mapping[str, Any]
    trackers: tuple[str, ...] = ()
    revision: str = "main"


def train(
    rows: Sequence[TrainingRow], settings: Settings, job: Job
) -> list[str] | None:
    """Train on every rank; rank 0 writes the student and returns its metrics as lines.

    Resumes from the newest whole checkpoint, data order included.

    Raises:
        TrainingError: the training cannot start or must not go on.
        Stopped: by a signal or before the time limit, with a checkpoint written.
    """
    # PyTorch renamed functions that DeepSpeed calls in every step.
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
    ranks = start_ranks(job.threads)
    with _in_charge(job), memory.explained(settings):
        return _train(rows, settings, job, ranks)


def metric_lines(history: Sequence[Mapping[str, Any]], epochs: float) -> list[str]:
    """The history as JSON lines, one for each step.

    tokens, padded_tokens: trained on so far, without and with padding, all ranks.
    tokens_per_second: without padding, all ranks. mfu: share of the GPUs' peak.
    memory_gib: the most that a rank has had, on its GPU, or of the host on a CPU.
    """
    keys = {
        "step": "step",
        "epoch": "epoch",
        "loss": "loss",
        "learning_rate": "learning_rate",
        "grad_norm": "grad_norm",
        "mean_token_accuracy": "token_accuracy",
        "tokens": "tokens",
        "padded_tokens": "padded_tokens",
        "tokens_per_second": "tokens_per_second",
        "mfu": "mfu",
        "memory_gib": "memory_gib",
    }
    lines, seen = [], dict.fromkeys(("tokens", "padded_tokens"), 0)
    for entry in history:
        for name in seen:
            seen[name] += round(entry[name])
        # A packed training is one pass over a plan of all epochs.
        epoch = round(epochs * entry["step"] / history[-1]["step"], 4)
        told = {**entry, **seen, "epoch": epoch}
        line = {ours: told[theirs] for theirs, ours in keys.items() if theirs in told}
        lines.append(json.dumps(line))
    return lines


@contextmanager
def _in_charge(job: Job) -> Iterator[None]:
    """The first rank holds the run's directory, so that no other job writes there."""
    lock = Lock(job.checkpoints / follow.LOCK)
    first = rank() == 0
    if first:
        lock.acquire(WAIT)
    try:
        yield
    finally:
        if first:
            lock.release()


def _train(
    rows: Sequence[TrainingRow], settings: Settings, job: Job, ranks: int
) -> list[str] | None:
    checkpoint = agreed(lambda: checkpoints.latest(job.checkpoints, ranks))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.base, revision=job.revision)
    encoder = Encoder(tokenizer, settings)
    examples, lengths = encoder.encode_all(rows)
    if rank() == 0:
        log.info(
            "%d rows, %d tokens, %d of them trained; %d rows dropped, %d shortened",
            *(lengths.kept, lengths.tokens, lengths.trained_tokens),
            *(len(lengths.dropped), len(lengths.truncated)),
        )
    sizes = [len(example.ids) for example in examples]
    packed = plan(sizes, settings, ranks) if settings.packing else None
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(job.checkpoints / "tensorboard")
    # The arguments come first: they switch ZeRO-3 on, and with it how a model loads.
    arguments = _arguments(settings, job, ranks, packed, checkpoint)
    trainer = _trainer(arguments, settings, job, tokenizer, examples, packed)
    with trainer.stops_on_signals():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if trainer.stopped:
            end_ranks()
            raise Stopped(trainer.stopped)
        return_memory()
        # Every rank takes part in gathering; only the first one holds the result.
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        end_ranks()
        if not trainer.is_world_process_zero():
            return None
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        _save(trainer, tokenizer, encoder, settings, job, state, lengths, history)
    return metric_lines(history, settings.epochs)


def _arguments(
    settings: Settings,
    job: Job,
    ranks: int,
    packed: Plan | None,
    checkpoint: Path | None,
) -> Any:
    import torch
    from trl.trainer.sft_config import SFTConfig

    if uneven := settings.uneven(ranks):
        raise TrainingError(uneven)
    if settings.liger and not torch.cuda.is_available():
        raise TrainingError("liger is made for GPUs and there is none: set it to false")
    universal = checkpoint is not None and checkpoints.is_universal(checkpoint)
    return SFTConfig(
        output_dir=str(job.checkpoints),
        num_train_epochs=settings.epochs,
        max_steps=packed.steps if packed else -1,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=1 if packed else settings.micro_batch_size,
        gradient_accumulation_steps=(
            packed.per_rank
            if packed
            else settings.batch_size // (settings.micro_batch_size * ranks)
        ),
        train_sampling_strategy="sequential" if packed else "random",
        warmup_steps=settings.warmup_ratio,
        lr_scheduler_type=settings.scheduler,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        gradient_checkpointing=settings.gradient_checkpointing,
        use_liger_kernel=settings.liger,
        bf16=settings.precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        deepspeed=zero3(settings, universal),
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=None,
        report_to=list(job.trackers),
        run_name=job.student,
        disable_tqdm=True,
        dataloader_num_workers=0,
    )


def _trainer(
    arguments: Any,
    settings: Settings,
    job: Job,
    tokenizer: PreTrainedTokenizerBase,
    examples: list[Example],
    packed: Plan | None,
) -> Trainer:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    from retrace.training import attention
    from retrace.training.collation import ROWS, Collator
    from retrace.training.shapes import Shape
    from retrace.training.trainer import Trainer

    model = AutoModelForCausalLM.from_pretrained(
        job.base,
        revision=job.revision,
        dtype=torch.float32,
        attn_implementation=attention.choose(packed=packed is not None),
    )
    numbers = packed.sequences if packed else [[i] for i in range(len(examples))]
    pad = tokenizer.pad_token_id
    return Trainer(
        row_ids=[example.row for example in examples],
        shape=Shape.of_config(model.config.to_dict()),
        settings=settings,
        student=job.student,
        model=model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({ROWS: numbers}),
        data_collator=Collator(
            examples,
            tokenizer.eos_token_id if pad is None else pad,
            packed is not None,
            settings.weighting == "row",
        ),
        peft_config=_adapters(settings),
    )


def _adapters(settings: Settings) -> Any:
    if settings.lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules=settings.lora.targets,
        task_type="CAUSAL_LM",
    )


def _save(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    encoder: Encoder,
    settings: Settings,
    job: Job,
    state: Mapping[str, torch.Tensor],
    lengths: Lengths,
    history: Sequence[Mapping[str, float]],
) -> None:
    import torch

    from retrace.training import lora

    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    if settings.lora:
        model = model.get_base_model()
        state = lora.merge(state, settings.lora)
    precision = getattr(torch, settings.precision)
    model.config.dtype = precision
    weights.stop_at(model, encoder.end)
    told = {
        **dataclasses.asdict(lengths),
        "steps": trainer.state.global_step,
        "ranks": trainer.args.world_size,
        "tokens_seen": round(sum(entry["tokens"] for entry in history)),
        "tokens_seen_with_padding": round(
            sum(entry["padded_tokens"] for entry in history)
        ),
    }
    rounded = {name: tensor.to(precision) for name, tensor in state.items()}
    about = {**job.about, "training": told}
    weights.save(job.out, model, tokenizer, job.shards, about, rounded)
