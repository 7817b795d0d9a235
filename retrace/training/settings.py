"""How a student is trained, as a recipe says it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingError(RuntimeError):
    """Training that cannot start or must not go on."""


class Lora(BaseModel):
    """Low-rank adapters instead of all weights; merged into the student at the end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1, description="adapters are scaled by alpha / rank")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: list[str] | Literal["all-linear"] = Field(
        default="all-linear",
        description="matrices that get an adapter; all-linear: all but the output head",
    )


class Settings(BaseModel):
    """How a student is trained. Batches count rows, lengths count tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: float = Field(gt=0)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1, description="rows in an optimizer step, all ranks")
    micro_batch_size: int = Field(
        default=1, ge=1, description="rows at once on a rank; with `packing`, unused"
    )
    warmup_ratio: float = Field(default=0.1, ge=0, le=1)
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    max_length: int = Field(
        ge=16, description="longest row, and longest packed sequence, in tokens"
    )
    over_length: Literal["drop", "error", "truncate_thought"] = Field(
        default="error",
        description="what happens to a row over `max_length`; `truncate_thought` leaves"
        " out the thought's last steps, never the solution",
    )
    packing: bool = Field(
        default=False,
        description="rows of a step end to end in sequences of up to `max_length`, each"
        " row blind to the others",
    )
    weighting: Literal["token", "row"] = Field(
        default="token",
        description="what weighs the same in a step: every token, or every row",
    )
    end_token: str | None = Field(
        default=None,
        description="trained after an answer; none: what the chat template puts there",
    )
    lora: Lora | None = Field(default=None, description="none: all weights are trained")
    offload: Literal["none", "optimizer", "optimizer+params"] = Field(
        default="none", description="what waits in host memory instead of on GPUs"
    )
    gradient_checkpointing: bool = Field(
        default=True,
        description="layers are computed again backward instead of being remembered",
    )
    precision: Literal["bfloat16", "float32"] = Field(
        default="bfloat16",
        description="of what a step computes, and of the student's weights; the update"
        " is made in float32. Processors without bfloat16 instructions (AVX512_BF16,"
        " AMX) take many times longer with it",
    )
    liger: bool = Field(
        default=False, description="Liger's fused layers; GPUs, package liger-kernel"
    )
    seed: int = 42
    save_steps: int = Field(default=100, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(default=2, ge=1, description="older ones are deleted")

    def uneven(self, ranks: int) -> str:
        """What to do if the rows of a step cannot be shared out among the ranks."""
        at_once = self.micro_batch_size * ranks
        if self.packing or self.batch_size % at_once == 0:
            return ""
        return (
            f"batch_size {self.batch_size} is not a multiple of micro_batch_size"
            f" {self.micro_batch_size} x {ranks} ranks: change one of them"
        )
