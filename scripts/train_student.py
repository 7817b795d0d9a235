"""Fine-tune a student on a training set. `retrace.training.launch` starts the ranks.

Exit codes: 0 done; 75 stopped by a signal or the time limit with a checkpoint written,
run the same command to go on; 1 failed.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any

from retrace import environment, weights
from retrace.locking import LockedError
from retrace.rows import RowError, TrainingRow, content_id, read_rows, write_lines
from retrace.stopping import command, set_time_limit
from retrace.training.deepspeed import run_rank
from retrace.training.run import Job, train
from retrace.training.settings import Settings, TrainingError

FAILURES = (
    TrainingError,
    LockedError,
    RowError,
    weights.WeightsError,
    environment.EnvironmentMismatchError,
)


def main() -> int:
    args = parse_args()
    environment.require(args.software)
    if args.time_limit:
        set_time_limit(args.time_limit)
    if args.revision is None:
        weights.verify(Path(args.weights))
    dataset = weights.sha256_of(args.dataset)
    base = args.revision or weights.sha256_of(Path(args.weights) / weights.MANIFEST)
    settings: Settings = args.training
    # Checkpoints belong to one run: other rows, weights or settings start anew.
    run_id = content_id([dataset, base, settings.model_dump(mode="json")])
    job = Job(
        args.student,
        args.weights,
        args.checkpoints / run_id,
        args.out,
        args.shards,
        args.threads,
        about(args, dataset, base),
        trackers(),
        args.revision or "main",
    )
    lines = train(list(read_rows(args.dataset, TrainingRow)), settings, job)
    if lines is not None:
        write_lines(args.metrics, lines)
    return 0


def about(args: argparse.Namespace, dataset: str, base: str) -> dict[str, Any]:
    """What the manifest says beside counts and files."""
    settings = args.training.model_dump(mode="json")
    return {
        "student": args.student,
        "base": base,
        "dataset_sha256": dataset,
        "settings": settings,
        "settings_id": content_id(settings),
        "code_id": content_id(args.code),
        "software": [*args.software, f"python=={platform.python_version()}"],
    }


def trackers() -> tuple[str, ...]:
    """TensorBoard's files always; Weights & Biases where its project is named."""
    asked = ("wandb",) if os.environ.get("WANDB_PROJECT") else ()
    return ("tensorboard", *asked)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--student", required=True)
    add("--dataset", type=Path, required=True)
    add("--weights", required=True, help="directory or hub repository")
    add("--revision", help="of a hub repository")
    add("--training", type=Settings.model_validate_json, required=True)
    add("--threads", type=int, required=True, help="of all ranks of a node")
    add("--checkpoints", type=Path, required=True)
    add("--shards", type=int, required=True)
    add("--time-limit", type=float, help="minutes after which the job is killed")
    add("--software", nargs="*", default=[])
    add("--code", nargs="*", default=[], help="digests of the code, for the manifest")
    add("--out", type=Path, required=True, help="the model's directory")
    add("--metrics", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_rank(lambda: command(main, FAILURES))
