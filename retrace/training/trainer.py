"""TRL's SFTTrainer with what a long run needs: whole checkpoints, measures, stops."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.sft_trainer import SFTTrainer

from retrace.rows import write_lines
from retrace.stopping import LIMIT_VARIABLE
from retrace.training import checkpoints, follow
from retrace.training.collation import COUNTS, ROWS, WEIGHTS
from retrace.training.settings import Settings, TrainingError
from retrace.training.shapes import Shape, peak

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
GIB = 2**30


class Trainer(SFTTrainer):
    """Takes the steps. `row_ids` are the ids of the rows by number."""

    def __init__(
        self,
        *,
        settings: Settings,
        student: str,
        row_ids: list[str],
        shape: Shape | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = settings
        self._directory = Path(str(self.args.output_dir))
        self._student = student
        self._row_ids = row_ids
        self._shape = shape
        self._rows: deque[list[int]] = deque(
            maxlen=self.args.gradient_accumulation_steps
        )
        self._counts = torch.zeros(3, dtype=torch.float64)
        self._clock = Clock()
        self.remove_callback(PrinterCallback)  # `_tell` says it in fewer words
        self.add_callback(_AtEachStep(self))

    @property
    def stopped(self) -> str:
        """Why training stopped before its end, or nothing."""
        return self._clock.reason

    # --- Loss ---

    def training_step(self, model: Any, inputs: Any, *rest: Any) -> torch.Tensor:
        self._rows.append(inputs.pop(ROWS).tolist())
        self._counts += inputs.pop(COUNTS).cpu()
        untyped: Any = super()
        loss: torch.Tensor = untyped.training_step(model, inputs, *rest)
        if not torch.isfinite(loss):
            self._fail("loss", float(loss))
        return loss

    def compute_loss(self, model: Any, inputs: Any, *rest: Any, **kwargs: Any) -> Any:
        """SFTTrainer's loss, with a weight for every token where the batch has some."""
        untyped: Any = super()
        weights = inputs.pop(WEIGHTS, None)
        if weights is None:
            return untyped.compute_loss(model, inputs, *rest, **kwargs)

        def weighted(**arguments: Any) -> Any:
            outputs = model(**arguments)
            outputs.log_probs = outputs.log_probs * weights[:, 1:]
            return outputs

        return untyped.compute_loss(weighted, inputs, *rest, **kwargs)

    def _get_num_items_in_batch(self, batch_samples: Any, device: Any) -> Any:
        """What the losses of a step are divided by: its tokens, or its rows."""
        if not batch_samples or WEIGHTS not in batch_samples[0]:
            return super()._get_num_items_in_batch(batch_samples, device)
        rows = sum(batch[WEIGHTS][:, 1:].sum() for batch in batch_samples)
        return self.accelerator.gather(rows.to(device)).sum()

    def _fail(self, what: str, value: float) -> None:
        """Stop, with the ids of the step's rows on this rank saved.

        Raises:
            TrainingError: always.
        """
        step = self.state.global_step + 1
        path = self._directory / f"bad-step-{step}-rank{self.args.process_index}.json"
        ids = [self._row_ids[row] for rows in self._rows for row in rows]
        content = {"step": step, what: str(value), "rows": ids}
        write_lines(path, [json.dumps(content)])
        raise TrainingError(
            f"the {what} of step {step} is {value}: its rows on this rank are listed in"
            f" {path}. Look at them; lower learning_rate if nothing is wrong there."
            " The same command goes on from the last checkpoint"
        )

    def divide_step_counts(self) -> None:
        """After a universal checkpoint, give each parameter its own step count.

        DeepSpeed 0.19.8 loads one tensor for all of them, so that Adam would count a
        step once for every group of parameters. It gives all groups the weight decay of
        the first one as well.
        """
        config: Any = self.args.deepspeed
        if "checkpoint" not in config:
            return
        engine: Any = self.model_wrapped
        inner = engine.optimizer.optimizer
        for state in inner.state.values():
            state["step"] = state["step"].clone()
        # transformers' own order: what decays, and norms and biases, which do not.
        for group, decay in zip(
            inner.param_groups, (self.args.weight_decay, 0.0), strict=False
        ):
            group["weight_decay"] = decay

    # --- Measures ---

    def end_step(self) -> bool:
        """Measure the step over all ranks; whether training must stop after it."""
        self._clock.tick()
        mine = torch.tensor(
            [*self._counts, _memory(), self._clock.must_stop()], dtype=torch.float64
        )
        every = self.accelerator.gather(mine[None].to(self.args.device)).cpu()
        self._counts.zero_()
        tokens, padded, squares = every[:, :3].sum(0).tolist()
        seconds = self._clock.step
        self._measures = {
            "tokens": tokens,
            "padded_tokens": padded,
            "tokens_per_second": tokens / seconds,
            "memory_gib": float(every[:, 3].max()),
        }
        most = peak(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
        if most and self._shape:
            operations = self._shape.operations(tokens, squares)
            used = operations / seconds / self.args.world_size / most
            self._measures["mfu"] = used
        return bool(every[:, 4].any())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs.update(self._measures)
            if self.is_world_process_zero():
                self._tell(logs)
        super().log(logs, start_time)
        norm = logs.get("grad_norm")
        if norm is not None and not math.isfinite(norm):
            self._fail("grad_norm", norm)

    def _tell(self, logs: Mapping[str, float]) -> None:
        """A line in the log, and a file for who asks meanwhile."""
        step, steps = self.state.global_step, self.state.max_steps
        left = (steps - step) * self._clock.mean()
        speed = logs["tokens_per_second"]
        log.info(
            "step %d/%d  loss %.4f  lr %.3g  grad norm %.3g  %s tokens/s  left %s",
            *(step, steps, logs["loss"], logs["learning_rate"], logs["grad_norm"]),
            *(f"{speed:,.0f}", timedelta(seconds=round(left))),
        )
        about = {
            "step": step,
            "steps": steps,
            "loss": logs["loss"],
            "tokens_per_second": speed,
            "seconds_left": left,
            "memory_gib": logs["memory_gib"],
            "stopped": self.stopped,
        }
        follow.note(self._directory, self._student, about)

    # --- Checkpoints ---

    def save_model(
        self, output_dir: str | None = None, _internal_call: bool = False
    ) -> None:
        """Nothing: a checkpoint holds the ranks' shards, a student is written apart."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Nothing: the manifest says what a student is."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        started = time.monotonic()
        checkpoint = self._directory / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            (checkpoint / checkpoints.MARKER).unlink(missing_ok=True)
        untyped: Any = super()
        untyped._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.is_local_process_zero():
            checkpoints.settle(checkpoint)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            checkpoints.mark(checkpoint, self.state.global_step, self.args.world_size)
        # A rank that stops now ends the others: not before the checkpoint counts.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            checkpoints.prune(self._directory, self.settings.keep_checkpoints)
        self._clock.saved(time.monotonic() - started)

    @contextmanager
    def stops_on_signals(self) -> Iterator[None]:
        """A signal stops after the step. Launchers and batch systems may both send."""

        def stop(number: int, _frame: FrameType | None) -> None:
            self._clock.reason = f"received {signal.Signals(number).name}"

        earlier = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)


class Clock:
    """How long steps and checkpoints take, and whether another one fits the limit."""

    def __init__(self) -> None:
        self.step = math.inf
        self.reason = ""
        self._steps: deque[float] = deque(maxlen=20)
        self._save = 0.0
        self.start()

    def start(self) -> None:
        self._last = time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        self.step = now - self._last
        self._steps.append(self.step)
        self._last = now

    def saved(self, seconds: float) -> None:
        """A checkpoint took so long, which is no part of the next step."""
        self._save = max(self._save, seconds)
        self.start()

    def mean(self) -> float:
        """Seconds of a step, over the last ones."""
        return sum(self._steps) / max(len(self._steps), 1)

    def must_stop(self) -> bool:
        """Whether the next step and a checkpoint after it would come too late.

        Before any checkpoint was written, one is taken to last ten steps.
        """
        limit = os.environ.get(LIMIT_VARIABLE)
        if limit and not self.reason:
            step = max(self._steps)
            needed = 2 * step + 1.5 * (self._save or 10 * step) + 5
            if time.time() + needed > float(limit):
                self.reason = "the job's time limit is near"
        return bool(self.reason)


class _AtEachStep(TrainerCallback):
    """Ends the step before the trainer logs it and asks whether to save."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._trainer.divide_step_counts()
        self._trainer._clock.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._trainer.end_step() and state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = True
            clock = self._trainer._clock
            clock.reason = clock.reason or "another rank was told to stop"


def _memory() -> float:
    """The peak of this rank, in GiB: of its GPU, or of the process on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / GIB
    return host_memory()


def host_memory() -> float:
    """The most resident memory that this process has had, in GiB."""
    status = Path("/proc/self/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / GIB
